"""Gumbel (stub while the kernels are written)."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from alphazero.nn.settings import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Gumbel:
    kind: Literal["gumbel"] = "gumbel"
    simulations: Annotated[int, Field(ge=1)] = 64
