"""What ``alphazero ladder`` does: shows the rungs, rates a player, or makes a ladder anew."""

import argparse
from pathlib import Path
from typing import Any

from rich.table import Table

import games
from alphazero.judging import ladder, players
from games.base import Game
from workers.terminal import progress

GAMES = 200
"""That a player is rated by, where no number is given."""


def run(options: argparse.Namespace) -> tuple[Table, dict[str, Any]]:
    """What to print, and the same as plain types."""
    if options.player and options.calibrate:
        raise ValueError("--calibrate lets the ladder's own players meet: leave PLAYER out")
    if not options.player and (options.games, options.seed) != (None, None):
        raise ValueError("--games and --seed are for rating a PLAYER; a ladder has its own")
    game = games.make(options.game)
    found = ladder.load(game)
    if options.player:
        player = players.make(options.player, game)
        games_asked = GAMES if options.games is None else options.games
        with progress.games() as report:
            rating = ladder.rate(game, player, found, games_asked, options.seed or 0, report)
        return _rated(rating), rating.as_dict()
    if options.calibrate:
        found = _calibrated(game, found, options.calibrate)
    return _rungs(found), found.as_dict()


def _calibrated(game: Game, found: ladder.Ladder, path: Path) -> ladder.Ladder:
    """``found``'s players rated anew in ``path``; one that is there already is gone on with."""
    with progress.games() as report:
        if not path.exists():
            ladder.save(ladder.blank(game, found), path)
        for better in ladder.calibrate(game, ladder.load(game, path), report):
            ladder.save(better, path)
    return ladder.load(game, path)


def _rungs(found: ladder.Ladder) -> Table:
    table = _table(f"the ladder of {found.game}", "player", "Elo", "standard error", "games")
    for rung in sorted(found.rungs, key=lambda each: each.elo):
        table.add_row(rung.player, f"{rung.elo:.0f}", f"{rung.error:.0f}", str(rung.games))
    return table


def _rated(rating: ladder.Rating) -> Table:
    low, high = (
        "open" if each is None else f"{each:.0f}" for each in (rating.elo_low, rating.elo_high)
    )
    table = _table(
        f"{rating.player}: Elo {rating.elo:.0f}, 95 % {low} to {high}; {rating.games} games",
        "opponent", "Elo", "wins", "draws", "losses", "score", "95 %",
    )  # fmt: skip
    for met in rating.opponents:
        counts = (str(each) for each in (met.wins, met.draws, met.losses))
        interval = f"{met.low:.1%} to {met.high:.1%}"
        table.add_row(met.name, f"{met.elo:.0f}", *counts, f"{met.score:.1%}", interval)
    return table


def _table(title: str, first: str, *others: str) -> Table:
    table = Table(title=title)
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table
