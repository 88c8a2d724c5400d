"""A perfect Connect Four solver: the exact score of any position, given time; and a heuristic.

The search only ever asks "does the mover score at least ``bound`` here?", which is alpha-beta with
a null window, and whose answer is yes or no. Asked of ever narrower bounds it gives the score.

A board is two bitboards: ``own``, the mover's stones, and ``both``, all stones; a cell is bit
``7 * column + row``, row 0 at the bottom. The seventh bit of a column stays empty, so shifts by 1,
7, 6 and 8 follow the four directions without leaving the board.

A score counts the stones the winner has left, the winning one included, with perfect play: +1 wins
with the mover's last stone, 0 is a draw, negative loses; the mover's view, -21 to 21.

Allis, "A Knowledge-based Approach of Connect-Four" (1988), on the game; Knuth and Moore, "An
Analysis of Alpha-Beta Pruning" (1975), section 6; Plaat et al., "Best-first Fixed-depth Minimax
Algorithms" (1996), on null windows with a table; Plaat et al., "Exploiting Graph Properties of Game
Trees" (1996), on asking the table about all children before any is searched.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from games.base import States

COLUMNS, ROWS, CELLS = 7, 6, 42

_U = np.uint64
_ONE, _STRIDE = _U(1), _U(7)
_BOTTOM = _U(sum(1 << 7 * column for column in range(COLUMNS)))
_BOARD = _U(int(_BOTTOM) * 63)
_CENTRE_FIRST = tuple(_U(63 << 7 * column) for column in (3, 2, 4, 1, 5, 0, 6))

_NO, _YES, _OPEN = 0, 1, 2

# A table entry: the whole 49-bit key, so that no two positions are ever confused, then six bits for
# each bound on the score and three for how much work the entry took. An empty slot is 0.
_KEY, _LOWER, _UPPER = _U(15), _U(9), _U(3)
_BOUND, _WORK, _BIAS = _U(63), _U(7), 22

# The fields of a stack frame (one position on the line being searched) and of the cursor.
_OWN, _BOTH, _ENTERED, _LEFT, _MOVES = 0, 1, 2, 3, 4
_LEVEL, _NODES, _PLY, _ASKED = 0, 1, 2, 3

# About a third of a second: how long Ctrl-C may have to wait.
_BUDGET = 2_000_000


class Solver:
    """A transposition table and the search that fills it. Not to be shared between threads.

    It outlives each question, so related positions are cheaper together. Ctrl-C leaves it sound.
    """

    def __init__(self, table_bits: int = 23):
        """``2 ** table_bits`` entries of 8 bytes: 64 MiB by default; more help near the start."""
        if not 1 <= table_bits <= 34:
            raise ValueError(f"table_bits must be 1 to 34, not {table_bits}")
        self._table = np.zeros(1 << table_bits, np.uint64)
        self._stack = np.zeros((CELLS + 1, _MOVES + COLUMNS), np.uint64)
        self._cursor = np.zeros(4, np.int64)

    @property
    def nodes(self) -> int:
        """Positions searched since this solver was made."""
        return int(self._cursor[_NODES])

    def score(self, own: int, other: int) -> int:
        """The score of an unfinished position, from the mover's (``own``) point of view.

        ``ValueError`` for a finished game and for stones that no game could have placed.
        """
        _check(own, other)
        return self._score(own, own | other)

    def move_scores(self, own: int, other: int) -> NDArray[np.float32]:
        """``[7]``: each column's score for the mover, NaN where it is full; errors as above."""
        _check(own, other)
        both = own | other
        scores = np.full(COLUMNS, np.nan, np.float32)
        for column in range(COLUMNS):
            move = int(_playable(_U(both))) & (63 << 7 * column)
            if _wins_now(own, both) & move:
                scores[column] = _winning_now(both)
            elif move:
                scores[column] = -self._score(other, both | move)
        return scores

    def solve(self, states: States) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        """``(best [B], scores [B, 7])`` of ``games.connect_four`` states, none of them finished."""
        scores = np.empty((len(states), COLUMNS), np.float32)
        for row, state in enumerate(states):
            try:
                scores[row] = self.move_scores(int(state["mine"]), int(state["theirs"]))
            except ValueError as error:
                raise ValueError(f"position {row} of {len(states)}: {error}") from None
        return np.nanmax(scores, axis=1, initial=-CELLS).astype(np.int8), scores

    def at_least(self, own: int, other: int, bound: int) -> bool:
        """Whether the score is ``bound`` or more: cheaper than the score; errors as above."""
        _check(own, other)
        both = own | other
        if _wins_now(own, both):
            return _winning_now(both) >= bound
        return self._ask(own, both, bound)

    def _score(self, own: int, both: int) -> int:
        ply = both.bit_count()
        if _wins_now(own, both):
            return _winning_now(both)
        low, high = (ply + 1) // 2 - 21, 20 - ply // 2
        while low < high:
            # Who wins comes first: its answer is what the later, narrower questions build on.
            bound = (low + high + 1) // 2
            if low < 0 < high:
                bound = 0 if bound <= 0 else 1
            if self._ask(own, both, bound):
                low = bound
            else:
                high = bound - 1
        return low

    def _ask(self, own: int, both: int, bound: int) -> bool:
        self._stack[0, [_OWN, _BOTH]] = own, both
        self._cursor[[_LEVEL, _PLY, _ASKED]] = 0, both.bit_count(), bound
        answer = _open(self._stack, self._cursor, self._table)
        # Back in Python now and then, where an interrupt can be noticed.
        while answer == _OPEN:
            answer = _search(self._stack, self._cursor, self._table, _BUDGET)
        return answer == _YES


