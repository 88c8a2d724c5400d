"""``alphazero gate``: a run's newest agent against its best one, until it is certain."""

import argparse
import shutil
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from workers.commands.arena import (
    MOST_GAMES,
    add_opening_plies,
    add_sprt,
    conclusions,
    standings,
    until_certain,
)
from workers.terminal.options import add_allow, add_json, add_seed, count, path
from workers.terminal.output import warn

if TYPE_CHECKING:
    from alphazero.judging.arena import ArenaResult
    from alphazero.judging.decisions import Player

HELP = "replace a run's best agent by its newest one if that is stronger"
EPILOG = """\
example:
  alphazero gate runs/MY_RUN
  alphazero play connect_four --player checkpoint:path=runs/MY_RUN/best

the first time the newest agent becomes the best; later it must be accepted as elo1
points stronger in a sequential test. The exit status is 1 where it is not, also
where the test ends undecided or the best agent is the newest one already"""

SIMULATIONS = 200
NEWEST = "the newest agent"


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
    add_opening_plies(parser)
    add_allow(parser)
    add_seed(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    from workers.runs import export
    from workers.runs.agent_files import digest_of_weights as digest
    from workers.terminal import signals

    best = options.best or options.run_dir / "best"
    if options.games % 2:
        raise ValueError(f"--games must be an even number, not {options.games}")
    if not (options.run_dir / "checkpoints").is_dir():
        raise ValueError(
            f"{options.run_dir} is no run directory: it has no folder checkpoints; "
            "`alphazero arena --sprt` compares any two agents"
        )
    _recover(best)
    export.check_target(best)
    with (
        TemporaryDirectory(prefix="alphazero-") as folder,
        signals.handled(signals.interrupt, ("SIGTERM", "SIGHUP")),
    ):
        # A copy, because a run that goes on deletes its old checkpoints.
        newest = Path(folder) / "newest"
        export.export(options.run_dir, newest, warn=warn)
        if best.exists() and digest(newest) == digest(best):
            return _report(options, f"{best} holds the newest agent of {options.run_dir} already")
        played = _play(newest, best, options) if best.exists() else None
        kept = _why_kept(played) if played else None
        if kept is None:
            _replace(newest, best)
    end = f"{best} now holds the newest agent of {options.run_dir}"
    if kept:
        end = f"{best} stays: {kept}"
    return _report(options, end, replaced=kept is None, played=played)


def _why_kept(played: "ArenaResult") -> str | None:
    """The reason for which the best agent is kept; None where the newest one takes its place."""
    verdict = played.sprt
    assert verdict
    if verdict.accepted == verdict.test.elo1:
        return None
    if verdict.accepted is None:
        return "the test is undecided"
    return f"a lead of {verdict.test.elo1:+g} Elo or more is rejected"


def _report(
    options: argparse.Namespace,
    end: str,
    replaced: bool = False,
    played: "ArenaResult | None" = None,
) -> int:
    """Print the result, whose last line is ``end``; the exit status."""
    from rich.console import Group
    from rich.markup import escape

    from workers.terminal import tables

    shown = [standings(played), *conclusions(played, options.games)] if played else []
    figures = {"replaced": replaced} | (asdict(played) if played else {})
    tables.report(Group(*shown, escape(end)), figures, options.json)
    return 0 if replaced else 1


def _play(newest: Path, best: Path, options: argparse.Namespace) -> "ArenaResult":
    from rich.console import Console

    from alphazero.errors import reason
    from alphazero.judging import players
    from workers.runs import strength
    from workers.terminal import tables

    game = strength.game_of(newest, options.allow)

    def player(path: Path, name: str) -> "Player":
        number = options.simulations
        try:
            return players.from_checkpoint(game, name, options.allow, path=path, simulations=number)
        except ValueError as error:
            raise ValueError(reason(error)) from None

    pair = player(newest, NEWEST), player(best, "the best agent")
    played = until_certain(
        game, pair, options.sprt, options.games, options.seed, options.opening_plies
    )
    if options.opening_plies is not None:
        tables.warn_of_longer_openings(Console(stderr=True), played.opening_plies)
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
