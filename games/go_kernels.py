"""Go's rules, compiled: one byte per point, and which chains have a single liberty.

**A point** holds 0 (empty), +1 or +2 (a black stone), -1 or -2 (a white one), where 2 means that
its chain has a single liberty. With these marks ``legal`` needs no flood at all: a stone may be
placed on an empty point next to an empty point, to an own stone marked 1 (its chain keeps a
liberty), or to an opponent's stone marked 2 (its last liberty is this point: it is taken). Only
``step`` follows chains, at most those next to the new stone, and stops at their second liberty.

**Arguments.** A batch of states is passed as three views of the same bytes, so that one compiled
function serves all sizes and histories: ``cells`` (int8) and ``shorts`` (uint16) and ``words``
(uint64), each ``[B, n]``. ``tail`` is the place of the first byte behind the points of a state::

    cells[:, :tail]       the points, row by row from the top; behind them EDGE
    cells[:, tail]        passes: how many of the last moves were passes, 0 to 2
    cells[:, tail + 1]    the player about to move, 0 black, 1 white
    shorts[:, tail/2+1]   plies: all moves, passes included; stays at max_plies
    shorts[:, tail/2+2]   quiet: remembered positions after the latest capture, at most history
    words[:, top]         the key of this position, top = (tail + 6) / 8
    words[:, top + 1:]    the keys of the positions before it, the latest first, then zeros

``near [points, 4]`` are each point's neighbours; ``points`` stands for one off the board, where
``cells`` has EDGE. ``scratch [3, points + 2]`` is memory of one call for floods.

**Keys.** A position's key is the XOR of the numbers of its stones: Black's are in the upper 32
bits, White's in the lower. The lower 9 bits of a number are its point, so that two positions which
differ by one stone of a colour show which one; the other 23 are random. Two different positions
have equal keys with a probability of 2^-46 or less. ``legal`` compares a position with each
remembered one: 2,600 pairs in a game of 9 x 9 with ``history`` 16, so that one move in 3 * 10^10
such games would be forbidden by mistake; 260,000 pairs in the longest 19 x 19 games with exact
superko, one move in 3 * 10^8. The empty board has the key 0, which no move brings back (without
suicide there is a stone after every move): 0 also marks unused places.

The file is long because the disk cache notices edits of a function's own file only: kernels call
no compiled function of another file.
"""

from functools import partial

import numpy as np

from games.compiling import jit

inlined_jit = partial(jit, forceinline=True)
"""For small kernels called per row: passing an array costs seven arguments."""

LARGEST = 19
"""Points a side, at most."""
EDGE = np.int8(3)
"""The content of what lies off the board."""

_POINTS = np.arange(LARGEST * LARGEST, dtype=np.uint64)
# ``random_raw`` gives the same numbers in every version of NumPy.
_RANDOM = np.random.PCG64(1867).random_raw(2 * len(_POINTS)).reshape(2, -1) >> np.uint64(41)
KEYS = ((_RANDOM << np.uint64(9)) | _POINTS) << np.array([[32], [0]], np.uint64)
"""``uint64 [2, 361]``: the number of each stone, by colour (0 black, 1 white) and point."""


@inlined_jit
def _repaint(cells, i, start, old, new, near, stack):
    """Turn the connected points of content ``old`` around ``start`` into ``new``.

    Returns how many; ``stack`` begins with them. ``start`` must have that content.
    """
    cells[i, start] = new
    stack[0] = start
    count = 1
    done = 0
    while done < count:
        point = stack[done]
        done += 1
        for k in range(4):
            other = near[point, k]
            if cells[i, other] == old:
                cells[i, other] = new
                stack[count] = other
                count += 1
    return count


@inlined_jit
def _liberties(cells, i, start, most, near, stack, marks, stamp):
    """Follow the chain at ``start`` until ``most`` liberties are counted, or to its end.

    Returns how many liberties and how many stones; ``stack`` begins with these, and ``marks`` is
    ``stamp`` there. A count above 2 may be too high: it means 3 or more.
    """
    kind = cells[i, start]
    first = second = near.shape[0]
    marks[start] = stamp
    stack[0] = start
    count, done, free = 1, 0, 0
    while done < count and free < most:
        point = stack[done]
        done += 1
        for k in range(4):
            # Written without branches, whose outcomes would be hard to predict.
            other = near[point, k]
            content = cells[i, other]
            fresh = (content == 0) & (other != first) & (other != second)
            second = first if fresh else second
            first = other if fresh else first
            free += fresh
            joined = (content == kind) & (marks[other] != stamp)
            stack[count] = other
            marks[other] = stamp if joined else marks[other]
            count += joined
    return free, count


