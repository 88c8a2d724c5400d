"""The search process: groups of games that take turns while their positions are evaluated.

While an evaluator works on the leaves of one group, the process searches with another one, so that
neither is idle. Finished games are sent to the node at once.
"""

import itertools
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from alphazero.cache import EvaluationCache
from alphazero.config import Config
from alphazero.packing import PackedGame
from alphazero.parts import encoder_of, game_of, memory_of, search_of
from alphazero.selfplay import GameGroup
from alphazero.types import Evaluation, GameRecord
from games.base import States
from workers.node.child import Sender
from workers.node.evaluator import Shared, joined
from workers.node.slots import Slots

PAUSE = 0.1
"""The longest time in seconds that the process waits for anything."""
HOLD_SECONDS = 0.01
"""Seconds between two looks whether play that is held may go on."""


class Group(Protocol):
    """A group of games, as far as a search process uses it."""

    def move(self, newest: int) -> Generator[States, Evaluation, list[GameRecord]]:
        """Play one move in every game: yields states, receives evaluations, returns records.

        ``newest``: the newest version of the weights that an evaluator has.
        """
        ...


MakeGroups = Callable[[Iterator[int]], Sequence[Group]]
"""Makes the groups of one process; their games take ids from the iterator."""


class Playing(NamedTuple):
    """How a search process plays; pickled."""

    make_groups: MakeGroups
    pack: Callable[[GameRecord], PackedGame]
    """Makes of a finished game what is sent."""


class CachedGroup(NamedTuple):
    """A group whose requests hold only the positions that are not in its evaluation cache.

    Where all of them are in it, there is no answer from which newer weights would show, so each
    move begins with their version.
    """

    group: GameGroup
    cache: EvaluationCache

    def move(self, newest: int) -> Generator[States, Evaluation, list[GameRecord]]:
        self.cache.drop_older(newest)
        return self.cache.wrap(self.group.move())


def game_groups(config: Config, processes: int, game_ids: Iterator[int]) -> list[CachedGroup]:
    """The groups of one process as ``config`` describes them; called in that process.

    ``processes``: those that share the machine's memory.
    """
    game, search, settings = game_of(config), search_of(config), config.selfplay
    key, capacity = encoder_of(config).key, memory_of(config, processes).cache
    return [
        CachedGroup(
            GameGroup(game, search, settings, config.seed, game_ids),
            EvaluationCache(game, capacity, key),
        )
        for _ in range(settings.groups)
    ]


def play(number: int, shared: Shared, playing: Playing, incarnation: int, sender: Sender) -> None:
    """Play until the process is killed; sends lists of finished games, packed.

    Game ids begin at ``incarnation * 2**32``; no two processes of a run have the same incarnation.
    Incarnation 3 gives the ids 12884901888, 12884901889, ... up to the first of incarnation 4.
    """
    groups = playing.make_groups(itertools.count(incarnation << 32))
    own, slots = shared.slots.of_player(number), shared.slots
    turns = {slot: Turn(group, slot, slots) for slot, group in zip(own, groups, strict=True)}
    counters, versions = shared.counters.of_player(number), shared.counters.evaluators["version"]
    while True:
        counters.add("iterations", 1)
        finished: list[GameRecord] = []
        held = shared.counters.held
        for turn in turns.values():
            if turn.is_idle and not held and slots.is_usable(turn.slot):
                finished += turn.begin(int(versions.max()))
                counters.add("moves", turn.is_idle)
        waits = any(not turn.is_idle for turn in turns.values())
        timeout = PAUSE if waits else HOLD_SECONDS if held else 0.0
        for slot, evaluation in slots.receive(number, timeout):
            counters.add("evaluated", len(evaluation.value))
            finished += turns[slot].resume(evaluation)
            counters.add("moves", turns[slot].is_idle)
        if finished:
            counters.add("games", len(finished))
            sender.send([playing.pack(record) for record in finished])


class Turn:
    """The current move of one group of games and the slot of its requests.

    A request of more positions than a slot holds is sent in parts, one after the other. If the
    weights change between two of them, all are sent again: 300 positions in a slot of 256 are the
    rows 0 to 255 with version 7 and 256 to 299 with version 8, and then both again with version 8.
    """

    def __init__(self, group: Group, slot: int, slots: Slots):
        self.slot = slot
        self._group, self._slots = group, slots
        self._move: Any = None
        self._states: States | None = None
        self._parts: list[Evaluation] = []

    @property
    def is_idle(self) -> bool:
        """Whether no move is in progress."""
        return self._states is None

    def begin(self, newest: int) -> list[GameRecord]:
        """Start the next move; returns games that finish without an evaluation.

        ``newest``: as of ``Group.move``.
        """
        self._move = self._group.move(newest)
        return self._advance(lambda: next(self._move))

    def resume(self, part: Evaluation) -> list[GameRecord]:
        """Continue with the answer to the last request; returns the games that finish with it."""
        assert self._states is not None
        if self._parts and self._parts[0].version != part.version:
            self._parts = []
        else:
            self._parts.append(part)
        if self._answered < len(self._states):
            self._submit()
            return []
        evaluation, self._parts = joined(self._parts), []
        return self._advance(lambda: self._move.send(evaluation))

    @property
    def _answered(self) -> int:
        """The number of positions of the request that have been evaluated."""
        return sum(len(part.value) for part in self._parts)

    def _advance(self, step: Callable[[], States]) -> list[GameRecord]:
        try:
            self._states = step()
        except StopIteration as end:
            self._states = None
            return end.value
        self._submit()
        return []

    def _submit(self) -> None:
        """Send the next part of the request."""
        assert self._states is not None
        start = self._answered
        self._slots.submit(self.slot, self._states[start : start + self._slots.sizes.capacity])
