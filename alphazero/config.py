"""All settings of a self-play run: meaning, default and its reason, values of published systems.

Each section is a frozen dataclass that one object receives. ``load`` reads YAML and command-line
overrides, validates them with pydantic and reports every error at once. No module imported here
imports torch, so that a bad configuration is refused without delay.

Sources: AlphaGo Zero is Silver et al. 2017 (Nature 550), AlphaZero is Silver et al. 2018 (Science
362) with its pseudocode, KataGo is Wu 2019 (arXiv 1902.10565) with its documented methods.
"""

import json
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, Tag
from pydantic.dataclasses import dataclass

import games
from alphazero import addresses, config_file, config_folder, packages, plain_yaml, recipe
from alphazero.addresses import ByAddress, by_kind
from alphazero.cluster_settings import ClusterSettings
from alphazero.config_checks import CHECKS, contradictions
from alphazero.config_file import ConfigError
from alphazero.network_settings import Network, NetworkSettings
from alphazero.nn.settings import OptimizerSettings, TrackingSettings
from alphazero.ranges import (
    HUGE,
    STRICT,
    BatchSize,
    Count,
    FilePath,
    Fraction,
    Minutes,
    Natural,
    Positive,
    Threads,
)
from alphazero.search.gumbel import Gumbel
from alphazero.search.puct import PUCT
from alphazero.selfplay_settings import SelfPlaySettings
from games.spec import shown, suggest

SearchSettings = Annotated[
    Annotated[PUCT, Tag("puct")]
    | Annotated[Gumbel, Tag("gumbel")]
    | Annotated[ByAddress, Tag(addresses.ADDRESS)],
    by_kind("gumbel"),
]


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
    the same few games over and over; never before the first step's batch_size /
    samples_per_position."""
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
    same, or have fewer blocks or other auxiliary heads; what is missing is added. It may
    come from the same game with other parameters. From another size of board the tower of
    convolutions is taken, and the heads that depend on the size begin with random weights; a
    perceptron depends on it as a whole and is refused. Ignored when the run is resumed from its own
    checkpoint. None: random weights, as in AlphaZero."""
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
    on a CPU with compiled loops for BatchNorm and what follows it, where they are faster, and with
    weight gradients of our own, where the processor has AMX (docs/decisions/0054); the line that
    announces the run says so. float32 and bfloat16 use torch's layers only. Sums, BatchNorm and the
    optimizer are always float32."""
    device: str = "auto"
    """The learner's device: auto (a GPU where there is one), cpu, cuda, cuda:N or mps."""
    threads: Threads | Literal["auto"] = "auto"
    """On a CPU, the number of threads that share each batch, or each process's part of it. auto:
    without Ray one per core, each with at least 64 rows; with Ray 1, because self-play needs the
    other cores."""
    processes: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes of this machine that share each batch, this one included. Each has ``threads`` of
    its own or, with device cuda, the GPU of its number; as with threads, BatchNorm normalizes each
    share by itself. On two cores processes are no faster than threads."""
    time_limit_minutes: Minutes | None = None
    """The run ends after this many minutes, or after ``steps`` if that is earlier. The learning
    rate's schedule then ends at the time limit, too. None: no limit. A --time-limit on the command
    line replaces it, also in the run's ``config.yaml``. On resuming without --time-limit the
    configuration's own limit holds, or the run's last one where the recipe would set it."""


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
    batch_size: Annotated[int, Field(ge=1, le=2**20)] | Literal["auto"] = "auto"
    """Largest batch that an evaluator process evaluates at once. auto: 1,024 on a CPU; on a CUDA
    device the size up to 4,096 that is measured at the start to be the fastest per position, or a
    smaller one that is nearly as fast."""


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
    recipe: Literal["default", "none"] = "default"
    """Where the keys come from that a configuration does not name. default: the recipe of
    `docs/recipe.md`, whose sizes follow from the game. none: the defaults of this page, those of
    plain AlphaZero for a small board."""
    seed: Natural = 0
    """Seed of every random draw. Without Ray and without a time limit, two runs with the same seed
    and settings on the same machine are equal bit for bit."""
    ray: str = "auto"
    """Where self-play runs: off (this machine, without Ray), local (Ray on this machine), the
    address of a Ray cluster, or auto: the address in the environment variable RAY_ADDRESS, off
    where it is not set."""
    search: SearchSettings = Gumbel()
    """kind: gumbel (Danihelka et al. 2022), the default because it improves the policy even with
    few simulations; puct, the search of AlphaGo Zero and AlphaZero; or the address of your own
    search, module:Class, whose arguments are the other keys."""
    cluster: ClusterSettings = ClusterSettings()
    selfplay: SelfPlaySettings = SelfPlaySettings()
    network: Network = NetworkSettings()
    """kind: residual; perceptron; or the address of your own network, module:Class, whose
    arguments are the other keys."""
    optimizer: OptimizerSettings = OptimizerSettings()
    replay: ReplaySettings = ReplaySettings()
    training: TrainingSettings = TrainingSettings()
    inference: InferenceSettings = InferenceSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    tracking: TrackingSettings = TrackingSettings()


FOLDER = packages.ROOT / "configs"
"""The configurations that come with the package."""
STORED = "config.yaml"
"""The file in a run's folder that has the value of every setting."""
OBSOLETE = ("selfplay.workers", "inference.servers")
"""Keys in files of earlier versions that are no settings any more: numbers of processes."""


