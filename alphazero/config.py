"""A run's configuration: frozen sections, each handed to the one object that needs it.

Validated by pydantic; ``alphazero.config.load`` reads YAML and command-line overrides and reports
every error at once. Nothing here imports torch, so that a bad configuration is refused at once.
"""

import re
from collections.abc import Sequence
from importlib import resources
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, TypeAdapter
from pydantic.dataclasses import dataclass

import games
from alphazero import config_file
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
    """The residual policy-value network (AlphaZero, Silver et al. 2018)."""

    blocks: Count = 5
    channels: Count = 64
    attention: Attention = "none"
    """What a residual block adds: Hu et al. 2018, or KataGo's global pooling (Wu 2019)."""
    policy_channels: Count = 16
    value_channels: Count = 8
    value_hidden: Count = 64
    value_head: Literal["wdl", "scalar"] = "wdl"
    initialization: Initialization = "he"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SelfPlaySettings:
    games: Count = 256
    """Games in flight in one group, in lock step."""
    groups: Count = 2
    """Groups a worker (or LocalFleet) keeps in flight."""
    workers: Count | Literal["auto"] = "auto"
    """Self-play processes on Ray; auto: one a CPU core that is left over. LocalFleet: threads."""
    cache: Count = 2**16
    """Positions whose evaluation a group remembers until new weights come; a power of two. Much
    of what one move's search asked the next one asks again. LocalFleet only."""
    temperature: Annotated[float, Field(ge=0)] = 1.0
    temperature_plies: Natural = 1000
    """From this ply on ``final_temperature`` applies."""
    final_temperature: Annotated[float, Field(ge=0)] = 0.0
    random_opening_plies: Natural = 0
    """Each game begins with 0 to this many uniformly random plies, which are not trained on."""
    stop_when_proven: bool = True
    """End a game as soon as its search has proven the result, which then is its outcome."""
    resign_value: Fraction | None = None
    """Resign when the search value stays below minus this for two own moves; None: never."""
    resign_disabled_fraction: Fraction = 0.1
    """Share of games played to the end all the same: the network must see lost endings too."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ReplaySettings:
    samples_per_position: Positive = 4.0
    """How often each stored position is trained on, on average; kept by the limiter."""
    window_min: Count = 20_000
    """Positions: the window's size while the run is young (KataGo, Wu 2019, appendix C)."""
    window_exponent: Fraction = 0.75
    window_scale: Positive = 0.4
    min_positions: Count = 5_000
    """Learning starts when this many positions are stored."""
    value_mixing: Fraction = 0.25
    """Value target: (1 - m) * outcome + m * search value."""
    symmetries: bool = True


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrainingSettings:
    initial_weights: Annotated[str, Field(min_length=1)] | None = None
    """A run, a checkpoint or an agent whose weights are the first ones: of the same network, or of
    one with fewer blocks, which then grows. Not asked for any more once the run has a checkpoint of
    its own."""
    steps: Count = 10_000
    batch_size: Annotated[int, Field(ge=2)] = 512
    publish_every: Count = 20
    """Optimizer steps between two publications of the weights."""
    checkpoint_every: Count = 500
    keep_checkpoints: Count = 5
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Decay of the averaged weights that play; 0 publishes the raw weights."""
    value_weight: Positive = 1.0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    device: str = "auto"
    """The learner's: auto, cpu, cuda, cuda:1, mps."""
    threads: Count | Literal["auto"] = "auto"
    """On a CPU, how many share each batch; auto: all cores, a single one where play is on Ray."""
    time_limit_minutes: Positive | None = None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class InferenceSettings:
    backend: Literal["auto", "torch", "openvino"] = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto: both are timed at start-up."""
    device: str = "auto"
    servers: Count = 1
    """Inference server actors on Ray."""
    batch_size: Count = 1024
    """Largest batch a server evaluates at once."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EvaluationSettings:
    every: Natural = 0
    """Optimizer steps between two arena matches, each held at the first checkpoint from then on;
    0: only at the end."""
    games: Natural = 40
    """Of one match; 0: no match."""
    opponent: str = "mcts:simulations=100"
    simulations: Count = 64
    suite_every_minutes: Annotated[float, Field(ge=0)] = 0.0
    """Between two counts of the network's mistakes, without search, in some hundred positions of
    the game's suite; stretched so that they take 1 % of the run's time at most. 0: never."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config:
    """One experiment: everything ``train`` needs to know."""

    game: str
    seed: Natural = 0
    ray: str = "auto"
    """off, local, an address, or auto: off where there are at most 4 cores and no GPU."""
    search: Annotated[PUCT | Gumbel, Field(discriminator="kind")] = Gumbel()
    selfplay: SelfPlaySettings = SelfPlaySettings()
    network: NetworkSettings = NetworkSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    replay: ReplaySettings = ReplaySettings()
    training: TrainingSettings = TrainingSettings()
    inference: InferenceSettings = InferenceSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    tracking: TrackingSettings = TrackingSettings()


def load(name_or_path: str, overrides: Sequence[str] = ()) -> Config:
    """The configuration called ``name_or_path``: a name in ``configs/`` or a path to a YAML file.

    ``overrides`` are ``key.sub=value`` texts from the command line. Raises ``ConfigError`` with one
    line for each thing wrong: where, which key, what was wrong and what would be right.
    """
    name, text = config_file.find(name_or_path, resources.files("configs"))
    config = config_file.parse(Config, text, name, overrides, _CHECKS)
    problems = [f"{name}: {problem}" for problem in _contradictions(config)]
    if problems:
        raise ConfigError(problems)
    return config


def names() -> list[str]:
    """The configurations that ship with the package."""
    return config_file.names(resources.files("configs"))


def as_dict(config: Config) -> dict[str, Any]:
    """``config`` as plain dictionaries, lists and values; defaults included."""
    return TypeAdapter(Config).dump_python(config, mode="json")


def describe(config: Config) -> str:
    """``config`` as YAML with every default spelled out; ``load`` reads it back unchanged."""
    return yaml.safe_dump(as_dict(config), sort_keys=False)


def _check_device(device: str) -> None:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device):
        raise ValueError(f"got {device!r}, should be auto, cpu, cuda, cuda:N or mps")


def check_ray(ray: str) -> None:
    if ray not in ("off", "local", "auto") and not re.fullmatch(r"[^:/\s]+:\d+", ray):
        raise ValueError(f"got {ray!r}, should be off, local, auto or an address host:port")


_CHECKS = {
    "game": games.make,
    "ray": check_ray,
    "training.device": _check_device,
    "inference.device": _check_device,
}


def _contradictions(config: Config) -> list[str]:
    """What only shows when several keys are seen together."""
    problems = []
    plies, longest = config.selfplay.random_opening_plies, games.make(config.game).max_plies
    if plies >= longest:
        problems.append(
            f"selfplay.random_opening_plies: {plies} would be whole games of {config.game}, "
            f"which last {longest} plies at most"
        )
    return problems
