"""Games whose rules are another library's objects: a state is the list of the moves played.

A library's own position is an object, and a state here is a record of numbers. So the record holds
the moves, and the positions that they lead to are kept in a memory of bounded size; one that is no
longer there is made again by playing its moves. ``ReplayedGame`` is the part of ``Game`` that all
such games have in common. It is long because it is the whole contract but for the library's calls.
"""

import threading
from abc import abstractmethod
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from games.base import Game, States, Transition

MEMORY = 256 * 2**20
"""Bytes of positions that one instance keeps, by its own estimate of their sizes."""
ENTRY_BYTES = 600
"""Bytes of an entry of the memory beside the library's object: its key, tuples, array headers."""
SPARE_PLIES = 64
"""Moves behind ``max_plies`` for which a state has room: a search looks beyond the last move.

A line that is longer ends there as a game does at ``max_plies``.
"""
MOST_PLIES, MOST_ACTIONS, MOST_NUMBERS = 100_000, 100_000, 1_000_000
"""The largest ``max_plies``, ``num_actions`` and size of an observation."""
TWO = "the same moves led to two positions"
"""The end of the message about a library's game that is not deterministic."""


class Position(NamedTuple):
    """A position of the library with everything that the rules say about it."""

    inner: Any
    """The library's object, which must not be changed, or what it can be made from."""
    mover: int
    """0 or 1; in a finished game the player who would move next."""
    legal: NDArray[np.integer]
    """The legal actions in ascending order; none in a finished game."""
    outcome: float
    """For the mover; NaN while the game goes on."""
    planes: NDArray | None = None
    """The observation ``[C, H, W]`` where the library gives it with the position."""


