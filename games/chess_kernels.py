"""Chess, compiled: moves, attacks, the rules that end a game, and the planes of an observation.

Everything is seen from the mover's side: bit ``8 * rank + file`` of a bitboard, rank 0 the mover's
own first one. So black's board is turned upside down, files stay, and pawns always walk upwards.
After a move all boards are turned (``_turned``).

Legal moves are generated directly, without playing them: the squares that the opponent attacks
through the king, the pieces that give check, and the lines on which own pieces are pinned decide.
Only a capture en passant, which removes two pawns from a line, is tried out.

The file is long because a kernel may call no compiled function of another file, whose edits the
disk cache would not notice.
"""

import numpy as np

from games.compiling import jit

PAWN, KNIGHT, KING, BISHOP, ROOK, QUEEN = 1, 2, 3, 5, 6, 7
PLANES = 73
NUM_ACTIONS = 64 * PLANES
LONGEST_QUIET = 100
"""Plies without a pawn move or a capture after which the game is drawn."""
STATE = np.dtype(
    [
        ("mine", "<u8"),  # the pieces of the player about to move
        ("diagonal", "<u8"),  # a piece's kind is the sum of 1 if it is in this bitboard,
        ("straight", "<u8"),  # of 2 if it is in this one,
        ("slides", "<u8"),  # and of 4 if it is in this one
        ("castling", "u1"),  # the mover's rights to castle: 1 short, 2 long; the other's: 4, 8
        ("passant", "u1"),  # 1 + the file of a pawn that can legally be taken en passant, or 0
        ("quiet", "u1"),  # plies without a pawn move or a capture, at most 100
        ("repeats", "u1"),  # how often the position was there before, at most 2
        ("remembered", "u1"),  # how many moves are in ``past``
        ("player", "i1"),  # 0 white is about to move, 1 black
        ("past", "<u2", (LONGEST_QUIET,)),  # from + 64 * to, as their player saw them, then 0
    ]
)
"""One position, 238 bytes. ``past`` begins behind a move that cannot be taken back: of a pawn, a
capture, the loss of a right to castle or of a chance to take en passant. No position before it can
return, and taking back the remembered moves gives all those that can."""
ROOM = 512
"""Actions for which ``_moves`` needs room: 16 pieces have at most 27 moves each."""

STEPS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
"""Files and ranks of a step in each direction; plane ``8 * (distance - 1) + direction``."""
JUMPS = ((-2, -1), (-2, 1), (-1, -2), (-1, 2), (1, -2), (1, 2), (2, -1), (2, 1))
"""The same of a knight, the planes 56 to 63."""
UNDERPROMOTIONS = (KNIGHT, BISHOP, ROOK)
"""Planes 64 to 72: three for each step of a pawn, to the left, ahead and to the right."""


