"""``alphazero gate``: a run's newest agent against its best one, until it is certain."""

import argparse
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from workers.commands.arena import MOST_GAMES, add_sprt, conclusion, entrants, until_certain
from workers.terminal.options import add_allow, add_json, add_seed, count, path
from workers.terminal.output import warn

HELP = "replace a run's best agent by its newest one if that is stronger"
EPILOG = """\
example:
  alphazero gate runs/MY_RUN
  alphazero play connect_four --player checkpoint:path=runs/MY_RUN/best

the first time the newest agent becomes the best; later it must be accepted as elo1
points stronger in a sequential test. The exit status is 1 where it is not"""

SIMULATIONS = 200


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_dir", type=path, metavar="RUN", help="a run directory")
    parser.add_argument(
        "--best", type=path, metavar="FOLDER", help="the best agent; default: RUN/best"
    )
    parser.add_argument(
        "--simulations", type=count, default=SIMULATIONS, metavar="N",
        help=f"per move, of both; default {SIMULATIONS}",
    )  # fmt: skip
    parser.add_argument(
        "--games", type=count, default=MOST_GAMES, metavar="N",
        help=f"at most so many, an even number; default {MOST_GAMES:,}",
    )  # fmt: skip
    add_sprt(parser, "elo0=0,elo1=20")
    add_allow(parser)
    add_seed(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    from workers.runs import export

    best = options.best or options.run_dir / "best"
    with TemporaryDirectory(prefix="alphazero-") as folder:
        # A copy, because a run that goes on deletes its old checkpoints.
        newest = Path(folder) / "newest"
        export.export(options.run_dir, newest, warn=warn)
        if best.exists() and not _is_stronger(newest, best, options):
            return 1
        export.export(newest, best, warn=warn)
    print(f"{best} holds the newest agent of {options.run_dir}")
    return 0


def _is_stronger(newest: Path, best: Path, options: argparse.Namespace) -> bool:
    from rich.console import Console

    from workers.runs import strength
    from workers.terminal import tables

    game = strength.game_of(newest, options.allow)
    specs = [f"checkpoint:path='{one}',simulations={options.simulations}" for one in (newest, best)]
    screen = Console(stderr=True)
    with entrants(specs, game, options.allow) as (one, two):
        played = until_certain(game, (one, two), options.sprt, options.games, options.seed)
    tables.warn_of_repeats(screen, played.games, played.distinct_games)
    tables.report(conclusion(played, "the newest agent"), asdict(played), options.json)
    return played.sprt is not None and played.sprt.accepted == options.sprt.elo1
