"""Trained agents: a checkpoint's network with its game, and the analysis of single positions."""

import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import ValidationError

import games
from alphazero import agents, encoders, hub, sealed
from alphazero.addresses import check_allowed
from alphazero.cache import CachedEvaluator
from alphazero.config import Config, InferenceSettings
from alphazero.errors import one_line, reading, requirement
from alphazero.judging import session
from alphazero.judging.analysis import Analysis, MoveEvaluation, analysis
from alphazero.parts import addresses_of, search_of
from alphazero.search import strongest_moves
from alphazero.search.gumbel import Gumbel
from alphazero.search.puct import PUCT
from alphazero.types import Evaluator, Generators, Kept, Limits, Search, SearchResult
from games.base import Game, States

if TYPE_CHECKING:
    from alphazero.checkpoint import Checkpoint, Description
    from alphazero.inference import NetworkEvaluator

__all__ = ["Agent", "Analysis", "MoveEvaluation", "load_agent"]

CACHED_POSITIONS = 2**16
"""Positions whose evaluation a searching agent keeps; 5 MB in Connect Four, 20 in Othello."""

MOST_LEAVES = 8
"""Leaves of a tree that are evaluated in one batch, at most, where a single game is played."""


MOST_NAMED = 100_000
"""The most simulations per move that are taken from a checkpoint's own settings: they decide how
much memory a search takes."""


@dataclass(frozen=True, slots=True)
class Agent:
    """A trained network with a tree search. ``load_agent`` makes one. For one thread at a time."""

    name: str
    """The source it was loaded from."""
    game: Game
    played: Game
    """The game whose states the network reads: ``game``, or one with a history."""
    search: Search
    """Without exploration noise."""
    evaluate: Evaluator
    """The network, behind a cache of the last positions."""
    checkpoint: "Checkpoint"
    """Weights, optimizer step and the configuration of the training."""
    inference: str
    """Backend, precision and device of the network, in one line."""

    trained_in: str = ""
    """The name of the game that it was trained in, where its komi is another one; else empty."""

    def analyse(
        self, moves: str | Sequence[int | str] = "", seconds: float | None = None
    ) -> Analysis:
        """Search the position after ``moves`` from the start.

        ``moves`` is a text or a list. Numbers are actions counted from 1, other words moves in the
        game's notation: ``"4453"`` and ``[4, 4, 5, 3]`` in Connect Four, ``"d3 c5"`` in Othello.
        Texts are split into digits where the game has fewer than ten actions, else at spaces.
        With ``seconds`` the search takes so long, whatever its number of simulations; without them
        equal calls give equal results. ``ValueError``, one line: a move that cannot be played, the
        game is over, or ``seconds`` is not above 0 and finite.
        """
        number = isinstance(seconds, int | float | np.number)
        if seconds is not None and not (number and 0 < seconds < float("inf")):
            raise ValueError(f"seconds must be above 0 and finite, not {seconds!r}")
        position = session.unfinished(self.game, moves)
        states = encoders.played_states(self.played, position.states, [position.actions])
        leaves = MOST_LEAVES if seconds else leaves_for_single_game(self.search.simulations)
        result = self.search_positions(states, leaves=leaves, limits=Limits(seconds=seconds))
        return analysis(self.game, position.states, result, position.last)

    def search_positions(
        self,
        states: States,
        rngs: Generators | None = None,
        leaves: int = 1,
        limits: Limits = Limits(),
        kept: Sequence[Kept | None] | None = None,
    ) -> SearchResult:
        """The search's result in ``states [B]``, none finished; its ``action [B]`` are the moves.

        The states are those of ``played`` or of ``game``, whose history is then unknown.
        ``rngs`` are one generator per position, by default each seeded with 0. ``leaves`` of each
        tree are evaluated in one batch; more than one is faster where ``B`` is small. ``limits``
        bound the search, ``kept`` are trees that it continues, see ``search.reuse``.
        """
        search = self.search.without_noise(leaves=leaves)
        rngs = [np.random.default_rng(0) for _ in states] if rngs is None else rngs
        states = encoders.played_states(self.played, states)
        return strongest_moves(search, self.played, states, rngs, self.evaluate, limits, kept)


