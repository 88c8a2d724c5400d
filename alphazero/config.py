"""All settings of a self-play run: meaning, default and its reason, values of published systems.

Each section is a frozen dataclass that one object receives. ``load`` reads YAML and command-line
overrides, validates them with pydantic and reports every error at once. No module imported here
imports torch, so that a bad configuration is refused without delay.

Sources: AlphaGo Zero is Silver et al. 2017 (Nature 550), AlphaZero is Silver et al. 2018 (Science
362) with its pseudocode, KataGo is Wu 2019 (arXiv 1902.10565) with its documented methods.
"""

import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, Tag
from pydantic.dataclasses import dataclass

import games
from alphazero import addresses, config_file, encoders, packages, targets
from alphazero.addresses import ByAddress, by_kind
from alphazero.config_file import ConfigError
from alphazero.network_settings import Network, NetworkSettings
from alphazero.nn.settings import OptimizerSettings, TrackingSettings
from alphazero.ranges import (
    HUGE,
    STRICT,
    BatchSize,
    Bytes,
    Capacity,
    Count,
    FilePath,
    Fraction,
    Minutes,
    Natural,
    NotNegative,
    Positive,
    Threads,
)
from alphazero.search import continues_trees
from alphazero.search.gumbel import Gumbel
from alphazero.search.puct import PUCT
from games.base import Game
from games.spec import shown

