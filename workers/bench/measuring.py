"""What the measurements share: turns, rates, positions, and how they are set."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import ConfigDict, Field
from pydantic import dataclasses as validated

from alphazero import evaluators, network
from alphazero.config import Config
from alphazero.nn.device import cores
from alphazero.nn.weights import Weights, arrays
from games.base import Game, States

Figures = dict[str, Any]

TURNS = 4
"""Of each measurement in a run."""


@dataclass(frozen=True)
class Work:
    """``repeat(thread)`` does something once and returns how many units of it that was."""

    repeat: Callable[[int], int]
    threads: int
    around: Callable[[], AbstractContextManager[object]] = nullcontext
    """Entered for each turn, outside the measured time: what others do can begin and end here."""


@dataclass
class Tally:
    units: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Units a second, all threads together."""
        return self.units / self.seconds


@validated.dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class BenchSettings:
    config: str = "connect_four_large"
    """Whose game, search, network and optimizer; every key of it can be overridden too."""
    seconds: float = Field(default=10.0, gt=0)
    """Of measuring, start-up not counted; of ``fleet``, for each number of workers."""
    threads: int = Field(default_factory=cores, ge=1)
    batch: int = Field(default=256, ge=2)
    """Positions a network call; self-play's follows from its games."""
    max_workers: int = Field(default=64, ge=1)
    """Of ``fleet``: the most that it tries."""
    latency_ms: float = Field(default=2.0, ge=0)
    """Of ``fleet``: what a batch takes on the pretended device."""


def measure(works: Sequence[Work], seconds: float, warm: bool = True) -> list[Tally]:
    """Repeat each work on its threads; the works take turns, ``seconds`` in all."""
    for work in works if warm else ():
        work.repeat(0)
    tallies = [Tally() for _ in works]
    for _ in range(TURNS):
        for work, tally in zip(works, tallies, strict=True):
            _take_turn(work, tally, seconds / (TURNS * len(works)))
    return tallies


def _take_turn(work: Work, tally: Tally, seconds: float) -> None:
    def until_the_end(thread: int) -> int:
        units = work.repeat(thread)  # once at least, however late the machine lets it begin
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


def circumstances(chosen: Config, settings: BenchSettings) -> Figures:
    return {
        "game": chosen.game,
        "network": f"{chosen.network.blocks}x{chosen.network.channels}",
        "threads": settings.threads,
        "seconds": settings.seconds,
    }
