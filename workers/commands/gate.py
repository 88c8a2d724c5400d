"""``alphazero gate``: a run's newest agent against its best one, until it is certain."""

import argparse
import shutil
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from workers.commands.arena import MOST_GAMES, add_sprt, conclusion, entrants, until_certain
from workers.terminal.options import add_allow, add_json, add_seed, count, path
from workers.terminal.output import warn

if TYPE_CHECKING:
    from alphazero.judging.arena import ArenaResult

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
    from rich.markup import escape

    from workers.runs import export
    from workers.terminal import tables

    best = options.best or options.run_dir / "best"
    if options.games % 2:
        raise ValueError(f"--games must be an even number, not {options.games}")
    _recover(best)
    export.check_target(best)
    with TemporaryDirectory(prefix="alphazero-") as folder:
        # A copy, because a run that goes on deletes its old checkpoints.
        newest = Path(folder) / "newest"
        export.export(options.run_dir, newest, warn=warn)
        played = _play(newest, best, options) if best.exists() else None
        verdict = played.sprt if played else None
        replaced = verdict is None or verdict.accepted == options.sprt.elo1
        if replaced:
            _replace(newest, best)
    words = "now holds the newest agent" if replaced else "stays: it was not beaten by the newest"
    shown = [conclusion(played, "the newest agent")] if played else []
    figures = {"replaced": replaced} | (asdict(played) if played else {})
    shown.append(escape(f"{best} {words} of {options.run_dir}"))
    tables.report("\n".join(shown), figures, options.json)
    return 0 if replaced else 1


def _play(newest: Path, best: Path, options: argparse.Namespace) -> "ArenaResult":
    from rich.console import Console

    from games.spec import quoted
    from workers.runs import strength
    from workers.terminal import tables

    game = strength.game_of(newest, options.allow)
    paths = (quoted(str(path)) for path in (newest, best))
    specs = [f"checkpoint:path={path},simulations={options.simulations}" for path in paths]
    with entrants(specs, game, options.allow) as (one, two):
        played = until_certain(game, (one, two), options.sprt, options.games, options.seed)
    tables.warn_of_repeats(Console(stderr=True), played.games, played.distinct_games)
    return played


def _replace(newest: Path, best: Path) -> None:
    """Put a copy of ``newest`` in the place of ``best``, which is never half written."""
    from alphazero import sealed
    from workers.runs import export

    unfinished = best.with_name(f".saving-{best.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    export.export(newest, unfinished)
    sealed.move_into_place(unfinished, best)
    shutil.rmtree(sealed.replaced(best), ignore_errors=True)


def _recover(best: Path) -> None:
    """Bring back the agent of ``best`` where ``_replace`` ended between its two renames."""
    from alphazero import sealed

    if sealed.replaced(best).exists() and not best.exists():
        sealed.replaced(best).rename(best)
