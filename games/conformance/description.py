"""Promises about the game as a whole: its attributes, its notation, its name."""

import numpy as np

import games
from games.base import Game
from games.conformance.promises import require


def check_description(game: Game) -> None:
    name, shape, dtype = (
        getattr(game, field, None) for field in ("name", "observation_shape", "dtype")
    )
    require(isinstance(name, str) and name, f"name must be a text like 'my_game', not {name!r}")
    for field in ("num_actions", "max_plies"):
        value = getattr(game, field, None)
        require(
            isinstance(value, int) and value > 0, f"{field} must be a positive int, not {value!r}"
        )
    require(
        isinstance(shape, tuple) and len(shape) == 3 and min(shape) > 0,
        f"observation_shape must be (C, H, W), three positive ints, not {shape}",
    )
    require(isinstance(dtype, np.dtype), f"dtype must be a np.dtype, not {dtype!r}")
    assert isinstance(dtype, np.dtype)
    require(
        not dtype.hasobject, f"dtype must hold plain numbers, no Python objects, but is {dtype}"
    )
    require(
        dtype.names,
        f"dtype must be a record with named fields, as np.dtype([('cells', 'i1', (9,))]), "
        f"not {dtype}",
    )
    used = _used_bytes(dtype)
    require(
        used == dtype.itemsize,
        f"dtype must have no padding bytes: its fields fill {used} of {dtype.itemsize}; leave out "
        "align=True, or add a field for the rest",
    )


def _used_bytes(dtype: np.dtype) -> int:
    """The bytes that belong to some field, at any depth."""
    if dtype.subdtype is not None:
        element, shape = dtype.subdtype
        return _used_bytes(element) * int(np.prod(shape))
    if dtype.fields is None:
        return dtype.itemsize
    return sum(_used_bytes(field[0]) for field in dtype.fields.values())


def check_registry(game: Game) -> None:
    """``name`` must build the game again, in this and in other processes."""
    advice = "register it with games.register, or use package.module:Class as the name"
    try:
        made = games.make(game.name)
    except ValueError as error:
        raise AssertionError(
            f"games.make must accept name {game.name!r}: {error}; {advice}"
        ) from error
    require(
        type(made) is type(game) and made.name == game.name,
        f"games.make({game.name!r}) must build this very game, not {made!r}; {advice}",
    )
