"""The compiled half of the Connect Four solver: bitboards, transposition table, search.

All kernels are in one file because one calls the other: a Numba kernel cached on disk does not
notice edits to a jitted function of another file (CONTRIBUTING, "Numba's disk cache"). They take
their arrays one by one; ``games.solvers.connect_four`` holds them together and is what to call.

**Board.** Two ``uint64``: ``own``, the stones of the mover, and ``both``, all stones. A cell is bit
``7 * column + row``, row 0 at the bottom. Bit 6 of each column stays empty, so shifts by 1 (up), 7
(right), 6 and 8 (the diagonals) never carry a line from one column's top into the next column.

**Question.** The search only decides whether the mover's score reaches a ``bound`` (alpha-beta with
a null window): ``FAIL_HIGH`` where score >= bound, ``FAIL_LOW`` where score < bound, ``OPEN`` while
that is undecided. A mover whose reply fails low against ``1 - bound`` reaches ``bound``: the
opponent's score is then at most ``-bound``.

**Stack.** ``uint64[43, 11]``, one frame (row) for each position on the line being searched:
``own``, ``both``, the node count when it was entered, the number of moves not yet searched, and up
to seven moves (bitboards of one cell), the most promising one last.

**Cursor.** ``int64[4]``: the stack level being searched, the nodes searched since the solver was
made, the stones on the board at the root, and the bound tested at the root.

**Table.** ``uint64[2**k]``; an entry holds the whole 49-bit key, so that no two positions are ever
confused, then six bits for each bound on the score (plus 22, so 0 to 44) and three for how much
work the entry took. An empty slot is 0.
"""

import numpy as np
from numpy.typing import NDArray

from games.compiling import jit

COLUMNS, ROWS, CELLS = 7, 6, 42

_U = np.uint64
_ONE, _STRIDE = _U(1), _U(7)
BOTTOM = _U(sum(1 << 7 * column for column in range(COLUMNS)))
"""The lowest cell of every column."""
BOARD = _U(int(BOTTOM) * 63)
"""All 42 cells."""
_CENTRE_FIRST = tuple(_U(63 << 7 * column) for column in (3, 2, 4, 1, 5, 0, 6))

FAIL_LOW, FAIL_HIGH, OPEN = 0, 1, 2

# Where the parts of a table entry begin, their masks, and what is added to a bound stored there.
_KEY, _LOWER, _UPPER = _U(15), _U(9), _U(3)
_BOUND, _WORK, _BIAS = _U(63), _U(7), 22

# The fields of a stack frame and of the cursor.
OWN, BOTH, ENTERED, LEFT, MOVES = 0, 1, 2, 3, 4
LEVEL, NODES, PLY, ROOT_BOUND = 0, 1, 2, 3


@jit
def _count(bits):
    """The number of set bits: ``bits & (bits - 1)`` clears the lowest one."""
    count = 0
    while bits:
        bits &= bits - _ONE
        count += 1
    return count


@jit
def has_four(stones):
    """Whether a bitboard holds four in a line: two pairs, two steps apart, in one direction."""
    for step in (_U(1), _U(6), _U(7), _U(8)):
        pairs = stones & (stones >> step)
        if pairs & (pairs >> (step + step)):
            return True
    return False


@jit
def threats(stones, both):
    """The empty cells that would complete four in a line for ``stones``; some may hang in the air.

    A row of cells 0 to 3 has its hole at either end or inside: the first two products below are the
    pairs of stones before and behind a cell, each completed by a third stone further on or on the
    other side. Stones in columns 1, 2 and 4 of a row give column 3.
    """
    # Upright only the cell above three stones can be empty.
    cells = (stones << _U(1)) & (stones << _U(2)) & (stones << _U(3))
    for step in (_U(6), _U(7), _U(8)):
        twice, thrice = step + step, step + step + step
        above = (stones << step) & (stones << twice)
        below = (stones >> step) & (stones >> twice)
        cells |= above & ((stones << thrice) | (stones >> step))
        cells |= below & ((stones >> thrice) | (stones << step))
    return cells & (BOARD ^ both)


@jit
def playable(both):
    """The lowest empty cell of each column that is not full.

    The carry runs up a column's stones: ``0b0011 + 0b0001 = 0b0100``, the cell above two stones. In
    a full column it ends in the seventh bit, which is not on the board.
    """
    return (both + BOTTOM) & BOARD