def load(name_or_path: str, overrides: Sequence[str] = (), resumed: Path | None = None) -> Config:
    """The configuration called ``name_or_path``: a name in ``configs/``, a path or a game.

    A game, as in `hex:size=7`, is a configuration with this one line. ``overrides`` are
    ``key.sub=value`` texts from the command line. The recipe fills what stays open, or the settings
    of the run in the folder ``resumed``. Raises ``ConfigError`` with one line per error: where,
    which key, what is wrong and what would be right.
    """
    if is_game(name_or_path):
        name, text, overrides = name_or_path, "", [f"game={json.dumps(name_or_path)}", *overrides]
    else:
        _check_game(name_or_path)
        supervised = "alphazero supervised train", FOLDER / "supervised"
        name, text = config_folder.find(name_or_path, FOLDER, supervised)
    config = config_file.parse(Config, text, name, overrides, CHECKS)
    if config.recipe == "default":  # only now: it plays random games, which may have to be compiled
        fill = _filling(config.game, resumed)
        config = config_file.parse(Config, text, name, overrides, CHECKS, fill)
    origin = f"{name} and {config_file.COMMAND_LINE}" if overrides else name
    problems = [f"{origin}: {problem}" for problem in contradictions(config)]
    if problems:
        raise ConfigError(problems)
    return config


def _filling(game: str, resumed: Path | None) -> config_file.Fill:
    """The settings that fill what a configuration of ``game`` leaves open."""
    stored = resumed / STORED if resumed else None
    if stored is None or not stored.is_file():
        return partial(recipe.settings, games.make(game))
    try:
        values = plain_yaml.load(plain_yaml.read_text(stored))
    except plain_yaml.NotPlainYaml as error:
        raise ConfigError([f"{stored}: not YAML: {error}"]) from None
    if not isinstance(values, dict):
        return lambda given: {}
    config_file.drop(values, OBSOLETE)
    return lambda given: values


def _check_game(text: str) -> None:
    """``ConfigError``, one line: it is written as a game with parameters and is none."""
    name, _, options = text.partition(":")
    known = name in games.registered() or addresses.is_address(games.named(text)[0])
    file = "/" in text or text.endswith((".yaml", ".yml")) or os.path.exists(text)
    if name.isidentifier() and "=" in options and not (known or file):
        hint = suggest(name, games.registered(), "the games are")
        raise ConfigError([f"there is no game {shown(name)}; {hint}"])


def is_game(text: str) -> bool:
    """Whether ``text`` names a game: no configuration and no file has this name."""
    name = games.named(text)[0]
    known = name in games.registered() or addresses.is_address(name)
    file = text.endswith((".yaml", ".yml")) or text in config_folder.names(FOLDER)
    return known and len(text) <= 200 and not file and not os.path.isfile(text)
