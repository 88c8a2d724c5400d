"""Parts of all measurements: their settings, taking turns, rates and positions."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic import dataclasses as validated
from rich.console import Console

from alphazero import evaluators, network
from alphazero.config import Config, NetworkSettings
from alphazero.network_settings import PerceptronSettings
from alphazero.nn.device import cores
from alphazero.nn.weights import Weights, arrays
from games.base import Game, States

Figures = dict[str, Any]

TURNS = 4
"""Turns of each measurement in a run."""

Report = Callable[[str], object]
"""Called with the part of a measurement that begins."""


@contextmanager
def reporting() -> Iterator[Report]:
    """A function that shows on standard error what is being measured.

    On a terminal a line that is replaced; elsewhere, as in the log of a job, a line for each text
    that differs from the last one.
    """
    screen = Console(stderr=True)
    if screen.is_terminal:
        with screen.status("", spinner="line") as status:
            yield status.update
        return
    shown = [""]

    def report(text: str) -> None:
        if text != shown[0]:
            screen.print(text, markup=False, highlight=False)
            shown[0] = text

    yield report


@dataclass(frozen=True)
class Work:
    """One measurement: ``repeat(thread)`` does the work once and returns its units."""

    repeat: Callable[[int], int]
    threads: int
    around: Callable[[], AbstractContextManager[object]] = nullcontext
    """Entered for each turn, outside the measured time: other processes can be started and paused
    here."""


@dataclass
class Tally:
    units: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Units per second, all threads together."""
        return self.units / self.seconds


class Calls(NamedTuple):
    """The answered calls of one calling process during a turn."""

    seconds: float
    """From the first call to the last answer."""
    cpu_seconds: float
    """CPU time of the calling process."""
    latencies: NDArray[np.float32]
    """Seconds from call to answer, for each call."""


@validated.dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class BenchSettings:
    config: str = "connect_four_large"
    """The configuration to measure; each of its keys can be overridden as well."""
    seconds: float = Field(default=10.0, gt=0, le=1e6)
    """Duration of the measurement without start-up; for ``fleet``, per number of processes."""
    threads: int = Field(default_factory=cores, ge=1, le=1024)
    batch: int = Field(default=256, ge=2, le=2**20)
    """Positions per network call, and per request in ``transport``; for ``selfplay`` it follows
    from the number of games."""
    max_players: int = Field(default=4, ge=1, le=1024)
    """For ``fleet``: the largest number of search processes."""
    latency_ms: float = Field(default=0.3, ge=0, le=1e6)
    """For ``fleet``: milliseconds per batch on the simulated device."""
    callers: int = Field(default=2, ge=1, le=64)
    """For ``transport``: the number of processes that send requests."""
    in_flight: int = Field(default=4, ge=1, le=32)
    """For ``transport``: requests that each of them keeps under way."""


def measure(works: Sequence[Work], seconds: float, warm: bool = True) -> list[Tally]:
    """Measure the works in turns, for ``seconds`` in all, each on its own number of threads.

    With two works and 8 seconds each has four turns of 1 second: A B A B A B A B.
    """
    for work in works if warm else ():
        work.repeat(0)
    tallies = [Tally() for _ in works]
    for _ in range(TURNS):
        for work, tally in zip(works, tallies, strict=True):
            _take_turn(work, tally, seconds / (TURNS * len(works)))
    return tallies


def _take_turn(work: Work, tally: Tally, seconds: float) -> None:
    def until_the_end(thread: int) -> int:
        units = work.repeat(thread)  # at least once, even where the thread starts late
        while time.perf_counter() < start + seconds:
            units += work.repeat(thread)
        return units

    with work.around():
        start = time.perf_counter()
        with ThreadPoolExecutor(work.threads) as pool:
            tally.units += sum(pool.map(until_the_end, range(work.threads)))
        tally.seconds += time.perf_counter() - start


def weights(chosen: Config, game: Game) -> Weights:
    return arrays(network.build(game, chosen.network, chosen.seed).state_dict())


def midgame(game: Game, batch: int) -> States:
    """Positions after a quarter of a game's plies, drawn at random; the same in every run."""
    rng = np.random.default_rng(0)
    states = game.initial(batch)
    for _ in range(game.max_plies // 4):
        after = game.step(states, evaluators.random_actions(game.legal(states), rng))
        going = game.legal(after).any(axis=1)
        states = np.where(going, after, states)
    return states


def describe_network(chosen: Config) -> str:
    """The size, as ``5x64`` or ``perceptron 4x512``, or the address of another network."""
    network = chosen.network
    if isinstance(network, PerceptronSettings):
        return f"{network.kind} {network.layers}x{network.width}"
    if isinstance(network, NetworkSettings):
        return f"{network.blocks}x{network.channels}"
    return network.kind


def circumstances(chosen: Config, settings: BenchSettings) -> Figures:
    return {
        "game": chosen.game,
        "network": describe_network(chosen),
        "threads": settings.threads,
        "seconds": settings.seconds,
    }
