"""The memory of self-play: what the machine has, what the settings need, and whether it fits."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from alphazero.cache import Key, entry_bytes
from alphazero.evaluators import random_actions
from alphazero.search.tree import EDGE, NODE
from alphazero.selfplay import FIRST_PLIES
from games.base import Game

SHARE = 0.5
"""Share of the available memory that self-play may use where no number is set: the learner, the
replay buffer's window and the network need the rest."""

MOST_POSITIONS = 4096
"""Positions per request to another process at most; larger requests are sent in parts."""

FEWEST_ENTRIES = 2**10
"""Entries to which each group's evaluation cache may shrink where memory is short."""


class Load(NamedTuple):
    """The numbers of a self-play process that decide how much memory it needs."""

    groups: int
    """Groups of games, each with trees, a cache and records of its own."""
    games: int
    """Games per group."""
    simulations: int
    """Simulations per move."""
    cache: int
    """Entries of each group's evaluation cache, a power of two."""
    row_bytes: int
    """Bytes of a recorded position, its action included."""
    keeps_trees: bool = False
    """Whether the trees of the last move are kept while the next ones grow."""
    key: Key | None = None
    """The key of the caches' entries; None: ``game.identity``."""
    request: int = 0
    """Positions for which each group has a request in shared memory; 0 where the network is
    evaluated in the same process."""


class Sizes(NamedTuple):
    """Bytes of a self-play process: ``plan``'s result."""

    trees: int
    caches: int
    records: int
    budget: int
    cache: int
    """Entries of each group's cache: the setting, or fewer where memory is short."""
    wanted_cache: int
    """The setting."""
    requests: int = 0
    """Shared memory between this process and those that evaluate the network."""

    @property
    def total(self) -> int:
        return self.trees + self.caches + self.records + self.requests

    def __str__(self) -> str:
        """One line for people."""
        line = (
            f"self-play needs about {in_words(self.total)} of {in_words(self.budget)} memory: "
            f"trees {in_words(self.trees)}, caches {in_words(self.caches)}, "
            f"games {in_words(self.records)}"
        )
        line += _also(self.requests)
        if self.cache < self.wanted_cache:
            line += f" (selfplay.cache {self.cache} instead of {self.wanted_cache})"
        return line


def plan(game: Game, load: Load, budget: int | None = None) -> Sizes:
    """The sizes of a self-play process, and the largest cache that fits.

    ``budget`` in bytes; None: ``SHARE`` of the available memory. Where it is too small the caches
    are halved until it is enough. ``ValueError`` where it cannot be enough.
    """
    budget = int(SHARE * available_memory()) if budget is None else budget
    copies = load.groups * load.games
    legal, plies = survey(game)
    trees = tree_bytes(game, copies, load.simulations, legal) * (1 + load.keeps_trees)
    records = copies * _room(game, plies) * load.row_bytes
    requests = load.groups * request_bytes(game, load.request)
    cache, entry = load.cache, load.groups * entry_bytes(game, load.key)
    while cache > FEWEST_ENTRIES and trees + records + requests + cache * entry > budget:
        cache //= 2
    sizes = Sizes(trees, cache * entry, records, budget, cache, load.cache, requests)
    if sizes.total > budget:
        raise ValueError(
            f"selfplay.memory: {load.groups} groups of {load.games} games need about "
            f"{in_words(sizes.total)} (trees {in_words(trees)}, caches {in_words(sizes.caches)}, "
            f"games {in_words(records)}{_also(requests)}), but may use {in_words(budget)}; lower "
            "selfplay.games, selfplay.groups or search.simulations"
        )
    return sizes


def tree_bytes(game: Game, games: int, simulations: int, legal: float) -> int:
    """Bytes in use in ``games`` trees after ``simulations`` each.

    ``legal``: legal moves per node, on average. Example: 512 trees of Connect Four with 32
    simulations and 6.7 legal moves have 33 nodes of 56 bytes and 221 edges of 24: 3.7 MB in all.
    """
    node = NODE.itemsize + game.dtype.itemsize + EDGE.itemsize * legal
    return round(games * (simulations + 1) * node)


def request_bytes(game: Game, positions: int) -> int:
    """Bytes of shared memory of a request: per position its state, a value and logits, in float32.

    Example: 256 positions of Connect Four with 7 actions and states of 16 bytes: 12,288 bytes.
    """
    return positions * (game.dtype.itemsize + 4 + 4 * game.num_actions)


def _also(requests: int) -> str:
    return f", requests {in_words(requests)}" if requests else ""


def _room(game: Game, plies: int) -> int:
    """The plies for which a group of games makes room where the longest game has ``plies``."""
    room = FIRST_PLIES
    while room < plies:
        room *= 2
    return min(room, game.max_plies)


def survey(game: Game, games: int = 64, plies: int = 300) -> tuple[float, int]:
    """The mean number of legal moves per unfinished position of random games, and the plies of the
    longest one; from a fixed seed.

    ``plies``: longer games are cut off there, so that the estimate takes a moment only.
    """
    rng, states = np.random.default_rng(0), game.initial(games)
    moves = positions = longest = 0
    while len(states) and longest < min(plies, game.max_plies):
        longest += 1
        legal = game.legal(states)
        moves, positions = moves + int(legal.sum()), positions + len(states)
        states = game.step(states, random_actions(legal, rng))
        states = states[np.isnan(game.outcome(states))]
    return moves / positions, longest


def available_memory(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that this process may use: the machine's memory or the limit of a control group.

    Of several limits (a container's, those of the groups above it; versions 1 and 2) it is the
    lowest one. Systems without ``/proc`` have only the machine's.
    """
    limits = [_machine_memory(proc)]
    for line in _text(proc / "self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            folder, name = cgroups, "memory.max"
        elif "memory" in controllers.split(","):
            folder, name = cgroups / "memory", "memory.limit_in_bytes"
        else:
            continue
        here = Path(path.lstrip("/"))
        for part in (here, *here.parents):  # the last one is the root, "."
            limit = _text(folder / part / name).strip()
            limits += [int(limit)] if limit.isdigit() else []  # "max": none
    return min(limits)


def _machine_memory(proc: Path) -> int:
    for line in _text(proc / "meminfo").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _text(path: Path) -> str:
    """The content of a file, "" where it cannot be read."""
    try:
        return path.read_text()
    except OSError:
        return ""


def in_words(size: int) -> str:
    """A number of bytes with two digits or more: "950 KB", "8.2 MB", "1.4 GB"."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if size >= factor:
            return f"{size / factor:.{0 if size >= 99.5 * factor else 1}f} {unit}"
    return f"{size} bytes"
