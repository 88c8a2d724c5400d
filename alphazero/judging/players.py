"""The kinds of players: one constructor per kind, named by a text such as ``minimax:depth=5``.

Players choose moves in batches of positions; their randomness comes with the call. All that a
player keeps between calls is a cache of its network's evaluations, so that the next call does not
evaluate the same positions again, and the trees of games in progress, which it continues.
"""

import inspect
import os
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import ConfigDict, Field, ValidationError, validate_call

from alphazero import agents, evaluators, hub
from alphazero.config import Count, InferenceSettings, Natural
from alphazero.errors import requirement
from alphazero.judging import agent
from alphazero.judging.decisions import (
    Decision,
    Player,
    agent_player,
    any_of,
    best_of,
    decision,
    only_time,
    policy_player,
    spread,
)
from alphazero.judging.deepening import deepen
from alphazero.judging.engines import kinds as engines
from alphazero.search import continues_trees, strongest_moves
from alphazero.search.puct import PUCT
from alphazero.types import Generators, Limits, Lines
from games import solvers
from games.base import Game, States
from games.solvers import minimax as exact
from games.spec import parse_options, shown, split, suggest

Leaves = Count | Literal["auto"]
"""Leaves of a tree that are evaluated in one batch; ``auto``: those that suit a single game."""
Backend = Literal["auto", "torch", "openvino"]
Precision = Literal["auto", "float32", "bfloat16"]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""A player's time for one call, that is, for all positions of a batch together."""
PROGRAMS = {"gtp": engines.gtp, "uci": engines.uci}
"""Players that start a program: a text that names one runs a command on this machine."""
SIMULATIONS = 800
"""Simulations per move of ``mcts`` where neither a number nor a time is given."""
REPLY_SECONDS = 1.5
"""The search of a human's opponent in a game without an agent; the answer comes within two."""
ROLLOUT_LEAVES = 32
"""Leaves of a tree that ``mcts`` plays out at once where only the time ends the search of a single
game: NumPy plays 32 games in little more time than one. In Amazons, 32 leaves made four times the
simulations of 8 in 1.5 seconds; at 0.2 seconds per move they scored 16 of 24 points against them
(95 %: 47 to 82 %)."""
ROLLOUT_SHARE = 0.25
"""The share of its time after which ``mcts`` adjudicates a random game, which is the most that a
move can take beyond that time: in slow games one random game takes longer than the whole search."""
DEPTH = 5
"""Plies that minimax looks ahead where neither a depth nor a time is given."""

ROLLOUT_SEARCH = PUCT(c_puct=3.0, fpu_reduction=0.0, proofs=False).without_noise()
"""The search of ``mcts``. The result of one random game is a coarser value than a network's and
needs more exploration: of c_puct 1.25 to 5, 3 made the fewest mistakes on solved Connect Four
openings (23 % at 200 simulations)."""


def default(game: Game, fitting: bool = False) -> str:
    """The text of the player where none is named.

    The bundled agent where the game has one, else tree search without a network. ``fitting``: an
    agent of the same game with another komi will do, see ``agents.fitting``.
    """
    if game.name in agents.names() or (fitting and agents.fitting(game.name)):
        return f"checkpoint:simulations={agents.SIMULATIONS}"
    return f"mcts:seconds={REPLY_SECONDS}"


def make(
    spec: str,
    game: Game,
    leaves: str = "1",
    allow: Collection[str] = (),
    programs: bool = False,
    fitting: bool = False,
    downloads: bool = True,
) -> Player:
    """Build the player named by ``spec``: ``kind[:key=value,...]``; ``KINDS`` has the kinds.

    ``leaves`` is the default of the option of that name: ``auto`` suits a player that gets one
    position per call. ``allow``: addresses that a checkpoint's settings may name; it and
    ``fitting`` as in ``agent.load``. ``programs``: whether it may be a program, ``gtp`` or ``uci``,
    which is started; true only for a text that the user has typed, never for one of a file.
    ``downloads``: whether it may be an agent of the hub, ``hf://``; false for a text of a file.
    ``ValueError``, one line: an unknown kind or option, a bad value, no usable checkpoint.
    """
    kind, options = parse(spec)
    if kind in PROGRAMS and not programs:
        raise ValueError(
            f"player {shown(spec)}: {kind} starts a program, so it can be named only on the "
            "command lines of arena, play and ladder (in Python with programs=True)"
        )
    known = inspect.signature(KINDS[kind]).parameters
    if "leaves" in known:
        options.setdefault("leaves", leaves)
    loading = {"allow": tuple(allow), "fitting": fitting}
    loading = {name: value for name, value in loading.items() if name in known}
    try:
        if "path" in options:
            options["path"] = hub.resolve(options["path"], downloads)
        return KINDS[kind](game, spec, **options, **loading)
    except ValidationError as error:
        raise ValueError(f"player {shown(spec)}: {_describe(error)}") from None
    except ValueError as error:
        raise ValueError(f"player {shown(spec)}: {error}") from None


