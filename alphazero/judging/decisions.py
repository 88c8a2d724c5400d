"""Players: their decisions, and what players with a search or a network have in common.

``players`` makes them from texts such as ``minimax:depth=5``.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from alphazero.cache import CachedEvaluator, EvaluationCache
from alphazero.encoders import played_states
from alphazero.judging.agent import CACHED_POSITIONS, Agent
from alphazero.search import check_going, continues_trees, strongest_moves
from alphazero.search.reuse import KeptTrees
from alphazero.search.tree import Tree
from alphazero.types import Evaluator, Generators, Limits, Lines, Search, SearchResult
from games.base import Game, States

RESIGNED = ""
"""The reason of a player that gives its game up, in ``Decision.forfeits``."""


class Decision(NamedTuple):
    """A player's moves in ``B`` positions and, where the player has them, its estimates."""

    action: NDArray[np.int64]
    """``[B]``, one legal action per position."""
    policy: NDArray[np.float32] | None = None
    """``[B, A]``, the player's preference for each move; each row sums to one."""
    value: NDArray[np.float32] | None = None
    """``[B]`` in [-1, 1], the expected outcome for the player about to move."""
    visits: NDArray[np.int32] | None = None
    """``[B, A]``, the number of simulations that began with each move."""
    tree: Tree | None = None
    """The ``B`` trees of the search; ``judging.variations`` reads them."""
    forfeits: dict[int, str] | None = None
    """The positions, by their index, in which the player has lost its game instead of moving.

    Each with the reason: ``RESIGNED``, or words that complete "it ...", such as "played E4, which
    is illegal". Its ``action`` there is not to be played.
    """


Decide = Callable[[States, Generators, Limits, Lines | None], Decision]
"""``decide(states, rngs, limits, lines)``; a player without a search ignores the last two."""


class Evaluations(NamedTuple):
    """Positions that a player's searches have needed since it was made."""

    needed: int
    """Those to be evaluated."""
    computed: int
    """Those of them that the network evaluated; the others were in the player's cache."""


@dataclass(frozen=True, slots=True)
class Player:
    """Chooses moves in positions ``[B]``, none of them finished, with one generator per position.

    The same positions and generators give the same decision, up to floating-point rounding where a
    network evaluates batches of another size, unless the player is limited in time or keeps trees
    from move to move. For one thread at a time.
    """

    name: str
    """The text from which it was made."""
    decide: Decide
    simulations: int = 0
    """Simulations of its tree search per move; 0 without a tree search, or without such a limit."""
    inference: str = ""
    """The backend, precision and device of its network, in one line; empty without a network."""
    trained_in: str = ""
    """The game that its network was trained in, where its komi is another one; else empty."""
    limits: Limits = Limits()
    """The limits of each call that gives none of its own."""
    cache: EvaluationCache | None = None
    """The last evaluations of its network; None without one."""
    program: str = ""
    """The name and version of the program that plays, as it states them; empty for our own."""
    close: Callable[[], object] = tuple
    """Ends the programs that play; without them it does nothing. They end with Python, too."""

    def __call__(
        self,
        states: States,
        rngs: Generators,
        limits: Limits = Limits(),
        lines: Lines | None = None,
    ) -> Decision:
        """The player's moves in ``states [B]``.

        A limit given here replaces the player's own of the same kind. Searches and minimax keep
        them; ``random``, ``solver`` and ``policy`` take the time that they need. ``lines`` are the
        moves that led to each position; with them a search can continue its earlier trees.
        """
        own = self.limits
        simulations = own.simulations if limits.simulations is None else limits.simulations
        seconds = own.seconds if limits.seconds is None else limits.seconds
        return self.decide(states, rngs, Limits(simulations, seconds, limits.watch), lines)

    def evaluations(self) -> Evaluations:
        """How many positions its searches have needed; zeros without a cached network."""
        return Evaluations(self.cache.lookups, self.cache.misses) if self.cache else NO_EVALUATIONS