@jit
def _take(cells, i, start, me, near, scratch):
    """Remove the chain at ``start``, which has no liberty; its neighbours have more than one then.

    Returns the XOR of the numbers of its stones.
    """
    colour = 1 if me > 0 else 0
    taken, stack = scratch[0], scratch[1]
    change = np.uint64(0)
    for s in range(_repaint(cells, i, start, -2 * me, 0, near, taken)):
        change ^= KEYS[colour, taken[s]]
        for k in range(4):
            other = near[taken[s], k]
            if cells[i, other] == 2 * me:
                _repaint(cells, i, other, 2 * me, me, near, stack)
    return change


@inlined_jit
def _place(cells, i, point, me, near, scratch):
    """Place a stone of ``me`` (+1 or -1), take what has no liberty left, and renew the marks.

    Returns the XOR of the numbers of all stones placed or taken, and whether any were taken.
    """
    change = KEYS[0 if me > 0 else 1, point]
    stack, marks = scratch[1], scratch[2]
    cells[i, point] = me
    taken = False
    for k in range(4):
        other = near[point, k]
        if cells[i, other] == -2 * me:
            change ^= _take(cells, i, other, me, near, scratch)
            taken = True
    for k in range(4):
        other = near[point, k]
        if cells[i, other] == 2 * me:  # its one liberty was this point: now part of the new chain
            _repaint(cells, i, other, 2 * me, me, near, stack)
    stamp = marks[-1] + 1
    if _liberties(cells, i, point, 2, near, stack, marks, stamp)[0] == 1:
        _repaint(cells, i, point, me, 2 * me, near, stack)
    for k in range(4):
        other = near[point, k]
        if cells[i, other] == -me and marks[other] <= marks[-1]:
            stamp += 1
            if _liberties(cells, i, other, 2, near, stack, marks, stamp)[0] == 1:
                _repaint(cells, i, other, -me, -2 * me, near, stack)
    marks[-1] = stamp
    return change, taken


@inlined_jit
def _step(cells, shorts, words, i, action, tail, top, near, scratch, max_plies):
    """Play ``action`` in row ``i``, whose keys are moved already; see ``_move``."""
    clock = tail // 2 + 1
    shorts[i, clock] = min(shorts[i, clock] + 1, max_plies)
    me = 1 - 2 * cells[i, tail + 1]
    cells[i, tail + 1] = 1 - cells[i, tail + 1]
    if action == near.shape[0]:
        cells[i, tail] += 1
        return
    cells[i, tail] = 0
    change, taken = _place(cells, i, action, me, near, scratch)
    words[i, top] ^= change
    longest = words.shape[1] - 1 - top
    shorts[i, clock + 1] = 0 if taken else min(shorts[i, clock + 1] + 1, longest)


@inlined_jit
def _copy(before, words, i, top, shift):
    """Copy a row; its position becomes the first of the remembered ones if ``shift`` is 1."""
    for j in range(top + 1):
        words[i, j] = before[i, j]
    for j in range(top + 1, words.shape[1]):
        words[i, j] = before[i, j - shift]


