"""The training loop: balance, determinism, and resuming without a difference."""

import ast
import copy
import dataclasses
import itertools
import math
import multiprocessing
import os
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_up_rows import first_positions
from pydantic import TypeAdapter

import games
from alphazero import checkpoint, evaluators, loop, wire
from alphazero.batches import Batches
from alphazero.config import Config, ReplaySettings
from alphazero.inference import NetworkEvaluator
from alphazero.learner import Learner
from alphazero.limiter import Limiter
from alphazero.local_fleet import LocalFleet
from alphazero.loop import Hooks
from alphazero.nn import state as training_state
from alphazero.packing import GameCounts
from alphazero.protocols import summarize
from alphazero.replay import Replay, to_batch
from alphazero.types import Ending

TINY = {
    "game": "tic_tac_toe",
    "search": {"kind": "gumbel", "simulations": 4},
    "selfplay": {"games": 8, "groups": 2, "random_opening_plies": 2},
    "network": {"blocks": 1, "channels": 8, "value_hidden": 8},
    "replay": {"min_positions": 200, "window_min": 300, "samples_per_position": 4},
    "training": {
        "steps": 40,
        "batch_size": 32,
        "checkpoint_every": 20,
        "publish_every": 7,
        "precision": "float32",
    },
    "inference": {"backend": "torch", "precision": "float32"},
}


class Parts:
    """A run and its parts by name."""

    def __init__(self, directory, config):
        game = games.make(config.game)
        self.directory, self.closed = directory, False
        self.learner = Learner(game, config.network, config.optimizer, config.training, config.seed)
        self.replay = Replay(game, directory / "games", config.replay)
        evaluator = NetworkEvaluator(game, config.network, config.inference)
        self.fleet = LocalFleet(config, self.replay, evaluator, ahead=True)
        self.run = loop.Run(config, directory, self.learner, self.replay, self.fleet)

    def train(self, time_limit=math.inf, **hooks):
        loop.train(self.run, Hooks(**hooks), time_limit)
        return self

    def resume(self):
        newest = checkpoint.newest(self.directory, report=lambda line: None)
        assert newest is not None
        loop.resume(self.run, newest)
        return self

    def close(self):
        self.closed = True
        self.fleet.close()
        self.replay.close()


@pytest.fixture
def parts(tmp_path):
    made = []

    def make(name, optimizer=None, selfplay=None, **changes):
        tree = TINY | {
            "training": TINY["training"] | changes,
            "selfplay": TINY["selfplay"] | (selfplay or {}),
            "optimizer": optimizer or {},
        }
        directory = tmp_path / name
        directory.mkdir(exist_ok=True)
        made.append(Parts(directory, TypeAdapter(Config).validate_python(tree)))
        return made[-1]

    torch.set_num_threads(1)
    yield make
    for part in made:
        if not part.closed:
            part.close()


def final_state(run):
    """All that decides how a run continues, flattened to comparable values."""
    state = {
        "learner": run.learner.state(), "replay": run.replay.state(), "fleet": run.fleet.state()
    }  # fmt: skip
    leaves = {}

    def walk(name, value):
        if isinstance(value, dict):
            for key, item in value.items():
                walk(f"{name}/{key}", item)
        elif isinstance(value, list | tuple):
            for index, item in enumerate(value):
                walk(f"{name}/{index}", item)
        else:
            array = torch.is_tensor(value) or isinstance(value, np.ndarray)
            leaves[name] = np.asarray(value).tobytes() if array else value

    walk("", state)
    return leaves


def test_the_same_seed_gives_the_same_run_bit_for_bit(parts):
    assert final_state(parts("one").train()) == final_state(parts("two").train())


@pytest.mark.parametrize("last", [20, 31])
def test_a_run_resumed_from_any_checkpoint_ends_bit_for_bit_as_the_unbroken_one(parts, last):
    """20 was saved on the way and more games followed; 31, not published, at the stop."""
    whole = parts("whole").train()
    steps = []
    broken = parts("broken")
    broken.train(log=lambda step, _: steps.append(step), stop=lambda: len(steps) == 31)
    broken.close()
    for path in (broken.directory / "checkpoints").iterdir():
        if path.name > f"step_{last:06}":
            (path / "MANIFEST.json").unlink()
    resumed = parts("broken").resume()
    assert resumed.learner.step == last
    assert final_state(resumed.train()) == final_state(whole)