def _actions():
    """Square from, square to and new kind of each action, and the action of two squares.

    -1 where an action leads off the board, and where no queen or knight goes from one square to the
    other. Planes are numbered as in AlphaZero (Silver et al. 2018), in the order of PettingZoo.
    """
    planes = [(dx * n, dy * n, 0) for n in range(1, 8) for dx, dy in STEPS]
    planes += [(*jump, 0) for jump in JUMPS]
    planes += [(dx, 1, kind) for dx in (-1, 0, 1) for kind in UNDERPROMOTIONS]
    start, end = np.empty(NUM_ACTIONS, np.int64), np.full(NUM_ACTIONS, -1)
    kinds, action_of = np.zeros(NUM_ACTIONS, np.int64), np.full((64, 64), -1)
    for action in range(NUM_ACTIONS):
        (file, rank), (dx, dy, kind) = divmod(action // PLANES, 8), planes[action % PLANES]
        start[action], kinds[action] = 8 * rank + file, kind
        if 0 <= file + dx < 8 and 0 <= rank + dy < 8:
            end[action] = 8 * (rank + dy) + file + dx
            if not kind:
                action_of[start[action], end[action]] = action
    return start, end, kinds, action_of


def _rays():
    """Squares from each square to the edge in each direction: their number, and as a bitboard."""
    room, rays = np.zeros((64, 8), np.int64), np.zeros((64, 8), np.uint64)
    for square in range(64):
        for direction, (dx, dy) in enumerate(STEPS):
            file, rank = square % 8 + dx, square // 8 + dy
            while 0 <= file < 8 and 0 <= rank < 8:
                room[square, direction] += 1
                rays[square, direction] |= np.uint64(1 << (8 * rank + file))
                file, rank = file + dx, rank + dy
    return room, rays


def _jumps():
    """A bitboard per square: where a knight jumps."""
    squares = [(number % 8, number // 8) for number in range(64)]
    return np.array(
        [
            sum(1 << (8 * (y + dy) + x + dx) for dx, dy in JUMPS if (x + dx, y + dy) in squares)
            for x, y in squares
        ],
        np.uint64,
    )


FROM, TO, NEW_KIND, ACTION = _actions()
_ROOM, _RAYS = _rays()
_JUMPS = _jumps()
_STEP = np.array([8 * dy + dx for dx, dy in STEPS])
_BASE = np.array([(8 * (square % 8) + square // 8) * PLANES for square in range(64)])
"""The first action from each square: AlphaZero's numbers go file by file."""
_IS_DIAGONAL = np.array([dx * dy != 0 for dx, dy in STEPS])

_DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)
_PLACE = np.zeros(64, np.int64)
_PLACE[[(int(_DE_BRUIJN) << n) % 2**64 >> 58 for n in range(64)]] = np.arange(64)
_CELLS = (np.arange(256)[:, None] >> np.arange(8) & 1).astype(np.float32)
"""The cells of a row by the byte of a bitboard: faster than to convert single bits."""

_U = np.uint64
_ONE, _ZERO = _U(1), _U(0)
_FILE_A = _U(0x0101010101010101)
_NOT_A, _NOT_H = ~_FILE_A, ~(_FILE_A << _U(7))
_NOT_AB, _NOT_GH = ~(_FILE_A * _U(3)), ~(_FILE_A * _U(0xC0))
_SECOND, _LIGHT = _U(0xFF00), _U(0x55AA55AA55AA55AA)
_SHORT_PATH, _LONG_PATH, _LONG_KING = _U(0x60), _U(0x0E), _U(0x0C)
_RIGHTS = np.full(64, 15)
"""The castling rights that a move from or to a square leaves: a king or rook there has moved."""
_RIGHTS[[4, 7, 0, 60, 63, 56]] = 15 - np.array([3, 1, 2, 12, 4, 8])
_UP, _UP_LEFT, _UP_RIGHT, _UP_TWO = 4, 2, 7, 12
_CASTLE_SHORT, _CASTLE_LONG = 14, 9
"""Planes of steps of a pawn and of castling: two squares to the right and to the left."""


@jit
def _lowest(board):
    """The index of the lowest bit, which must exist: de Bruijn multiplication."""
    return _PLACE[((board & (~board + _ONE)) * _DE_BRUIJN) >> _U(58)]


@jit
def _bit(square):
    return _ONE << _U(square)


@jit
def _turned(board):
    """The board seen from the other side: the order of its eight bytes reversed."""
    board = ((board >> _U(8)) & _U(0x00FF00FF00FF00FF)) | (
        (board & _U(0x00FF00FF00FF00FF)) << _U(8)
    )
    board = ((board >> _U(16)) & _U(0x0000FFFF0000FFFF)) | (
        (board & _U(0x0000FFFF0000FFFF)) << _U(16)
    )
    return (board >> _U(32)) | (board << _U(32))


@jit
def _above(pieces, empty, by, within):
    """Squares that sliding pieces attack in a direction of rising bits, ``by`` bits a step.

    ``within``: the squares that a step can reach without wrapping around an edge. Runs of empty
    squares double at each step (Kogge and Stone): 1, 2, 4.
    """
    free = empty & within
    pieces |= free & (pieces << by)
    free &= free << by
    pieces |= free & (pieces << (by + by))
    free &= free << (by + by)
    pieces |= free & (pieces << (by + by + by + by))
    return within & (pieces << by)


@jit
def _below(pieces, empty, by, within):
    """``_above`` in a direction of falling bits."""
    free = empty & within
    pieces |= free & (pieces >> by)
    free &= free >> by
    pieces |= free & (pieces >> (by + by))
    free &= free >> (by + by)
    pieces |= free & (pieces >> (by + by + by + by))
    return within & (pieces >> by)


@jit
def _straight_attacks(pieces, empty):
    return (
        _above(pieces, empty, _U(8), ~_ZERO)
        | _below(pieces, empty, _U(8), ~_ZERO)
        | _above(pieces, empty, _U(1), _NOT_A)
        | _below(pieces, empty, _U(1), _NOT_H)
    )


@jit
def _diagonal_attacks(pieces, empty):
    return (
        _above(pieces, empty, _U(9), _NOT_A)
        | _below(pieces, empty, _U(9), _NOT_H)
        | _above(pieces, empty, _U(7), _NOT_H)
        | _below(pieces, empty, _U(7), _NOT_A)
    )


@jit
def _knight_attacks(knights):
    """Two files and one rank, or one file and two ranks away."""
    near = ((knights << _ONE) & _NOT_A) | ((knights >> _ONE) & _NOT_H)
    far = ((knights << _U(2)) & _NOT_AB) | ((knights >> _U(2)) & _NOT_GH)
    return (near << _U(16)) | (near >> _U(16)) | (far << _U(8)) | (far >> _U(8))


@jit
def _king_attacks(king):
    beside = ((king << _ONE) & _NOT_A) | ((king >> _ONE) & _NOT_H)
    row = king | beside
    return beside | (row << _U(8)) | (row >> _U(8))


@jit
def _attacked(theirs, diagonal, straight, slides, occupied):
    """The squares that ``theirs`` attack where ``occupied`` squares stop sliding pieces."""
    pawns = theirs & diagonal & ~straight & ~slides
    kings = theirs & diagonal & straight & ~slides
    squares = ((pawns & _NOT_A) >> _U(9)) | ((pawns & _NOT_H) >> _U(7)) | _king_attacks(kings)
    squares |= _knight_attacks(theirs & straight & ~diagonal & ~slides)
    sliding = theirs & slides
    squares |= _diagonal_attacks(sliding & diagonal, ~occupied)
    return squares | _straight_attacks(sliding & straight, ~occupied)


@jit
def _look_along_lines(king, mine, theirs, diagonal, straight, lines):
    """Look from the ``king``'s square along eight lines for ``theirs`` that slide.

    ``diagonal, straight``: their pieces that slide so. Returns the pieces that give check, the
    squares on which they can be stopped, and the own pieces that are pinned; ``lines[d]`` becomes
    the squares to which a piece that is pinned in direction ``d`` can move, or 0.
    """
    checkers, stops, pinned = _ZERO, _ZERO, _ZERO
    for d in range(8):
        lines[d] = _ZERO
        sliding = diagonal if _IS_DIAGONAL[d] else straight
        if not _RAYS[king, d] & sliding:
            continue
        ray, own, square = _ZERO, _ZERO, king
        for _ in range(_ROOM[king, d]):
            square += _STEP[d]
            bit = _bit(square)
            ray |= bit
            if mine & bit:
                if own:
                    break
                own = bit
            elif theirs & bit:
                if sliding & bit and own:
                    lines[d], pinned = ray, pinned | own
                elif sliding & bit:
                    checkers, stops = checkers | bit, stops | ray
                break
    return checkers, stops, pinned


@jit
def _passant_is_legal(mine, diagonal, straight, slides, square, file):
    """Whether the pawn on ``square`` can take the one on ``file`` en passant: try it."""
    occupied = diagonal | straight | slides
    theirs = (occupied ^ mine) & ~_bit(32 + file)
    occupied ^= _bit(square) | _bit(32 + file) | _bit(40 + file)
    king = mine & diagonal & straight & ~slides
    return not _attacked(theirs, diagonal, straight, slides, occupied) & king


@jit
def _passant(mine, diagonal, straight, slides, file, out, number):
    """Add the captures en passant of the pawn on ``file``; returns the number of actions."""
    pawns = mine & diagonal & ~straight & ~slides
    for by, plane in ((-1, _UP_RIGHT), (1, _UP_LEFT)):
        square = 32 + file + by
        if (
            0 <= file + by < 8
            and pawns & _bit(square)
            and _passant_is_legal(mine, diagonal, straight, slides, square, file)
        ):
            out[number] = _BASE[square] + plane
            number += 1
    return number


@jit
def _add_pawn(square, plane, left_to_right, out, number):
    """Add a step of a pawn: from the seventh rank with a choice of pieces."""
    out[number] = _BASE[square] + plane
    number += 1
    if square >= 48:
        for kind in range(3):
            out[number] = _BASE[square] + 64 + 3 * left_to_right + kind
            number += 1
    return number


@jit
def _pawn_moves(square, theirs, empty, allowed, out, number):
    """Add the moves of the pawn on ``square`` to ``allowed`` squares, but en passant."""
    pawn = _bit(square)
    ahead = (pawn << _U(8)) & empty
    if ahead & allowed:
        number = _add_pawn(square, _UP, 1, out, number)
    if pawn & _SECOND and (ahead << _U(8)) & empty & allowed:
        out[number] = _BASE[square] + _UP_TWO
        number += 1
    if ((pawn & _NOT_A) << _U(7)) & theirs & allowed:
        number = _add_pawn(square, _UP_LEFT, 0, out, number)
    if ((pawn & _NOT_H) << _U(9)) & theirs & allowed:
        number = _add_pawn(square, _UP_RIGHT, 2, out, number)
    return number


@jit
def _sliding_moves(square, diagonal, straight, occupied, allowed, out, number):
    """Add the moves of a piece that slides diagonally, straight or both to ``allowed`` squares."""
    for d in range(8):
        if not (diagonal if _IS_DIAGONAL[d] else straight):
            continue
        to, action = square, _BASE[square] + d
        for _ in range(_ROOM[square, d]):
            to += _STEP[d]
            bit = _bit(to)
            if allowed & bit:
                out[number] = action
                number += 1
            if occupied & bit:
                break
            action += 8
    return number


@jit
def _king_moves(king, mine, occupied, danger, castling, out):
    """The first actions of a list: steps of the king and castling; returns their number.

    ``castling``: bit 0 the right to castle short, bit 1 long; none while in check.
    """
    number, steps = 0, _king_attacks(_bit(king)) & ~(mine | danger)
    while steps:
        out[number] = ACTION[king, _lowest(steps)]
        number += 1
        steps &= steps - _ONE
    if castling & 1 and not ((occupied | danger) & _SHORT_PATH):
        out[number] = _BASE[king] + _CASTLE_SHORT
        number += 1
    if castling & 2 and not (occupied & _LONG_PATH or danger & _LONG_KING):
        out[number] = _BASE[king] + _CASTLE_LONG
        number += 1
    return number


@jit
def _line_of(bit, lines):
    """The line on which the pinned piece ``bit`` stands."""
    for d in range(8):
        if lines[d] & bit:
            return lines[d]
    return _ZERO


@jit
def _moves(state, out, lines):
    """Write the legal actions of a position, draws aside; returns their number, and if in check.

    ``out [ROOM]`` and ``lines [8]``: memory to write to.
    """
    mine, diagonal, straight, slides = state.mine, state.diagonal, state.straight, state.slides
    occupied = diagonal | straight | slides
    theirs = occupied ^ mine
    king_bit = mine & diagonal & straight & ~slides
    king = _lowest(king_bit)
    # The king does not hide the squares behind it: it cannot step back along a checking line.
    danger = _attacked(theirs, diagonal, straight, slides, occupied ^ king_bit)
    check = danger & king_bit != _ZERO
    castling = 0 if check else state.castling & 3
    number = _king_moves(king, mine, occupied, danger, castling, out)
    checkers, stops, pinned = _look_along_lines(
        king, mine, theirs, theirs & slides & diagonal, theirs & slides & straight, lines
    )
    allowed = ~mine
    if check:
        pawns = theirs & diagonal & ~straight & ~slides
        near = _JUMPS[king] & theirs & straight & ~diagonal & ~slides
        near |= (((king_bit & _NOT_A) << _U(7)) | ((king_bit & _NOT_H) << _U(9))) & pawns
        checkers |= near
        if checkers & (checkers - _ONE):
            return number, check
        allowed &= stops | near
    pieces = mine ^ king_bit
    while pieces:
        square = _lowest(pieces)
        bit = _bit(square)
        pieces ^= bit
        targets = allowed & _line_of(bit, lines) if pinned & bit else allowed
        if slides & bit:
            number = _sliding_moves(
                square, diagonal & bit, straight & bit, occupied, targets, out, number
            )
        elif diagonal & bit:
            number = _pawn_moves(square, theirs, ~occupied, targets, out, number)
        else:
            targets &= _JUMPS[square]
            while targets:
                out[number] = ACTION[square, _lowest(targets)]
                number += 1
                targets &= targets - _ONE
    if state.passant:
        number = _passant(mine, diagonal, straight, slides, state.passant - 1, out, number)
    return number, check


@jit
def _is_insufficient(diagonal, straight, slides):
    """Whether no series of moves can mate: one minor piece, or bishops of one colour of squares."""
    occupied = diagonal | straight | slides
    kings = diagonal & straight & ~slides
    others = occupied ^ kings
    knights = straight & ~diagonal & ~slides
    if knights:
        return others == knights and not knights & (knights - _ONE)
    bishops = slides & diagonal & ~straight
    return others == bishops and (not others & _LIGHT or not others & ~_LIGHT)


@jit
def _is_drawn(state):
    """Whether the game is over although the mover may have moves, unless it is mated."""
    return (
        state.quiet >= LONGEST_QUIET
        or state.repeats >= 2
        or _is_insufficient(state.diagonal, state.straight, state.slides)
    )


@jit
def _result(state, number, check):
    """-1 if the mover is mated, 0 a draw, NaN while the game goes on."""
    if number == 0:
        return np.float32(-1.0 if check else 0.0)
    return np.float32(0.0 if _is_drawn(state) else np.nan)


@jit
def _moved(board, start, end):
    """The board with whatever it has on ``start`` moved to ``end``."""
    bit = (board >> _U(start)) & _ONE
    return (board & ~_bit(start) & ~_bit(end)) | (bit << _U(end))


@jit
def _kind(state, square):
    """The kind of the piece on a square; 0 if there is none."""
    square = _U(square)
    kind = ((state.diagonal >> square) & _ONE) | (((state.straight >> square) & _ONE) << _ONE)
    return np.int64(kind | (((state.slides >> square) & _ONE) << _U(2)))


@jit
def _count_repeats(state):
    """How often the position was there before, at most 2: take the remembered moves back.

    Moves that cannot be taken back are not remembered, so that all positions on the way have the
    same pieces, castling rights, and nothing to take en passant.
    """
    mine, diagonal, straight, slides = state.mine, state.diagonal, state.straight, state.slides
    repeats, turn = 0, 56  # the last move was the opponent's, who saw the board from the other side
    for back in range(1, state.remembered + 1):
        move = np.int64(state.past[state.remembered - back])
        start, end = (move & 63) ^ turn, (move >> 6) ^ turn
        mine, diagonal = _moved(mine, end, start), _moved(diagonal, end, start)
        straight, slides = _moved(straight, end, start), _moved(slides, end, start)
        turn ^= 56
        if (
            turn
            and mine == state.mine
            and diagonal == state.diagonal
            and straight == state.straight
            and slides == state.slides
        ):
            repeats += 1
            if repeats == 2:
                break
    return repeats


@jit
def _remember(before, start, end, is_final, after):
    """Write the moves that can still be taken back, and how often the position was there."""
    remembered = 0 if is_final else before.remembered
    for k in range(remembered):
        after.past[k] = before.past[k]
    for k in range(remembered, LONGEST_QUIET):
        after.past[k] = 0
    if not is_final and remembered < LONGEST_QUIET:
        after.past[remembered] = start | end << 6
        remembered += 1
    after.remembered = remembered
    after.repeats = _count_repeats(after) if remembered > 3 else 0


@jit
def _place(state, square, kind):
    """Put the mover's piece on an empty square or, of its own pieces, replace one."""
    bit, kind = _bit(square), _U(kind)
    state.diagonal = (state.diagonal & ~bit) | ((kind & _ONE) << _U(square))
    state.straight = (state.straight & ~bit) | (((kind >> _ONE) & _ONE) << _U(square))
    state.slides = (state.slides & ~bit) | ((kind >> _U(2)) << _U(square))


@jit
def _move_pieces(before, action, after):
    """Write the four boards after a move, still seen by the player who makes it."""
    start, end, kind = FROM[action], TO[action] & 63, _kind(before, FROM[action])
    gone = _bit(end)
    if kind == PAWN and before.passant and end == 39 + before.passant:
        gone |= _bit(end - 8)
    after.mine = (before.mine & ~_bit(start)) | _bit(end)
    keep = ~(gone | _bit(start))
    after.diagonal, after.straight = before.diagonal & keep, before.straight & keep
    after.slides = before.slides & keep
    if kind == PAWN and end >= 56:
        kind = NEW_KIND[action] if NEW_KIND[action] else QUEEN
    _place(after, end, kind)
    if kind == KING and (end - start == 2 or start - end == 2):
        corner, beside = (7, 5) if end > start else (0, 3)
        after.mine = _moved(after.mine, corner, beside)
        after.straight = _moved(after.straight, corner, beside)
        after.slides = _moved(after.slides, corner, beside)


@jit
def _turn(state):
    """Turn the boards to the other player, who is about to move."""
    occupied = state.diagonal | state.straight | state.slides
    state.mine = _turned(occupied ^ state.mine)
    state.diagonal, state.straight = _turned(state.diagonal), _turned(state.straight)
    state.slides = _turned(state.slides)


@jit
def _passant_after(state, file):
    """1 + ``file`` if the pawn that went two squares on it can be taken en passant, else 0."""
    mine, diagonal, straight, slides = state.mine, state.diagonal, state.straight, state.slides
    pawns = mine & diagonal & ~straight & ~slides
    for by in (-1, 1):
        square = 32 + file + by
        if (
            0 <= file + by < 8
            and pawns & _bit(square)
            and _passant_is_legal(mine, diagonal, straight, slides, square, file)
        ):
            return file + 1
    return 0


@jit
def _step(before, action, after):
    """Write the state after ``action``; a meaningless one for an action that is not legal."""
    start, end, kind = FROM[action], TO[action] & 63, _kind(before, FROM[action])
    taken = _kind(before, end) != 0
    rights = np.int64(before.castling) & _RIGHTS[start] & _RIGHTS[end]
    _move_pieces(before, action, after)
    _turn(after)
    after.player = 1 - before.player
    after.castling = rights >> 2 | (rights & 3) << 2
    after.quiet = 0 if taken or kind == PAWN else min(before.quiet + 1, LONGEST_QUIET)
    after.passant = _passant_after(after, end & 7) if kind == PAWN and end - start == 16 else 0
    is_final = taken or kind == PAWN or rights != before.castling or before.passant != 0
    _remember(before, start, end, is_final, after)


@jit
def step(states, actions, after):
    """Write the states after ``actions [B]``."""
    for i in range(states.shape[0]):
        _step(states[i], actions[i], after[i])


@jit
def legal(states, allowed, outcome):
    """Write the results ``[B]`` and the legal actions ``[B, A]``; A is 0 where only results matter.

    One pass, as both follow from the same list of moves.
    """
    out, lines = np.empty(ROOM, np.int32), np.empty(8, np.uint64)
    for i in range(states.shape[0]):
        number, check = _moves(states[i], out, lines)
        outcome[i] = _result(states[i], number, check)
        allowed[i] = False
        if allowed.shape[1] and np.isnan(outcome[i]):
            for k in range(number):
                allowed[i, out[k]] = True


@jit
def passant_of(state, file):
    """As ``_passant_after``, of one position ``[1]``."""
    return _passant_after(state[0], file)


@jit
def checks(state):
    """Whether the mover's king in one position ``[1]`` is attacked, and whether the other's is."""
    own = state[0]
    occupied = own.diagonal | own.straight | own.slides
    kings = own.diagonal & own.straight & ~own.slides
    attacked = _attacked(occupied ^ own.mine, own.diagonal, own.straight, own.slides, occupied)
    theirs = _attacked(
        _turned(own.mine),
        _turned(own.diagonal),
        _turned(own.straight),
        _turned(own.slides),
        _turned(occupied),
    )
    return attacked & kings & own.mine != _ZERO, _turned(theirs) & kings & ~own.mine != _ZERO


@jit
def _show(board, plane):
    """Write a bitboard into a plane ``[8, 8]``; bit 0 is the cell at the top left."""
    for row in range(8):
        cells = _CELLS[(board >> _U(8 * row)) & _U(255)]
        for column in range(8):
            plane[row, column] = cells[column]


@jit
def pieces(states, turned, planes):
    """Write 13 planes: six of the mover's pieces, six of the other's, the position's repetition.

    Row 0 is the mover's last rank. Where ``turned`` they are as the other player sees them.
    """
    for i in range(states.shape[0]):
        state = states[i]
        diagonal, straight, slides = state.diagonal, state.straight, state.slides
        first, second = state.mine, (diagonal | straight | slides) ^ state.mine
        if turned[i]:
            first, second = second, first
        else:
            # Planes begin with the highest rank, bitboards with the lowest.
            first, second = _turned(first), _turned(second)
            diagonal, straight = _turned(diagonal), _turned(straight)
            slides = _turned(slides)
        for number, kind in enumerate((PAWN, KNIGHT, BISHOP, ROOK, QUEEN, KING)):
            board = diagonal if kind & 1 else ~diagonal
            board &= straight if kind & 2 else ~straight
            board &= slides if kind & 4 else ~slides
            _show(first & board, planes[i, number])
            _show(second & board, planes[i, 6 + number])
        planes[i, 12] = np.float32(state.repeats != 0)


@jit
def rights(states, planes):
    """Write the planes 13 to 19: castling, en passant, plies without progress, colour."""
    for i in range(states.shape[0]):
        state = states[i]
        for right in range(4):
            planes[i, 13 + right] = np.float32(state.castling >> right & 1)
        planes[i, 17] = np.float32(0)
        if state.passant:
            planes[i, 17, 2, state.passant - 1] = np.float32(1)
        planes[i, 18] = np.float32(state.quiet) / np.float32(LONGEST_QUIET)
        planes[i, 19] = np.float32(state.player)
