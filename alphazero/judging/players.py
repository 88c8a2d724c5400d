"""The kinds of players: one constructor per kind, named by a text such as ``minimax:depth=5``.

Players choose moves in batches of positions; their randomness comes with the call. All that a
player keeps between calls is a cache of its network's evaluations, so that the next call does not
evaluate the same positions again.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, ValidationError, validate_call

from alphazero import agents, cache, evaluators
from alphazero.config import Count, InferenceSettings, Natural
from alphazero.judging.agent import (
    CACHED_POSITIONS,
    TrainedNetwork,
    leaves_for_single_game,
    load_network,
)
from alphazero.search import strongest_moves
from alphazero.search.gumbel import Gumbel
from alphazero.search.puct import PUCT
from alphazero.types import Evaluator, Generators, Search
from games import solvers
from games.base import Game, States
from games.solvers import minimax as exact
from games.spec import parse_options, split, suggest

ROLLOUT_SEARCH = PUCT(c_puct=3.0, fpu_reduction=0.0, proofs=False).without_noise()
"""The search of ``mcts``. The result of one random game is a coarser value than a network's and
needs more exploration: of c_puct 1.25 to 5, 3 made the fewest mistakes on solved Connect Four
openings (23 % at 200 simulations)."""


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


@dataclass(frozen=True, slots=True)
class Player:
    """Chooses moves in positions ``[B]``, none of them finished, with one generator per position.

    The same positions and generators give the same decision, up to floating-point rounding where a
    network evaluates batches of another size. For one thread at a time.
    """

    name: str
    """The text from which it was made."""
    decide: Callable[[States, Generators], Decision]
    simulations: int = 0
    """Simulations of its tree search per move; 0 without a tree search."""
    inference: str = ""
    """The backend, precision and device of its network, in one line; empty without a network."""

    def __call__(self, states: States, rngs: Generators) -> Decision:
        return self.decide(states, rngs)


def default(game: Game) -> str:
    """The text of the opponent of a human who names none.

    The bundled agent where the game has one, else tree search without a network.
    """
    if game.name in agents.names():
        return f"checkpoint:simulations={agents.SIMULATIONS}"
    return "mcts:simulations=1000"


def make(spec: str, game: Game, leaves: str = "1") -> Player:
    """Build the player named by ``spec``: ``kind[:key=value,...]``; ``KINDS`` has the kinds.

    ``leaves`` is the default of the option of that name: ``auto`` suits a player that gets one
    position per call. ``ValueError``, one line: an unknown kind or option, a bad value, no usable
    checkpoint.
    """
    kind, options = parse(spec)
    if "leaves" in inspect.signature(KINDS[kind]).parameters:
        options.setdefault("leaves", leaves)
    try:
        return KINDS[kind](game, spec, **options)
    except ValidationError as error:
        raise ValueError(f"player {spec!r}: {_describe(error)}") from None
    except ValueError as error:
        raise ValueError(f"player {spec!r}: {error}") from None


def check(spec: str, game: Game) -> None:
    """Raise ``ValueError`` where ``make`` would, without loading a network: its path must exist."""
    kind, options = parse(spec)
    if "path" not in inspect.signature(KINDS[kind]).parameters:
        make(spec, game)
    elif "path" not in options:
        agents.find(game.name)
    elif not Path(options["path"]).exists():
        raise ValueError(f"player {spec!r}: path={options['path']}: there is no such file")


def parse(spec: str) -> tuple[str, dict[str, str]]:
    """Split ``kind[:key=value,...]`` into a known kind and its known options, still as text.

    ``"minimax:depth=5"`` gives ``("minimax", {"depth": "5"})``. ``ValueError``, one line: an
    unknown kind, an unknown option, or one without a value or given twice.
    """
    kind, rest = split(spec)
    if kind not in KINDS:
        raise ValueError(f"player {spec!r}: there is no kind {kind!r}; {suggest(kind, KINDS)}")
    parameters = inspect.signature(KINDS[kind]).parameters.values()
    known = [parameter.name for parameter in parameters if parameter.kind == parameter.KEYWORD_ONLY]
    options: dict[str, str] = {}
    for key, value, _ in parse_options(rest):
        if key not in known:
            raise ValueError(f"player {spec!r}: there is no option {key!r}; {suggest(key, known)}")
        if not value or key in options:
            raise ValueError(f"player {spec!r}: {key} needs one value: {key}=...")
        options[key] = value
    return kind, options


def _describe(error: ValidationError) -> str:
    """The first error of pydantic in one line that names the option and its value."""
    first = error.errors()[0]
    name = first["loc"][0]
    if first["type"].startswith("missing"):
        return f"needs {name}=..."
    return f"{name}={first['input']}: {first['msg']}"


_constructor = validate_call(config=ConfigDict(arbitrary_types_allowed=True))
"""Converts a constructor's keyword arguments, which are a player's options, from text."""


@_constructor
def _random(game: Game, name: str) -> Player:
    """Plays every legal move with the same probability."""

    def decide(states: States, rngs: Generators) -> Decision:
        legal = game.legal(states)
        return Decision(_any_of(legal, rngs), _spread(legal))

    return Player(name, decide)


@_constructor
def _mcts(game: Game, name: str, *, simulations: Count = 800) -> Player:
    """Tree search without a network: uniform priors, one random game per leaf as its value."""
    algorithm = replace(ROLLOUT_SEARCH, simulations=simulations)

    def decide(states: States, rngs: Generators) -> Decision:
        rng = np.random.default_rng([int(rng.integers(2**63)) for rng in rngs])
        return decide_by_search(algorithm, evaluators.rollout(game, rng), game, states, rngs)

    return Player(name, decide, simulations)


@_constructor
def _minimax(game: Game, name: str, *, depth: Count = 5) -> Player:
    """Full-width minimax ``depth`` plies deep; plays any of the best moves, at random."""
    heuristic = solvers.heuristic(game)

    def decide(states: States, rngs: Generators) -> Decision:
        value, move_values = exact.search(game, states, depth, heuristic)
        return _best(move_values, value, rngs)

    return Player(name, decide)


@_constructor
def _solver(
    game: Game,
    name: str,
    *,
    slack: Natural = 0,
    errors: Annotated[float, Field(ge=0, le=1)] = 0.0,
) -> Player:
    """Plays perfectly: any of the moves with the best score, at random.

    ``slack`` adds the moves that keep the result and whose score is at most so much below the best.
    In Connect Four that is a win up to ``slack`` of the winner's stones later, or a loss as much
    sooner: with scores 5, 4, 3, 0 and slack 1 the first two moves are played, with slack 9 the
    first three. With probability ``errors``, drawn for each move, it plays any legal move instead,
    all with the same probability, the best ones included.
    """
    solvers.scores(game, game.initial(0))  # raises ValueError for a game without a solver

    def decide(states: States, rngs: Generators) -> Decision:
        best, scores = solvers.scores(game, states)
        legal, result = ~np.isnan(scores), np.sign(best)
        sound = (np.sign(scores) == result[:, None]) & (best[:, None] - scores <= slack)
        errs = np.array([rng.random() < errors for rng in rngs])
        action = _any_of(np.where(errs[:, None], legal, sound), rngs)
        policy = (1 - errors) * _spread(sound) + errors * _spread(legal)
        return Decision(action, policy.astype(np.float32), result.astype(np.float32))

    return Player(name, decide)


@_constructor
def from_checkpoint(
    game: Game,
    name: str,
    *,
    path: Path | None = None,
    simulations: Count | None = None,
    search: Literal["gumbel", "puct"] | None = None,
    leaves: Count | Literal["auto"] = 1,
) -> Player:
    """A trained network with tree search; options that are not given are those of its training.

    Without ``path`` it is the bundled agent. Backend and precision are those that a timing finds
    fastest on this machine. ``leaves`` of a tree are evaluated in one batch; ``auto`` is the number
    of ``leaves_for_single_game``, and a backend chosen without a timing.
    """
    _, trained, evaluate = _network(path, game, single=leaves == "auto")
    algorithm: Search = trained.config.search
    if search not in (None, trained.config.search.kind):
        algorithm = {"gumbel": Gumbel, "puct": PUCT}[search]()
    algorithm = algorithm.without_noise(simulations)
    if leaves == "auto":
        leaves = leaves_for_single_game(algorithm.simulations)
    algorithm = algorithm.without_noise(leaves=leaves)
    return replace(search_player(name, algorithm, evaluate, game), inference=evaluate.description)


def search_player(name: str, algorithm: Search, evaluate: Evaluator, game: Game) -> Player:
    """A player that moves by the search ``algorithm`` with ``evaluate`` behind a cache.

    ``evaluate`` must give the same result for a position in every call.
    """
    cached = cache.CachedEvaluator(game, evaluate, CACHED_POSITIONS)
    return Player(name, partial(decide_by_search, algorithm, cached, game), algorithm.simulations)


@_constructor
def _policy(game: Game, name: str, *, path: Path | None = None) -> Player:
    """A trained network without search: the legal move with the highest probability.

    Without ``path`` it is the bundled agent.
    """
    evaluate = _network(path, game).evaluate
    return replace(policy_player(name, evaluate, game), inference=evaluate.description)


def policy_player(name: str, evaluate: Evaluator, game: Game) -> Player:
    """A player without search: the legal move to which ``evaluate`` gives the highest logit."""

    def decide(states: States, rngs: Generators) -> Decision:
        evaluation = evaluate(states)
        logits = np.where(game.legal(states), evaluation.logits, -np.inf)
        weight = np.exp(logits - logits.max(axis=1, keepdims=True))
        return Decision(logits.argmax(axis=1), _spread(weight), evaluation.value)

    return Player(name, decide)


KINDS: dict[str, Callable[..., Player]] = {
    "random": _random,
    "mcts": _mcts,
    "minimax": _minimax,
    "solver": _solver,
    "checkpoint": from_checkpoint,
    "policy": _policy,
}
"""The constructors: called with the game and the player's text, options as keyword arguments."""


