"""Texts of chess: positions in FEN, moves in SAN (``Nf3``) and in the squares of UCI (``g1f3``).

Standards: Edwards, "Portable Game Notation Specification" (1994), sections 8.2.3 and 16.1, and the
UCI protocol (2006). All functions take one state, a record of ``chess_kernels.STATE``, or give one.
Squares in texts are those that white sees; a state's are the mover's own.
"""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from games import chess_kernels as kernels
from games.base import LONGEST, NEAREST, States
from games.chess_kernels import BISHOP, KING, KNIGHT, PAWN, QUEEN, ROOK, STATE
from games.spec import nearest, shown

START = "rnbqkbnr/pppppppp/8/8/8/8/PPPPPPPP/RNBQKBNR w KQkq - 0 1"

LETTERS = {PAWN: "P", KNIGHT: "N", BISHOP: "B", ROOK: "R", QUEEN: "Q", KING: "K"}
_KINDS = {letter: kind for kind, letter in LETTERS.items()}
_RIGHTS = {"K": (4, 7, 1), "Q": (4, 0, 2), "k": (60, 63, 4), "q": (60, 56, 8)}
"""Squares of king and rook of each right to castle, and its bit if white is about to move."""

_CASTLING = re.compile(r"[O0o]-?[O0o](-?[O0o])?")
_SQUARES = re.compile(r"([a-h][1-8])[-x]?([a-h][1-8])=?([qrbnQRBN]?)")
_SAN = re.compile(r"([KQRBN]?)([a-h]?)([1-8]?)[-x:]?([a-h][1-8])=?([QRBN]?)")


def square_name(square: int) -> str:
    """``e4`` for 28: bit ``8 * rank + file``."""
    return "abcdefgh"[square & 7] + str((square >> 3) + 1)


def action_text(action: int) -> str:
    """The squares of an action as white sees it, and the piece that is not a queen: ``e7e8n``.

    An action that leads off the board is its square and its plane: ``h1+6``.
    """
    start, end = int(kernels.FROM[action]), int(kernels.TO[action])
    if end < 0:
        return f"{square_name(start)}+{action % kernels.PLANES}"
    kind = int(kernels.NEW_KIND[action])
    return square_name(start) + square_name(end) + (LETTERS[kind].lower() if kind else "")


def letters(state: np.void) -> list[str]:
    """The 64 squares, a1, b1 and so on: capital letters for white, small ones for black, or ""."""
    mine, *boards = (int(state[name]) for name in ("mine", "diagonal", "straight", "slides"))
    turn, texts = _turn(state), [""] * 64
    for square in range(64):
        kind = sum((board >> square & 1) << bit for bit, board in enumerate(boards))
        if kind:
            white = (mine >> square & 1) != state["player"]
            texts[square ^ turn] = LETTERS[kind] if white else LETTERS[kind].lower()
    return texts


def to_squares(state: np.void, action: int) -> str:
    """UCI's text of an action: ``e2e4``, ``e1g1`` for castling, ``e7e8q``."""
    turn, kind = _turn(state), _new_kind(state, action)
    squares = (square_name(int(at[action]) ^ turn) for at in (kernels.FROM, kernels.TO))
    return "".join(squares) + (LETTERS[kind].lower() if kind else "")


def to_san(state: np.void, action: int) -> str:
    """The Standard Algebraic Notation of a legal action, with ``+`` and ``#``."""
    one, after = np.array([state], STATE), np.empty(1, STATE)
    kernels.step(one, np.array([action]), after)
    check, _ = kernels.checks(after)
    mate = check and _legal(after)[1][0] == -1
    return _san_without_check(state, action) + ("#" if mate else "+" if check else "")


def _san_without_check(state: np.void, action: int) -> str:
    start, end = int(kernels.FROM[action]), int(kernels.TO[action])
    kind, taken = _kind(state, start), _kind(state, end) != 0
    if kind == KING and abs(end - start) == 2:
        return "O-O" if end > start else "O-O-O"
    name = square_name(end ^ _turn(state))
    if kind == PAWN:
        new = _new_kind(state, action)
        source = "abcdefgh"[start & 7] + "x" if (end - start) % 8 else ""
        return source + name + (f"={LETTERS[new]}" if new else "")
    return LETTERS[kind] + _source(state, action) + "x" * taken + name


def _source(state: np.void, action: int) -> str:
    """As much of the square from as tells a piece from others of its kind that can move alike."""
    start, end = int(kernels.FROM[action]), int(kernels.TO[action])
    others = [
        int(kernels.FROM[other])
        for other in legal_actions(state)
        if other != action
        and kernels.TO[other] == end
        and _kind(state, int(kernels.FROM[other])) == _kind(state, start)
    ]
    name = square_name(start ^ _turn(state))
    if not others:
        return ""
    if all((other ^ start) & 7 for other in others):
        return name[0]
    return name[1] if all((other ^ start) & 56 for other in others) else name


