"""Games as SGF, the Smart Game Format FF[4]: Go, Othello, Gomoku and Hex.

https://www.red-bean.com/sgf/. Player 0, who began, is black. A game is a ``Session.as_dict``; the
reader, of files that may come from strangers, is the library sgfmill.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from alphazero.errors import one_line, reading
from alphazero.judging import points
from alphazero.judging.engines import notation
from alphazero.judging.engines.positions import mover
from alphazero.judging.lines import plies
from alphazero.judging.session import FORFEITED, OUT_OF_TIME, SEATS, Reason, Session
from alphazero.nn import extras
from games.base import Game
from games.history import replay

_COLORS = notation.GTP_COLORS
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
    """How SGF writes ``game``; ``ValueError``, one line: it does not, or its board is not square.

    SGF has other boards, SZ[4:3], but sgfmill does not read them.
    """
    kind = _KINDS.get(game.name.partition(":")[0])
    if kind is None:
        raise ValueError(f"SGF is for {', '.join(_KINDS)}, not {game.name}")
    _, rows, columns = game.observation_shape
    if rows != columns:
        raise ValueError(
            f"files of SGF are written and read for square boards only, and {game.name} has "
            f"{rows} x {columns}"
        )
    return kind


def reads(game: Game) -> bool:
    """Whether there are files of this game."""
    try:
        return bool(kind_of(game))
    except ValueError:
        return False


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
    if result := _result(game, played):
        root["RE"] = result
    root["C"] = _comment(game, played)
    nodes = [f"{name}[{_escaped(value)}]" for name, value in root.items()]
    moves = "".join(f";{color}[{move}]" for color, move in _moves(game, kind, played["moves"]))
    return f"(;{''.join(nodes)}\n{_wrapped(moves)})\n"


def _moves(game: Game, kind: _Kind, moves: list[int]) -> Iterator[tuple[str, str]]:
    """The color and the point of each move, a list of actions counted from 1."""
    actions = [number - 1 for number in moves]
    for states, action in plies(game, game.initial(1), actions):
        text = game.move_to_text(states[0], action)
        yield _COLORS[mover(game, states[0])], _point(game, kind, text)


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


def _text(kind: _Kind, size: int, point: str) -> str:
    """The inverse of ``_point``; ``ValueError`` for what is no point of the board."""
    if point == "" or (point == "tt" and size <= 19 and kind.number == 1):
        return "pass"
    if kind.number == _KINDS["hex"].number:
        return "swap" if point.lower() in ("swap-pieces", "swap-sides") else point.lower()
    if not re.fullmatch("[a-z]{2}", point):
        raise ValueError(f"{one_line(point, 20)!r} is no point of SGF")
    column, row = (ord(letter) - ord("a") for letter in point)
    if max(column, row) >= size:
        raise ValueError(f"{point!r} is outside of a board of {size} x {size}")
    letter = _GO_LETTERS[column] if kind.number == 1 else chr(ord("a") + column)
    return f"{letter}{row + 1 if kind.from_top else size - row}"


_FORFEITS = {"R": "", "T": OUT_OF_TIME, "F": FORFEITED}
_HOW = {Reason.RESIGNATION: "R", Reason.TIME: "T", Reason.FORFEIT: "F"}


def _result(game: Game, played: dict[str, Any]) -> str:
    """``B+5.5``, ``B+``, ``W+R``, ``0`` for a draw; empty for a game that goes on."""
    result = played["result"]
    if result is None:
        return ""
    if result["first"] == 0:
        return "0"
    how = _HOW.get(result["reason"], "")
    if played.get("forfeit") == OUT_OF_TIME:
        how = "T"
    if result["reason"] == Reason.RULES:
        last = replay(game, [[number - 1 for number in played["moves"]]])
        how = points.shown(game, last)
    return f"{_COLORS[result['first'] < 0]}+{how}"


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


class Record(NamedTuple):
    """The main line of the first game of a file."""

    size: int
    komi: float | None
    """None: the file has none."""
    seats: tuple[str, str]
    resigned: int | None
    """The side that has lost at the end of ``moves`` without a move: it resigned or forfeited."""
    forfeit: str
    """Why it forfeited the game; empty for a resignation."""
    moves: tuple[tuple[int, str], ...]
    """Sides and moves, in the game's notation; the stones of a handicap are moves of black."""

    def rules(self, game: Game) -> dict[str, int | float]:
        """The parameters of ``game`` that the file states."""
        komi = {} if self.komi is None or notation.komi(game) is None else {"komi": self.komi}
        return {"size": self.size} | komi

    def session(self, game: Game, until: int | None = None) -> Session:
        """The game as a session, or the moves before the one with the number ``until``.

        Passes may be left out: one is played where it is legal and the other side moves.
        ``ValueError``, one line: ``game`` has another size or komi, or a move cannot be played.
        """
        if self.size != notation.gtp_size(game):
            raise ValueError(f"its board has the size {self.size}, not that of {game.name}")
        if self.komi is not None and notation.komi(game) not in (None, self.komi):
            raise ValueError(f"its komi is {self.komi:g}, not that of {game.name}")
        session = Session(game, self.seats)
        for side, text in self.moves if until is None else self.moves[: max(0, until - 1)]:
            if session.to_move != side and "pass" in session.legal_moves():
                session.move("pass")
            if session.to_move != side:
                raise ValueError(f"{_COLORS[side]} {one_line(text, 20)} is out of turn")
            session.move(text)
        if until is None and not session.over():
            session.resigned, session.forfeit = self.resigned, self.forfeit
        return session


