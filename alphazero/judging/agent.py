"""Trained agents: a checkpoint's network with its game, and the analysis of single positions."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from pydantic import ValidationError

import games
from alphazero import agents, cache, sealed
from alphazero.config import InferenceSettings
from alphazero.search import strongest_moves
from alphazero.types import Evaluator, Generators, Search, SearchResult
from games import solvers
from games.base import Game, States

if TYPE_CHECKING:
    from alphazero.checkpoint import Checkpoint
    from alphazero.inference import NetworkEvaluator

CACHED_POSITIONS = 2**16
"""Positions whose evaluation a searching agent keeps; 5 MB in Connect Four, 20 in Othello."""


class TrainedNetwork(NamedTuple):
    """A checkpoint and its network, which evaluates positions of ``game``."""

    game: Game
    checkpoint: "Checkpoint"
    evaluate: "NetworkEvaluator"

    def cached(self) -> cache.CachedEvaluator:
        """``evaluate`` behind a new cache of the last positions; for one thread at a time."""
        return cache.CachedEvaluator(self.game, self.evaluate, CACHED_POSITIONS)


@dataclass(frozen=True, slots=True)
class MoveEvaluation:
    """One legal move of an analysed position."""

    move: str
    """In the notation of the game's players."""
    action: int
    """The same as an index into the game's actions, counted from 0."""
    probability: float
    """The move's share of the search's policy, in [0, 1]; all moves together sum to 1."""
    visits: int
    """Simulations that began with this move."""
    value: float | None
    """Mean result expected after it, in [-1, 1] for the player who makes it; None where the search
    did not visit the move."""


@dataclass(frozen=True, slots=True)
class Analysis:
    """The result of one search in one position, seen by the player about to move."""

    move: str
    """The best move, in the notation of the game's players."""
    action: int
    """The same as an index into the game's actions, counted from 0."""
    value: float
    """Expected result, in [-1, 1]: +1 a win, 0 a draw, -1 a loss."""
    proven: bool
    """Whether the search has proven ``value``: it is the result under best play."""
    moves: tuple[MoveEvaluation, ...]
    """All legal moves: the best one, then the others by visits and by probability."""


@dataclass(frozen=True, slots=True)
class Agent:
    """A trained network with a tree search. ``load_agent`` makes one. For one thread at a time."""

    name: str
    """The source it was loaded from."""
    game: Game
    search: Search
    """Without exploration noise, one leaf per batch of a tree."""
    evaluate: Evaluator
    """The network, behind a cache of the last positions."""
    checkpoint: "Checkpoint"
    """Weights, optimizer step and the configuration of the training."""
    inference: str
    """Backend, precision and device of the network, in one line."""

    def analyse(self, moves: str | Sequence[int | str] = "") -> Analysis:
        """Search the position after ``moves`` from the start.

        ``moves`` is a text or a list. Numbers are actions counted from 1, other words moves in the
        game's notation: ``"4453"`` and ``[4, 4, 5, 3]`` in Connect Four, ``"d3 c5"`` in Othello.
        Texts are split into digits where the game has fewer than ten actions, else at spaces.
        Equal calls give equal results. ``ValueError``, one line: a move that cannot be played, or
        the game is over.
        """
        states = position_after(self.game, moves)
        leaves = leaves_for_single_game(self.search.simulations)
        rngs = [np.random.default_rng(0)]
        return _analysis(self.game, states, self.search_positions(states, rngs, leaves))

    def search_positions(
        self, states: States, rngs: Generators | None = None, leaves: int = 1
    ) -> SearchResult:
        """The search's result in ``states [B]``, none finished; its ``action [B]`` are the moves.

        ``rngs`` are one generator per position, by default each seeded with 0. ``leaves`` of each
        tree are evaluated in one batch; more than one is faster where ``B`` is small.
        """
        search = self.search.without_noise(leaves=leaves)
        rngs = [np.random.default_rng(0) for _ in states] if rngs is None else rngs
        return strongest_moves(search, self.game, states, rngs, self.evaluate)