def test_a_run_with_fast_moves_is_resumed_bit_for_bit_and_trains_on_the_other_moves(parts):
    chosen = {"fast_fraction": 0.6, "fast_simulations": 2}
    whole = parts("whole", selfplay=chosen).train()
    broken, steps = parts("broken", selfplay=chosen), []
    broken.train(log=lambda step, _: steps.append(step), stop=lambda: len(steps) == 31)
    broken.close()
    (broken.directory / "checkpoints" / "step_000031" / "MANIFEST.json").unlink()
    resumed = parts("broken", selfplay=chosen).resume()
    assert resumed.learner.step == 20
    assert final_state(resumed.train()) == final_state(whole)
    samples = whole.replay.sample(500, np.random.default_rng(0))
    assert (samples.rows["surprise"] >= 0).all()
    needed = Limiter(whole.run.config.replay, 32).needed(39)
    assert needed <= whole.replay.positions < 2 * needed


def test_a_resume_that_is_refused_changes_no_stored_game(parts):
    run = parts("run").train()
    games = run.replay.games
    run.close()
    other = parts("run", selfplay={"groups": 1})
    with pytest.raises(ValueError, match=r"was played by 2 groups .* would be played by 1 groups"):
        other.resume()
    assert other.replay.games == games


def test_resuming_returns_how_long_the_run_has_lasted(parts):
    run = parts("run").train(seconds=lambda: 17.5)
    newest = checkpoint.newest(run.directory)
    assert newest is not None
    assert loop.resume(run.run, newest) == 17.5


def test_checkpoints_are_saved_by_time_at_a_publication_and_change_nothing(parts):
    """40 steps take a minute each, every 7th publishes, a checkpoint is due after 5 minutes."""
    whole, clock, saved = parts("whole", checkpoint_every=1000).train(), [0.0], []

    def log(step, metrics):
        clock[0] = 60.0 * step

    timed = parts("timed", checkpoint_every=1000, keep_checkpoints=9).train(
        log=log, seconds=lambda: clock[0], saved=lambda step, path: saved.append(step)
    )
    assert saved == [7, 14, 21, 28, 35, 40]
    assert final_state(timed) == final_state(whole)
    never = parts("never", checkpoint_every=1000, checkpoint_minutes=None)
    saved.clear()
    never.train(log=log, seconds=lambda: clock[0], saved=lambda step, path: saved.append(step))
    assert saved == [40]


def test_settings_changed_on_resuming_take_effect(parts):
    parts("run").train().close()
    other = parts("run", optimizer={"l2": 0.5, "learning_rate": 0.25}, steps=41).resume()
    rates = []
    other.train(log=lambda step, metrics: rates.append(metrics["learning_rate"]))
    groups = other.learner.state()["optimizer"]["param_groups"]
    assert [group["weight_decay"] for group in groups] == [0.5, 0.0]
    assert rates[0] > 0.002


def _train(directory, tree):
    torch.set_num_threads(1)
    Parts(directory, TypeAdapter(Config).validate_python(tree)).train()


@pytest.mark.slow
def test_200_steps_equal_100_then_sigkill_then_resume_to_200(tmp_path, parts):
    changes = {"steps": 200, "checkpoint_every": 100}
    whole = parts("whole", **changes).train()
    killed = tmp_path / "killed"
    tree = TINY | {"training": TINY["training"] | changes}
    process = multiprocessing.get_context("spawn").Process(target=_train, args=(killed, tree))
    process.start()
    while not (killed / "checkpoints" / "step_000100").exists():
        assert process.is_alive()
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    resumed = parts("killed", **changes).resume()
    assert resumed.learner.step == 100
    assert final_state(resumed.train()) == final_state(whole)


def test_every_step_is_logged_once_in_order(parts):
    steps = []
    parts("run").train(log=lambda step, metrics: steps.append(step))
    assert steps == list(range(1, 41))


