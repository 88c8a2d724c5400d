"""How moves are written in GTP and in UCI, for each game; our engine and our clients share it.

GTP: Go's own notation is GTP's. Every other game keeps its own, in capitals: a cell is a column's
letter and the row's number as the game counts them, ``i`` included (Othello's row 1 is the top one,
as ``gtp-rhino`` has it; programs for Hex count so, too). The player who begins is black.

UCI: chess and Breakthrough, whose moves are a square, a square and the piece of a promotion.
"""

import numpy as np

from games.base import Game

GTP_COLORS = ("B", "W")
"""The colours of player 0, who begins, and player 1."""
_SWAP, _GTP_SWAP = "swap", "swap-pieces"
"""The swap of Hex in the game's notation and in that of programs for Hex."""


def gtp_size(game: Game) -> int:
    """The number that ``boardsize`` gives; ``ValueError``: the board of ``game`` is not square."""
    _, rows, columns = game.observation_shape
    if rows != columns:
        raise ValueError(f"GTP has square boards only, and {game.name} has {rows} x {columns}")
    return rows


def komi(game: Game) -> float | None:
    """The points that White gets for moving second; None in games that do not count them."""
    return float(value) if (value := getattr(game, "komi", None)) is not None else None


def sends_passes(game: Game) -> bool:
    """Whether a pass is a command to play it: in Go; Othello's, which are forced, are understood.

    ``gtp-rhino`` refuses to read one.
    """
    return komi(game) is not None


def to_gtp(game: Game, state: np.void, action: int) -> str:
    """The legal ``action`` of ``state`` as a GTP vertex: ``D4``, or ``pass``, or another word.

    Chess has UCI's words in capitals, ``E2E4``: in its own notation ``bxc3`` and ``Bxc3`` differ.
    """
    text = getattr(game, "to_uci", game.move_to_text)(state, action)
    if text == _SWAP:
        return _GTP_SWAP
    return text if text.isalpha() else text.upper()


def from_gtp(game: Game, state: np.void, text: str) -> int:
    """The inverse of ``to_gtp``; case does not matter, nor whether the action is legal.

    ``ValueError``, one line: ``text`` names no move of this game.
    """
    word = text.strip()
    if word.lower() == _GTP_SWAP:
        word = _SWAP
    for written in dict.fromkeys((word, word.lower(), word.upper())):
        try:
            return game.text_to_move(state, written)
        except ValueError:
            continue
    return game.text_to_move(state, word)


def uci_variant(game: Game) -> str | None:
    """The name of ``game`` among the values of ``UCI_Variant``; None: it is not played by UCI."""
    if hasattr(game, "to_uci"):
        return "chess"
    return "breakthrough" if game.name == "breakthrough:rows=8,columns=8" else None


UCI_BOARDS = {
    "chess": "rnbqkbnr/pppppppp/8/8/8/8/PPPPPPPP/RNBQKBNR",
    "breakthrough": "pppppppp/pppppppp/8/8/8/8/PPPPPPPP/PPPPPPPP",
}
"""The first position of each variant as the first field of FEN, where programs show it."""


def to_uci(game: Game, state: np.void, action: int) -> str:
    """The legal ``action`` of ``state`` as UCI writes it: ``e2e4``, ``e7e8q``.

    ``ValueError``: the game is not played by UCI.
    """
    _check_uci(game)
    write = getattr(game, "to_uci", game.move_to_text)
    return write(state, action)


def from_uci(game: Game, state: np.void, text: str) -> int:
    """The inverse of ``to_uci``; whether the action is legal is not checked.

    ``ValueError``, one line: ``text`` names no move, or the game is not played by UCI.
    """
    _check_uci(game)
    read = getattr(game, "from_uci", game.text_to_move)
    return read(state, text.strip())


def _check_uci(game: Game) -> None:
    if uci_variant(game) is None:
        raise ValueError(not_uci(game))


def not_uci(game: Game) -> str:
    """Why ``game`` is not played by UCI, in one line."""
    return f"UCI is for chess and breakthrough:rows=8,columns=8, not {game.name}"
