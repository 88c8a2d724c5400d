"""The ranges of the values of settings, as types for pydantic.

Every number has an upper bound, too, so that a typing error is refused before anything is
allocated.
"""

import os
import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field

from games.spec import shown

LARGEST = 2**32 - 1
"""The largest seed that all libraries take."""
HUGE = 1e30
"""The largest number of floating point; its square overflows in float32 at the latest."""
MOST_MINUTES = 1_000_000
"""The longest time limit: almost two years."""
TOWER = 2 * 10**8
"""Weights of a network's tower, at most. Their training state has four numbers for each, 3.2 GB,
which is less than the longest file of a checkpoint (``sealed.LARGEST``)."""

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
Positive = Annotated[float, Field(gt=0, le=HUGE)]
Scale = Annotated[float, Field(ge=1e-6, le=1e9)]
"""A constant of a search. Products and quotients of two are finite in float32."""
Fraction = Annotated[float, Field(ge=0, le=1)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]
NotNegative = Annotated[float, Field(ge=0, le=HUGE)]
Minutes = Annotated[float, Field(gt=0, le=MOST_MINUTES)]
Count = Annotated[int, Field(ge=1, le=LARGEST)]
Natural = Annotated[int, Field(ge=0, le=LARGEST)]
BatchSize = Annotated[int, Field(ge=2, le=2**20)]
Threads = Annotated[int, Field(ge=1, le=1024)]
Width = Annotated[int, Field(ge=1, le=2**13)]
"""Channels, units or dimensions of a layer."""
HeadChannels = Annotated[int, Field(ge=1, le=256)]
Depth = Annotated[int, Field(ge=1, le=256)]
"""Layers or blocks."""
FilePath = Annotated[str, Field(min_length=1), AfterValidator(os.path.expanduser)]
"""A path; ``~`` at its beginning is the home folder."""

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_UNITS |= {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def _in_bytes(given: object) -> object:
    """The number of bytes of a text such as ``1.5 GiB``; anything but a text as it is."""
    if not isinstance(given, str) or given.isdigit():
        return given
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,9})?) ?([kmgt]?i?)b", given.lower())
    if not match or match[2] not in _UNITS:
        raise ValueError(f"got {shown(given)}, should be bytes, as in 2000000000, 2GB or 2GiB")
    return int(float(match[1]) * _UNITS[match[2]])


def _power_of_two(number: int) -> int:
    if number & (number - 1):
        near = 1 << (number.bit_length() - 1)
        raise ValueError(f"got {number}, should be a power of two: {near} or {2 * near}")
    return number


Bytes = Annotated[int, Field(ge=1, le=2**50), BeforeValidator(_in_bytes)]
Capacity = Annotated[int, Field(ge=1, le=2**30), AfterValidator(_power_of_two)]


def check_tower(blocks: int, channels: int) -> None:
    """``ValueError`` where ``blocks`` of two 3x3 convolutions have more than ``TOWER`` weights."""
    _check_weights(18 * blocks * channels**2, f"blocks={blocks} with channels={channels}")


def check_layers(layers: int, width: int) -> None:
    """``ValueError`` where square ``layers`` of this ``width`` have more than ``TOWER`` weights."""
    _check_weights(layers * width**2, f"layers={layers} with width={width}")


def _check_weights(weights: int, what: str) -> None:
    if weights > TOWER:
        raise ValueError(f"{what} are {weights:,} weights, more than {TOWER:,}")