def test_the_shares_of_the_endings_are_those_since_the_last_logged_step(parts, monkeypatch):
    run, expected, logged = parts("run", steps=60), np.zeros(4), []
    real, number = run.fleet.collect, itertools.count()

    def collect():
        """Replaces the real endings: 0, 1, 2, 3, 0, 1, ... in turn."""
        collected = real()
        endings = [next(number) % 4 for _ in range(collected.games)]
        return collected._replace(endings=np.bincount(np.array(endings, int), minlength=4))

    def log(step, metrics):
        shares = {name: value for name, value in metrics.items() if name.startswith("ended_by")}
        if expected.sum():
            assert list(shares.values()) == pytest.approx(expected / expected.sum())
        else:
            assert not shares
        logged.append(tuple(shares))
        expected[:] = 0

    def count(collected):
        expected[:] += collected.endings

    monkeypatch.setattr(run.fleet, "collect", collect)
    run.train(log=log, games=count)
    names = ("rules", "proof", "resignation", "length")
    assert set(logged) == {(), tuple(f"ended_by_{name}" for name in names)}


def test_results_and_lengths_are_metrics_of_the_games_since_the_last_line():
    def games(*results):
        return [GameCounts(0, 9, Ending.RULES, plies=10 + r, result=r) for r in results]

    played = loop._Played()
    assert played.metrics() == {"staleness": 0}
    played.add(summarize(games(1, 0, -1), None), 0)
    played.add(summarize(games(1, 1), None), 0)
    metrics = played.metrics()
    assert (metrics["won_by_first"], metrics["drawn"]) == (3 / 5, 1 / 5)
    assert metrics["plies_per_game"] == (11 + 10 + 9 + 11 + 11) / 5
    played.add(summarize(games(-1), None), 0)
    metrics = played.metrics()
    assert (metrics["won_by_first"], metrics["drawn"], metrics["plies_per_game"]) == (0, 0, 9)


def test_samples_per_position_converge_to_the_setting(parts):
    last = {}
    parts("run", steps=150).train(log=lambda step, metrics: last.update(metrics))
    assert last["samples_per_position"] == pytest.approx(4, rel=0.1)


def test_a_time_limit_ends_the_run_and_brings_the_learning_rate_down(parts):
    clock, rates = [0.0], []

    def log(step, metrics):
        clock[0] += 0.1
        rates.append(metrics["learning_rate"])

    run = parts("run", steps=100_000)
    run.train(log=log, seconds=lambda: clock[0], time_limit=1.0)
    assert run.learner.step in (10, 11)  # ten times 0.1 is not quite 1
    warmed = np.array(rates) / (np.arange(len(rates)) + 1)
    assert (np.diff(warmed) < 0).all()


def test_a_run_stopped_before_its_first_checkpoint_starts_again_bit_for_bit(parts):
    whole = parts("whole").train()
    broken = parts("broken")
    broken.fleet.publish(broken.learner.weights(), 0)
    while not broken.replay.games:
        broken.fleet.collect()
    broken.close()
    again = parts("broken")
    assert loop.resume(again.run, None) == 0.0
    assert final_state(again.train()) == final_state(whole)


def test_batches_prepared_beside_the_step_are_those_drawn_when_they_are_needed(parts, monkeypatch):
    expected, prepared = final_state(parts("one").train()), []

    def take(batches, step, ahead):
        prepared.append(ahead)
        return batches._draw(step)

    monkeypatch.setattr(Batches, "take", take)
    assert final_state(parts("two").train()) == expected
    assert 10 < sum(prepared) < len(prepared)


class Gate:
    """An evaluator that waits until ``open`` is set; ``requests`` counts its calls."""

    choice = None

    def __init__(self, game):
        self.open, self.requests = threading.Event(), threading.Semaphore(0)
        self._answer, self.version, self.rows = evaluators.uniform(game), -1, []

    def load(self, weights, version):
        self.version = version

    def snapshot(self):
        return copy.copy(self)

    def __call__(self, states):
        self.requests.release()
        self.open.wait()
        self.rows.append(len(states))
        return self._answer(states)._replace(version=self.version)


