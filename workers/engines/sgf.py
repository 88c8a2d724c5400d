"""Games of Go in SGF files, for ``loadsgf``: the main line as GTP's moves; sgfmill reads them."""

import os
from typing import NamedTuple

from games.base import Game, States

LARGEST = 2**20
"""Bytes of a file."""
COLORS = {"b": 0, "w": 1}
LETTERS = "ABCDEFGHJKLMNOPQRSTUVWXYZ"


class Loaded(NamedTuple):
    """The main line of a file."""

    size: int
    komi: float | None
    """None: the file has none."""
    moves: list[tuple[int, str]]
    """Sides and vertices; the stones of a handicap are moves of black."""

    def rules(self, game: Game) -> dict[str, int | float]:
        """The parameters of ``game`` that the file states."""
        komi = {} if self.komi is None or "komi=" not in game.name else {"komi": self.komi}
        return {"size": self.size, **komi}


def plays(game: Game) -> bool:
    """Whether files of this game can be read: it is Go."""
    return game.name.partition(":")[0] == "go"


def read(path: str, until: int | None = None) -> Loaded:
    """The main line of the file, or the moves before the one with the number ``until``.

    ``ValueError``, one line: it is no game of Go in SGF, it is larger than ``LARGEST``, or it sets
    up stones that are no handicap. ``OSError``: it cannot be read. ``ImportError``: sgfmill is not
    installed.
    """
    from sgfmill import sgf

    if not os.path.isfile(path):  # a device or a pipe may have no end
        raise ValueError("there is no such file")
    with open(path, "rb") as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError(f"it is larger than {LARGEST} bytes")
    try:
        game = sgf.Sgf_game.from_bytes(data)
        return _main_line(game, until)
    except (ValueError, KeyError, RecursionError) as error:
        raise ValueError(f"it is no game of Go in SGF: {error}") from None


def _main_line(game, until: int | None) -> Loaded:
    size, moves = game.get_size(), []
    for node in game.get_main_sequence():
        black, white, empty = node.get_setup_stones()
        color, place = node.get_move()
        if white or empty or (black and (moves or color is not None)):
            raise ValueError("it sets up stones that are no handicap")
        moves += [(0, _vertex(place)) for place in sorted(black)]
        if color is not None:
            moves.append((COLORS[color], "pass" if place is None else _vertex(place)))
    komi = game.get_root().get("KM") if game.get_root().has_property("KM") else None
    return Loaded(size, komi, moves if until is None else moves[: max(0, until - 1)])


def _vertex(place: tuple[int, int]) -> str:
    """Row and column, counted from the bottom left, as a vertex: ``(3, 0)`` is ``A4``."""
    row, column = place
    return f"{LETTERS[column]}{row + 1}"


def stones(game: Game, states: States) -> list[str]:
    """The vertices of all stones in the position ``states [1]`` of Go, row by row from the top."""
    size, cells = game.observation_shape[1], game.drawing(states[0]).cells
    return [
        _vertex((size - 1 - round(cell.y), round(cell.x)))
        for cell in cells
        if cell.player is not None
    ]
