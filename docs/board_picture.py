"""The picture at the top of the README: a Connect Four position with the agent's move values.

    python docs/board_picture.py                  # writes docs/board.svg
    python docs/board_picture.py 44536 my.svg     # another position, another file

Hand-written SVG on a transparent ground, in colours that a light page carries as well as a dark
one. Under each column stands the value of the move for the player about to move, as a number and as
a bar: upwards a win, downwards a loss.
"""

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

import alphazero

MOVES = "353443"
SIMULATIONS = 600
COLUMNS, ROWS = 7, 6
CELL = 60
MARGIN = 12
WIDTH = COLUMNS * CELL + 2 * MARGIN
BOARD_HEIGHT = ROWS * CELL + 2 * MARGIN
BAR = 34
"""Height of the bar of a value of 1."""
ZERO = BOARD_HEIGHT + 34 + BAR
"""Where bars begin."""
HEIGHT = ZERO + BAR + 44

BOARD, EMPTY, GREY = "#2f6db5", "#ffffff", "#808080"
FIRST, SECOND, BEST = "#f2b134", "#d9413b", "#2f9160"


class Column(NamedTuple):
    """The search's value of one legal move."""

    index: int
    """0 to 6 from the left."""
    value: float
    """In [-1, 1] for the player about to move."""
    is_best: bool


def analyse(moves: str) -> tuple[np.ndarray, list[Column]]:
    """The stones ``int [6, 7]``, top row first (1: began, 2: the other), and each legal move."""
    game = alphazero.make_game("connect_four")
    state = game.initial(1)
    for move in moves:
        state = game.step(state, np.array([game.text_to_action(move)]))
    analysis = alphazero.load_agent("connect_four", simulations=SIMULATIONS).analyse(moves)
    columns = [
        Column(move.action, move.value, move.action == analysis.action)
        for move in analysis.moves
        if move.value is not None
    ]
    cells = game.drawing(state[0]).cells
    stones = [0 if cell.player is None else cell.player + 1 for cell in cells]
    return np.array(stones).reshape(ROWS, COLUMNS), columns


def draw(stones: np.ndarray, columns: list[Column]) -> str:
    """The whole SVG."""
    colour = SECOND if (stones > 0).sum() % 2 else FIRST
    bottom = HEIGHT - 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="system-ui, sans-serif" text-anchor="middle">',
        "<title>A Connect Four position with the agent's move values</title>",
        f'<rect width="{WIDTH}" height="{BOARD_HEIGHT}" rx="14" fill="{BOARD}"/>',
        *_stones(stones),
        f'<path d="M{MARGIN} {ZERO}H{WIDTH - MARGIN}" stroke="{GREY}" stroke-opacity="0.5"/>',
        *(part for column in columns for part in _column(column)),
        f'<circle cx="{MARGIN + 10}" cy="{bottom - 5}" r="8" fill="{colour}"/>',
        f'<text x="{MARGIN + 26}" y="{bottom}" font-size="13" text-anchor="start" '
        f'fill="{GREY}">to move. Value of each move: +1 a win, 0 a draw, −1 a loss</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _stones(stones: np.ndarray) -> list[str]:
    fills = {0: f'fill="{EMPTY}" fill-opacity="0.16"', 1: f'fill="{FIRST}"', 2: f'fill="{SECOND}"'}
    return [
        f'<circle cx="{_middle(column)}" cy="{_middle(row)}" r="24" {fills[int(stone)]}/>'
        for (row, column), stone in np.ndenumerate(stones)
    ]


def _column(column: Column) -> list[str]:
    x, colour = _middle(column.index), BEST if column.is_best else GREY
    weight = ' font-weight="bold"' if column.is_best else ""
    value = round(column.value, 2)
    number = f"{value:+.2f}".replace("-", "−") if value else "0.00"
    height = max(2.0, abs(value) * BAR)
    top = ZERO - height if value > 0 else ZERO
    return [
        f'<text x="{x}" y="{BOARD_HEIGHT + 24}" font-size="17" fill="{colour}"{weight}>'
        f"{number}</text>",
        f'<rect x="{x - 15:g}" y="{top:.1f}" width="30" height="{height:.1f}" rx="2" '
        f'fill="{colour}"/>',
    ]


def _middle(index: int) -> float:
    """The middle of a column or row."""
    return MARGIN + (index + 0.5) * CELL


def main(arguments: list[str]) -> int:
    moves = arguments[0] if arguments else MOVES
    path = Path(arguments[1]) if len(arguments) > 1 else Path(__file__).parent / "board.svg"
    path.write_text(draw(*analyse(moves)), encoding="utf-8")
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