@jit
def _not_losing(own, both):
    """The moves that the opponent cannot answer by winning at once.

    Only called where the mover has no such win itself.
    """
    danger = threats(own ^ both, both)
    moves = playable(both)
    forced = moves & danger
    if forced:
        # The opponent wins there next: the mover must block, and one stone cannot block two cells.
        moves = _U(0) if forced & (forced - _ONE) else forced
    # A stone directly below a winning cell of the opponent would let it play that cell.
    return moves & ~(danger >> _ONE)


@jit
def _key(own, both):
    """49 bits, never 0; a position and its mirror image share one number, no others do.

    A column of ``h`` stones becomes ``2 ** h`` plus the pattern of the mover's stones. With X to
    move, X below O gives own 0b01, both 0b11, the bottom cell 0b01: the sum 0b101 is a leading 1
    for the height and below it 0b01, the stones of X. The smaller one of the key and its mirror
    image, the columns in reverse order, stands for both.
    """
    key = own + both + BOTTOM
    mirrored, rest = _U(0), key
    for _ in range(COLUMNS):
        mirrored = (mirrored << _STRIDE) | (rest & _U(127))
        rest >>= _STRIDE
    return min(key, mirrored)


@jit
def _slot(key, table):
    """The first of the two neighbouring slots of a key: multiplicative hashing (Knuth).

    ``table.size - 2`` is a mask that leaves even numbers; the second slot is the next one.
    """
    return ((key * _U(0x9E3779B97F4A7C15)) >> _U(28)) & _U(table.size - 2)


@jit
def _entry(key, table):
    """The entry of ``key``, or 0."""
    slot = _slot(key, table)
    for entry in (table[slot], table[slot + _ONE]):
        if entry >> _KEY == key:
            return entry
    return _U(0)


@jit
def _probe(key, bound, table):
    """Whether the table's bounds on the score decide the question for ``bound``.

    An entry with scores from -2 to 5 fails high for bound -2, low for bound 6, and leaves 0 open.
    """
    entry = _entry(key, table)
    if entry:
        if np.int64((entry >> _LOWER) & _BOUND) - _BIAS >= bound:
            return FAIL_HIGH
        if np.int64((entry >> _UPPER) & _BOUND) - _BIAS < bound:
            return FAIL_LOW
    return OPEN


@jit
def _store(key, bound, answer, work, table):
    """Narrow the bounds stored for ``key`` by one answer.

    Of a pair of slots the first keeps the entry that took more work, the second the newest. Work is
    counted in nodes, as a power of 8 from 0 to 7: up to 4 nodes are level 0, up to 39 level 1, up
    to 319 level 2.
    """
    entry = _entry(key, table)
    lower = (entry >> _LOWER) & _BOUND if entry else _U(0)
    upper = (entry >> _UPPER) & _BOUND if entry else _U(2 * _BIAS)
    if answer == FAIL_HIGH:
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


@jit
def _order_moves(frame, moves):
    """List the moves in the frame, the most promising last, from where ``search`` takes them.

    A move's weight is the number of threats that the mover has after it, less one where it lies
    directly below a threat of its own, which the opponent could then block. Among equal weights
    the one nearest the centre comes first. An insertion sort: there are seven moves at most.
    """
    weights = np.empty(COLUMNS, np.int64)
    spoiling = threats(frame[OWN], frame[BOTH]) >> _ONE
    count = 0
    for column in _CENTRE_FIRST:
        move = moves & column
        if move:
            weight = _count(threats(frame[OWN] | move, frame[BOTH] | move))
            weight -= 1 if move & spoiling else 0
            at = count
            while at > 0 and weights[at - 1] >= weight:
                weights[at] = weights[at - 1]
                frame[MOVES + at] = frame[MOVES + at - 1]
                at -= 1
            weights[at] = weight
            frame[MOVES + at] = move
            count += 1
    frame[LEFT] = _U(count)


@jit
def _child_cutoff(own, both, moves, bound, table):
    """Whether the table alone shows that a move reaches ``bound``, before any child is searched.

    Enhanced transposition cutoff (Plaat et al. 1996).
    """
    while moves:
        move = moves & (~moves + _ONE)
        moves ^= move
        if _probe(_key(own ^ both, both | move), 1 - bound, table) == FAIL_LOW:
            return True
    return False


