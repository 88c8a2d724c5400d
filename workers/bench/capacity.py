"""The highest rates of replay actor and driver of a fleet on Ray, each measured by itself."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ray

from alphazero.batches import Batches
from alphazero.config import Config
from alphazero.parts import game_of
from alphazero.types import GameRecord
from workers.bench.measuring import BenchSettings, Figures
from workers.bench.ray_calls import Callers, MakeCall
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
    seconds = min(5.0, settings.seconds)
    started = connect("local")
    try:
        report("one replay actor by itself")
        stores = [_store(chosen, size, seconds) for size in DELIVERIES]
        report("one driver by itself")
        return {"replay_alone": stores, "driver_alone": [_driver(chosen)]}
    finally:
        leave(started)


def _store(chosen: Config, size: int, seconds: float) -> Figures:
    """Rates of one replay actor: deliveries of ``size`` games, then samples for the learner."""
    records = play_games(game_of(chosen), GAMES)
    batch = chosen.training.batch_size
    with _replay(chosen) as store:
        deliver = [_deliveries(store, records, size, caller) for caller in range(CALLERS)]
        pushes, pushing = _saturate(store, deliver, seconds)
        sample = [lambda n: store.sample.remote(batch, n)] * CALLERS
        samples, sampling = _saturate(store, sample, seconds)
    return {
        "games_per_delivery": size,
        "deliveries_per_second": pushes,
        "games_per_second": pushes * size,
        "positions_per_second": pushes * size * _mean_length(records),
        "cpu": pushing,
        "samples_per_second": samples * batch,
        "cpu_sampling": sampling,
    }


def _driver(chosen: Config) -> Figures:
    """Rates of this process when it collects counts of stored games and when it makes batches."""
    records, size = play_games(game_of(chosen), GAMES), DELIVERIES[-1]
    seconds = cpu = 0.0
    collected = 0
    with _replay(chosen) as store:
        remote = RemoteReplay(store, check=lambda: None)
        deliver = _deliveries(store, records, size, 0)
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


def _deliveries(store: Any, records: list[GameRecord], size: int, caller: int) -> MakeCall:
    """Calls that deliver the same games again and again, with new ids."""

    def deliver(number: int) -> Any:
        first = (caller << 40) + number * size
        renumbered = [replace(records[n % GAMES], game_id=n) for n in range(first, first + size)]
        return store.push.remote(renumbered)

    return deliver


def _mean_length(records: list[GameRecord]) -> float:
    return sum(map(len, records)) / len(records)


def _saturate(actor: Any, calls: list[MakeCall], seconds: float) -> tuple[float, float]:
    """Answered calls per second, one calling process per item of ``calls``; and cores in use.

    The cores are those that ``actor`` used, in seconds of CPU time per second.
    """
    status: Any = ray.get(actor.status.remote(), timeout=60.0)
    callers = Callers(status["pid"], calls, IN_FLIGHT)
    answered, cpu = callers.turn(seconds)
    callers.close()
    lasted = max(calls.seconds for calls in answered)
    return sum(len(calls.latencies) / calls.seconds for calls in answered), cpu / lasted
