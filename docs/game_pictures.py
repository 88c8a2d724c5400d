"""The pictures of the pages of games: a position of each, drawn by ``games.svg``.

    python docs/game_pictures.py            # writes docs/games/NAME.svg, all of them
    python docs/game_pictures.py othello    # or some

The picture at the top of the README shows an agent's values as well: docs/board_picture.py.
"""

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

import games
from games import svg

FOLDER = Path(__file__).parent / "games"


class Position(NamedTuple):
    """A game, and the moves from its start that lead to the position shown."""

    spec: str
    moves: str
    """In the notation of the game, with spaces between them."""


PICTURES = {
    "tic_tac_toe": Position("tic_tac_toe", "5 1 3 7 4 6"),
    "connect_four": Position("connect_four", "3 5 3 4 4 3"),
    "othello": Position("othello:size=8", "f5 d6 c3 d3 c4 f4 c5 b3 c2"),
    "breakthrough": Position(
        "breakthrough:rows=8,columns=8", "d2d3 e7e6 d3d4 b7b6 e2e3 g7g6 e3f4 e6e5 f4e5"
    ),
    "dots_and_boxes": Position(
        "dots_and_boxes:rows=3,columns=3", "b1 d3 a2 e6 c2 b3 f7 g4 c4 f5 g6 b7 f3"
    ),
    "hex": Position("hex:size=7,swap=true", "b1 swap d4 e3 d3 d2 e2 e1 f1 d5 c5 c6 b6 b7 a7"),
    "gomoku": Position("gomoku:size=9,length=5,exact=false", "e5 e6 d6 f4 d4 c5 d5 d7 d3 f6 d2"),
    "go": Position("go:size=9", "E5 G3 C3 G7 C7 F6 F5 G5 G6 G4 E6 F7 E7 E8 D8 E3 D3 F8 E4 F4"),
    "chess": Position("chess", "e4 e5 Nf3 Nc6 Bc4"),
}
"""The positions, by the name of the file without its ending."""


def draw(position: Position) -> str:
    """The SVG of a position, its last move marked; ``ValueError`` for a move that is not legal."""
    game = games.make(position.spec)
    states, last = game.initial(1), None
    for text in position.moves.split():
        last = game.text_to_move(states[0], text)
        if not game.legal(states)[0, last]:
            raise ValueError(f"{position.spec}: {text} is not legal here: {position.moves}")
        states = game.step(states, np.array([last]))
    return svg.render(game.drawing(states[0], last)) + "\n"


def main(names: list[str]) -> int:
    """Write the pictures of ``names``, or all, and print their paths."""
    FOLDER.mkdir(exist_ok=True)
    for name in names or PICTURES:
        path = FOLDER / f"{name}.svg"
        path.write_text(draw(PICTURES[name]), encoding="utf-8")
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
