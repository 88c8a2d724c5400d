"""Matches of a run's checkpoints, and its games as text."""

from pathlib import Path

from pydantic import ValidationError

import games
from alphazero import arena, players
from alphazero.arena import ArenaResult
from alphazero.config import Config
from alphazero.types import GameRecord
from games.base import Game

OPENING_PLIES = 2
"""Random moves before a match's games begin, so that they differ."""


def check(settings: Config) -> None:
    """``ValueError``, one line, for what would otherwise come up at the first match."""
    try:
        players.check(settings.evaluation.opponent, games.make(settings.game))
    except ValueError as error:
        raise ValueError(f"evaluation.opponent: {error}") from None
    try:
        settings.search.for_play(settings.evaluation.simulations)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise ValueError(f"evaluation.simulations: {reason} for {settings.search.kind}") from None


def match(path: Path, settings: Config) -> ArenaResult:
    """The checkpoint at ``path`` against ``settings.evaluation.opponent``."""
    game, evaluation = games.make(settings.game), settings.evaluation
    name = f"{path.name} with {evaluation.simulations} simulations"
    agent = players.from_checkpoint(game, name, path=path, simulations=evaluation.simulations)
    pair = [agent, players.make(evaluation.opponent, game)]
    return arena.play(game, pair, evaluation.games, settings.seed, OPENING_PLIES)


def figures(result: ArenaResult) -> dict[str, float]:
    """For the metrics: the agent's share of points and its Elo above the opponent."""
    agent = result.players[0]
    return {"arena_score": agent.score, "elo": agent.elo}


def sentence(result: ArenaResult) -> str:
    agent, opponent = result.players
    return (
        f"{agent.wins} wins, {agent.draws} draws and {agent.losses} losses against {opponent.name} "
        f"({agent.score:.0%} of the points, {agent.elo:+.0f} Elo)"
    )


def as_text(game: Game, record: GameRecord) -> str:
    """One game: its moves, result and last recorded position."""
    moves = " ".join(game.action_to_text(int(action)) for action in record.actions)
    result = {1: "won", 0: "drew", -1: "lost"}[int(record.outcome[0])]
    first = "XO"[int(game.to_move(record.states[:1])[0])]
    return f"{moves}\n{first} {result}; before the last move:\n{game.render(record.states[-1])}"
