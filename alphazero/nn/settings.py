"""Frozen settings of the network toolkit; importing them does not import torch."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ScheduleSettings:
    """Learning rate over optimizer steps, as a factor on the base rate."""

    kind: Literal["constant", "cosine", "step"] = "cosine"
    warmup_steps: Annotated[int, Field(ge=0)] = 100
    """A factor beside that of ``kind``: linear from 0 to 1 over this many steps."""
    final_factor: Fraction = 0.05
    """cosine: the factor reached at the last step."""
    milestones: tuple[Fraction, ...] = (0.6, 0.85)
    """step: fractions of the whole run at which the factor is multiplied by ``decay``."""
    decay: Fraction = 0.1


@dataclass(frozen=True, kw_only=True, config=STRICT)
class OptimizerSettings:
    name: Literal["adam", "adamw", "sgd", "rmsprop"] = "adam"
    learning_rate: Positive = 2e-3
    l2: Annotated[float, Field(ge=0)] = 1e-4
    """L2 penalty (decoupled decay for adamw); biases and BatchNorm parameters are excluded."""
    momentum: Fraction = 0.9
    """sgd only."""
    gradient_clip: Annotated[float, Field(ge=0)] = 1.0
    """Largest gradient norm; 0 turns clipping off."""
    schedule: ScheduleSettings = ScheduleSettings()