@inlined_jit
def _allow(cells, i, allowed, me, reach, inner):
    """Mark where a stone of ``me`` would not be suicide, without regard to superko.

    ``inner [2, points]`` is 0 in the first and in the last column, else 1. ``reach`` is memory of
    a board with an empty row above and below: the points beside which a stone has a liberty.
    Plain loops over bytes, which the compiler turns into vector instructions.
    """
    own, weak = np.int8(me), np.int8(-2 * me)
    # Indices of unsigned type: without a test for negative ones, loops become vector instructions.
    points, one = inner.shape[1], np.uint64(1)
    size = np.uint64((reach.shape[0] - points) // 2)
    for p in range(points):
        content = cells[i, p]
        reach[np.uint64(p) + size] = (content == 0) | (content == own) | (content == weak)
    for p in range(points):
        q = np.uint64(p)
        beside = (reach[q + size - one] & inner[0, p]) | (reach[q + size + one] & inner[1, p])
        allowed[i, p] = (cells[i, p] == 0) & (beside | reach[q] | reach[q + size + size])


@inlined_jit
def _change(cells, i, point, me, near, scratch):
    """XOR of the numbers of all stones that a stone of ``me`` on ``point`` would add or take."""
    stack, marks = scratch[1], scratch[2]
    colour = 0 if me > 0 else 1
    change = KEYS[colour, point]
    stamp = marks[-1] + 1
    marks[-1] = stamp
    for k in range(4):
        other = near[point, k]
        if cells[i, other] == -2 * me and marks[other] != stamp:
            _, count = _liberties(cells, i, other, 2, near, stack, marks, stamp)
            for s in range(count):
                change ^= KEYS[1 - colour, stack[s]]
    return change


@inlined_jit
def _forbid(cells, shorts, words, i, allowed, me, tail, top, near, scratch):
    """Forbid the moves that bring back a remembered position.

    After a move the mover has one stone more, so that only a position that differs by one stone of
    the mover's can come back, and the mover's half of the difference names its point. A position
    since which nothing was taken cannot: it lacks the new stone.
    """
    colour, up = (0, np.uint64(32)) if me > 0 else (1, np.uint64(0))
    half = np.uint64(0xFFFFFFFF)
    key = words[i, top]
    for j in range(top + 1 + shorts[i, tail // 2 + 2], words.shape[1]):
        if words[i, j] == 0:
            return
        difference = words[i, j] ^ key
        mine = (difference >> up) & half
        point = mine & np.uint64(511)
        if point >= near.shape[0] or mine != KEYS[colour, point] >> up or not allowed[i, point]:
            continue
        if _change(cells, i, point, me, near, scratch) == difference:
            allowed[i, point] = 0


@inlined_jit
def _legal(cells, shorts, words, i, allowed, tail, top, near, inner, reach, scratch):
    """Row ``i`` of ``legal``; a pass is legal until two have ended the game."""
    points = near.shape[0]
    going = cells[i, tail] < 2
    allowed[i, points] = going
    if going:
        me = 1 - 2 * cells[i, tail + 1]
        _allow(cells, i, allowed, me, reach, inner)
        _forbid(cells, shorts, words, i, allowed, me, tail, top, near, scratch)
    else:
        allowed[i, :points] = 0


@jit
def _own(cells, i, owner, near, stack):
    """Write the owner ``[points]`` of each point of row ``i``: +1 black, -1 white, 0 neither.

    Returns the sum: black's area less white's. A stone owns its point; an empty region belongs to
    the colour that alone borders it.
    """
    unknown = 2
    for p in range(near.shape[0]):
        owner[p] = np.sign(cells[i, p]) if cells[i, p] != 0 else unknown
    margin = 0
    for p in range(near.shape[0]):
        if owner[p] == unknown:
            _own_region(cells, i, owner, p, near, stack)
        margin += owner[p]
    return margin


@jit
def _own_region(cells, i, owner, start, near, stack):
    """Write the owner of the empty region around ``start``."""
    owner[start] = 0
    stack[0] = start
    count, done = 1, 0
    black = white = False
    while done < count:
        point = stack[done]
        done += 1
        for k in range(4):
            other = near[point, k]
            content = cells[i, other]
            if content == 0:
                if owner[other] == 2:
                    owner[other] = 0
                    stack[count] = other
                    count += 1
            elif content != EDGE:
                black |= content > 0
                white |= content < 0
    if black != white:
        for s in range(count):
            owner[stack[s]] = 1 if black else -1


@jit
def _few_empty(cells, i, colour, few, near, stack, marks):
    """Whether a connected region of points without stones of ``colour`` has fewer empty ones."""
    stamp = marks[-1] + 1
    marks[-1] = stamp
    for start in range(near.shape[0]):
        if cells[i, start] * colour > 0 or marks[start] == stamp:
            continue
        marks[start] = stamp
        stack[0] = start
        count, done, empty = 1, 0, 0
        while done < count:
            point = stack[done]
            done += 1
            empty += cells[i, point] == 0
            for k in range(4):
                other = near[point, k]
                if (
                    other < near.shape[0]
                    and cells[i, other] * colour <= 0
                    and marks[other] != stamp
                ):
                    marks[other] = stamp
                    stack[count] = other
                    count += 1
        if empty < few:
            return True
    return False


@jit
def _enclosed(cells, i, near):
    """Whether a stone has stones of its colour on all sides."""
    for p in range(near.shape[0]):
        inside = cells[i, p] != 0
        for k in range(4):
            content = cells[i, near[p, k]]
            inside &= content == EDGE or content * cells[i, p] > 0
        if inside:
            return True
    return False


@jit
def _may_return(cells, shorts, words, i, tail, top, near, scratch):
    """Whether a remembered position could come back before it is forgotten; False is certain.

    Let no stone have been taken since any remembered position X, so that X is a part of this one.
    To come back to X, stones must be taken. The last chain to be taken, T, is then bordered by
    stones of one colour c alone, which stay: they are in X, and so on the board now. If T covers a
    point where now is no stone of c, it covers the whole region around it without stones of c, and
    every point of it that is empty now takes a move: where all such regions have at least
    ``history`` empty points, X is forgotten before. Else T consists of points where now are stones
    of c, each with only such around it, and there is a stone with its own colour on all sides.
    """
    if words[i, top + 1] == 0:
        return False
    oldest = top + 1 + shorts[i, tail // 2 + 2]
    if oldest < words.shape[1] and words[i, oldest] != 0:
        return True
    few = words.shape[1] - 1 - top
    stack, marks = scratch[1], scratch[2]
    return (
        _enclosed(cells, i, near)
        or _few_empty(cells, i, 1, few, near, stack, marks)
        or _few_empty(cells, i, -1, few, near, stack, marks)
    )


@jit
def _scratch(near):
    """Memory for floods: a chain, a second chain, marks whose last one counts; all zero."""
    return np.zeros((3, near.shape[0] + 2), np.uint32)


@jit
def _reach(inner):
    """Memory of ``_allow``: the rows above and below the board stay empty."""
    return np.zeros(inner.shape[1] + 2 * (inner.shape[1] - inner[0].sum()), np.uint8)


@jit
def legal(cells, shorts, words, allowed, tail, near, inner):
    """Write ``legal`` of each row into ``allowed`` (bytes 0 or 1)."""
    scratch, reach = _scratch(near), _reach(inner)
    for i in range(cells.shape[0]):
        _legal(cells, shorts, words, i, allowed, tail, (tail + 6) // 8, near, inner, reach, scratch)


@jit
def step(before, actions, cells, shorts, words, tail, near, max_plies):
    """Write the states after one action per row of ``before`` (words)."""
    scratch, top, points = _scratch(near), (tail + 6) // 8, near.shape[0]
    for i in range(cells.shape[0]):
        _copy(before, words, i, top, np.int64(actions[i] < points))
        _step(cells, shorts, words, i, actions[i], tail, top, near, scratch, max_plies)


@jit
def own(cells, owner, margin, near):
    """Write the owner of each point, +1 black, and black's area less white's of each row."""
    scratch = _scratch(near)
    for i in range(cells.shape[0]):
        margin[i] = _own(cells, i, owner[i], near, scratch[0])


@jit
def result(cells, won, tail, near, komi, passes):
    """Write the mover's result by area, -1, 0 or 1, of each row; NaN after fewer ``passes``."""
    scratch, owner = _scratch(near), np.empty(near.shape[0], np.int8)
    for i in range(cells.shape[0]):
        won[i] = np.nan
        if cells[i, tail] >= passes:
            margin = _own(cells, i, owner, near, scratch[0]) - komi
            won[i] = np.sign(margin) * (1 - 2 * cells[i, tail + 1])


@jit
def forget(cells, shorts, words, tail, near):
    """Clear, in place, what nothing depends on: see ``Go.identity``."""
    scratch, top, clock = _scratch(near), (tail + 6) // 8, tail // 2 + 1
    for i in range(cells.shape[0]):
        over = cells[i, tail] == 2
        if over:
            shorts[i, clock] = 0
        if over or not _may_return(cells, shorts, words, i, tail, top, near, scratch):
            shorts[i, clock + 1] = 0
            words[i, top + 1 :] = 0


@jit
def _two_liberties(cells, i, two, near, stack, marks):
    """Mark the stones of chains with exactly two liberties."""
    stamp = marks[-1] + 1
    marks[-1] = stamp
    two[:] = 0
    for start in range(near.shape[0]):
        if abs(cells[i, start]) == 1 and marks[start] != stamp:
            free, count = _liberties(cells, i, start, 1 << 20, near, stack, marks, stamp)
            if free == 2:
                for s in range(count):
                    two[stack[s]] = 1


@jit
def observe(cells, shorts, allowed, planes, tail, near, max_plies, late):
    """Write the planes ``[B, 11, points]`` that ``Go.observe`` describes; ``allowed``: legal."""
    scratch, points = _scratch(near), near.shape[0]
    two = np.empty(points, np.uint8)
    for i in range(cells.shape[0]):
        _two_liberties(cells, i, two, near, scratch[1], scratch[2])
        going = cells[i, tail] < 2
        me = np.int8(1 - 2 * cells[i, tail + 1])
        left = max_plies - shorts[i, tail // 2 + 1]
        for p in range(points):
            content = cells[i, p] * me
            planes[i, 0, p] = content > 0
            planes[i, 1, p] = content < 0
            planes[i, 2, p] = content == 2
            planes[i, 3, p] = content == -2
            planes[i, 4, p] = content == 1 and two[p] != 0
            planes[i, 5, p] = content == -1 and two[p] != 0
            planes[i, 6, p] = going and content == 0 and not allowed[i, p]
        planes[i, 7] = cells[i, tail] > 0
        planes[i, 8] = me < 0
        planes[i, 9] = max(0.0, 1.0 - left / late) if going else 0.0
        planes[i, 10] = 1.0
