"""All settings of a self-play run: meaning, default and its reason, values of published systems.

Each section is a frozen dataclass that one object receives. ``load`` reads YAML and command-line
overrides, validates them with pydantic and reports every error at once. No module imported here
imports torch, so that a bad configuration is refused without delay.

Sources: AlphaGo Zero is Silver et al. 2017 (Nature 550), AlphaZero is Silver et al. 2018 (Science
362) with its pseudocode, KataGo is Wu 2019 (arXiv 1902.10565) with its documented methods.
"""

import re
from collections.abc import Sequence
from importlib import resources
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

import configs
import games
from alphazero import config_file, packages
from alphazero.config_file import ConfigError
from alphazero.nn.settings import (
    STRICT,
    Attention,
    Count,
    Fraction,
    Initialization,
    Natural,
    OptimizerSettings,
    Positive,
    TrackingSettings,
)
from alphazero.search.gumbel import Gumbel
from alphazero.search.puct import PUCT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class NetworkSettings:
    """The residual policy-value network (AlphaZero, Silver et al. 2018).

    The default, 5 blocks of 64 channels, is the largest network that two CPU cores train in an
    hour or two. AlphaGo Zero used 20 or 40 blocks of 256 channels, AlphaZero 20 of 256; KataGo
    begins with 6 of 96 and ends with 20 of 256 or more.
    """

    blocks: Count = 5
    """Residual blocks of the tower, each of two 3x3 convolutions."""
    channels: Count = 64
    """Channels of every convolution in the tower."""
    attention: Attention = "none"
    """Added to each residual block: squeeze_excitation (Hu et al. 2018, used by Leela Chess Zero)
    or global_pooling (KataGo, Wu 2019). The default, none, is the network of AlphaZero."""
    policy_channels: Count = 16
    """Channels of the 1x1 convolution in the policy head. AlphaGo Zero used 2; 16
    cost little beside the tower."""
    value_channels: Count = 8
    """Channels of the 1x1 convolution in the value head; AlphaGo Zero used 1."""
    value_hidden: Count = 64
    """Units of the value head's hidden layer; AlphaGo Zero and AlphaZero used 256."""
    value_head: Literal["wdl", "scalar"] = "wdl"
    """wdl: probabilities of win, draw and loss with a cross entropy, as in KataGo and Leela Chess
    Zero; scalar: one number in [-1, 1] with a squared error, as in AlphaGo Zero and AlphaZero. wdl
    is the default because it tells a certain draw from an even chance of winning and losing."""
    initialization: Initialization = "he"
    """Distribution of the first weights: he (He et al. 2015, for ReLU networks) or xavier."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SelfPlaySettings:
    """How games of self-play are played."""

    games: Count = 256
    """Games that one group plays at the same time, one ply in all of them per step. Their positions
    form one batch: 256 is enough to use a CPU core or a small GPU well."""
    groups: Count = 2
    """Groups per worker process (on Ray) or in this process: while the positions of one group are
    evaluated, the search of another one runs. More than 2 measured no gain."""
    workers: Count | Literal["auto"] = "auto"
    """On Ray: self-play processes; auto: one per CPU core that is not used by the learner or an
    inference server. Without Ray: threads; auto: one per core, at most one per group."""
    cache: Count = 2**16
    """Positions per group whose evaluation is kept until the weights change; a power of two. An
    entry needs 4 bytes per action, 16 more, and those of a state. Successive searches evaluate many
    positions again, and games share openings: in Connect Four the cache answers about 40 % of the
    requests. Used by self-play in this process and by the workers on Ray alike; a worker's cache is
    cleared where new weights answer. AlphaZero's papers describe none, KataGo has one."""
    temperature: Annotated[float, Field(ge=0)] = 1.0
    """Temperature of the move's choice before ``temperature_plies``: 1 draws moves in proportion to
    the search's visits (or, with Gumbel, by its own rule), 0 plays the best move. AlphaGo Zero and
    AlphaZero used 1."""
    temperature_plies: Natural = 1000
    """From this ply on ``final_temperature`` applies. The default is never; AlphaGo Zero changed
    after 30 moves; AlphaZero's pseudocode does the same."""
    final_temperature: Annotated[float, Field(ge=0)] = 0.0
    """Temperature from ``temperature_plies`` on; AlphaGo Zero used an infinitesimal one."""
    random_opening_plies: Natural = 0
    """Each game begins with 0 to this many uniformly random legal plies, which are not trained on.
    Varied openings keep small games from repeating; 0 is AlphaZero's rule, KataGo plays the first
    moves from the network's policy."""
    stop_when_proven: bool = True
    """End a game as soon as its search has proven the result, which then is the game's outcome.
    It needs ``search.proofs``; AlphaZero plays every game to its end."""
    resign_value: Fraction | None = None
    """Resign when the search's value was below minus this number for two moves of the same player
    in a row; None: never. AlphaGo Zero chose the threshold so that fewer than 5 % of the resigned
    games could have been won."""
    resign_disabled_fraction: Fraction = 0.1
    """Share of games that are played to the end even so, from which the share of wrong
    resignations can be seen. 0.1 is AlphaGo Zero's."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ReplaySettings:
    """Which stored positions the learner draws, and how often."""

    samples_per_position: Positive = 4.0
    """How often each stored position is trained on, on average. It balances self-play and learning:
    the one that is ahead waits. More extracts more from each game, and overfits. KataGo's is about
    4, AlphaGo Zero's (2,048 x 700,000 samples from 4.9 million games) about 1.5."""
    window_min: Count = 20_000
    """Positions of the window, from which samples are drawn uniformly, while the run is young
    (the constant c of KataGo, Wu 2019, appendix C, who used 250,000)."""
    window_exponent: Fraction = 0.75
    """Growth of the window with the positions stored, n: about n to the power of this. 0.75 is
    KataGo's alpha. 0: the window never grows."""
    window_scale: Positive = 0.4
    """Slope of the window's growth at its beginning; 0.4 is KataGo's beta. AlphaGo Zero drew from
    the last 500,000 games, AlphaZero from the last million, at any time."""
    min_positions: Count = 5_000
    """Learning starts when this many positions are stored, so that the first steps do not train on
    a handful of games over and over."""
    value_mixing: Fraction = 0.25
    """Value target: (1 - m) * outcome + m * the search's value of the position, as distributions
    over win, draw and loss. The outcome is unbiased but noisy, the search's value the reverse.
    0 is AlphaZero's rule."""
    symmetries: bool = True
    """Turn and reflect each sample at random, where the game has symmetries. AlphaGo Zero did,
    AlphaZero did not, KataGo does."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrainingSettings:
    """The learner's steps, and when weights are published and saved."""

    initial_weights: Annotated[str, Field(min_length=1)] | None = None
    """A run, a checkpoint or an agent whose weights are the first ones: those of the same network
    or of one with fewer blocks, to which blocks are added. It is ignored when the run is resumed
    from a checkpoint of its own. None: random weights, as in AlphaZero."""
    steps: Count = 10_000
    """Optimizer steps of the whole run; AlphaGo Zero and AlphaZero took 700,000."""
    batch_size: Annotated[int, Field(ge=2)] = 512
    """Samples per optimizer step. AlphaGo Zero used 2,048, AlphaZero 4,096, KataGo 256."""
    publish_every: Count = 20
    """Optimizer steps between two publications of the weights to self-play. More often is fresher,
    but every publication clears the evaluation caches. AlphaZero published every 1,000 steps."""
    checkpoint_every: Count = 500
    """Optimizer steps between two checkpoints; AlphaGo Zero and AlphaZero: 1,000."""
    keep_checkpoints: Count = 5
    """The newest checkpoints that are kept; older ones are deleted."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Decay per step of the exponential moving average of the weights, which plays and is saved;
    0 publishes the raw weights, as AlphaZero did. KataGo averages snapshots."""
    value_weight: Positive = 1.0
    """Factor of the value loss beside the policy loss; 1 in AlphaGo Zero and AlphaZero."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of convolutions and matrix products. auto: the one in which a step takes less time,
    measured at the start; sums, BatchNorm and the optimizer are always float32."""
    device: str = "auto"
    """The learner's device: auto (a GPU where there is one), cpu, cuda, cuda:N or mps."""
    threads: Count | Literal["auto"] = "auto"
    """On a CPU, the number of threads that share each batch; auto: one per core without Ray (at
    least 64 rows of the batch each), 1 with Ray, where self-play needs the other cores."""
    time_limit_minutes: Positive | None = None
    """The run ends after this many minutes, its learning rate having followed the schedule to the
    end; None: after ``steps``. A --time-limit on the command line replaces it."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class InferenceSettings:
    """How the network is evaluated for self-play."""

    backend: Literal["auto", "torch", "openvino"] = "auto"
    """auto: on a CPU the faster of those installed, measured at the start; on a GPU torch."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto: the faster one, measured at the start: bfloat16 is three times as fast as float32 on a
    processor with AMX and slower on one without bfloat16 instructions."""
    device: str = "auto"
    """auto (a GPU where there is one), cpu, cuda, cuda:N or mps."""
    servers: Count = 1
    """Inference server processes, on Ray only."""
    batch_size: Count = 1024
    """Largest batch that a server on Ray evaluates at once."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EvaluationSettings:
    """Matches and mistakes, measured while a run lasts. AlphaGo Zero's gate (a new network plays
    only after winning 55 % of 400 games against the best one) is not used, as in AlphaZero: it
    costs games and gains no strength."""

    every: Natural = 0
    """Optimizer steps between two matches, each played at the first checkpoint from then on;
    0: only one, at the end."""
    games: Natural = 40
    """Games per match; 0: no match. 40 games give an interval of about 15 points either way."""
    opponent: str = "mcts:simulations=100"
    """The opponent, as on the command line: `alphazero arena --help` lists the kinds."""
    simulations: Count = 64
    """Simulations per move of the agent in a match."""
    suite_every_minutes: Annotated[float, Field(ge=0)] = 0.0
    """Minutes between two counts of the network's mistakes, without search, in some hundred solved
    positions; the pauses are longer where counting would take more than 1 % of the run's time.
    0: never. Needs a game with a suite: Connect Four."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config:
    """All settings of one training run by self-play."""

    game: str
    """A registered game (`alphazero games`) or the address of your own, module:Class."""
    seed: Natural = 0
    """Seed of every random draw. Without Ray and without a time limit, two runs with the same seed
    and settings on the same machine are equal bit for bit."""
    ray: str = "auto"
    """Where self-play runs: off (this process), local (processes of this machine), an address of a
    Ray cluster, or auto: off where there are at most 4 cores and no GPU, else local."""
    search: Annotated[PUCT | Gumbel, Field(discriminator="kind")] = Gumbel()
    """kind: gumbel (Danihelka et al. 2022), which improves the policy with few simulations and is
    the default for that reason, or puct, AlphaGo Zero's and AlphaZero's."""
    selfplay: SelfPlaySettings = SelfPlaySettings()
    network: NetworkSettings = NetworkSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    replay: ReplaySettings = ReplaySettings()
    training: TrainingSettings = TrainingSettings()
    inference: InferenceSettings = InferenceSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    tracking: TrackingSettings = TrackingSettings()


FOLDER = resources.files(configs)
"""The configurations that come with the package."""


def load(name_or_path: str, overrides: Sequence[str] = ()) -> Config:
    """The configuration called ``name_or_path``: a name in ``configs/`` or a path to a YAML file.

    ``overrides`` are ``key.sub=value`` texts from the command line. Raises ``ConfigError`` with one
    line for each thing wrong: where, which key, what was wrong and what would be right.
    """
    packages.check(configs.__name__)
    name, text = config_file.find(name_or_path, FOLDER)
    config = config_file.parse(Config, text, name, overrides, _CHECKS)
    problems = [f"{name}: {problem}" for problem in _contradictions(config)]
    if problems:
        raise ConfigError(problems)
    return config


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
    "training.device": _check_device,
    "inference.device": _check_device,
}


def _contradictions(config: Config) -> list[str]:
    """Problems of several settings together, one line each."""
    problems = []
    plies, longest = config.selfplay.random_opening_plies, games.make(config.game).max_plies
    if plies >= longest:
        problems.append(
            f"selfplay.random_opening_plies: {plies} leave nothing to train on: games of "
            f"{config.game} last at most {longest} plies"
        )
    return problems