def read_move(state: np.void, text: str) -> int:
    """The legal action that a text names in SAN or in squares; ``ValueError``, one line.

    Signs of check and comments (``+``, ``#``, ``!``, ``?``) may be there or not.
    """
    key = text.strip()
    plain = key.removesuffix("e.p.").strip().rstrip("+#!?")
    if castling := _CASTLING.fullmatch(plain):
        plain = "O-O-O" if castling[1] else "O-O"
        matching = [a for a in legal_actions(state) if _san_without_check(state, a) == plain]
    elif squares := _SQUARES.fullmatch(plain):
        wanted = squares[1] + squares[2] + squares[3].lower()
        matching = [a for a in legal_actions(state) if to_squares(state, a) == wanted]
    elif parts := _SAN.fullmatch(plain):
        matching = [a for a in legal_actions(state) if _has(state, a, parts.groups())]
    else:
        matching = []
    if len(matching) == 1:
        return matching[0]
    texts = [to_san(state, action) for action in matching or legal_actions(state)]
    some = ", ".join(nearest(key[:LONGEST], texts, NEAREST))
    if matching:
        raise ValueError(f"{key[:LONGEST]!r} can be any of {some}")
    hint = f"the nearest are {some}" if some else "there is none"
    raise ValueError(f"{key[:LONGEST]!r} is not a legal move here; {hint}")


def read_squares(state: np.void, text: str) -> int:
    """The legal action of a text of UCI, exactly as ``to_squares`` writes it; ``ValueError``."""
    for action in legal_actions(state):
        if to_squares(state, action) == text.strip():
            return action
    raise ValueError(f"{shown(text)} is not a legal move of {write_fen(state)}")


def _has(state: np.void, action: int, parts: Sequence[str]) -> bool:
    """Whether an action has the ``parts`` of a text in SAN, the five groups of ``_SAN``."""
    piece, file, rank, to, new = parts
    if not piece:  # a pawn that takes is named with its file: d5 is no short form of exd5
        file = file or to[0]
    start, kind = int(kernels.FROM[action]), _new_kind(state, action)
    name = square_name(start ^ _turn(state))
    return (
        _kind(state, start) == _KINDS[piece or "P"]
        and square_name(int(kernels.TO[action]) ^ _turn(state)) == to
        and name[0].startswith(file)
        and name[1].startswith(rank)
        and (LETTERS[kind] if kind else "") == new
    )


def legal_actions(state: np.void) -> list[int]:
    """The legal actions in increasing order."""
    return np.flatnonzero(_legal(np.array([state], STATE))[0]).tolist()