def decide_by_search(
    algorithm: Search, evaluate: Evaluator, game: Game, states: States, rngs: Generators
) -> Decision:
    """The decision of ``algorithm`` at temperature 0 in ``states [B]``; one generator each."""
    result = strongest_moves(algorithm, game, states, rngs, evaluate)
    return Decision(result.action, result.policy, result.value, result.visits)


def _best(scores: NDArray, value: NDArray, rngs: Generators) -> Decision:
    """Choose any of the moves with the highest score; ``scores [B, A]`` are NaN where illegal."""
    best = scores == np.nanmax(scores, axis=1, keepdims=True)
    value = np.clip(value, -1, 1).astype(np.float32)
    return Decision(_any_of(best, rngs), _spread(best), value)


def _any_of(allowed: NDArray[np.bool_], rngs: Generators) -> NDArray[np.int64]:
    """``[B]``: one of the allowed actions of each row, all with the same probability."""
    return np.array(
        [rng.choice(np.flatnonzero(row)) for row, rng in zip(allowed, rngs, strict=True)],
        dtype=np.int64,
    )


def _spread(weight: NDArray) -> NDArray[np.float32]:
    """``[B, A]``: the weights of each row, divided by their sum."""
    return (weight / weight.sum(axis=1, keepdims=True)).astype(np.float32)


def _network(path: Path | None, game: Game, single: bool = False) -> TrainedNetwork:
    """The network at ``path``, or without it the bundled one.

    ``single``: for one position per call, on a backend that is chosen without a timing.
    """
    return load_network(
        path or agents.find(game.name), game, None if single else InferenceSettings()
    )
