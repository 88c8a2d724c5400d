"""The strength of an exported agent, measured and written into its model card."""

import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import games
from alphazero import agents
from alphazero.judging import arena, ladder, players
from alphazero.judging.arena import count_games
from alphazero.judging.ratings import Standing
from games.base import Game
from games.spec import split

OPPONENTS = ("random", "mcts:simulations=200")
"""Those of every game; where there is a ladder, the agent is rated on it, too."""
SAME_EVERYWHERE = "backend=torch,precision=float32,device=cpu"
"""Options of the measured player, so that the printed commands repeat its games elsewhere."""

Report = Callable[[str, int, int], None]
"""Called with the name of a match, the number of its games and of those that are finished."""


def game_of(spec: str, source: Path, allow: Sequence[str]) -> Game:
    """The game ``spec`` that the agent at ``source`` names.

    ``ValueError``, one line: it is a module of the user's own that is not in ``allow``.
    """
    if split(spec)[0] not in games.registered() and spec not in allow:
        raise ValueError(
            f"{source} plays {spec}, which is not a game of this program: --allow {spec} "
            "imports it, to measure the agent"
        )
    return games.make(spec)


def measure(game: Game, folder: Path, number: int, report: Report) -> str:
    """The text of a card's section on strength, after ``number`` games against each opponent.

    ``folder`` is the agent. ``ValueError``, one line: it cannot be loaded.
    """
    spec = f"checkpoint:path={folder},simulations={agents.SIMULATIONS},{SAME_EVERYWHERE}"
    player = players.make(spec, game)
    rows, commands = [], []
    for opponent in OPPONENTS:
        pair = [player, players.make(opponent, game)]
        progress = _progress(report, opponent)
        played = arena.play(game, pair, number, 0, progress=progress)
        rows.append(_row(opponent, played.players[0], played.counted()))
        words = ["alphazero", "arena", spec, opponent, "--game", game.name, "--games", str(number)]
        commands.append(shlex.join(words))
    lines = [
        f"Matches with {agents.SIMULATIONS} simulations per move, seats swapped, each from random "
        "opening moves. The intervals are of 95 %; equal games count as one in them.",
        "",
        "| opponent | games | wins | draws | losses | Elo above it |",
        "|---|---|---|---|---|---|",
        *rows,
        *_rating(game, spec, number, report, commands),
        "",
        "Measured by",
        "",
        *(f"    {command}" for command in commands),
    ]
    return "\n".join(lines) + "\n"


def _rating(
    game: Game, spec: str, number: int, report: Report, commands: list[str]
) -> Iterator[str]:
    """A paragraph on the agent's Elo on the game's ladder, whose command is added; or nothing."""
    if not (ladder.FOLDER / f"{game.name}.json").is_file():
        return
    player, rungs = players.make(spec, game), ladder.load(game)
    rated = ladder.rate(game, player, rungs, number, progress=_progress(report, "ladder"))
    low, high = _bound(rated.elo_low, "{:.0f}"), _bound(rated.elo_high, "{:.0f}")
    counted = count_games(rated.games, rated.distinct_games)
    yield ""
    yield f"Elo on the ladder of {game.name}: {rated.elo:.0f} ({low} to {high}; {counted})."
    words = ["alphazero", "ladder", game.name, spec, "--games", str(number)]
    commands.append(shlex.join(words))


def _row(opponent: str, agent: Standing, counted: str) -> str:
    elo = f"{agent.elo:+.0f} ({_bound(agent.elo_low)} to {_bound(agent.elo_high)})"
    return f"| {opponent} | {counted} | {agent.wins} | {agent.draws} | {agent.losses} | {elo} |"


def _bound(bound: float | None, form: str = "{:+.0f}") -> str:
    return "open" if bound is None else form.format(bound)


def _progress(report: Report, name: str) -> arena.Progress:
    return lambda done, total: report(name, total, done)