class Store:
    """A store that keeps its games in a list."""

    def __init__(self):
        self.records = []

    @property
    def positions(self):
        return sum(map(len, self.records))

    def extend(self, records):
        self.records += records
        return len(records)


def gated_fleet(config, gate, store=None, ahead=False, **selfplay):
    settings = dataclasses.replace(config.selfplay, groups=1, **selfplay)
    config = dataclasses.replace(config, selfplay=settings)
    return LocalFleet(config, store or Store(), gate, ahead)


def test_a_ply_ends_with_the_weights_that_it_began_with(parts):
    config = parts("unused").run.config
    gate = Gate(games.make(config.game))
    fleet = gated_fleet(config, gate, ahead=True, random_opening_plies=0)
    fleet.publish({}, 1)
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(fleet.collect)
        gate.requests.acquire()  # the first ply of the first games is under way
        fleet.publish({}, 2)
        gate.open.set()
        collected = pending.result()
    while not collected.games:
        collected = fleet.collect()
    assert collected.versions[0] == 1
    fleet.publish({}, 3)
    assert newest_version(fleet) == 3
    fleet.close()


def newest_version(fleet):
    """The version of the game that ends last in the next 20 plies."""
    return np.concatenate([fleet.collect().versions for _ in range(20)])[-1]


@pytest.mark.parametrize("ahead", [False, True])
def test_only_a_fleet_that_plays_ahead_plays_between_two_calls(parts, ahead):
    config = parts("unused").run.config
    gate = Gate(games.make(config.game))
    gate.open.set()
    fleet = gated_fleet(config, gate, ahead=ahead)
    fleet.publish({}, 1)
    fleet.collect()
    assert [group.played() is not None for group in fleet._groups] == [ahead]
    fleet.close()


def test_a_fleet_stores_what_it_plays_and_summarizes_it(parts):
    config = parts("unused").run.config
    gate, store = Gate(games.make(config.game)), Store()
    gate.open.set()
    fleet = gated_fleet(config, gate, store)
    fleet.publish({}, 1)
    for _ in range(20):
        before = len(store.records)
        collected = fleet.collect()
        new = store.records[before:]
        assert collected.games == len(new)
        assert collected.positions == sum(len(record) for record in new)
        assert collected.versions.tolist() == [record.version for record in new]
        assert collected.plies == sum(len(record.actions) for record in new)
        # In tic-tac-toe the player who began makes the odd moves; the last row is the last mover's.
        results = [r.rows["outcome"][-1] * (1 if len(r.actions) % 2 else -1) for r in new]
        assert collected.results.tolist() == [results.count(result) for result in (-1, 0, 1)]
        assert collected.endings.tolist() == [
            sum(record.ending == ending for record in new) for ending in Ending
        ]
        assert collected.example is (new[-1] if new else None)
    assert len(store.records) > 8
    fleet.close()


def test_a_fleet_waits_while_the_positions_that_it_is_allowed_are_stored(parts):
    config = parts("unused").run.config
    gate, store = Gate(games.make(config.game)), Store()
    gate.open.set()
    fleet = gated_fleet(config, gate, store)
    fleet.publish({}, 1)
    fleet.allow(20)
    while store.positions < 20:
        fleet.collect()
    held, evaluations = store.positions, len(gate.rows)
    assert [fleet.collect().games for _ in range(10)] == [0] * 10
    assert (store.positions, len(gate.rows)) == (held, evaluations)
    fleet.allow(held + 1)
    while store.positions == held:
        fleet.collect()
    fleet.close()


