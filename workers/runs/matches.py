"""Measures of a run's strength: matches of its checkpoints, and mistakes of its network."""

from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

import games
from alphazero import records
from alphazero.config import Config
from alphazero.errors import requirement
from alphazero.judging import arena, board, decisions, lines, mistakes, players
from alphazero.judging.arena import ArenaResult
from alphazero.judging.ratings import Standing
from alphazero.nn.weights import Weights
from alphazero.parts import addresses_of, game_of, search_of
from alphazero.types import Ending, GameRecord
from games.base import Game
from games.drawing import STONES
from workers.terminal.output import counted

SAMPLED_SETS = ("opening_medium", "opening_hard", "middle_medium")
"""The sets of the suite whose results change most during a run."""
SAMPLED_POSITIONS = 200
"""Positions of each set."""


def check(settings: Config) -> None:
    """Check the settings that are used at the first match; ``ValueError``, one line.

    Without this check such an error would end a run after minutes or hours.
    """
    try:
        players.check(settings.evaluation.opponent, games.make(settings.game))
    except ValueError as error:
        raise ValueError(f"evaluation.opponent: {error}") from None
    try:
        search_of(settings).without_noise(settings.evaluation.simulations)
    except ValidationError as error:
        reason = requirement(error.errors()[0])
        raise ValueError(f"evaluation.simulations: {reason} for {settings.search.kind}") from None


def play_match(path: Path, settings: Config) -> ArenaResult:
    """Play the checkpoint at ``path`` against ``settings.evaluation.opponent``."""
    game, evaluation = games.make(settings.game), settings.evaluation
    name = f"{path.name} with {evaluation.simulations} simulations"
    # The addresses in the run's own settings are those that its user wrote.
    allow, simulations = tuple(addresses_of(settings).values()), evaluation.simulations
    agent = players.from_checkpoint(game, name, allow, path=path, simulations=simulations)
    pair = [agent, players.make(evaluation.opponent, game, allow=allow, downloads=False)]
    return arena.play(game, pair, evaluation.games, settings.seed)


def as_metrics(result: ArenaResult) -> dict[str, float]:
    """The agent's share of the points, in [0, 1], its Elo above the opponent and its interval.

    The interval has no entry for an open end.
    """
    agent = result.players[0]
    bounds = {"elo_low": agent.elo_low, "elo_high": agent.elo_high}
    return {
        "arena_score": agent.score,
        "elo": agent.elo,
        **{name: bound for name, bound in bounds.items() if bound is not None},
        "arena_games": result.games,
        "arena_distinct_games": result.distinct_games,
    }


def elo_words(agent: Standing) -> str:
    """The Elo of one of two players in words; only its bound where it won or lost every game."""
    low, high = agent.elo_low, agent.elo_high
    if high is None:
        return f"more than {low:+.0f} Elo with 95 %"
    if low is None:
        return f"less than {high:+.0f} Elo with 95 %"
    return f"{agent.elo:+.0f} Elo, 95 % {low:+.0f} to {high:+.0f}"


def summary(result: ArenaResult) -> str:
    """The result of a match in one line."""
    agent, opponent = result.players
    return (
        f"{counted(agent.wins, 'win')}, {counted(agent.draws, 'draw')} and "
        f"{counted(agent.losses, 'loss', 'es')} against {opponent.name} "
        f"({agent.score:.0%} of the points, {elo_words(agent)}; {result.counted()})"
    )


class SuiteSample:
    """Measures a network's mistakes, without search, in a part of the game's suite."""

    def __init__(self, settings: Config):
        """``ValueError`` where the game has no suite."""
        from alphazero.inference import NetworkEvaluator  # torch, which takes seconds to import

        self._game = games.make(settings.game)
        sets = mistakes.load_suite(self._game, SAMPLED_SETS)
        self._sets = {name: positions.head(SAMPLED_POSITIONS) for name, positions in sets.items()}
        # Other backends take longer to load new weights than they save in so few positions.
        inference = replace(settings.inference, backend="torch", precision="float32")
        self._network = NetworkEvaluator(self._game, settings.network, inference)
        self._player = decisions.policy_player("network", self._network, game_of(settings))

    def measure(self, weights: Weights, step: int) -> dict[str, float]:
        """The share of mistakes in each set, in [0, 1], with the weights of ``step``."""
        self._network.load(weights, step)
        return {
            f"policy_mistakes/{name}": mistakes.evaluate(
                self._player, positions, self._game, seed=0
            )["mistake_rate"]
            for name, positions in self._sets.items()
        }


ENDINGS = {
    Ending.RULES: "over",
    Ending.PROVEN: "proven",
    Ending.RESIGNED: "resigned",
    Ending.LENGTH: "ended at max_plies",
}
"""The words for the end of a game before its result."""


def game_as_text(game: Game, record: GameRecord) -> str:
    """A game's moves, its last position, and how it ended, as ``proven: O loses``.

    A game of which the search has proven the result, or in which a player resigned, ended with
    that search: the move that the search chose besides is left out.
    """
    state, actions = records.states_of(record.rows[-1:]), record.actions
    result, mover = int(record.rows["outcome"][-1]), int(game.to_move(state)[0])
    if record.ending in (Ending.PROVEN, Ending.RESIGNED):
        actions = actions[:-1]
    else:
        state = game.step(state, actions[-1:])
    last = int(actions[-1]) if len(actions) else None
    shown = board.as_text(game.drawing(state[0], last)).plain
    moves = " ".join(lines.notation(game, game.initial(1), actions))
    verdict = {1: f"{STONES[mover]} wins", 0: "a draw", -1: f"{STONES[mover]} loses"}[result]
    return f"{moves}\n{shown}\n{ENDINGS[record.ending]}: {verdict}"