def load(content: bytes, game: Game) -> Session:
    """The main line of the first game of a file as a session of ``game``; errors of both steps."""
    record = read(content, game)
    with reading("this SGF"):
        return record.session(game)


def read(content: bytes, game: Game) -> Record:
    """The main line of the first game of a file, a game as ``game`` of any size and komi.

    ``ValueError``, one line: it is no SGF, a game of another kind, sets stones on the board that
    are no handicap in Go, or a move is no point of the board; or sgfmill is not installed.
    """
    kind = kind_of(game)
    try:
        from sgfmill import sgf
    except ImportError:
        raise ValueError(extras.missing("reading SGF needs sgfmill", "sgf")) from None
    with reading("this SGF"):
        nodes = sgf.Sgf_game.from_bytes(content).get_main_sequence()
        root = nodes[0]
        if (number := _raw(root, "GM") or "1") != str(kind.number):
            raise ValueError(f"its game is GM[{one_line(number, 20)}], not GM[{kind.number}]")
        size, komi = _size(root, kind), _raw(root, "KM")
        moves: list[tuple[int, str]] = []
        for node in nodes:
            moves += _handicap(node, kind, begun=bool(moves))
            moves += _move(node, kind, size)
        return Record(size, float(komi) if komi else None, _seats(root), *_lost(root), tuple(moves))


def _size(root: Any, kind: _Kind) -> int:
    """The stated size, a number that sgfmill has checked, or else the usual one of the game."""
    size = _raw(root, "SZ") or kind.default_size
    if size is None:
        raise ValueError("it has no SZ, the size of its board")
    return int(size)


def _handicap(node: Any, kind: _Kind, begun: bool) -> list[tuple[int, str]]:
    """The stones of a handicap in Go as moves of black."""
    if not any(node.has_property(name) for name in ("AB", "AW", "AE")):
        return []
    black, white, empty = node.get_setup_stones()
    if kind.number != 1 or white or empty or begun or node.has_property("B"):
        raise ValueError("it sets stones on the board: only games from the start are read")
    return [(0, f"{_GO_LETTERS[column]}{row + 1}") for row, column in sorted(black)]


def _move(node: Any, kind: _Kind, size: int) -> list[tuple[int, str]]:
    """The side and the text of the move of a node, if it has one."""
    color, raw = node.get_raw_move()
    if color is None:
        return []
    word = raw.decode("utf-8", "replace").strip()
    return [(_COLORS.index(color.upper()), _text(kind, size, word))]


def _lost(root: Any) -> tuple[int | None, str]:
    """The side that has lost without a move, and why, as in ``Record``."""
    match = re.fullmatch(r"([BW])\+(R|T|F|Resign|Time|Forfeit)", _raw(root, "RE"))
    if match is None:
        return None, ""
    return 1 - _COLORS.index(match[1]), _FORFEITS[match[2][0]]


def _seats(root: Any) -> tuple[str, str]:
    """The names of the players; the usual ones where the file does not have two."""
    black, white = (one_line(_raw(root, name), 100) for name in ("PB", "PW"))
    return (black, white) if black and white and black != white else SEATS


def _raw(node: Any, name: str) -> str:
    """The value of a property; empty where there is none."""
    if not node.has_property(name):
        return ""
    return re.sub(r"\\(.)", r"\1", node.get_raw(name).decode("utf-8", "replace")).strip()
