"""The kernels of Othello on 10 x 10 cells, which need two words of 64 bits.

Cell ``10 * row + column`` below 64 is that bit of the first word, the others are bits 0 to 35 of
the second: a pair of words ``(low, high)`` is a board. The functions at the end do what those of
the same names in ``games/othello.py`` do; a board of one word has kernels of its own because they
are twice as fast. Kernels call none of another file, for the sake of Numba's disk cache.
"""

import numpy as np

from games.compiling import jit

_DIRECTIONS = (1, -1, 10, -10, 9, -9, 11, -11)
_WORD = 64


@jit
def _shift(board, by):
    """Move a board by ``by`` cells: 1 to the right, 10 down, 11 both; negative the other way.

    Bits cross from one word into the other. The second word's unused bits may be set afterwards.
    """
    low, high = board
    if by > 0:
        near, far = np.uint64(by), np.uint64(_WORD - by)
        return low << near, (high << near) | (low >> far)
    near, far = np.uint64(-by), np.uint64(_WORD + by)
    return (low >> near) | (high << far), high >> near


@jit
def _both(board, other):
    return board[0] & other[0], board[1] & other[1]


@jit
def _either(board, other):
    return board[0] | other[0], board[1] | other[1]


@jit
def _any(board):
    return (board[0] | board[1]) != 0


@jit
def _read(words):
    """A board from an array of two words."""
    return words[0], words[1]


@jit
def _run(start, theirs, by, between):
    """The unbroken runs of ``theirs`` that begin next to ``start``, in one direction.

    At most eight discs lie between two others on a board of ten cells.
    """
    within = theirs if abs(by) == 10 else _both(theirs, between)
    run = _both(within, _shift(start, by))
    for _ in range(7):
        run = _either(run, _both(within, _shift(run, by)))
    return run


@jit
def _moves(mine, theirs, board, between):
    """A board of the cells where ``mine`` may move."""
    ends = (np.uint64(0), np.uint64(0))
    for by in _DIRECTIONS:
        ends = _either(ends, _shift(_run(mine, theirs, by, between), by))
    return ends[0] & board[0] & ~(mine[0] | theirs[0]), ends[1] & board[1] & ~(mine[1] | theirs[1])


@jit
def _margin(mine, theirs, bits):
    """The discs of ``mine`` less those of ``theirs``."""
    margin = 0
    for cell in range(bits.shape[0]):
        bit = _read(bits[cell])
        margin += int(_any(_both(mine, bit))) - int(_any(_both(theirs, bit)))
    return margin


@jit
def _legal(states, allowed, result, bits, board, between):
    board, between = _read(board), _read(between)
    for i in range(states.shape[0]):
        mine, theirs = _read(states[i].mine), _read(states[i].theirs)
        moves = _moves(mine, theirs, board, between)
        for cell in range(bits.shape[0]):
            allowed[i, cell] = _any(_both(moves, _read(bits[cell])))
        allowed[i, -1] = not _any(moves) and _any(_moves(theirs, mine, board, between))
        going_on = _any(moves) or allowed[i, -1]
        result[i] = np.nan if going_on else np.sign(_margin(mine, theirs, bits))


@jit
def _step(states, actions, after, bits, between):
    between = _read(between)
    for i in range(states.shape[0]):
        mine, theirs = _read(states[i].mine), _read(states[i].theirs)
        if actions[i] < bits.shape[0]:
            cell = _read(bits[actions[i]])
            flipped = (np.uint64(0), np.uint64(0))
            for by in _DIRECTIONS:
                run = _run(cell, theirs, by, between)
                # Enclosed only where one of the mover's own discs follows the run.
                if _any(_both(_shift(run, by), mine)):
                    flipped = _either(flipped, run)
            mine = _either(_either(mine, cell), flipped)
            theirs = theirs[0] & ~flipped[0], theirs[1] & ~flipped[1]
        after[i].mine[0], after[i].mine[1] = theirs
        after[i].theirs[0], after[i].theirs[1] = mine
        after[i].player = 1 - states[i].player


@jit
def _outcome(states, result, bits, board, between):
    board, between = _read(board), _read(between)
    for i in range(states.shape[0]):
        mine, theirs = _read(states[i].mine), _read(states[i].theirs)
        moves = _either(_moves(mine, theirs, board, between), _moves(theirs, mine, board, between))
        result[i] = np.nan if _any(moves) else np.sign(_margin(mine, theirs, bits))


@jit
def _discs(states, discs, bits):
    for i in range(states.shape[0]):
        mine, theirs = _read(states[i].mine), _read(states[i].theirs)
        for cell in range(bits.shape[0]):
            bit = _read(bits[cell])
            discs[i, 0, cell] = _any(_both(mine, bit))
            discs[i, 1, cell] = _any(_both(theirs, bit))


KERNELS = (_legal, _step, _outcome, _discs)
"""The kernels of ``games.othello``, in its order."""