def load_agent(
    source: str | Path,
    game: Game | None = None,
    *,
    simulations: int | None = None,
    search: Search | None = None,
    inference: InferenceSettings | None = None,
    allow: Collection[str] = (),
) -> Agent:
    """The trained agent at ``source`` with its search.

    ``source`` is the name of a game whose agent comes with the program (``connect_four``), or the
    path of a run, of one of its checkpoints or of an exported agent, or ``hf://USER/AGENT``, which
    is downloaded from the Hugging Face hub into the user's cache. ``game`` is only needed where
    ``games.make`` cannot make the game of the agent's configuration. ``simulations`` per move are
    600 unless given. ``search`` replaces the search of the agent's configuration. ``inference``
    chooses backend and device; by default the network computes in float32 on the CPU.

    A folder may come from anyone, so a game, search, network or encoder that it names by an address
    ``module:Class`` is imported only if ``allow`` has this address; ``game`` allows its own.

    ``ValueError``, one line: there is no such agent, its files are damaged, it plays another game,
    it names an address that is not allowed, or ``simulations`` are too few for the search.
    """
    simulations = agents.SIMULATIONS if simulations is None else simulations
    agent = load(
        find(source),
        game,
        simulations=simulations,
        search=search,
        inference=inference,
        allow=allow,
    )
    return replace(agent, name=str(source))


def load(
    path: Path,
    game: Game | None = None,
    *,
    simulations: int | None = None,
    search: Search | str | None = None,
    inference: InferenceSettings | None = None,
    leaves: int | Literal["auto"] = 1,
    allow: Collection[str] = (),
    fitting: bool = False,
) -> Agent:
    """The agent of the checkpoint at ``path``, or of the newest one of the run at ``path``.

    Everything that makes an agent of a checkpoint calls this function. ``game`` and ``search`` are
    those of the checkpoint's configuration unless given, ``simulations`` those of the search.
    Without ``inference`` the backend is chosen without a timing, which suits few positions per
    call. ``search`` may be the kind of a search: its constants are those of the configuration, or
    the defaults if the configuration has another kind. ``leaves`` of a tree are evaluated in one
    batch; ``auto`` is the number of ``leaves_for_single_game``. Damaged checkpoints that are newer
    are named on stderr. ``allow``: addresses that may be imported, see ``load_agent``. ``fitting``:
    the checkpoint may have been trained with another komi than that of ``game``; that is named on
    stderr.

    ``ValueError``, one line: there is no valid checkpoint, it was trained in a game other than
    ``game`` or by other rules of it, it names an address that is not allowed, or ``simulations``
    are too few for the search.
    """
    # Torch takes seconds to import; players without a network do not need it.
    from alphazero import checkpoint
    from alphazero.network import check_weights

    described = checkpoint.describe(checkpoint.resolve(path, partial(print, file=sys.stderr)))
    other = _of_another_komi(described, game) if fitting and game is not None else None
    trained = _game_of(described, other or game, allow, search)
    checkpoint.check_rules(described, trained)
    game = game or trained
    quiet = _quiet_search(described, search, simulations)
    if leaves == "auto":
        leaves = leaves_for_single_game(quiet.simulations)
    check_weights(game, described.config.network, described.shapes, described.path)
    loaded = checkpoint.complete(described)
    network = _network_of(loaded, game, inference)
    played = encoders.played_game(game, network.encoder)
    return Agent(
        name=str(path),
        game=game,
        played=played,
        search=quiet.without_noise(leaves=leaves),
        evaluate=CachedEvaluator(played, network, CACHED_POSITIONS, network.encoder.key),
        checkpoint=loaded,
        inference=network.description,
        trained_in=other.name if other else "",
    )


def _quiet_search(
    described: "Description", search: Search | str | None, simulations: int | None
) -> Search:
    """The search of ``load`` without noise."""
    made = _search_of(described.config, search)
    with reading(f"{described.path}: search {described.config.search.kind}"):
        if simulations is None and made.simulations > MOST_NAMED:
            raise ValueError(
                f"{made.simulations:,} simulations per move are more than {MOST_NAMED:,}: give "
                "simulations= yourself"
            )
        try:
            return made.without_noise(simulations)
        except ValidationError as error:
            problem = f"simulations={simulations}: {requirement(error.errors()[0])}"
    raise ValueError(problem)


