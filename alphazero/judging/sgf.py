"""Games as SGF, the Smart Game Format FF[4]: Go, Othello, Gomoku and Hex.

https://www.red-bean.com/sgf/. Player 0, who began, is black. A game is a ``Session.as_dict``; the
reader, of files that may come from strangers, is the library sgfmill.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from alphazero.errors import one_line, reading
from alphazero.judging.engines import notation
from alphazero.judging.engines.positions import mover
from alphazero.judging.session import SEATS, Reason, Session
from alphazero.nn import extras
from games.base import Game

_COLORS = ("B", "W")
_GO_LETTERS = "ABCDEFGHJKLMNOPQRST"


class _Kind(NamedTuple):
    """How SGF writes one game."""

    number: int
    """The value of GM."""
    default_size: int | None
    """The size of a board without SZ; None where SGF gives none."""
    from_top: bool
    """Whether our row 1 is the top one."""


_KINDS = {
    "go": _Kind(1, 19, from_top=False),
    "othello": _Kind(2, 8, from_top=True),
    "gomoku": _Kind(4, None, from_top=False),
    "hex": _Kind(11, 11, from_top=True),
}


def kind_of(game: Game) -> _Kind:
    """How SGF writes ``game``; ``ValueError``, one line: it does not, or it is not square."""
    kind = _KINDS.get(game.name.partition(":")[0])
    if kind is None:
        raise ValueError(f"SGF is for {', '.join(_KINDS)}, not {game.name}")
    notation.gtp_size(game)
    return kind


def text(game: Game, played: dict[str, Any]) -> str:
    """The game ``played``, a ``Session.as_dict``, as one game tree in SGF with a newline.

    Several one after another are a collection. ``ValueError``: see ``kind_of``.
    """
    kind, komi = kind_of(game), notation.komi(game)
    root = {
        "FF": "4", "GM": str(kind.number), "CA": "UTF-8", "AP": "alphazero",
        "SZ": str(notation.gtp_size(game)), "PB": played["seats"][0], "PW": played["seats"][1],
    }  # fmt: skip
    if komi is not None:
        root |= {"KM": f"{komi:g}", "RU": "Chinese"}
    if result := _result(played):
        root["RE"] = result
    root["C"] = _comment(game, played)
    nodes = [f"{name}[{_escaped(value)}]" for name, value in root.items()]
    moves = "".join(f";{color}[{move}]" for color, move in _moves(game, kind, played["moves"]))
    return f"(;{''.join(nodes)}\n{_wrapped(moves)})\n"


def _moves(game: Game, kind: _Kind, moves: list[int]) -> Iterator[tuple[str, str]]:
    """The color and the point of each move, a list of actions counted from 1."""
    states = game.initial(1)
    for number in moves:
        text = game.move_to_text(states[0], number - 1)
        yield _COLORS[mover(game, states[0])], _point(game, kind, text)
        states = game.step(states, np.array([number - 1]))


def _point(game: Game, kind: _Kind, text: str) -> str:
    """A move as SGF writes it: ``dc``, in Hex ``d3``; nothing for a pass."""
    if text == "pass":
        return ""
    if kind.number == _KINDS["hex"].number:
        return "swap-pieces" if text == "swap" else text.lower()
    letters = _GO_LETTERS if kind.number == 1 else _GO_LETTERS.replace("J", "IJ")
    column, row = letters.index(text[0].upper()), int(text[1:]) - 1
    if not kind.from_top:
        row = notation.gtp_size(game) - 1 - row
    return chr(ord("a") + column) + chr(ord("a") + row)


def _text(game: Game, kind: _Kind, point: str) -> str:
    """The inverse of ``_point``; ``ValueError`` for what is no point of the board."""
    size = notation.gtp_size(game)
    if point == "" or (point == "tt" and size <= 19 and kind.number == 1):
        return "pass"
    if kind.number == _KINDS["hex"].number:
        return "swap" if point.lower() in ("swap-pieces", "swap-sides") else point.lower()
    if not re.fullmatch("[a-z]{2}", point):
        raise ValueError(f"{one_line(point, 20)!r} is no point of SGF")
    column, row = (ord(letter) - ord("a") for letter in point)
    letters = _GO_LETTERS if kind.number == 1 else _GO_LETTERS.replace("J", "IJ")
    if max(column, row) >= size:
        raise ValueError(f"{point!r} is outside of a board of {size} x {size}")
    letter = letters[column] if kind.number == 1 else letters[column].lower()
    return f"{letter}{row + 1 if kind.from_top else size - row}"


_HOW = {Reason.RESIGNATION: "R", Reason.TIME: "T", Reason.FORFEIT: "F"}


def _result(played: dict[str, Any]) -> str:
    """``B+``, ``W+R``, ``0`` for a draw; empty for a game that goes on."""
    result = played["result"]
    if result is None:
        return ""
    if result["first"] == 0:
        return "0"
    return f"{_COLORS[result['first'] < 0]}+{_HOW.get(result['reason'], '')}"


def _comment(game: Game, played: dict[str, Any]) -> str:
    """The rules and, where a program has lost without a legal move, the reason."""
    lost = f"; {played['seats'][played['resigned']]} " if played.get("forfeit") else ""
    return f"{game.name}{lost}{played.get('forfeit', '')}"


def _escaped(value: str) -> str:
    return re.sub(r"([\\\]])", r"\\\1", one_line(value))


def _wrapped(moves: str) -> str:
    """Ten moves per line."""
    parts = [f";{move}" for move in moves.split(";")[1:]]
    lines = ("".join(parts[first : first + 10]) for first in range(0, len(parts), 10))
    return "\n".join(lines)


def load(content: bytes, game: Game) -> Session:
    """The main line of the first game of a file as a session of ``game``.

    ``ValueError``, one line: it is no SGF, a game of another kind, size or komi, begins with stones
    on the board, or a move cannot be played; or sgfmill is not installed.
    """
    kind = kind_of(game)
    try:
        from sgfmill import sgf
    except ImportError:
        raise ValueError(extras.missing("reading SGF needs sgfmill", "sgf")) from None
    with reading("this SGF"):
        root, *nodes = sgf.Sgf_game.from_bytes(content).get_main_sequence()
        _check(game, kind, root)
        session = Session(game, _seats(root))
        for node in (root, *nodes):
            _play(session, kind, node)
        session.resigned = _resigned(session, root)
    return session


def _check(game: Game, kind: _Kind, root: Any) -> None:
    """``ValueError`` where the file is not for ``game``."""
    number, size = _raw(root, "GM") or "1", _raw(root, "SZ") or str(kind.default_size)
    if number != str(kind.number):
        raise ValueError(f"its game is GM[{one_line(number, 20)}], not GM[{kind.number}]")
    if size.partition(":")[0] != str(notation.gtp_size(game)):
        raise ValueError(f"its board has the size {one_line(size, 20)}, not that of {game.name}")
    komi, stated = notation.komi(game), _raw(root, "KM")
    if komi is not None and stated and float(stated) != komi:
        raise ValueError(f"its komi is {one_line(stated, 20)}, not that of {game.name}")


def _play(session: Session, kind: _Kind, node: Any) -> None:
    """Play the move of a node, if it has one; passes that are forced may be left out."""
    if any(node.has_property(name) for name in ("AB", "AW", "AE", "PL")):
        raise ValueError("it sets stones on the board: only games from the start are read")
    color, raw = node.get_raw_move()
    if color is None:
        return
    word = raw.decode("utf-8", "replace").strip()
    if _COLORS[session.to_move] != color.upper() and session.legal_moves() == ["pass"]:
        session.move("pass")
    if _COLORS[session.to_move] != color.upper():
        raise ValueError(f"{color.upper()}[{one_line(word, 20)}] is out of turn")
    session.move(_text(session.game, kind, word))


def _resigned(session: Session, root: Any) -> int | None:
    match = re.fullmatch(r"([BW])\+R(?:esign)?", _raw(root, "RE"))
    return None if match is None or session.over() else 1 - _COLORS.index(match[1])


def _seats(root: Any) -> tuple[str, str]:
    """The names of the players; the usual ones where the file does not have two."""
    black, white = (one_line(_raw(root, name), 100) for name in ("PB", "PW"))
    return (black, white) if black and white and black != white else SEATS


def _raw(node: Any, name: str) -> str:
    """The value of a property; empty where there is none."""
    if not node.has_property(name):
        return ""
    return re.sub(r"\\(.)", r"\1", node.get_raw(name).decode("utf-8", "replace")).strip()