def heuristic(states: States) -> NDArray[np.float32]:
    """``[B]`` in (-1, 1): who owns more of the 69 lines of four, the mover's view.

    A line counts for a side while the other has no stone in it, and more the more stones it holds.
    """
    return np.tanh(_balance(states["mine"], states["theirs"]) * _SCALE).astype(np.float32)


def _check(own: int, other: int) -> None:
    both = own | other
    floating = both & ~int(_BOARD) or (both + int(_BOTTOM)) & both
    if own & other or floating or other.bit_count() - own.bit_count() not in (0, 1):
        raise ValueError("no game of Connect Four leads to these stones")
    if _has_four(_U(own)) or _has_four(_U(other)) or both == int(_BOARD):
        raise ValueError("the game is over: there is no move to score")


def _wins_now(own: int, both: int) -> int:
    return int(_threats(_U(own), _U(both)) & _playable(_U(both)))


def _winning_now(both: int) -> int:
    return 21 - both.bit_count() // 2


@njit(cache=True, nogil=True)
def _count(bits):
    count = 0
    while bits:
        bits &= bits - _ONE
        count += 1
    return count


@njit(cache=True, nogil=True)
def _has_four(stones):
    for step in (_U(1), _U(6), _U(7), _U(8)):
        pairs = stones & (stones >> step)
        if pairs & (pairs >> (step + step)):
            return True
    return False


@njit(cache=True, nogil=True)
def _threats(stones, both):
    """The empty cells that would complete four in a line for ``stones``."""
    cells = (stones << _U(1)) & (stones << _U(2)) & (stones << _U(3))
    for step in (_U(6), _U(7), _U(8)):
        twice, thrice = step + step, step + step + step
        above = (stones << step) & (stones << twice)
        below = (stones >> step) & (stones >> twice)
        cells |= above & ((stones << thrice) | (stones >> step))
        cells |= below & ((stones >> thrice) | (stones << step))
    return cells & (_BOARD ^ both)


@njit(cache=True, nogil=True)
def _playable(both):
    return (both + _BOTTOM) & _BOARD


