"""Matches of a run's checkpoints, mistakes of its network, and its games as text."""

from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

import games
from alphazero.config import Config
from alphazero.judging import arena, mistakes, players
from alphazero.judging.arena import ArenaResult
from alphazero.nn.weights import Weights
from alphazero.types import GameRecord
from games.base import Game

OPENING_PLIES = 2
"""Random moves before a match's games begin, so that they differ."""
SAMPLED = ("opening_medium", "opening_hard", "middle_medium")
"""The sets of the suite that tell most while a run lasts."""
SAMPLE = 200
"""Positions of each."""


def check(settings: Config) -> None:
    """``ValueError``, one line, for what would otherwise come up at the first match."""
    try:
        players.check(settings.evaluation.opponent, games.make(settings.game))
    except ValueError as error:
        raise ValueError(f"evaluation.opponent: {error}") from None
    try:
        settings.search.without_noise(settings.evaluation.simulations)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise ValueError(f"evaluation.simulations: {reason} for {settings.search.kind}") from None


def match(path: Path, settings: Config) -> ArenaResult:
    """The checkpoint at ``path`` against ``settings.evaluation.opponent``."""
    game, asked = games.make(settings.game), settings.evaluation
    name = f"{path.name} with {asked.simulations} simulations"
    agent = players.from_checkpoint(game, name, path=path, simulations=asked.simulations)
    pair = [agent, players.make(asked.opponent, game)]
    return arena.play(game, pair, asked.games, settings.seed, OPENING_PLIES)


class Sample:
    """Counts a network's mistakes, without search, in a part of the game's suite."""

    def __init__(self, settings: Config):
        """``ValueError`` where there is no suite of the game."""
        from alphazero.inference import NetworkEvaluator  # torch, which takes seconds to import

        self._game = games.make(settings.game)
        sets = mistakes.load_suite(self._game, SAMPLED)
        self._sets = {name: positions.head(SAMPLE) for name, positions in sets.items()}
        # Other backends take longer to build, for each new weights, than they save.
        inference = replace(settings.inference, backend="torch", precision="float32")
        self._network = NetworkEvaluator(self._game, settings.network, inference)
        self._player = players.policy_player("network", self._network, self._game)

    def figures(self, weights: Weights, step: int) -> dict[str, float]:
        """For the metrics: the share of mistakes in each set, with the weights of ``step``."""
        self._network.load(weights, step)
        return {
            f"policy_mistakes/{name}": mistakes.evaluate(
                self._player, positions, self._game, seed=0
            )["mistake_rate"]
            for name, positions in self._sets.items()
        }


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