@jit
def _bound_at(cursor):
    """The bound at the cursor's level, for the player to move there.

    The levels alternate: with bound 3 at the root (does X score at least 3?) it is -2 one level
    down (does O score at least -2?). Where O does not, its score is -3 or less, and X has its 3.
    """
    return cursor[ROOT_BOUND] if cursor[LEVEL] % 2 == 0 else 1 - cursor[ROOT_BOUND]


@jit
def enter(stack, cursor, table):
    """Decide the frame at the cursor's level without search, or list the moves to search there.

    The mover of the frame cannot win at once: only moves that leave no such win are ever searched,
    and the root is tested before.
    """
    frame = stack[cursor[LEVEL]]
    own, both = frame[OWN], frame[BOTH]
    ply, bound = cursor[PLY] + cursor[LEVEL], _bound_at(cursor)
    cursor[NODES] += 1
    moves = _not_losing(own, both)
    # The mover has ply // 2 stones on the board, the opponent (ply + 1) // 2, of 21 each.
    if not moves:  # the opponent wins with its next stone
        return FAIL_HIGH if (ply + 1) // 2 - 21 >= bound else FAIL_LOW
    if ply >= CELLS - 2:  # two cells left and no win at once: a draw
        return FAIL_HIGH if bound <= 0 else FAIL_LOW
    # Neither side can win before its stone after next, which bounds the score from both sides.
    if (ply + 1) // 2 - 20 >= bound:
        return FAIL_HIGH
    if 20 - ply // 2 < bound:
        return FAIL_LOW
    answer = _probe(_key(own, both), bound, table)
    if answer == OPEN and _child_cutoff(own, both, moves, bound, table):
        answer = FAIL_HIGH
    if answer == OPEN:
        frame[ENTERED] = _U(cursor[NODES])
        _order_moves(frame, moves)
    return answer


@jit
def _leave(answer, stack, cursor, table):
    """Go up one level: the parent's answer after a child's, ``OPEN`` while it has moves left.

    A child that fails low makes its parent fail high at once; one that fails high refutes only the
    move that led to it.
    """
    cursor[LEVEL] -= 1
    frame = stack[cursor[LEVEL]]
    if answer == FAIL_HIGH and frame[LEFT]:
        return OPEN
    answer = FAIL_LOW if answer == FAIL_HIGH else FAIL_HIGH
    work = cursor[NODES] - np.int64(frame[ENTERED])
    _store(_key(frame[OWN], frame[BOTH]), _bound_at(cursor), answer, work, table)
    return answer


@jit
def search(stack, cursor, table, budget):
    """Continue from the cursor until the root is decided or ``budget`` nodes are spent (``OPEN``).

    The line being searched is on ``stack``, not in recursive calls, so that a search can be left
    and continued.
    """
    stop = cursor[NODES] + budget
    while cursor[NODES] < stop:
        frame = stack[cursor[LEVEL]]
        frame[LEFT] -= _ONE
        cursor[LEVEL] += 1
        child = stack[cursor[LEVEL]]
        child[OWN] = frame[OWN] ^ frame[BOTH]
        child[BOTH] = frame[BOTH] | frame[MOVES + np.int64(frame[LEFT])]
        answer = enter(stack, cursor, table)
        while answer != OPEN:
            if cursor[LEVEL] == 0:
                return answer
            answer = _leave(answer, stack, cursor, table)
    return OPEN


def _all_lines() -> NDArray[np.uint64]:
    """The 69 lines of four, as bitboards: upright, level and two diagonals, wherever they fit."""
    fours = (0xF, 0x41041, 0x204081, 0x1010101)
    lines = [four << start for four in fours for start in range(7 * COLUMNS)]
    return np.array([line for line in lines if line & ~int(BOARD) == 0], np.uint64)


LINES = _all_lines()
# The value of a line with 0 to 3 stones of one side (of 13 sets of values tried on 1,000 solved
# openings the best).
_LINE_VALUES = np.array([0.0, 1.0, 3.0, 9.0, 0.0])


@jit
def balance(mine, theirs):
    """``[B]``: the value of the lines open to ``mine`` less that of the lines open to ``theirs``.

    A line counts for a side while the other side has no stone in it.
    """
    difference = np.zeros(len(mine), np.float64)
    for i in range(len(mine)):
        for line in LINES:
            if not line & theirs[i]:
                difference[i] += _LINE_VALUES[_count(line & mine[i])]
            elif not line & mine[i]:
                difference[i] -= _LINE_VALUES[_count(line & theirs[i])]
    return difference
