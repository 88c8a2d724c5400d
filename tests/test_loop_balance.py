"""Self-play and training stay in balance with fleets of all kinds and speeds."""

import numpy as np
import pytest
from made_up_rows import first_positions
from pydantic import TypeAdapter

import games
from alphazero import loop
from alphazero.config import Config
from alphazero.loop import Hooks
from alphazero.nn.divergence import Losses
from alphazero.packing import GameCounts
from alphazero.protocols import Collected, summarize
from alphazero.types import Ending

GAME = games.make("tic_tac_toe")
BATCH = 100
MIN_POSITIONS = 2000


class Store:
    """A replay buffer that counts and whose samples are all the same."""

    def __init__(self):
        self.games = self.positions = 0

    @property
    def window(self):
        return self.positions

    def add(self, lengths) -> Collected:
        """Count games of these numbers of positions."""
        self.games += len(lengths)
        self.positions += sum(lengths)
        return summarize([GameCounts(0, n, Ending.RULES) for n in lengths], None)

    def sample(self, size, rng):
        return first_positions(GAME, size)

    def state(self):
        return {}

    def restore(self, state, truncate):
        pass


class Learner:
    """A learner that counts its steps and calls ``tick`` at each of them."""

    precision = "none"

    def __init__(self, tick):
        self.step, self._tick, self.losses = 0, tick, Losses()

    def train_step(self, batch, progress):
        self.step += 1
        self._tick()
        return {"loss": 0.0}

    def weights(self):
        return {}

    def state(self):
        return {}

    def restore(self, state):
        pass


class Fleet:
    """The methods of a fleet that the balance does not depend on."""

    reproducible, version = False, None

    def __init__(self):
        self.store = Store()

    def publish(self, weights, version):
        self.version = version

    def allow(self, positions):
        pass

    def stats(self):
        return {}

    def state(self):
        return {}

    def restore(self, state):
        pass

    def close(self):
        pass


class Alternating(Fleet):
    """A fleet that plays in ``collect`` only, as a LocalFleet that does not play ahead."""

    def __init__(self, games_at_once):
        super().__init__()
        self._games, self._rng = games_at_once, np.random.default_rng(0)

    def collect(self):
        ended = self._rng.binomial(self._games, 0.1)
        return self.store.add(self._rng.integers(5, 40, ended).tolist())


class Lagging(Fleet):
    """A fleet that plays beside the learner, as RayFleet does: ``allow`` reaches it late, and games
    under way are played to their end in any case."""

    def __init__(self, rate, lag, under_way):
        super().__init__()
        self.rate, self._lag, self._under_way = rate, lag, under_way
        self._received, self._stored, self._collected = [0], 0, 0

    def allow(self, positions):
        self._received.append(positions)

    def tick(self):
        self._received.append(self._received[-1])
        allowed = self._received[max(0, len(self._received) - self._lag)]
        if self._stored < allowed + self._under_way:
            self._stored += self.rate

    def collect(self):
        self.tick()
        fresh, self._collected = self._stored - self._collected, self._stored
        return self.store.add([20] * (fresh // 20))


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
    ratios = []
    learner = Learner(getattr(fleet, "tick", lambda: None))
    run = loop.Run(config, directory, learner, fleet.store, fleet)
    loop.train(run, Hooks(log=lambda step, metrics: ratios.append(metrics["samples_per_position"])))
    assert len(ratios) == steps
    return np.array(ratios)


@pytest.mark.parametrize("target", [0.5, 4.0, 16.0])
def test_a_fleet_that_alternates_with_the_learner_stays_within_a_tenth(tmp_path, target):
    steps = int(20 * MIN_POSITIONS * target / BATCH)
    ratios = logged(tmp_path, target, Alternating(games_at_once=128), steps)
    caught_up = int(2 * MIN_POSITIONS * target / BATCH)
    assert (ratios <= target).all()
    assert (ratios[caught_up:] >= 0.9 * target).all()


@pytest.mark.parametrize("speed", [0.5, pytest.param(1.0, marks=pytest.mark.slow), 3.0, 30.0])
@pytest.mark.parametrize("target", [pytest.param(0.5, marks=pytest.mark.slow), 4.0, 16.0])
def test_a_fleet_that_plays_beside_the_learner_and_lags_stays_within_a_tenth(
    tmp_path, target, speed
):
    """``speed``: positions that the fleet generates per position that the learner needs."""
    needed = BATCH / target  # positions per step
    rate = max(20, 20 * round(speed * needed / 20))
    fleet = Lagging(rate, lag=5, under_way=int(20 * needed))
    ratios = logged(tmp_path, target, fleet, steps=4000)
    warm = max(1500, int(2 * MIN_POSITIONS * target / BATCH))
    assert (ratios <= target).all()
    assert (ratios[warm:] >= 0.9 * target).all()
