"""The strength of an exported agent, measured and written into its model card."""

import shlex
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

import games
from alphazero import addresses, agents, checkpoint
from alphazero.agents.cards import Result
from alphazero.judging import arena, ladder, players
from alphazero.judging.decisions import Player
from alphazero.judging.ratings import Standing, count_games
from alphazero.parts import addresses_of
from games.base import Game

OPPONENTS = ("random", "mcts:simulations=200")
"""Those of every game; where there is a ladder, the agent is rated on it, too."""
SAME_EVERYWHERE = "backend=torch,precision=float32,device=cpu"
"""Options of the measured player, so that the printed commands repeat its games elsewhere."""

Report = Callable[[str, int, int], None]
"""Called with the name of a match, the number of its games and of those that are finished."""


def game_of(source: Path, allow: Collection[str]) -> Game:
    """The game that the agent at ``source`` names.

    ``ValueError``, one line: the agent needs an address that is not in ``allow``.
    """
    described = checkpoint.describe(source)
    addresses.check_allowed(addresses_of(described.config), allow, described.path)
    return games.make(described.config.game)


class Measured(NamedTuple):
    """The strength of an agent, for its model card."""

    text: str
    """The section in Markdown."""
    results: list[Result]
    """Its figures, the strongest opponent first."""


def measure(
    game: Game,
    folder: Path,
    number: int,
    report: Report,
    allow: Collection[str] = (),
    named: str | None = None,
) -> Measured:
    """The strength of an agent, after ``number`` games against each opponent.

    ``folder`` is the agent, ``named`` the path by which the commands name it where that is another;
    ``allow`` has the addresses that it may import. ``ValueError``, one line: it cannot be loaded.
    """
    options = f"simulations={agents.SIMULATIONS},{SAME_EVERYWHERE}"
    spec = f"checkpoint:path={named or folder},{options}"
    player = players.make(f"checkpoint:path={folder},{options}", game, allow=allow)
    rows, commands, results = [], [], []
    for opponent in OPPONENTS:
        pair = [player, players.make(opponent, game)]
        progress = _progress(report, opponent)
        played = arena.play(game, pair, number, 0, progress=progress)
        rows.append(_row(opponent, played.players[0], played.counted()))
        points = round(100 * played.players[0].score, 1)
        results.insert(0, Result("points", points, f"% of the points, {_search()}", opponent))
        words = ["alphazero", "arena", spec, opponent, "--game", game.name, "--games", str(number)]
        commands.append(shlex.join(words))
    rating = _rating(game, player, number, report)
    if rating:
        words = ["alphazero", "ladder", game.name, spec, "--games", str(number)]
        commands.append(shlex.join(words))
        results.insert(0, rating.result)
    lines = [
        f"Matches with {agents.SIMULATIONS} simulations per move, seats swapped, each from random "
        "opening moves. The intervals are of 95 %; equal games count as one in them.",
        "",
        "| opponent | games | wins | draws | losses | Elo above it |",
        "|---|---|---|---|---|---|",
        *rows,
        *(rating.lines if rating else []),
        "",
        "Measured by",
        "",
        *(f"    {command}" for command in commands),
    ]
    return Measured("\n".join(lines) + "\n", results)


def _search() -> str:
    return f"{agents.SIMULATIONS} simulations"


class _Rating(NamedTuple):
    """The Elo of an agent on a ladder, as a paragraph and as a figure."""

    lines: list[str]
    result: Result


def _rating(game: Game, player: Player, number: int, report: Report) -> _Rating | None:
    """The agent's Elo on the game's ladder; None where there is no ladder."""
    if game.name not in ladder.installed():
        return None
    rungs = ladder.load(game)
    rated = ladder.rate(game, player, rungs, number, progress=_progress(report, "ladder"))
    low, high = _bound(rated.elo_low, "{:.0f}"), _bound(rated.elo_high, "{:.0f}")
    counted = count_games(rated.games, rated.distinct_games)
    elo = f"Elo on the ladder of {game.name}: {rated.elo:.0f} ({low} to {high}; {counted})."
    notes = [f"Left out: {line}" for line in rated.skipped]
    notes += [f"Lost without a legal move: {line}" for line in rated.forfeits]
    lines = ["", elo, *(line for note in notes for line in ("", note))]
    figure = Result("elo", round(rated.elo), f"Elo, {_search()}", f"ladder of {game.name}")
    return _Rating(lines, figure)


def _row(opponent: str, agent: Standing, counted: str) -> str:
    elo = f"{agent.elo:+.0f} ({_bound(agent.elo_low)} to {_bound(agent.elo_high)})"
    return f"| {opponent} | {counted} | {agent.wins} | {agent.draws} | {agent.losses} | {elo} |"


def _bound(bound: float | None, form: str = "{:+.0f}") -> str:
    return "open" if bound is None else form.format(bound)


def _progress(report: Report, name: str) -> arena.Progress:
    return lambda done, total: report(name, total, done)