def check(spec: str, game: Game) -> None:
    """Raise ``ValueError`` where ``make`` would for a text of a file; a path must only exist."""
    kind, options = parse(spec)
    if "path" not in inspect.signature(KINDS[kind]).parameters:
        make(spec, game)
    elif "path" not in options:
        agents.find(game.name)
    elif not Path(hub.resolve(options["path"], downloads=False)).exists():
        raise ValueError(f"player {shown(spec)}: path={options['path']}: there is no such file")


def parse(spec: str) -> tuple[str, dict[str, str]]:
    """Split ``kind[:key=value,...]`` into a known kind and its known options, still as text.

    ``"minimax:depth=5"`` gives ``("minimax", {"depth": "5"})``. ``ValueError``, one line: an
    unknown kind, an unknown option, or one without a value or given twice. A path that exists is
    a checkpoint: ``"runs/x:simulations=50"`` gives ``{"path": "runs/x", "simulations": "50"}``; so
    is an address of the hub, behind which options begin with a colon or a comma.
    """
    kind, rest = split(spec)
    options: dict[str, str] = {}
    if hub.is_address(spec.strip()):
        address, rest = hub.split_options(spec.strip())
        kind, options = "checkpoint", {"path": address}
    if kind not in KINDS and os.path.exists(path := os.path.expanduser(kind)):
        kind, options = "checkpoint", {"path": path}
    if kind not in KINDS:
        no = f"no file or folder {shown(kind)}" if "/" in kind else f"no kind {shown(kind)}"
        raise ValueError(f"player {shown(spec)}: there is {no}; {suggest(kind, KINDS)}")
    parameters = inspect.signature(KINDS[kind]).parameters.values()
    known = [parameter.name for parameter in parameters if parameter.kind == parameter.KEYWORD_ONLY]
    for key, value, _ in parse_options(rest):
        if key not in known:
            hint = f"there is no option {shown(key)}; {suggest(key, known)}"
            raise ValueError(f"player {shown(spec)}: {hint}")
        if not value or key in options:
            raise ValueError(f"player {shown(spec)}: {key} needs one value: {key}=...")
        options[key] = os.path.expanduser(value) if key == "path" else value
    if hub.is_address(path := options.get("path", "")):
        hub.parse(path)
    return kind, options


def _describe(error: ValidationError) -> str:
    """The first error of pydantic in one line that names the option and its value."""
    first = error.errors()[0]
    name = first["loc"][0]
    if first["type"].startswith("missing"):
        return f"needs {name}=..."
    return f"{name}={first['input']}: {requirement(first)}"


_constructor = validate_call(config=ConfigDict(arbitrary_types_allowed=True))
"""Converts a constructor's keyword arguments, which are a player's options, from text."""


@_constructor
def _random(game: Game, name: str) -> Player:
    """Plays every legal move with the same probability."""

    def decide(states: States, rngs: Generators, *_: object) -> Decision:
        legal = game.legal(states)
        return Decision(any_of(legal, rngs), spread(legal))

    return Player(name, decide)


@_constructor
def _mcts(
    game: Game,
    name: str,
    *,
    simulations: Count | None = None,
    seconds: Seconds | None = None,
    leaves: Leaves = 1,
) -> Player:
    """Tree search without a network: uniform priors, one random game per leaf as its value.

    800 ``simulations`` unless they or ``seconds`` are given. ``leaves`` of a tree are played out at
    once; with one, the default, a search is stronger per simulation, with several it is faster.
    Every move is a new search, because the Elo of this player on the ladders was measured so.
    """
    if simulations is None and seconds is None:
        simulations = SIMULATIONS
    limits = Limits(simulations, seconds)
    search = replace(ROLLOUT_SEARCH, simulations=simulations or ROLLOUT_SEARCH.simulations)
    if leaves == "auto":
        fewest = agent.leaves_for_single_game(search.simulations)
        leaves = ROLLOUT_LEAVES if only_time(limits) else fewest
    search = replace(search, leaves=leaves)

    def decide(states: States, rngs: Generators, limits: Limits, _: Lines | None) -> Decision:
        rng = np.random.default_rng([int(rng.integers(2**63)) for rng in rngs])
        longest = None if limits.seconds is None else ROLLOUT_SHARE * limits.seconds
        evaluate = evaluators.rollout(game, rng, longest)
        return decision(strongest_moves(search, game, states, rngs, evaluate, limits))

    return Player(name, decide, simulations or 0, limits=limits)