def load_agent(
    source: str | Path,
    game: Game | None = None,
    *,
    simulations: int | None = None,
    search: Search | None = None,
    inference: InferenceSettings | None = None,
) -> Agent:
    """The trained agent at ``source`` with its search.

    ``source`` is the name of a game whose agent comes with the program (``connect_four``), or the
    path of a run, of one of its checkpoints or of an exported agent. ``game`` is only needed where
    ``games.make`` cannot make the game of the agent's configuration. ``simulations`` per move are
    600 unless given. ``search`` replaces the search of the agent's configuration. ``inference``
    chooses backend and device; by default the network computes in float32 on the CPU.

    ``ValueError``, one line: there is no such agent, its files are damaged, it plays another game,
    or ``simulations`` are too few for the search.
    """
    network = load_network(find(source), game, inference)
    search = network.checkpoint.config.search if search is None else search
    try:
        search = search.without_noise(agents.SIMULATIONS if simulations is None else simulations)
    except ValidationError as error:
        raise ValueError(f"simulations={simulations}: {error.errors()[0]['msg']}") from None
    return Agent(
        name=str(source),
        game=network.game,
        search=search,
        evaluate=network.cached(),
        checkpoint=network.checkpoint,
        inference=network.evaluate.description,
    )


def find(source: str | Path) -> Path:
    """The folder of an agent: a bundled agent's by the name of its game, else the path itself.

    A run or an agent in a folder of that name in the current folder has precedence. ``ValueError``,
    one line: there is neither.
    """
    path = Path(source)
    if isinstance(source, str) and source in agents.names() and not _holds_agent(path):
        return agents.find(source)
    if not path.exists():
        raise ValueError(
            f"there is no agent {str(source)!r}: give the folder of a run, of a checkpoint or of "
            f"an exported agent, or a game with a bundled agent: {', '.join(agents.names())}"
        )
    return path


def _holds_agent(path: Path) -> bool:
    return (path / sealed.MANIFEST).exists() or (path / "checkpoints").is_dir()


def load_network(
    path: Path, game: Game | None = None, inference: InferenceSettings | None = None
) -> TrainedNetwork:
    """The checkpoint at ``path``, or the newest one of the run at ``path``, and its network.

    Without ``inference`` the backend is chosen without a timing, which suits few positions per
    call. Damaged checkpoints that are newer are named on stderr. ``ValueError``, one line: there is
    no valid checkpoint, or it was trained in a game other than ``game``.
    """
    # Torch takes seconds to import; players without a network do not need it.
    from alphazero import checkpoint
    from alphazero.inference import NO_TIMING, NetworkEvaluator

    loaded = checkpoint.load(checkpoint.resolve(path, partial(print, file=sys.stderr)))
    spec = loaded.config.game
    if game is None or spec != game.name:
        trained = games.make(spec)
        if game is not None and trained.name != game.name:
            raise ValueError(f"{loaded.path} plays {trained.name}, not {game.name}")
        game = game or trained
    evaluator = NetworkEvaluator(game, loaded.config.network, inference or NO_TIMING)
    evaluator.load(loaded.weights, loaded.step)
    return TrainedNetwork(game, loaded, evaluator)


def leaves_for_single_game(simulations: int) -> int:
    """How many leaves to evaluate in one batch where a single position is searched.

    As many as cost no strength: at 400 simulations, 8 leaves were as strong as one (-1 Elo), 16
    were not (-15; 32: -151).
    """
    return min(8, max(1, simulations // 50))


def position_after(game: Game, moves: str | Sequence[int | str]) -> States:
    """``[1]``: the unfinished position after ``moves``, which are written as for ``analyse``."""
    words = solvers.moves(game, moves) if isinstance(moves, str) else moves
    numbers = [_number(game, word) for word in words]
    return solvers.unfinished(game, [solvers.separator(game).join(numbers)])


def _number(game: Game, word: int | str) -> str:
    """The action of a move, counted from 1."""
    text = str(word).strip()
    if not (text.isascii() and text.isdigit()):
        return str(game.text_to_action(text) + 1)
    number = int(text)
    if number > game.num_actions:  # joined with the others, 44 would be read as 4 and 4
        raise ValueError(
            f"there is no action {number} in {game.name}, only 1 to {game.num_actions}"
        )
    return str(number)


def _analysis(game: Game, states: States, result: SearchResult) -> Analysis:
    best, policy, visits = int(result.action[0]), result.policy[0], result.visits[0]
    legal = np.flatnonzero(game.legal(states)[0]).tolist()
    order = sorted(legal, key=lambda action: (action != best, -visits[action], -policy[action]))
    values = result.action_value[0]
    return Analysis(
        move=game.action_to_text(best),
        action=best,
        value=float(result.value[0]),
        proven=result.proven is not None and bool(result.proven[0]),
        moves=tuple(
            MoveEvaluation(
                move=game.action_to_text(action),
                action=action,
                probability=float(policy[action]),
                visits=int(visits[action]),
                value=None if np.isnan(values[action]) else float(values[action]),
            )
            for action in order
        ),
    )