def _search_of(config: Config, search: Search | str | None) -> Search:
    """``search``, or the one of its kind, or without it the one of ``config``.

    A search of another kind than that of ``config`` has its defaults, but looks ahead as that does.
    """
    if search is None or search == config.search.kind:
        return search_of(config)
    if not isinstance(search, str):
        return search
    look_ahead = getattr(config.search, "look_ahead", False)
    return {"gumbel": Gumbel, "puct": PUCT}[search](look_ahead=look_ahead)


def _game_of(
    described: "Description",
    game: Game | None,
    allow: Collection[str],
    search: Search | str | None,
) -> Game:
    """``game``, or without it the game that the checkpoint was trained in.

    ``ValueError``, one line: it is another one, or the checkpoint names addresses that are neither
    allowed nor that of ``game``. Nothing is imported before.
    """
    spec, path = described.config.game, described.path
    if game is not None and not games.same(spec, game.name):
        related = games.named(spec)[0] == games.named(game.name)[0]
        hint = f"; name the game {one_line(spec)!r} to play it" if related else ""
        raise ValueError(f"{path} plays {one_line(spec)}, not {game.name}{hint}")
    own = search is None or search == described.config.search.kind
    named = addresses_of(described.config, search=own)
    if game is not None:
        named.pop("game", None)
    check_allowed(named, allow, path)
    if game is not None:
        return game
    with reading(path):
        return games.make(spec)


def _of_another_komi(described: "Description", game: Game) -> Game | None:
    """The game that the checkpoint was trained in, where it is ``game`` with another komi.

    None, too, for a game by its address: the checkpoint may be a stranger's, and making its game
    would run code with its parameters.
    """
    spec = described.config.game
    alike = games.named(spec)[0] == games.named(game.name)[0]
    if not (alike and games.address_of(spec) is None and hasattr(game, agents.KOMI)):
        return None
    with reading(described.path):
        trained = games.make(spec)
    differing = agents.differences(trained.name, game.name)
    if list(differing) != [agents.KOMI]:
        return None
    own, played = differing[agents.KOMI]
    ours = described.path.is_relative_to(agents.FOLDER)
    print(
        f"{'the bundled agent' if ours else described.path} was trained with komi {own}: "
        f"its network judges positions as with {own}, and only finished games are counted with "
        f"{played}",
        file=sys.stderr,
    )
    return trained


def _network_of(
    loaded: "Checkpoint", game: Game, inference: InferenceSettings | None
) -> "NetworkEvaluator":
    from alphazero.inference import NO_TIMING, NetworkEvaluator

    evaluator = NetworkEvaluator(game, loaded.config.network, inference or NO_TIMING)
    with reading(loaded.path):
        evaluator.load(loaded.weights, loaded.step)
    return evaluator


def find(source: str | Path) -> Path:
    """The folder of an agent: a bundled agent's by the name of its game or folder, else the path.

    A run or an agent in a folder of that name in the current folder has precedence. An agent of the
    hub is downloaded first. ``ValueError``, one line: there is no such agent.
    """
    if not isinstance(source, str | Path):
        raise ValueError(f"an agent is named by a text or a path, not {source!r}")
    if isinstance(source, str) and hub.is_address(source):
        return hub.local_folder(source)
    path = Path(source)
    bundled = isinstance(source, str) and not _holds_agent(path)
    if bundled and (game := agents.named(str(source))):
        return agents.find(game)
    if not path.exists():
        raise ValueError(
            f"there is no agent {str(source)!r}: {agents.suggestion(str(source))}; or give the "
            "folder of a run, of a checkpoint or of an exported agent"
        )
    return path


def _holds_agent(path: Path) -> bool:
    return (path / sealed.MANIFEST).exists() or (path / "checkpoints").is_dir()


def leaves_for_single_game(simulations: int) -> int:
    """How many leaves to evaluate in one batch where a single position is searched.

    As many as cost no strength: at 400 simulations, 8 leaves were as strong as one (-1 Elo), 16
    were not (-15; 32: -151).
    """
    return min(MOST_LEAVES, max(1, simulations // 50))
