"""``alphazero solve``: exact scores, of one position or of files of positions."""

import argparse
from typing import TYPE_CHECKING

from workers.terminal.options import add_game, new_file, path

if TYPE_CHECKING:
    from games.base import Game

HELP = "exact scores of positions and of each of their moves"
EPILOG = """\
examples:
  alphazero solve connect_four 4453
  alphazero solve tic_tac_toe 159
  alphazero solve connect_four --positions moves.txt --out solved.csv

scores are those of the player about to move: positive wins, 0 draws, negative loses;
in Connect Four the number of stones that the winner has left counts too. Ctrl-C keeps
what is solved, and the same command continues"""


def add_options(parser: argparse.ArgumentParser) -> None:
    add_game(parser)
    parser.add_argument(
        "moves",
        metavar="MOVES",
        nargs="*",
        help="moves from the start, as `play --moves` reads them: in the game's notation or "
        "numbered from 1; none: the starting position",
    )
    parser.add_argument(
        "--positions",
        type=path,
        metavar="FILE",
        help="solve these: moves per line, numbered from 1, or CSV whose first column is `moves`",
    )
    parser.add_argument(
        "--out",
        type=new_file,
        metavar="FILE",
        help="a new CSV file for the solved positions, which `evaluate` reads; .csv.gz is "
        "compressed",
    )
    parser.add_argument(
        "--suite",
        type=path,
        metavar="DIR",
        help="draw and solve the six sets of `evaluate --suite` there: 25 minutes of one core",
    )
    parser.add_argument("--seed", type=int, metavar="S", help="of --suite; default 0")


def run(options: argparse.Namespace) -> int:
    import games

    game = games.make(options.game)
    files = options.positions, options.out
    given = sum(map(bool, (options.moves, any(files), options.suite)))
    if given > 1 or any(files) != all(files):
        raise ValueError("give MOVES, or --positions with --out, or --suite")
    if options.seed is not None and not options.suite:
        raise ValueError("--seed: only --suite draws positions")
    if any(files) or options.suite:
        return _write_files(options, game)
    return _show_position(options, game)


def _write_files(options: argparse.Namespace, game: "Game") -> int:
    from games.solvers import files
    from workers.terminal import progress

    with progress.bars() as report:
        if options.positions:
            files.label(game, options.positions, options.out, report)
        if options.suite:
            files.make_suite(game, options.suite, options.seed or 0, report)
    return 0


def _show_position(options: argparse.Namespace, game: "Game") -> int:
    import numpy as np
    from rich.console import Console

    from alphazero.judging import session
    from games import solvers
    from workers.terminal import tables

    states = session.unfinished(game, " ".join(options.moves)).states
    with Console(stderr=True).status(
        "solving; positions of few moves take minutes", spinner="line"
    ):
        best, scores = (answer[0] for answer in solvers.scores(game, states))
    verdict = f"score {tables.signed(best)}: {_result(best)} for the player about to move"
    Console().print(f"{game.render(states[0])}\n{verdict}", markup=False, highlight=False)
    table = tables.make(None, "move", "score", "result")
    for action in np.flatnonzero(~np.isnan(scores)):
        style = "bold" if scores[action] == best else None
        score = tables.signed(scores[action]), _result(scores[action])
        table.add_row(game.move_to_text(states[0], int(action)), *score, style=style)
    return tables.report(table)


def _result(score: float) -> str:
    return "win" if score > 0 else "loss" if score < 0 else "draw"