SearchSettings = Annotated[
    Annotated[PUCT, Tag("puct")]
    | Annotated[Gumbel, Tag("gumbel")]
    | Annotated[ByAddress, Tag(addresses.ADDRESS)],
    by_kind("gumbel"),
]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SelfPlaySettings:
    """Settings of self-play."""

    games: Annotated[int, Field(ge=1, le=2**20)] = 256
    """Games that one group plays at the same time, one ply in all of them per step. Their positions
    form one batch: 256 is enough to use a CPU core or a small GPU well."""
    groups: Annotated[int, Field(ge=1, le=1024)] = 2
    """Groups per worker process (on Ray) or in this process: while the positions of one group are
    evaluated, the search of another group runs. No gain was measured with more than 2."""
    workers: Annotated[int, Field(ge=1, le=10_000)] | Literal["auto"] = "auto"
    """On Ray: self-play processes; auto: one per CPU core that is not used by the learner or an
    inference server. Without Ray: threads; auto: one per core, at most one per group."""
    cache: Capacity = 2**16
    """Capacity of each group's evaluation cache, in positions; a power of two. An entry needs 12
    bytes, the bytes of the position's key and 4 bytes per action. Successive searches evaluate many
    positions again, and games share openings: in Connect Four about 40 % of the lookups are hits.
    Both LocalFleet and the workers on Ray use it; it is cleared when the weights change.
    AlphaZero's papers describe no cache, KataGo has one."""
    memory: Bytes | None = None
    """Bytes, or a text such as 2GB or 2GiB, that search trees, evaluation caches and games in
    progress may use in each process of self-play. None: half of the memory of the machine or of its
    control group, a container's limit, divided among the self-play processes of the machine. The
    sizes are announced when a run begins. Where they are too large, the caches are halved until all
    fits; a run that cannot fit is refused."""
    temperature: NotNegative = 1.0
    """Temperature of the choice of moves before ``temperature_plies``: 1 draws moves in proportion
    to the search's visits (with Gumbel it is a factor on the noise), 0 plays the best move. AlphaGo
    Zero and AlphaZero used 1."""
    temperature_plies: Natural = 1000
    """The ply from which on ``final_temperature`` applies; with the default, no game gets there.
    AlphaGo Zero changed after 30 moves, as does AlphaZero's pseudocode."""
    final_temperature: NotNegative = 0.0
    """Temperature from ``temperature_plies`` on. AlphaGo Zero's was infinitesimal."""
    random_opening_plies: Natural = 0
    """Each game begins with a random number of random legal plies, 0 to this many, which are not
    trained on. Varied openings keep the games of small games from repeating. AlphaZero has none;
    KataGo draws the first moves from the network's policy."""
    stop_when_proven: bool = True
    """End a game as soon as its search has proven the result, which becomes the game's outcome.
    Needs ``search.proofs``. AlphaZero has no such rule."""
    resign_value: Fraction | None = None
    """Resign when the search's values of a player's last two moves were both below minus this
    number; None: never. AlphaGo Zero chose the threshold so that fewer than 5 % of the resigned
    games could have been won."""
    resign_disabled_fraction: Fraction = 0.1
    """Share of games in which no player resigns, to measure how many resigned games could have been
    won. 0.1 is AlphaGo Zero's."""
    reuse_tree: bool = False
    """Continue each search from the part of the last one below the move that was played. Off,
    because the visits that are kept were chosen without exploration noise at the new root, so that
    the policy targets hold less of it, and because an evaluation cache already saves most of the
    evaluations. What is kept was evaluated by the weights of its time, which may have been replaced
    since. Needs a search that accepts trees: puct. AlphaGo Zero and AlphaZero reuse trees."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ReplaySettings:
    """Which stored positions are drawn for training, and how often."""

    samples_per_position: Positive = 4.0
    """How often each stored position is trained on, on average. It balances self-play and training:
    the one that is ahead waits. Larger values use each game more often, but overfit. KataGo's main
    runs allow about 4; AlphaGo Zero had about 1.5 (2,048 x 700,000 samples from 4.9 million games).
    """
    window_min: Count = 20_000
    """Initial size of the window, the newest positions, from which samples are drawn uniformly;
    250,000 in KataGo (the constant c of Wu 2019, appendix C)."""
    window_exponent: Fraction = 0.75
    """The window grows about as n to this power, where n is the number of positions stored (the
    constant alpha of Wu 2019, also 0.75). 0: it grows with log n."""
    window_scale: Positive = 0.4
    """Positions by which the window grows per new position when its growth begins (the constant
    beta of Wu 2019, also 0.4). AlphaGo Zero always drew from the last 500,000 games, AlphaZero from
    the last million."""
    min_positions: Count = 5_000
    """Training starts when this many positions are stored, so that the first steps do not train on
    the same few games over and over."""
    value_mixing: Fraction = 0.25
    """The share m in the value target (1 - m) * outcome + m * the search's value of the position,
    as distributions over win, draw and loss. The outcome is unbiased but noisy; the search's value
    is less noisy but biased. 0 is AlphaZero's rule."""
    value_target: str = "mixture"
    """Name of the value target. mixture: see ``value_mixing``. short_term: the average of the
    search's values over the plies ahead, see ``short_term_plies``."""
    short_term_plies: Annotated[float, Field(ge=1, le=HUGE)] = 6.0
    """Mean number of plies, the position's own included, over which the target short_term averages
    the search's values: their weights decay by 1 - 1 / this per ply. KataGo has targets of 6, 16
    and 50 plies in Go 19x19."""
    policy_surprise: Fraction = 0.0
    """Share of each game's weight in the loss that is given to its positions in proportion to
    their policy surprise, the KL divergence of the search's policy from the network's prior; the
    rest is the same for all. KataGo uses 0.5; 0, AlphaZero's rule, is the default because its
    gain in small games is not measured."""
    symmetries: bool = True
    """Apply a random symmetry of the game to each sample. AlphaGo Zero and KataGo do, AlphaZero
    does not."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrainingSettings:
    """Settings of the learner, and when weights are published and saved."""

    initial_weights: FilePath | None = None
    """A run, a checkpoint or an agent with whose weights training starts. Its network must be the
    same, or have fewer blocks or other auxiliary heads; what is missing is added. Ignored when the
    run is resumed from its own checkpoint. None: random weights, as in AlphaZero."""
    steps: Count = 10_000
    """Optimizer steps of the whole run; AlphaGo Zero and AlphaZero took 700,000."""
    batch_size: BatchSize = 512
    """Samples per optimizer step. AlphaGo Zero used 2,048, AlphaZero 4,096, KataGo 256."""
    publish_every: Count = 20
    """Optimizer steps between two publications of the weights to self-play. With fewer steps the
    games use newer weights, but each publication clears the evaluation caches. AlphaZero published
    every 1,000 steps."""
    checkpoint_every: Count = 500
    """Optimizer steps between two checkpoints; 1,000 in AlphaGo Zero and AlphaZero."""
    checkpoint_minutes: Positive | None = 5.0
    """Minutes after which a checkpoint is saved at the next publication, however few steps were
    taken since the last one. None: by steps only."""
    keep_checkpoints: Count = 5
    """Number of newest checkpoints that are kept, at least two. Of the older ones the first at or
    after each power of two is kept (256, 512, 1,024, ... steps), and the last one before the loss
    jumped."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Decay per step of the exponential moving average of the weights. Self-play and checkpoints
    use the average; 0 is the raw weights, as in AlphaZero. KataGo averages snapshots."""
    value_weight: Positive = 1.0
    """Weight of the value loss relative to the policy loss; 1 in AlphaGo Zero and AlphaZero."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of convolutions and matrix products. auto: the faster one, measured at the start;
    on a CPU, compiled loops for BatchNorm and what follows it, too, where they are faster. Sums,
    BatchNorm and the optimizer are always float32."""
    device: str = "auto"
    """The learner's device: auto (a GPU where there is one), cpu, cuda, cuda:N or mps."""
    threads: Threads | Literal["auto"] = "auto"
    """On a CPU, the number of threads that share each batch. auto: without Ray one per core, each
    with at least 64 rows of the batch; with Ray 1, because self-play needs the other cores."""
    time_limit_minutes: Minutes | None = None
    """The run ends after this many minutes, or after ``steps`` if that is earlier. The learning
    rate's schedule then ends at the time limit, too. None: no limit. A --time-limit on the command
    line replaces it."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class InferenceSettings:
    """How the network is evaluated for self-play."""

    backend: Literal["auto", "torch", "openvino"] = "auto"
    """auto: on a CPU the faster of the installed ones, measured at the start; on a GPU torch."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto: the faster one, measured at the start. bfloat16 is three times as fast as float32 on a
    processor with AMX, and slower on one without bfloat16 instructions."""
    device: str = "auto"
    """auto (a GPU where there is one), cpu, cuda, cuda:N or mps."""
    servers: Annotated[int, Field(ge=1, le=1024)] = 1
    """Number of inference server processes; on Ray only."""
    batch_size: Annotated[int, Field(ge=1, le=2**20)] = 1024
    """Largest batch that a server on Ray evaluates at once."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EvaluationSettings:
    """Matches and counts of mistakes during a run. As in AlphaZero, there is no gate like AlphaGo
    Zero's, in which a new network plays only after winning 55 % of 400 games against the best one:
    it costs games, and AlphaZero became strong without it."""

    every: Natural = 0
    """Optimizer steps between two matches. A match is played at the first checkpoint at which one
    is due; 0: only one, at the end."""
    games: Natural = 40
    """Games per match; 0: no match. With 40 games the 95 % interval of the score is about 15
    percentage points wide on either side."""
    opponent: str = "mcts:simulations=100"
    """The opponent, as on the command line: `alphazero arena --help` lists the kinds."""
    simulations: Annotated[int, Field(ge=1, le=10**7)] = 64
    """Simulations per move of the agent in a match."""
    suite_every_minutes: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    """Minutes between two counts of the network's mistakes, without search, in some hundred solved
    positions; more minutes if counting would take more than 1 % of the run's time. 0: never. Needs
    a game with a suite: Connect Four."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config:
    """All settings of one training run by self-play."""

    game: str
    """A registered game (`alphazero games`) or the address of your own, module:Class."""
    seed: Natural = 0
    """Seed of every random draw. Without Ray and without a time limit, two runs with the same seed
    and settings on the same machine are equal bit for bit."""
    ray: str = "auto"
    """Where self-play runs: off (this process), local (processes of this machine), the address of a
    Ray cluster, or auto: off on a machine with at most 4 cores and no GPU, else local."""
    search: SearchSettings = Gumbel()
    """kind: gumbel (Danihelka et al. 2022), the default because it improves the policy even with
    few simulations; puct, the search of AlphaGo Zero and AlphaZero; or the address of your own
    search, module:Class, whose arguments are the other keys."""
    selfplay: SelfPlaySettings = SelfPlaySettings()
    network: Network = NetworkSettings()
    """kind: residual, or the address of your own network, module:Class, whose arguments are the
    other keys."""
    optimizer: OptimizerSettings = OptimizerSettings()
    replay: ReplaySettings = ReplaySettings()
    training: TrainingSettings = TrainingSettings()
    inference: InferenceSettings = InferenceSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    tracking: TrackingSettings = TrackingSettings()


FOLDER = packages.ROOT / "configs"
"""The configurations that come with the package."""


def load(name_or_path: str, overrides: Sequence[str] = ()) -> Config:
    """The configuration called ``name_or_path``: a name in ``configs/`` or a path to a YAML file.

    ``overrides`` are ``key.sub=value`` texts from the command line. Raises ``ConfigError`` with one
    line per error: where, which key, what is wrong and what would be right.
    """
    supervised = "alphazero supervised train", FOLDER / "supervised"
    _check_is_no_game(name_or_path)
    name, text = config_file.find(name_or_path, FOLDER, supervised)
    config = config_file.parse(Config, text, name, overrides, _CHECKS)
    origin = f"{name} and {config_file.COMMAND_LINE}" if overrides else name
    problems = [f"{origin}: {problem}" for problem in _contradictions(config)]
    if problems:
        raise ConfigError(problems)
    return config


def _check_is_no_game(text: str) -> None:
    """``ConfigError`` with the way to train a game where ``text`` names one, no configuration."""
    known, game = config_file.names(FOLDER), games.named(text)[0]
    if game not in games.registered() or text in known or len(text) > 200 or Path(text).exists():
        return
    own = re.compile(rf"^game: {re.escape(game)}(:|$)", re.MULTILINE)
    texts = {name: (FOLDER / f"{name}.yaml").read_text("utf-8") for name in known}
    fitting = sorted((name for name in known if own.search(texts[name])), key=len)  # small boards
    example = f"{[*fitting, *known][0]} game={shlex.quote(text)}"
    raise ConfigError([f"no configuration {shown(text)}; it is a game: {example} trains it"])


def _check_device(device: str) -> None:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device):
        raise ValueError(f"got {device!r}, should be auto, cpu, cuda, cuda:N or mps")


def check_ray(ray: str) -> None:
    """``ValueError`` unless ``ray`` is off, local, auto or an address ``host:port``."""
    if ray not in ("off", "local", "auto") and not re.fullmatch(r"[^:/\s]+:\d+", ray):
        raise ValueError(f"got {ray!r}, should be off, local, auto or an address host:port")


_CHECKS = {
    "game": games.make,
    "ray": check_ray,
    "replay.value_target": targets.check_value_target,
    "training.device": _check_device,
    "inference.device": _check_device,
}


def _contradictions(config: Config) -> list[str]:
    """Contradictions between several settings, one line each."""
    problems = []
    game = games.make(config.game)
    plies, longest = config.selfplay.random_opening_plies, game.max_plies
    if plies >= longest:
        problems.append(
            f"selfplay.random_opening_plies: {plies} leave nothing to train on: games of "
            f"{config.game} last at most {longest} plies"
        )
    return [
        *problems,
        *_problem("search", lambda: _check_search(config)),
        *_problem("network", lambda: _check_network(config.network)),
        *_problem("network.heads", lambda: _check_offered(config.network.heads, game)),
        *_problem("network.encoder", lambda: encoders.make(config.network.encoder, game)),
    ]


def _problem(key: str, check: Callable[[], object]) -> list[str]:
    """The line of the ``ValueError`` that ``check`` raises, or none."""
    try:
        check()
    except ValueError as error:
        return [f"{key}: {error}"]
    return []


def _check_search(config: Config) -> None:
    """Check the address of a search, and that it continues trees with selfplay.reuse_tree."""
    search: Any = config.search
    if isinstance(search, ByAddress):
        addresses.check(search, "search")
        search = addresses.build(search, "search")
        _check_search_contract(search, config.search.kind)
    if config.selfplay.reuse_tree and not continues_trees(search):
        raise ValueError(
            f"{config.search.kind} begins each search with a new tree; set search.kind to one that "
            "continues from a tree, or selfplay.reuse_tree to false"
        )


def _check_search_contract(search: Any, kind: str) -> None:
    simulations = getattr(search, "simulations", None)
    if not (isinstance(simulations, int) and simulations >= 1):
        raise ValueError(f"{kind} needs simulations, an int above 0, not {simulations!r}")
    for method in ("__call__", "without_noise"):
        if not callable(getattr(search, method, None)):
            raise ValueError(f"{kind} is not a search: it has no {method}")


def _check_network(network: "Network") -> None:
    if isinstance(network, ByAddress):
        addresses.check(network, "network", arguments=2)


def _check_offered(heads: Iterable[str], game: Game) -> None:
    """Refuse heads whose target the game does not offer: their loss would always be 0."""
    for name in heads:
        method = targets.TARGETS[name].needs
        if method and getattr(game, method)(game.initial(0)) is None:
            raise ValueError(f"{game.name} has no {method}, the target of the head {name}")