def _legal(states: States) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Legal actions ``[B, A]`` and outcomes ``[B]``."""
    allowed = np.empty((len(states), kernels.NUM_ACTIONS), np.bool_)
    outcome = np.empty(len(states), np.float32)
    kernels.legal(states, allowed, outcome)
    return allowed, outcome


def _turn(state: np.void) -> int:
    """The number that turns a square of the mover into that of white by exclusive or."""
    return 56 * int(state["player"])


def _kind(state: np.void, square: int) -> int:
    boards = (int(state[name]) for name in ("diagonal", "straight", "slides"))
    return sum((board >> square & 1) << bit for bit, board in enumerate(boards))


def _new_kind(state: np.void, action: int) -> int:
    """The kind that a pawn becomes; 0 where no pawn is promoted."""
    promoted = kernels.TO[action] >= 56 and _kind(state, int(kernels.FROM[action])) == PAWN
    return (int(kernels.NEW_KIND[action]) or QUEEN) if promoted else 0


def write_fen(state: np.void, number: int = 1) -> str:
    """The position in Forsyth-Edwards Notation; a state does not count moves: ``number`` of them.

    A square en passant is written only where such a capture is legal.
    """
    squares, black = letters(state), bool(state["player"])
    ranks = ("".join(squares[8 * rank + file] or "1" for file in range(8)) for rank in range(8))
    board = re.sub("1+", lambda empty: str(len(empty[0])), "/".join(reversed(list(ranks))))
    rights = "".join(right for right in _RIGHTS if state["castling"] & _right_bit(right, black))
    file = int(state["passant"]) - 1
    passant = square_name((40 + file) ^ _turn(state)) if file >= 0 else "-"
    return f"{board} {'wb'[black]} {rights or '-'} {passant} {state['quiet']} {number}"


def read_fen(text: str) -> States:
    """``[1]``: the position of a text of four to six fields; no earlier position is remembered.

    ``ValueError``, one line, for a text that is none, and for kings missing, more than 16 pieces or
    8 pawns of a player, pawns on the last ranks, rights that the pieces exclude, or a king that
    could be taken. Other positions that no game leads to are read, as fifteen queens.
    Plies without progress count up to 100.
    """
    fields = text.split()
    if not 4 <= len(fields) <= 6 or fields[1] not in ("w", "b"):
        raise ValueError(f"a FEN is like {START!r}, not {shown(text)}")
    squares, state = _read_board(fields[0]), np.zeros(1, STATE)
    state["player"] = fields[1] == "b"
    _put(state, squares)
    state["castling"] = _read_castling(fields[2], squares, fields[1] == "b")
    state["quiet"] = min(_read_number(fields, 4, 0), kernels.LONGEST_QUIET)
    _read_number(fields, 5, 1)
    if kernels.checks(state)[1]:
        raise ValueError(f"FEN {shown(text)}: the player who is not about to move is in check")
    if fields[3] != "-":
        state["passant"] = _read_passant(fields[3], squares, state)
    return state


def _read_board(text: str) -> list[str]:
    """The letters of the 64 squares, a1, b1 and so on, "" where empty."""
    rows = [re.sub("[1-8]", lambda digit: "." * int(digit[0]), row) for row in text.split("/")[:9]]
    if len(rows) != 8 or not all(re.fullmatch("[.PNBRQKpnbrqk]{8}", row) for row in rows):
        raise ValueError(
            f"the board of a FEN has eight ranks of eight squares, as 4k3/8/8/8/8/8/8/4K3, not "
            f"{shown(text)}"
        )
    for name, king, pawn in (("white", "K", "P"), ("black", "k", "p")):
        own = [letter for row in rows for letter in row if letter.isupper() == king.isupper()]
        own = [letter for letter in own if letter != "."]
        if own.count(king) != 1 or own.count(pawn) > 8 or len(own) > 16:
            raise ValueError(
                f"FEN: {name} has one king, at most 8 pawns and 16 pieces, not {own.count(king)}, "
                f"{own.count(pawn)} and {len(own)}"
            )
    if set(rows[0] + rows[7]) & {"P", "p"}:
        raise ValueError("FEN: no pawn stands on the first or the last rank")
    return [letter.strip(".") for row in reversed(rows) for letter in row]


def _put(state: States, squares: list[str]) -> None:
    """Write the bitboards of ``state [1]``, turned to its player."""
    black = bool(state["player"][0])
    for square, letter in enumerate(squares):
        if letter:
            kind, bit = _KINDS[letter.upper()], np.uint64(1 << (square ^ 56 * black))
            state["mine"] |= bit if letter.islower() == black else np.uint64(0)
            for value, name in ((1, "diagonal"), (2, "straight"), (4, "slides")):
                state[name] |= bit if kind & value else np.uint64(0)


def _right_bit(right: str, black: bool) -> int:
    """The bit of a right to castle in a state; the mover's own are 1 and 2."""
    bit = _RIGHTS[right][2]
    return (bit >> 2 | (bit & 3) << 2) if black else bit


def _read_castling(text: str, squares: list[str], black: bool) -> int:
    rights = "" if text == "-" else text
    if not re.fullmatch("K?Q?k?q?", rights) or not text:
        raise ValueError(
            f"FEN: the rights to castle are KQkq, some of them, or -, not {shown(text)}"
        )
    for right in rights:
        king, rook, _ = _RIGHTS[right]
        wanted = ("K", "R") if right.isupper() else ("k", "r")
        if (squares[king], squares[rook]) != wanted:
            raise ValueError(f"FEN: right {right} to castle without king and rook in their places")
    return sum(_right_bit(right, black) for right in rights)


def _read_passant(text: str, squares: list[str], state: States) -> int:
    """1 + the file of the pawn if taking it is legal, else 0."""
    black = bool(state["player"][0])
    rank, behind, before, pawn = ("3", 8, -8, "P") if black else ("6", -8, 8, "p")
    if not re.fullmatch(f"[a-h]{rank}", text):
        raise ValueError(f"FEN: a square en passant is - or on rank {rank}, not {shown(text)}")
    file = "abcdefgh".index(text[0])
    square = 8 * (int(rank) - 1) + file
    if squares[square] or squares[square + before] or squares[square + behind] != pawn:
        raise ValueError(f"FEN: no pawn has just gone two squares past {text}")
    return int(kernels.passant_of(state, file))


def _read_number(fields: list[str], place: int, default: int) -> int:
    text = fields[place] if len(fields) > place else str(default)
    if not re.fullmatch("[0-9]{1,4}", text):
        raise ValueError(f"FEN: the last two fields are numbers of moves, not {shown(text)}")
    return int(text)