@njit(cache=True, nogil=True)
def _not_losing(own, both):
    """The moves the opponent cannot answer by winning at once. The mover has no such win itself."""
    danger = _threats(own ^ both, both)
    moves = _playable(both)
    forced = moves & danger
    if forced:
        # Two holes cannot be stopped with one stone.
        moves = _U(0) if forced & (forced - _ONE) else forced
    return moves & ~(danger >> _ONE)


@njit(cache=True, nogil=True)
def _key(own, both):
    """49 bits, never 0, one number a position and its mirror image.

    A column of ``h`` stones adds its pattern to ``2 ** h``: no two columns of stones agree.
    """
    key = own + both + _BOTTOM
    mirrored, rest = _U(0), key
    for _ in range(COLUMNS):
        mirrored = (mirrored << _STRIDE) | (rest & _U(127))
        rest >>= _STRIDE
    return min(key, mirrored)


@njit(cache=True, nogil=True)
def _slot(key, table):
    """The first of a key's two neighbouring slots; multiplicative hashing (Knuth)."""
    return ((key * _U(0x9E3779B97F4A7C15)) >> _U(28)) & _U(table.size - 2)


@njit(cache=True, nogil=True)
def _look_up(key, table):
    """The entry of ``key``, or 0."""
    slot = _slot(key, table)
    for entry in (table[slot], table[slot + _ONE]):
        if entry >> _KEY == key:
            return entry
    return _U(0)


@njit(cache=True, nogil=True)
def _known(key, bound, table):
    entry = _look_up(key, table)
    if entry:
        if np.int64((entry >> _LOWER) & _BOUND) - _BIAS >= bound:
            return _YES
        if np.int64((entry >> _UPPER) & _BOUND) - _BIAS < bound:
            return _NO
    return _OPEN


@njit(cache=True, nogil=True)
def _store(key, bound, answer, work, table):
    """The first slot of a pair keeps what took more work, the second whatever came last."""
    entry = _look_up(key, table)
    lower = (entry >> _LOWER) & _BOUND if entry else _U(0)
    upper = (entry >> _UPPER) & _BOUND if entry else _U(2 * _BIAS)
    if answer == _YES:
        lower = max(lower, _U(bound + _BIAS))
    else:
        upper = min(upper, _U(bound - 1 + _BIAS))
    level = _U(0)
    while work > 4 and level < _WORK:
        work >>= 3
        level += _ONE
    new = (key << _KEY) | (lower << _LOWER) | (upper << _UPPER) | level

    slot = _slot(key, table)
    first, second = table[slot], table[slot + _ONE]
    if first >> _KEY == key:
        table[slot] = new
    elif second >> _KEY == key or level < (first & _WORK):
        table[slot + _ONE] = new
    else:
        table[slot + _ONE] = first
        table[slot] = new


@njit(cache=True, nogil=True)
def _order(frame, moves):
    """List the moves in the frame, the best guess last: most threats, then nearest the centre.

    A move just below one of the mover's own threats lets the other side block it, and counts less.
    """
    weights = np.empty(COLUMNS, np.int64)
    spoiling = _threats(frame[_OWN], frame[_BOTH]) >> _ONE
    count = 0
    for column in _CENTRE_FIRST:
        move = moves & column
        if move:
            weight = _count(_threats(frame[_OWN] | move, frame[_BOTH] | move))
            weight -= 1 if move & spoiling else 0
            at = count
            while at > 0 and weights[at - 1] >= weight:
                weights[at] = weights[at - 1]
                frame[_MOVES + at] = frame[_MOVES + at - 1]
                at -= 1
            weights[at] = weight
            frame[_MOVES + at] = move
            count += 1
    frame[_LEFT] = _U(count)


@njit(cache=True, nogil=True)
def _child_known(own, both, moves, bound, table):
    """Whether the table already holds a move that reaches ``bound``."""
    while moves:
        move = moves & (~moves + _ONE)
        moves ^= move
        if _known(_key(own ^ both, both | move), 1 - bound, table) == _NO:
            return True
    return False


