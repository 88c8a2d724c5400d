"""Games of chess as PGN (Edwards, "Portable Game Notation", 1994), moves in SAN."""

import textwrap
from collections.abc import Iterator
from typing import Any

from alphazero.errors import one_line
from alphazero.judging import lines
from alphazero.judging.engines import notation
from alphazero.judging.session import Reason
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
        else _TERMINATIONS.get(result["reason"], "normal"),
    }  # fmt: skip
    words = [*_moves(game, played["moves"]), *_comment(played), shown]
    header = "\n".join(f'[{name} "{_escaped(value)}"]' for name, value in tags.items())
    # Words are not split at hyphens: 1-0 and O-O are one word.
    moves = textwrap.fill(" ".join(words), WIDTH, break_long_words=False, break_on_hyphens=False)
    return f"{header}\n\n{moves}\n\n"


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
