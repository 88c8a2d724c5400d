"""Playing and learning stay in balance, whoever plays and however fast."""

from types import SimpleNamespace

import numpy as np
import pytest
from pydantic import TypeAdapter

import games
from alphazero import loop
from alphazero.config import Config
from alphazero.loop import Hooks
from alphazero.replay import Samples

GAME = games.make("tic_tac_toe")
BATCH = 100
MIN_POSITIONS = 2000


class Store:
    """As much of a replay buffer as the loop asks for: it counts."""

    def __init__(self):
        self.games = self.positions = 0

    @property
    def window(self):
        return self.positions

    def extend(self, records):
        self.games += len(records)
        self.positions += sum(map(len, records))

    def sample(self, size, rng):
        policy = np.full((size, GAME.num_actions), 1 / GAME.num_actions, np.float32)
        zeros = np.zeros(size, np.float32)
        return Samples(GAME.initial(size), np.zeros(size, np.int64), policy, zeros, zeros)

    def state(self):
        return {}


class Learner:
    """Counts steps; each lets the world go on by one tick."""

    def __init__(self, tick):
        self.step, self._tick = 0, tick

    def train_step(self, batch, progress):
        self.step += 1
        self._tick()
        return {"loss": 0.0}

    def weights(self):
        return {}

    def state(self):
        return {}


class Fleet:
    reproducible, version = False, None

    def publish(self, weights, version):
        self.version = version

    def allow(self, positions):
        pass

    def stats(self):
        return {}

    def state(self):
        return {}


class Record(SimpleNamespace):
    def __len__(self):
        return self.length


class Alternating(Fleet):
    """As LocalFleet: nothing is played but in ``collect``, where whole games end."""

    def __init__(self, games_at_once):
        self._games, self._rng = games_at_once, np.random.default_rng(0)

    def collect(self):
        ended = self._rng.binomial(self._games, 0.1)
        return [Record(length=int(n), version=0) for n in self._rng.integers(5, 40, ended)]


class Lagging(Fleet):
    """As RayFleet: plays while the learner learns, hears of ``allow`` late, and ends the games that
    are under way whatever it hears."""

    def __init__(self, rate, lag, under_way):
        self.rate, self._lag, self._under_way = rate, lag, under_way
        self._heard, self._stored, self._collected = [0], 0, 0

    def allow(self, positions):
        self._heard.append(positions)

    def tick(self):
        self._heard.append(self._heard[-1])
        allowed = self._heard[max(0, len(self._heard) - self._lag)]
        if self._stored < allowed + self._under_way:
            self._stored += self.rate

    def collect(self):
        self.tick()
        fresh, self._collected = self._stored - self._collected, self._stored
        return [Record(length=20, version=0)] * (fresh // 20)


def logged(directory, samples_per_position, fleet, steps):
    """``samples_per_position`` as logged at each step of a run."""
    config = TypeAdapter(Config).validate_python(
        {
            "game": "tic_tac_toe",
            "replay": {
                "samples_per_position": samples_per_position,
                "min_positions": MIN_POSITIONS,
            },
            "training": {"batch_size": BATCH, "steps": steps, "checkpoint_every": steps},
        }
    )
    found = []
    learner = Learner(getattr(fleet, "tick", lambda: None))
    run = loop.Run(config, directory, learner, Store(), fleet)  # type: ignore[arg-type]
    loop.train(run, Hooks(log=lambda step, metrics: found.append(metrics["samples_per_position"])))
    assert len(found) == steps
    return np.array(found)


@pytest.mark.parametrize("wanted", [0.5, 4.0, 16.0])
def test_a_fleet_that_takes_turns_keeps_within_a_tenth_from_early_on(tmp_path, wanted):
    steps = int(20 * MIN_POSITIONS * wanted / BATCH)
    found = logged(tmp_path, wanted, Alternating(games_at_once=128), steps)
    caught_up = int(2 * MIN_POSITIONS * wanted / BATCH)
    assert (found <= wanted).all()
    assert (found[caught_up:] >= 0.9 * wanted).all()


@pytest.mark.parametrize("speed", [0.5, 1.0, 3.0, 30.0])
@pytest.mark.parametrize("wanted", [0.5, 4.0, 16.0])
def test_a_fleet_that_plays_beside_the_learner_and_lags_keeps_within_a_tenth(
    tmp_path, wanted, speed
):
    """``speed``: positions it can make for each that the learner's steps ask for."""
    asked = BATCH / wanted  # positions for each step
    rate = max(20, 20 * round(speed * asked / 20))
    fleet = Lagging(rate, lag=5, under_way=int(20 * asked))
    found = logged(tmp_path, wanted, fleet, steps=4000)
    warm = max(1500, int(2 * MIN_POSITIONS * wanted / BATCH))
    assert (found <= wanted).all()
    assert (found[warm:] >= 0.9 * wanted).all()