@njit(cache=True, nogil=True)
def _asked(cursor):
    """The bound at the cursor's level: a child below ``1 - bound`` has its parent at ``bound``."""
    return cursor[_ASKED] if cursor[_LEVEL] % 2 == 0 else 1 - cursor[_ASKED]


@njit(cache=True, nogil=True)
def _open(stack, cursor, table):
    """Answer the frame at the cursor's level, or list the moves to search there.

    The mover of the frame cannot win at once: only moves that leave no win are ever searched.
    """
    frame = stack[cursor[_LEVEL]]
    own, both = frame[_OWN], frame[_BOTH]
    ply, bound = cursor[_PLY] + cursor[_LEVEL], _asked(cursor)
    cursor[_NODES] += 1
    moves = _not_losing(own, both)
    if not moves:
        return _YES if (ply + 1) // 2 - 21 >= bound else _NO
    if ply >= CELLS - 2:
        return _YES if bound <= 0 else _NO
    # Neither side can win before its stone after next.
    if (ply + 1) // 2 - 20 >= bound:
        return _YES
    if 20 - ply // 2 < bound:
        return _NO
    answer = _known(_key(own, both), bound, table)
    if answer == _OPEN and _child_known(own, both, moves, bound, table):
        answer = _YES
    if answer == _OPEN:
        frame[_ENTERED] = _U(cursor[_NODES])
        _order(frame, moves)
    return answer


@njit(cache=True, nogil=True)
def _close(answer, stack, cursor, table):
    """Hand a child's answer to the frame above: its own answer, or open while moves are left."""
    cursor[_LEVEL] -= 1
    frame = stack[cursor[_LEVEL]]
    if answer == _YES and frame[_LEFT]:
        return _OPEN
    answer = _NO if answer == _YES else _YES
    work = cursor[_NODES] - np.int64(frame[_ENTERED])
    _store(_key(frame[_OWN], frame[_BOTH]), _asked(cursor), answer, work, table)
    return answer


@njit(cache=True, nogil=True)
def _search(stack, cursor, table, budget):
    """Go on from the cursor until the question is answered or ``budget`` nodes are spent (open).

    The line being searched is on ``stack``, not in recursive calls, so a search can be continued.
    """
    stop = cursor[_NODES] + budget
    while cursor[_NODES] < stop:
        frame = stack[cursor[_LEVEL]]
        frame[_LEFT] -= _ONE
        cursor[_LEVEL] += 1
        child = stack[cursor[_LEVEL]]
        child[_OWN] = frame[_OWN] ^ frame[_BOTH]
        child[_BOTH] = frame[_BOTH] | frame[_MOVES + np.int64(frame[_LEFT])]
        answer = _open(stack, cursor, table)
        while answer != _OPEN:
            if cursor[_LEVEL] == 0:
                return answer
            answer = _close(answer, stack, cursor, table)
    return _OPEN


def _lines() -> NDArray[np.uint64]:
    fours = (0xF, 0x41041, 0x204081, 0x1010101)
    lines = [four << start for four in fours for start in range(7 * COLUMNS)]
    return np.array([line for line in lines if line & ~int(_BOARD) == 0], np.uint64)


_LINES = _lines()
# What a line of 0 to 3 stones of one side is worth (the best of 13 tried on 1,000 solved openings).
_WORTH = np.array([0.0, 1.0, 3.0, 9.0, 0.0])
_SCALE = 0.02


@njit(cache=True, nogil=True)
def _balance(mine, theirs):
    balance = np.zeros(len(mine), np.float64)
    for i in range(len(mine)):
        for line in _LINES:
            if not line & theirs[i]:
                balance[i] += _WORTH[_count(line & mine[i])]
            elif not line & mine[i]:
                balance[i] -= _WORTH[_count(line & theirs[i])]
    return balance
