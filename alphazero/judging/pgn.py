"""Games of chess as PGN (Edwards, "Portable Game Notation", 1994), moves in SAN.

A game is written from a ``Session.as_dict``. Files that are read may come from strangers.
"""

import re
import textwrap
from collections.abc import Iterator
from typing import Any, NamedTuple

from alphazero.errors import one_line, reading
from alphazero.judging import lines
from alphazero.judging.engines import notation
from alphazero.judging.session import FORFEITED, OUT_OF_TIME, SEATS, Reason, Session
from games.base import Game

WIDTH = 79
"""Characters of a line of moves, at most."""
_RESULTS = {1: "1-0", 0: "1/2-1/2", -1: "0-1"}
_TERMINATIONS = {
    Reason.RULES: "normal",
    Reason.RESIGNATION: "normal",
    Reason.TIME: "time forfeit",
    Reason.FORFEIT: "rules infraction",
    Reason.LENGTH: "adjudication",
}
RESULTS = (*_RESULTS.values(), "*")
"""The words that end a game; ``*`` is a game that goes on, or whose result is not known."""
_FORFEITS = {"time forfeit": OUT_OF_TIME, "rules infraction": FORFEITED}
"""How a side has lost by the tag Termination, in words that complete "it ..."."""
_START = [notation.UCI_BOARDS["chess"], "w", "KQkq", "-"]
"""The first position of chess: the fields of a FEN but for the counts of moves."""
_TOKEN = re.compile(
    r"""^%[^\n]*|;[^\n]*|\{[^}]*\}?|\$\d*"""
    r"""|(?P<word>\[(?:"(?:[^"\\\n]|\\.)*"|[^\]"\n])*\]|\[[^\n]*|[()]|[^\s{();\[$]+)""",
    re.MULTILINE,
)
"""A line that is escaped, a comment, the number of an annotation ($1), or a word: a tag, a
parenthesis, or what stands between spaces."""
_TAG = re.compile(r"""\[\s*([A-Za-z0-9_+#=:-]+)\s*"(?:((?:[^"\\\n]|\\.)*)|([^\n]*))"\s*\]""")
"""A tag, also with quotes in its value that are not escaped, as some programs write it."""
_NUMBER = re.compile(r"^\d*\.+|^\d+$")
"""The number of a move: ``12.``, ``12...``, ``...`` or ``12``."""
_MARK = re.compile(r"[!?]+|e\.p\.")
"""A judgement that stands apart from its move, or a note that it is en passant."""


def check(game: Game) -> None:
    """``ValueError``, one line, for another game than chess."""
    if notation.uci_variant(game) != "chess":
        raise ValueError(f"PGN is for chess, not {game.name}")


def text(game: Game, played: dict[str, Any]) -> str:
    """The game ``played``, a ``Session.as_dict``, as PGN with an empty line at its end.

    Side 0 is white. ``ValueError``: it is not chess.
    """
    check(game)
    result = played["result"]
    shown = "*" if result is None else _RESULTS[result["first"]]
    tags = {
        "Event": game.name, "Site": "?", "Date": "????.??.??", "Round": "-",
        "White": played["seats"][0], "Black": played["seats"][1], "Result": shown,
        "Termination": "unterminated" if result is None
        else _termination(played, result["reason"]),
    }  # fmt: skip
    words = [*_moves(game, played["moves"]), *_comment(played), shown]
    header = "\n".join(f'[{name} "{_escaped(value)}"]' for name, value in tags.items())
    # Words are not split at hyphens: 1-0 and O-O are one word.
    moves = textwrap.fill(" ".join(words), WIDTH, break_long_words=False, break_on_hyphens=False)
    return f"{header}\n\n{moves}\n\n"


def _termination(played: dict[str, Any], reason: str) -> str:
    if played.get("forfeit") == OUT_OF_TIME:
        return "time forfeit"
    return _TERMINATIONS.get(Reason(reason), "normal")


def _moves(game: Game, moves: list[int]) -> Iterator[str]:
    """``1.``, ``e4``, ``e5``, ``2.`` and so on; ``moves`` are actions counted from 1."""
    actions = [number - 1 for number in moves]
    for ply, text in enumerate(lines.notation(game, game.initial(1), actions)):
        if ply % 2 == 0:
            yield f"{ply // 2 + 1}."
        yield text


def _comment(played: dict[str, Any]) -> list[str]:
    """Why a program has lost without a legal move."""
    if not played.get("forfeit"):
        return []
    words = f"{played['seats'][played['resigned']]} {played['forfeit']}"
    return [f"{{{one_line(words).replace('}', ')')}}}"]


def _escaped(value: str) -> str:
    return one_line(value).replace("\\", "\\\\").replace('"', '\\"')