class ReplayedGame(Game):
    """A game of another library. A subclass gives the first position and the one after a move.

    It calls ``_lay_out`` in its ``__init__`` and defines the methods that are abstract here. Calls
    from several threads wait for each other.
    """

    observation_bounds = (-128.0, 128.0)
    """Those of ``squashed``: a library's observations may be any numbers of type float32."""

    def _lay_out(
        self, arguments: tuple, actions: int, longest: int, max_plies: int, shape: tuple
    ) -> None:
        """Set the attributes of the contract.

        ``arguments`` of ``__init__`` make the instance again, in another process too. ``longest``:
        the most moves that the library's rules allow. ``ValueError``: a number is too large.
        """
        self.num_actions, self.observation_shape = actions, shape
        self.max_plies = min(longest, max_plies)
        for what, value, most in (
            ("actions", actions, MOST_ACTIONS),
            ("plies (max_plies)", self.max_plies, MOST_PLIES),
            ("numbers in an observation", int(np.prod(shape, dtype=object)), MOST_NUMBERS),
        ):
            if not 1 <= value <= most:
                raise ValueError(f"{self.name}: 1 to {most:,} {what} are possible, not {value}")
        self._arguments = arguments
        self._room = min(longest, self.max_plies + SPARE_PLIES)
        self._move = np.dtype(np.min_scalar_type(actions - 1)).newbyteorder("<")
        plies = np.dtype(np.min_scalar_type(self._room)).newbyteorder("<")
        self.dtype = np.dtype(
            [("moves", self._move, (self._room,)), ("plies", plies), ("player", "i1")]
        )
        self._lock = threading.RLock()
        self._known: OrderedDict[bytes, tuple[Position, int]] = OrderedDict()
        self._bytes = 0

    @abstractmethod
    def _begin(self) -> Position:
        """The position at the start, player 0 to move."""

    @abstractmethod
    def _play(self, position: Position, action: int) -> Position:
        """The position after a legal ``action``; ``position`` stays as it is."""

    @abstractmethod
    def _size(self, position: Position, plies: int) -> int:
        """Bytes of ``position``, reached by ``plies`` moves; at least what it takes in memory."""

    def _observe(self, position: Position, out: NDArray[np.float32]) -> None:
        """Write the observation for the mover into ``out [C, H, W]``, which is zero.

        By default ``position.planes``, which the library then gives with every position.
        """
        out[:] = position.planes.reshape(out.shape)  # type: ignore[union-attr]

    @abstractmethod
    def _render(self, position: Position) -> str:
        """The library's drawing."""

    def _cut(self, position: Position) -> float:
        """The result of an unfinished game that is ended here, for the mover; a draw."""
        return 0.0

    def initial(self, batch: int) -> States:
        return np.zeros(batch, self.dtype)

    def legal(self, states: States) -> NDArray[np.bool_]:
        with self._lock:
            return self._legal(self._positions(states))

    def step(self, states: States, actions: NDArray[np.integer]) -> States:
        with self._lock:
            return self._step(states, actions)[0]

    def outcome(self, states: States) -> NDArray[np.float32]:
        with self._lock:
            return _outcomes(self._positions(states))

    def to_move(self, states: States) -> NDArray[np.int8]:
        return states["player"].copy()

    def observe(self, states: States) -> NDArray[np.float32]:
        out = np.zeros((len(states), *self.observation_shape), np.float32)
        with self._lock:
            for position, planes in zip(self._positions(states), out, strict=True):
                self._observe(position, planes)
        return squashed(out)

    def advance(self, states: States, actions: NDArray[np.integer]) -> Transition:
        with self._lock:
            after, positions = self._step(states, actions)
            return Transition(
                after, self._legal(positions), _outcomes(positions), self.to_move(after)
            )

    def adjudicate(self, states: States) -> NDArray[np.float32]:
        with self._lock:
            cut = [self._cut(position) for position in self._positions(states)]
        return np.array(cut, np.float32)

    def render(self, state: np.void) -> str:
        with self._lock:
            drawn = self._render(self._position_of(state))
        return drawn if drawn.strip() else "(the library draws nothing)"

    def _position_of(self, state: np.void) -> Position:
        return self._positions(np.array([state], self.dtype))[0]

    def _positions(self, states: States) -> list[Position]:
        return [self._at(key) for key in self._keys(states)]

    def _keys(self, states: States) -> list[bytes]:
        """The bytes of the moves of each state."""
        raw, size, width = states.tobytes(), self.dtype.itemsize, self._move.itemsize
        ends = [i * size + width * plies for i, plies in enumerate(states["plies"].tolist())]
        return [raw[i * size : end] for i, end in enumerate(ends)]

    def _step(self, states: States, actions: NDArray[np.integer]) -> tuple[States, list[Position]]:
        after, plies = states.copy(), states["plies"].astype(np.intp)
        after["moves"][np.arange(len(states)), plies] = actions
        after["plies"] = plies + 1
        positions = [self._at(key) for key in self._keys(after)]
        after["player"] = [position.mover for position in positions]
        return after, positions

    def _legal(self, positions: list[Position]) -> NDArray[np.bool_]:
        legal = np.zeros((len(positions), self.num_actions), np.bool_)
        if positions:
            counts = [len(position.legal) for position in positions]
            columns = np.concatenate([position.legal for position in positions])
            legal[np.repeat(np.arange(len(positions)), counts), columns] = True
        return legal

    def _at(self, key: bytes) -> Position:
        """The position after the moves of ``key``; those on the way there that are missing, too."""
        known = self._known.get(key)
        if known is not None:
            self._known.move_to_end(key)
            return known[0]
        width, end = self._move.itemsize, len(key)
        while end and key[:end] not in self._known:
            end -= width
        position = self._known[key[:end]][0] if end else self._begin()
        for move in np.frombuffer(key[end:], self._move).tolist():
            end += width
            position = self._play(position, move)
            if end // width == self._room and np.isnan(position.outcome):
                position = self._ended(position)
            self._keep(key[:end], position)
        return position

    def _ended(self, position: Position) -> Position:
        return position._replace(legal=position.legal[:0], outcome=self._cut(position))

    def _keep(self, key: bytes, position: Position) -> None:
        """Add a position to the memory; those that were not used for longest make room for it."""
        size = ENTRY_BYTES + len(key) + position.legal.nbytes
        size += self._size(position, len(key) // self._move.itemsize)
        self._known[key] = position, size
        self._bytes += size
        while self._bytes > MEMORY and len(self._known) > 1:
            self._bytes -= self._known.popitem(last=False)[1][1]

    def __reduce__(self) -> tuple:
        return type(self), self._arguments


def _outcomes(positions: list[Position]) -> NDArray[np.float32]:
    return np.array([position.outcome for position in positions], np.float32)


def equal(one: Position, other: Position) -> bool:
    """Whether two positions look alike: mover, legal actions, outcome and observation."""
    pairs = zip(one[1:], other[1:], strict=True)
    return all(np.array_equal(a, b, equal_nan=True) for a, b in pairs)  # type: ignore[arg-type]


def layout(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """``(C, H, W)`` for a library's observation of one to three dimensions.

    Three are planes, rows and columns. The numbers of a list become planes of one cell, for which a
    convolution is a dense layer: ``(16,)`` gives ``(16, 1, 1)``. Two give ``(3, 225)``:
    ``(3, 1, 225)``. ``ValueError`` for another number of dimensions.
    """
    if not 1 <= len(shape) <= 3 or min(shape) < 1:
        raise ValueError(f"observations must have 1 to 3 dimensions of 1 or more, not {shape}")
    count, *rest = (int(size) for size in shape)
    return (count, *([1] * (2 - len(rest))), *rest)  # type: ignore[return-value]


def squashed(numbers: NDArray[np.float32]) -> NDArray[np.float32]:
    """``numbers``; those outside [-1, 1] become ``sign(x) * log2(1 + |x|)``.

    Counts of stones and walls, the only larger numbers of most libraries, stay within the range of
    a network's other inputs: 1 is 1, 3 is 2, 48 is 5.6.
    """
    if not numbers.size or np.abs(numbers).max() <= 1:
        return numbers
    large = np.abs(numbers)
    return np.where(large > 1, np.sign(numbers) * np.log2(1 + large), numbers).astype(np.float32)