NO_EVALUATIONS = Evaluations(0, 0)


def search_player(
    name: str,
    search: Search,
    evaluate: Evaluator,
    game: Game,
    limits: Limits = Limits(),
    reuse_tree: bool = False,
) -> Player:
    """A player that moves by ``search`` with ``evaluate`` behind a cache.

    ``game`` is the one whose states ``evaluate`` reads, see ``encoders.played_game``.
    ``evaluate`` must give the same result for a position in every call. ``limits`` are the
    player's own; without any it does the simulations of ``search``. With ``reuse_tree`` a search
    that can continue a tree (PUCT) keeps those of its last calls.
    """
    cached = (
        evaluate
        if isinstance(evaluate, CachedEvaluator)
        else CachedEvaluator(game, evaluate, CACHED_POSITIONS)
    )
    trees = KeptTrees() if reuse_tree and continues_trees(search) else None

    def decide(states: States, rngs: Generators, limits: Limits, lines: Lines | None) -> Decision:
        states = played_states(game, states, lines)
        if trees is None or lines is None:
            return decision(strongest_moves(search, game, states, rngs, cached, limits))
        kept = trees.lookup(lines)
        result = strongest_moves(search, game, states, rngs, cached, limits, kept)
        if result.tree is not None:
            trees.store(lines, result.tree)
        return decision(result)

    return Player(
        name,
        decide,
        simulations=0 if only_time(limits) else search.simulations,
        limits=limits,
        cache=cached.cache,
    )


def agent_player(
    name: str, agent: Agent, limits: Limits = Limits(), reuse_tree: bool = True
) -> Player:
    """The player that moves as ``agent`` does; the arguments are those of ``search_player``."""
    player = search_player(name, agent.search, agent.evaluate, agent.played, limits, reuse_tree)
    return replace(player, inference=agent.inference, trained_in=agent.trained_in)


def policy_player(name: str, evaluate: Evaluator, game: Game) -> Player:
    """A player without search: the legal move to which ``evaluate`` gives the highest logit.

    Of several it is any, at random. ``game`` is the one whose states ``evaluate`` reads, see
    ``encoders.played_game``.
    """

    def decide(states: States, rngs: Generators, _: Limits, lines: Lines | None) -> Decision:
        states = played_states(game, states, lines)
        legal = game.legal(states)
        check_going(legal)
        evaluation = evaluate(states)
        logits = np.where(legal, evaluation.logits, -np.inf)
        highest = logits.max(axis=1, keepdims=True)
        action = any_of(logits == highest, rngs)
        return Decision(action, spread(np.exp(logits - highest)), evaluation.value)

    return Player(name, decide)


def only_time(limits: Limits) -> bool:
    """Whether only the time ends a search with these limits."""
    return limits.simulations is None and limits.seconds is not None


def decision(result: SearchResult) -> Decision:
    """The moves and estimates of a search."""
    return Decision(result.action, result.policy, result.value, result.visits, result.tree)


def best_of(scores: NDArray, value: NDArray, rngs: Generators) -> Decision:
    """Any of the moves with the highest score; ``scores [B, A]`` are NaN where illegal."""
    check_going(~np.isnan(scores))
    best = scores == np.nanmax(scores, axis=1, keepdims=True)
    value = np.clip(value, -1, 1).astype(np.float32)
    return Decision(any_of(best, rngs), spread(best), value)


def any_of(allowed: NDArray[np.bool_], rngs: Generators) -> NDArray[np.int64]:
    """``[B]``: one of the allowed actions of each row, all with the same probability."""
    check_going(allowed)
    return np.array(
        [rng.choice(np.flatnonzero(row)) for row, rng in zip(allowed, rngs, strict=True)],
        dtype=np.int64,
    )


def spread(weight: NDArray) -> NDArray[np.float32]:
    """``[B, A]``: the weights of each row, divided by their sum."""
    return (weight / weight.sum(axis=1, keepdims=True)).astype(np.float32)