class Record(NamedTuple):
    """The main line of the first game of a file."""

    tags: dict[str, str]
    moves: tuple[str, ...]
    """Moves in SAN as they are written."""
    result: str
    """``1-0``, ``0-1``, ``1/2-1/2``, or ``*`` where the file does not state it."""

    def seats(self) -> tuple[str, str]:
        """The names of the players; the usual ones where the file does not have two."""
        white, black = (one_line(self.tags.get(name, "?"), 100) for name in ("White", "Black"))
        unknown = {"", "?"} & {white, black} or white == black
        return SEATS if unknown else (white, black)

    def lost(self) -> tuple[int | None, str]:
        """The side that the result makes lose, and how it forfeited; empty: it resigned."""
        side = {"1-0": 1, "0-1": 0}.get(self.result)
        ending = self.tags.get("Termination", "").strip().casefold()
        return side, "" if side is None else _FORFEITS.get(ending, "")

    def session(self, game: Game) -> Session:
        """The game as a session of ``game``, which is chess.

        ``ValueError``, one line: it begins with another position, has other rules, or a move cannot
        be played.
        """
        self._check_start()
        session = Session(game, self.seats())
        for ply, word in enumerate(self.moves):
            try:
                session.play(game.text_to_move(session.states[0], word))
            except ValueError as error:
                why = "the game is over before it" if session.over() else error
                raise ValueError(f"move {_numbered(ply, word)}: {why}") from None
        if not session.over():
            session.resigned, session.forfeit = self.lost()
        return session

    def _check_start(self) -> None:
        """``ValueError``: the rules or the first position are not those of chess."""
        variant, fen = self.tags.get("Variant", "chess"), self.tags.get("FEN")
        if variant.strip().casefold() not in ("chess", "standard"):
            raise ValueError(f"its variant is {one_line(variant, 40)!r}, not chess")
        if fen is not None and fen.split()[:4] != _START:
            raise ValueError("it has a FEN, another first position: only games from the start are "
                             "read")  # fmt: skip


def _numbered(ply: int, word: str) -> str:
    """A move with its number, as ``12... Nf6``."""
    return f"{ply // 2 + 1}{'...' if ply % 2 else '.'} {one_line(word, 20)}"


def load(content: bytes, game: Game) -> Session:
    """The main line of the first game of a file as a session of ``game``.

    ``ValueError``, one line: ``game`` is not chess, or the file is no PGN of a game of chess.
    """
    check(game)
    with reading("this PGN"):
        return read(content).session(game)


def read(content: bytes) -> Record:
    """The main line of the first game of a file; what follows that game is not read.

    Comments, numbers, annotations and variations are left out. Bytes that are no UTF-8 are Latin-1,
    the standard's encoding. ``ValueError``, one line: it is no PGN. The time is proportional to the
    length of the file.
    """
    tags: dict[str, str] = {}
    moves: list[str] = []
    result, depth = "", 0
    for token in _tokens(_decoded(content)):
        if token.startswith("["):
            name, value = ("", "") if moves else _tag(token)
            if moves or name in tags:
                break  # the next game, as this one has no result at its end
            tags[name] = value
        elif token in "()":
            depth += 1 if token == "(" else -1
            if depth < 0:
                raise ValueError("a variation ends that has not begun")
        elif not depth and token in RESULTS:
            result = token
            break
        elif not depth and (word := _NUMBER.sub("", token)) and not _MARK.fullmatch(word):
            moves.append(word)
    if depth:
        raise ValueError("a variation has no end: it needs a )")
    if not (tags or moves or result):
        raise ValueError("it has neither tags nor moves")
    known = result if result not in ("", "*") else tags.get("Result", "*")
    return Record(tags, tuple(moves), known)


def _decoded(content: bytes) -> str:
    """The text, with one kind of line end and without spaces before it."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    return "\n".join(line.rstrip() for line in re.split(r"\r\n?|\n", text))


def _tokens(text: str) -> Iterator[str]:
    """Tags, parentheses and words, without comments; ``ValueError``: a comment has no end."""
    for match in _TOKEN.finditer(text):
        token = match[0]
        if match.lastgroup == "word":
            yield token
        elif token.startswith("{") and not token.endswith("}"):
            raise ValueError("a comment has no end: it needs a }")


def _tag(text: str) -> tuple[str, str]:
    """The name and the value of a tag, ``[White "Ann"]``."""
    match = _TAG.fullmatch(text)
    if match is None:
        raise ValueError(f'{one_line(text, 40)!r} is no tag as [White "Ann"]')
    value = match[3] if match[2] is None else match[2]
    return match[1], re.sub(r'\\(["\\])', r"\1", value)