@_constructor
def _minimax(
    game: Game, name: str, *, depth: Count | None = None, seconds: Seconds | None = None
) -> Player:
    """Full-width minimax ``depth`` plies deep; plays any of the best moves, at random.

    With ``seconds``, its own or those of a call, it deepens ply by ply, at most to ``depth`` if
    that is given, and plays by the last depth that it completed.
    """
    heuristic = solvers.heuristic(game)

    def decide(states: States, rngs: Generators, limits: Limits, _: Lines | None) -> Decision:
        if limits.seconds is None:
            value, move_values = exact.search(game, states, depth or DEPTH, heuristic)
        else:
            most = depth or game.max_plies
            value, move_values = deepen(game, states, most, heuristic, limits.seconds)
        return best_of(move_values, value, rngs)

    return Player(name, decide, limits=Limits(seconds=seconds))


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

    def decide(states: States, rngs: Generators, *_: object) -> Decision:
        best, scores = solvers.scores(game, states)
        legal, result = ~np.isnan(scores), np.sign(best)
        sound = (np.sign(scores) == result[:, None]) & (best[:, None] - scores <= slack)
        errs = np.array([rng.random() < errors for rng in rngs])
        action = any_of(np.where(errs[:, None], legal, sound), rngs)
        policy = (1 - errors) * spread(sound) + errors * spread(legal)
        return Decision(action, policy.astype(np.float32), result.astype(np.float32))

    return Player(name, decide)


@_constructor
def from_checkpoint(
    game: Game,
    name: str,
    allow: Collection[str] = (),
    fitting: bool = False,
    *,
    path: Path | None = None,
    simulations: Count | None = None,
    seconds: Seconds | None = None,
    search: Literal["gumbel", "puct"] | None = None,
    leaves: Leaves = 1,
    reuse_tree: bool | None = None,
    backend: Backend = "auto",
    precision: Precision = "auto",
    device: str = "auto",
) -> Player:
    """A trained network with tree search; options that are not given are those of its training.

    Without ``path`` it is the bundled agent. ``backend``, ``precision`` and ``device`` are, unless
    given, those that a timing finds fastest on this machine; a match that another machine is to
    repeat states all three. ``leaves`` of a tree are evaluated in one batch; ``auto`` is the number
    of ``leaves_for_single_game``, and a backend chosen without a timing. With ``seconds`` and no
    ``simulations`` only the time ends a search. ``reuse_tree``: whether a search continues the tree
    of the move before; by default where it can (PUCT), ``ValueError`` for true where it cannot.
    ``allow``: addresses that its settings may name; ``fitting`` as in ``agent.load``.
    """
    single, limits = leaves == "auto", Limits(simulations, seconds)
    if single and only_time(limits):
        leaves = agent.MOST_LEAVES
    trained = agent.load(
        path or bundled(game, fitting),
        game,
        simulations=simulations,
        search=search,
        inference=_inference(backend, precision, device, timed=not single),
        leaves=leaves,
        allow=allow,
        fitting=fitting,
    )
    if reuse_tree and not continues_trees(trained.search):
        kind = getattr(trained.search, "kind", type(trained.search).__name__)
        raise ValueError(f"reuse_tree=true: its search, {kind}, begins each anew; search=puct")
    return agent_player(name, trained, limits, reuse_tree is not False)


@_constructor
def _policy(
    game: Game,
    name: str,
    allow: Collection[str] = (),
    fitting: bool = False,
    *,
    path: Path | None = None,
    backend: Backend = "auto",
    precision: Precision = "auto",
    device: str = "auto",
) -> Player:
    """A trained network without search: the legal move with the highest probability.

    The options are those of ``checkpoint``.
    """
    inference = _inference(backend, precision, device)
    source = path or bundled(game, fitting)
    trained = agent.load(source, game, inference=inference, allow=allow, fitting=fitting)
    player = policy_player(name, trained.evaluate, trained.played)
    return replace(player, inference=trained.inference, trained_in=trained.trained_in)


def bundled(game: Game, fitting: bool) -> Path:
    """The folder of the agent that comes with the program; ``ValueError`` where none plays."""
    return agents.find((agents.fitting(game.name) if fitting else None) or game.name)


def _inference(
    backend: Backend, precision: Precision, device: str, timed: bool = True
) -> InferenceSettings | None:
    """The settings of a network; without ``timed`` None where all are left open: no timing."""
    if not timed and (backend, precision, device) == ("auto",) * 3:
        return None
    if not timed and precision == "auto":
        precision = "float32"
    return InferenceSettings(backend=backend, precision=precision, device=device)


KINDS: dict[str, Callable[..., Player]] = {
    "random": _random,
    "mcts": _mcts,
    "minimax": _minimax,
    "solver": _solver,
    "checkpoint": from_checkpoint,
    "policy": _policy,
    **PROGRAMS,
}
"""The constructors: called with the game and the player's text, options as keyword arguments."""