def test_caches_are_empty_after_a_checkpoint_and_after_a_publication(parts):
    config = parts("unused").run.config
    game = games.make(config.game)

    def evaluations(between):
        """The number of positions evaluated in plies 6 to 10; ``between`` is called before them."""
        gate = Gate(game)
        gate.open.set()
        fleet = gated_fleet(config, gate)
        fleet.publish({}, 1)
        for _ in range(5):
            fleet.collect()
        after = between(fleet, gated_fleet(config, gate))
        gate.rows.clear()
        for _ in range(5):
            after.collect()
        after.close()
        return sum(gate.rows)

    undisturbed = evaluations(lambda fleet, other: fleet)
    published = evaluations(lambda fleet, other: fleet.publish({}, 2) or fleet)
    saved = evaluations(lambda fleet, other: fleet.state() and fleet)
    restored = evaluations(lambda fleet, other: other.restore(fleet.state()) or other)
    assert published == saved == restored > undisturbed


def test_the_games_do_not_depend_on_how_long_the_caller_takes(parts):
    def played(name, pause):
        run = parts(name)
        run.fleet.publish(run.learner.weights(), 0)
        for version in range(1, 12):
            run.fleet.collect()
            pause(run.fleet)
            run.learner.train_step(batch, 0.0)
            run.fleet.publish(run.learner.weights(), version)
        (shard,) = (run.directory / "games").glob("shard_*")
        return [wire.encode(game, record) for _, record in wire.read_shard(game, shard)]

    game = games.make("tic_tac_toe")
    batch = to_batch(game, first_positions(game, 32))
    expected = played("one", lambda fleet: None)
    assert len(expected) > 10
    # Here every ply under way has ended before the next weights are published.
    assert played("two", lambda fleet: [group.played() for group in fleet._groups]) == expected


EARLIER = Path(__file__).parent / "data/earlier_versions"


def test_a_checkpoint_of_an_earlier_version_is_resumed(tmp_path):
    """Its games are read, its fleet's games in progress continue, and training goes on."""
    settings = ast.parse((EARLIER / "write.py").read_text())
    tree = next(
        ast.literal_eval(node.value)
        for node in settings.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "TREE"
    )
    state = training_state.load((EARLIER / "training.pt").read_bytes())
    (tmp_path / "games").mkdir()
    shutil.copy(EARLIER / "training_shard.bin", tmp_path / "games" / "shard_000000.bin")
    run = Parts(tmp_path, TypeAdapter(Config).validate_python(tree))
    run.learner.restore(state["learner"])
    run.fleet.restore(state["fleet"])
    run.replay.restore(state["replay"], truncate=True)
    counted = {name: getattr(run.replay, name) for name in ("games", "positions")}
    assert counted == {name: state["replay"][name] for name in counted}
    assert run.learner.step == 1
    run.train()
    assert run.learner.step == 9
    assert run.replay.games > counted["games"]
    assert (EARLIER / "training_shard.bin").read_bytes() == (
        tmp_path / "games" / "shard_000000.bin"
    ).read_bytes()
    run.close()


def test_without_weights_nothing_is_played(parts):
    with pytest.raises(ValueError, match="no weights"):
        parts("run").fleet.collect()


def test_fleet_and_learner_play_with_the_weights_published_last(parts):
    run = parts("run", publish_every=15).train()
    run.fleet.allow(10**9)
    assert run.fleet.version == 30
    assert newest_version(run.fleet) == 30  # at most 9 plies, begun after the last publication
    run.fleet.publish(run.learner.weights(), 41)
    assert newest_version(run.fleet) == 41


@given(
    samples=st.floats(0.5, 20), batch=st.integers(2, 4096), least=st.integers(1, 50_000),
    step=st.integers(0, 100_000),
)  # fmt: skip
def test_playing_up_to_the_allowance_always_lets_the_learner_take_its_next_step(
    samples, batch, least, step
):
    settings = ReplaySettings(samples_per_position=samples, min_positions=least)
    limiter = Limiter(settings, batch)
    assert limiter.due(limiter.allowance(step), step)


def test_the_limiter_counts_samples_by_hand():
    limiter = Limiter(ReplaySettings(samples_per_position=4, min_positions=100), batch_size=200)
    assert not limiter.due(99, 0)  # too few positions to begin with
    assert limiter.due(100, 0)
    assert limiter.due(100, 1)  # two steps of 200 samples are 4 for each of 100 positions
    assert not limiter.due(100, 2)
    assert not limiter.due(149, 2)
    assert limiter.due(150, 2)
