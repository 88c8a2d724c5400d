"""``alphazero evaluate``: a player's mistakes in positions whose exact results are known."""

import argparse
from functools import partial
from typing import TYPE_CHECKING

from workers.terminal.options import PLAYERS, add_allow, add_game, add_json, add_seed, player

if TYPE_CHECKING:
    from games.base import Game

HELP = "count a player's mistakes in solved positions"
EPILOG = f"""\
examples:
  alphazero evaluate tic_tac_toe --positions all --player mcts
  alphazero evaluate connect_four --suite --player runs/x minimax

FILE is CSV with the columns moves,best,c1..cA: 1-based moves from the start, the best
score and the score of each move; the suite is six such files, opening_easy to end_easy

{PLAYERS}"""


def add_options(parser: argparse.ArgumentParser) -> None:
    # argparse would show GAME last, where it would be read as a player.
    parser.usage = (
        "alphazero evaluate GAME (--positions FILE|all | --suite)\n"
        "                          --player PLAYER [PLAYER ...] [--allow module:Class]\n"
        "                          [--seed S] [--json FILE]"
    )
    add_game(parser)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--positions",
        metavar="FILE|all",
        help="solved positions; all: every unfinished one, for small games",
    )
    where.add_argument(
        "--suite",
        action="store_true",
        help="the six sets of 1,000 positions in the source's tests/data; for a checkpoint the "
        "network alone and its search, with 600 simulations unless PLAYER gives another number",
    )
    parser.add_argument(
        "--player",
        dest="players",
        type=player,
        nargs="+",
        action="extend",
        required=True,
        metavar="PLAYER",
        help="one, or with --suite any number; GAME must stand before it",
    )
    add_allow(parser)
    add_seed(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    import games

    game = games.make(options.game)
    return _suite(options, game) if options.suite else _positions(options, game)


def _positions(options: argparse.Namespace, game: "Game") -> int:
    from rich.console import Console
    from rich.markup import escape

    from alphazero.judging import mistakes, players
    from workers.terminal import tables

    if len(options.players) != 1:
        raise ValueError("--player: one at a time, except with --suite")
    judged = players.make(options.players[0], game, allow=options.allow)
    positions = mistakes.positions_from(options.positions, game)
    result = mistakes.evaluate(judged, positions, game, options.seed)
    total, distinct = result["positions"], result["distinct_positions"]
    tables.warn_of_repeats(Console(stderr=True), total, distinct, unit="positions")
    different = "" if distinct == total else f" ({distinct:,} different)"
    table = tables.make(
        escape(f"{judged.name} in {total:,} positions{different} of {game.name}"),
        "mistakes", "rate", "95 %", "optimal moves", "simulations",
    )  # fmt: skip
    table.add_row(
        str(result["mistakes"]),
        f"{result['mistake_rate']:.2%}",
        f"{result['low']:.2%} to {result['high']:.2%}",
        f"{result['optimal_rate']:.2%}",
        str(result["simulations"]),
    )
    return tables.report(table, result, options.json)


def _suite(options: argparse.Namespace, game: "Game") -> int:
    from rich.markup import escape

    from alphazero.judging import mistakes, players
    from workers.terminal import progress, tables

    sets = mistakes.load_suite(game)
    specs = [spec for given in options.players for spec in mistakes.suite_players(given)]
    total = sum(len(positions.states) for positions in sets.values())
    results = []
    with progress.bars() as report:
        for spec in specs:
            report(spec, total, 0)
        for judged in [players.make(spec, game, allow=options.allow) for spec in specs]:
            counts = progress.running_total(partial(report, judged.name, total))
            reports = {
                name: mistakes.evaluate(judged, positions, game, options.seed, counts)
                for name, positions in sets.items()
            }
            result = {"name": judged.name, "simulations": judged.simulations, "sets": reports}
            results.append(result)
    title = f"mistakes in {total:,} solved positions of {game.name}, 95 % interval"
    table = tables.make(title, "set", *(escape(result["name"]) for result in results))
    for name in sets:
        row = [result["sets"][name] for result in results]
        cells = [f"{r['mistake_rate']:.1%} ({r['low']:.1%} to {r['high']:.1%})" for r in row]
        table.add_row(name, *cells)
    return tables.report(table, {"game": game.name, "players": results}, options.json)
