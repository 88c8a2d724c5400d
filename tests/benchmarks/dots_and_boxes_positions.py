"""Positions of Dots and Boxes and the exact results of all their moves, of up to 24 lines.

    python tests/benchmarks/dots_and_boxes_positions.py --rows 3 --columns 3 > positions.csv
    alphazero evaluate dots_and_boxes:rows=3,columns=3 --positions positions.csv \
        --player policy:path=RUN

The positions are from random games, each one different, and in each there are a move that keeps the
result and one that loses it. The solution shares no code with the game: the most boxes that the
player to move can gain on the opponent depend on the drawn lines alone, so that one pass over all
sets of lines, from the full one down, finds them (3x3: 16.8 million sets, 17 MB, some seconds).
"""

import argparse
import csv
import sys
from collections.abc import Iterator

import numba
import numpy as np
from numpy.typing import NDArray

import games
from games import solvers

LONGEST = 24


def boxes_as_bits(rows: int, columns: int) -> NDArray[np.int64]:
    """``[boxes]``: the four lines of each box, as bits of OpenSpiel's numbers of lines."""
    horizontal = (rows + 1) * columns
    return np.array(
        [
            1 << (row * columns + column)
            | 1 << ((row + 1) * columns + column)
            | 1 << (horizontal + row * (columns + 1) + column)
            | 1 << (horizontal + row * (columns + 1) + column + 1)
            for row in range(rows)
            for column in range(columns)
        ]
    )


@numba.njit
def completed(drawn: int, line: int, boxes: NDArray[np.int64]) -> int:
    """The number of boxes that drawing ``line`` completes."""
    after = drawn | 1 << line
    number = 0
    for box in boxes:
        number += (box & after) == box and (box & drawn) != box
    return number


@numba.njit
def gains(lines: int, boxes: NDArray[np.int64]) -> NDArray[np.int8]:
    """``[2 ** lines]``: the most boxes that the player to move can still gain on the opponent."""
    best = np.zeros(1 << lines, np.int8)
    for drawn in range((1 << lines) - 2, -1, -1):
        top = -127
        for line in range(lines):
            if not drawn >> line & 1:
                top = max(top, gain_by(drawn, line, boxes, best))
        best[drawn] = top
    return best


@numba.njit
def gain_by(drawn: int, line: int, boxes: NDArray[np.int64], best: NDArray[np.int8]) -> int:
    """The gain of the player to move by ``line`` and perfect play after it; a box moves again."""
    number = completed(drawn, line, boxes)
    after = best[drawn | 1 << line]
    return number + after if number else -after


def results(
    drawn: int, ahead: int, lines: int, boxes: NDArray[np.int64], best: NDArray[np.int8]
) -> list[int | None]:
    """The result of each line for the player to move, who is ``ahead`` by so many boxes."""
    return [
        None if drawn >> line & 1 else int(np.sign(ahead + gain_by(drawn, line, boxes, best)))
        for line in range(lines)
    ]


def positions(
    rows: int, columns: int, number: int, rng: np.random.Generator
) -> Iterator[tuple[list[int], list[int | None]]]:
    """``number`` lines of moves, numbered from 1, and the results of all moves after them.

    There are fewer where 100,000 games on end have no new position.
    """
    boxes, lines = boxes_as_bits(rows, columns), 2 * rows * columns + rows + columns
    best, seen = gains(lines, boxes), set[tuple[int, int]]()
    fruitless = 0
    while len(seen) < number and fruitless < 100_000:
        drawn, ahead, line, fruitless = 0, 0, list[int](), fruitless + 1
        for action in rng.permutation(lines)[: rng.integers(lines)]:
            gained = completed(drawn, action, boxes)
            drawn, line = drawn | 1 << int(action), [*line, int(action) + 1]
            ahead = ahead + gained if gained else -ahead
        move_results = results(drawn, ahead, lines, boxes, best)
        known = {result for result in move_results if result is not None}
        if len(known) > 1 and (drawn, ahead) not in seen:
            seen.add((drawn, ahead))
            fruitless = 0
            yield line, move_results


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=3, help="default 3")
    parser.add_argument("--columns", type=int, default=3, help="default 3")
    parser.add_argument("--number", type=int, default=3000, help="of positions; default 3000")
    parser.add_argument("--seed", type=int, default=0, help="default 0")
    options = parser.parse_args()
    game = games.make(f"dots_and_boxes:rows={options.rows},columns={options.columns}")
    if game.num_actions > LONGEST:
        parser.error(f"{game.name} has {game.num_actions} lines; {LONGEST} are the most")
    writer = csv.writer(sys.stdout)
    writer.writerow(solvers.header(game))
    drawn = positions(
        options.rows, options.columns, options.number, np.random.default_rng(options.seed)
    )
    count = 0
    for count, (line, move_results) in enumerate(drawn, 1):  # noqa: B007
        top = max(result for result in move_results if result is not None)
        cells = ["" if result is None else result for result in move_results]
        writer.writerow([solvers.separator(game).join(map(str, line)), top, *cells])
    if count < options.number:
        parser.error(f"--number: only {count} such positions were found")


if __name__ == "__main__":
    main()
