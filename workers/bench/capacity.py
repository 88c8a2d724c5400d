"""The highest rates of replay actor and driver of a fleet on Ray, each measured by itself."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import ray

from alphazero.batches import Batches
from alphazero.config import Config
from alphazero.packing import PackedGame
from alphazero.parts import game_of, packing_of
from workers.bench.measuring import BenchSettings, Figures
from workers.bench.ray_calls import START_SECONDS, Callers, MakeCall
from workers.bench.synthetic import play_games
from workers.cluster.connection import connect, leave
from workers.cluster.replay import RemoteReplay, ReplayStore, stored_games

CALLERS = 2
IN_FLIGHT = 4
"""Calls that each caller has under way."""
DELIVERIES = (1, 32)
"""Games per delivery to the replay actor."""
GAMES = 256
"""Number of different games that are delivered."""
REPLIES = 50
"""Number of replies of the replay actor that the driver collects."""
BATCHES = 50
"""Number of batches that the driver makes."""


def measure(chosen: Config, settings: BenchSettings, report: Callable[[str], object]) -> Figures:
    """Measure replay actor and driver for some seconds each; starts Ray where it does not run."""
    seconds, pack = min(5.0, settings.seconds), packing_of(chosen)
    games = [pack(record) for record in play_games(game_of(chosen), GAMES)]
    report("Ray is started")
    started = connect("local")
    try:
        with _replay(chosen) as store:
            stored = Stored(chosen, store, games)
            report("one replay actor by itself")
            status: Any = ray.get(store.status.remote(), timeout=START_SECONDS)
            with closing(Callers(status["pid"], CALLERS, IN_FLIGHT)) as callers:
                stores = [_store(stored, callers, size, seconds) for size in DELIVERIES]
            report("one driver by itself")
            return {"replay_alone": stores, "driver_alone": [_driver(stored)]}
    finally:
        leave(started)


class Stored(NamedTuple):
    """The replay actor, and the games that are delivered to it again and again."""

    chosen: Config
    store: Any
    games: list[PackedGame]


def _store(stored: Stored, callers: Callers, size: int, seconds: float) -> Figures:
    """Rates of the replay actor: deliveries of ``size`` games, then samples for the learner."""
    chosen, store, games = stored
    batch = chosen.training.batch_size
    deliver = [_deliveries(store, games, size, caller) for caller in range(CALLERS)]
    pushes, pushing = _saturate(callers, deliver, seconds)
    sample = [lambda n: store.sample.remote(batch, n)] * CALLERS
    samples, sampling = _saturate(callers, sample, seconds)
    return {
        "games_per_delivery": size,
        "deliveries_per_second": pushes,
        "games_per_second": pushes * size,
        "positions_per_second": pushes * size * _mean_length(games),
        "cpu": pushing,
        "samples_per_second": samples * batch,
        "cpu_sampling": sampling,
    }


def _driver(stored: Stored) -> Figures:
    """Rates of this process when it collects counts of stored games and when it makes batches."""
    chosen, store, games = stored
    size = DELIVERIES[-1]
    seconds = cpu = 0.0
    collected = 0
    remote = RemoteReplay(store, check=lambda: None)
    deliver = _deliveries(store, games, size, CALLERS)
    for number in range(REPLIES):
        ray.get(deliver(number), timeout=60.0)
        began, before = time.monotonic(), time.process_time()
        collected += remote.collect().games
        seconds, cpu = seconds + time.monotonic() - began, cpu + time.process_time() - before
    with Batches(chosen, remote) as batches:
        began = time.monotonic()
        for step in range(BATCHES):
            batches.take(step, ahead=False)
        making = time.monotonic() - began
    return {
        "games_per_reply": size,
        "replies_per_second": REPLIES / seconds,
        "games_per_second": collected / seconds,
        "cpu": cpu / seconds,
        "samples_per_second": BATCHES * chosen.training.batch_size / making,
    }


@contextmanager
def _replay(chosen: Config) -> Iterator[Any]:
    """An empty replay actor, ended afterwards."""
    actor: Any = ray.remote(ReplayStore).options(num_cpus=0)
    with TemporaryDirectory(prefix="alphazero-bench-") as folder:
        store = actor.remote(partial(stored_games, chosen, Path(folder)), Path(folder))
        yield store
        ray.get(store.close.remote(), timeout=60.0)
        ray.kill(store)


def _deliveries(store: Any, games: list[PackedGame], size: int, caller: int) -> MakeCall:
    """Calls that deliver the same games again and again, with new ids."""

    def deliver(number: int) -> Any:
        first = (size << 50) + (caller << 40) + number * size
        renumbered = [games[n % GAMES]._replace(game_id=n) for n in range(first, first + size)]
        return store.push.remote(renumbered)

    return deliver


def _mean_length(games: list[PackedGame]) -> float:
    return sum(len(game.rows) for game in games) / len(games)


def _saturate(callers: Callers, calls: list[MakeCall], seconds: float) -> tuple[float, float]:
    """Answered calls per second, one calling process per item of ``calls``; and cores in use.

    The cores are those that the actor used, in seconds of CPU time per second.
    """
    answered, cpu = callers.call(calls, seconds)
    lasted = max(calls.seconds for calls in answered)
    return sum(len(calls.latencies) / calls.seconds for calls in answered), cpu / lasted
