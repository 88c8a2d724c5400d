"""``alphazero ladder``: show the opponents of fixed Elo, rate a player, or calibrate a ladder."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from workers.commands.arena import entrants
from workers.terminal.options import PLAYERS, add_allow, add_json, file_path, game, player

if TYPE_CHECKING:
    from rich.table import Table

    from alphazero.judging.ladder import Ladder, Rating
    from games.base import Game

HELP = "rate a player against opponents whose Elo is fixed"
EPILOG = f"""\
examples:
  alphazero ladder connect_four                  # shows the opponents
  alphazero ladder connect_four minimax:depth=5 --games 100
  alphazero ladder hex:size=7,swap=false mcts:simulations=200

{PLAYERS}"""

GAMES = 200
"""Games that rate a player, where no number is given."""
ROUND = 20
"""``alphazero.judging.ladder.ROUND``, whose module takes a while to import."""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "game",
        type=game,
        metavar="GAME",
        help="one that has a ladder: connect_four, go, hex:size=7,swap=false or othello",
    )
    parser.add_argument(
        "player", metavar="PLAYER", type=player, nargs="?", help="the one to be rated"
    )
    parser.add_argument(
        "--games",
        type=int,
        metavar="N",
        help=f"in all, {ROUND} at a time against the opponent that tells most about PLAYER's "
        f"strength; default {GAMES}",
    )
    parser.add_argument(
        "--calibrate",
        type=file_path,
        metavar="FILE",
        help="rate the opponents anew by matches between them; continues an unfinished FILE",
    )
    add_allow(parser)
    parser.add_argument("--seed", type=int, metavar="S", help="of PLAYER's games; default 0")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    from rich.console import Group

    import games
    from alphazero.judging import ladder
    from workers.terminal import tables

    if options.player and options.calibrate:
        raise ValueError("--calibrate rates the ladder's own players: leave PLAYER out")
    if not options.player and (options.games, options.seed) != (None, None):
        raise ValueError("--games and --seed are for rating a PLAYER; a ladder has its own")
    rules = games.make(options.game)
    rungs = ladder.load(rules)
    if options.player:
        rating = _rate(options, rules, rungs)
        return tables.report(_rating_table(rating), asdict(rating), options.json)
    if options.calibrate:
        rungs = _calibrate(rules, rungs, options.calibrate)
    missing = [] if options.calibrate else _missing_programs(rungs)
    return tables.report(Group(_rungs_table(rungs), *missing), asdict(rungs), options.json)


def _rate(options: argparse.Namespace, game: "Game", rungs: "Ladder") -> "Rating":
    from rich.console import Console

    from alphazero.judging import ladder
    from workers.terminal import progress, tables

    count = GAMES if options.games is None else options.games
    with (
        entrants([options.player], game, options.allow) as (rated,),
        progress.games() as report,
    ):
        rating = ladder.rate(game, rated, rungs, count, options.seed or 0, report)
    screen = Console(stderr=True)
    tables.warn_of_repeats(screen, rating.games, rating.distinct_games)
    left_out = [f"left out: {line}" for line in rating.skipped]
    lost = [f"warning: lost without a legal move: {line}" for line in rating.forfeits]
    for line in (*left_out, *lost):
        screen.print(line, markup=False, highlight=False, soft_wrap=True)
    return rating


def _calibrate(game: "Game", rungs: "Ladder", path: Path) -> "Ladder":
    """The players of ``rungs`` rated anew in ``path``; an unfinished file there is continued."""
    from alphazero.judging import calibration, ladder
    from workers.terminal import progress

    with progress.games() as report:
        if not path.exists():
            ladder.save(calibration.blank(game, rungs), path)
        for better in calibration.calibrate(game, ladder.load(game, path), report):
            ladder.save(better, path)
    return ladder.load(game, path)


def _rungs_table(rungs: "Ladder") -> "Table":
    from rich.markup import escape

    from alphazero.errors import one_line
    from workers.terminal import tables

    title = f"the ladder of {rungs.game}"
    table = tables.make(title, "player", "Elo", "standard error", "games")
    for rung in sorted(rungs.rungs, key=lambda rung: rung.elo):
        name = escape(one_line(rung.player))
        table.add_row(name, f"{rung.elo:.0f}", f"{rung.error:.0f}", str(rung.games))
    return table


def _missing_programs(rungs: "Ladder") -> list[str]:
    """A line for each rung of a ladder of the package whose program this machine lacks.

    Nothing is started.
    """
    from rich.markup import escape

    from alphazero.judging import players
    from alphazero.judging.engines.process import split_command

    missing = []
    for rung in sorted(rungs.rungs, key=lambda rung: rung.elo):
        kind, options = players.parse(rung.player)
        if kind in players.PROGRAMS:
            try:
                split_command(options["cmd"])
            except ValueError as error:
                missing.append(escape(f"a rating leaves {rung.player} out: {error}"))
    return missing


def _rating_table(rating: "Rating") -> "Table":
    from rich.markup import escape

    from alphazero.judging.ratings import count_games
    from workers.terminal import tables

    low, high = rating.elo_low, rating.elo_high
    if low is None or high is None:  # it has lost, or won, every game
        bound = f"below {high:.0f}" if low is None else f"above {low:.0f}"
        elo = f"Elo {bound} with 95 %"
    else:
        elo = f"Elo {rating.elo:.0f}, 95 % {low:.0f} to {high:.0f}"
    counted = count_games(rating.games, rating.distinct_games)
    table = tables.make(
        escape(f"{rating.player}: {elo}; {counted}"),
        "opponent", "Elo", "wins", "draws", "losses", "score", "95 %",
    )  # fmt: skip
    for record in rating.opponents:
        counts = (str(count) for count in (record.wins, record.draws, record.losses))
        interval = f"{record.low:.1%} to {record.high:.1%}"
        table.add_row(
            escape(record.name), f"{record.elo:.0f}", *counts, f"{record.score:.1%}", interval
        )
    return table
