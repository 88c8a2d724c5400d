"""How a broken promise is reported: one line that says what, where, and what would be right."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from games.base import Game, States


class Ply(NamedTuple):
    """One move in each of the games still going on, and how they came there."""

    states: States
    """``[B]``, before the move."""
    actions: NDArray[np.int64]
    """``[B]``."""
    after: States
    """``[B]``, after the move."""
    history: NDArray[np.integer]
    """``[B, plies]``, the actions from the start that led to ``after``."""


def require(condition: object, promise: str) -> None:
    """Raise ``AssertionError`` with ``promise`` unless ``condition`` holds."""
    if not condition:
        raise AssertionError(promise)


def require_rows(kept: ArrayLike, promise: str, history: NDArray[np.integer]) -> None:
    """Require a promise of every row: ``kept`` is ``bool [B]``, ``history`` as in ``Ply``."""
    broken = np.flatnonzero(~np.asarray(kept))
    if broken.size:
        row = int(broken[0])
        raise AssertionError(f"{promise}; broken {place(history[row])}")


def place(actions: NDArray[np.integer]) -> str:
    """Where something is wrong, as actions that can be replayed from the start."""
    return f"after the actions {actions.tolist()}" if len(actions) else "at the start"


def require_array(
    call: str, array: NDArray, shape: tuple[int, ...], dtype: np.dtype | type
) -> None:
    """Require an array of exactly this shape and dtype; ``call`` is how it was obtained."""
    kind = type(array).__name__
    require(isinstance(array, np.ndarray), f"{call} must return a NumPy array, not a {kind}")
    require(array.shape == shape, f"{call} must have shape {shape}, not {array.shape}")
    require(array.dtype == dtype, f"{call} must be of dtype {np.dtype(dtype)}, not {array.dtype}")


def equal_rows(one: NDArray, two: NDArray) -> NDArray[np.bool_]:
    """``[B]``: whether the rows of two arrays of one shape are equal, NaN being equal to NaN."""
    same = one == two
    if one.dtype.kind == "f":
        same = same | (np.isnan(one) & np.isnan(two))
    return same.all(axis=tuple(range(1, same.ndim)))


def pure(
    game: Game,
    method: str,
    states: States,
    *actions: NDArray[np.int64],
    may_be_view: bool = False,
) -> NDArray:
    """Call a method on a copy of ``states`` and require that the copy stays as it was.

    ``may_be_view``: the result may share memory with the copy.
    """
    given = states.copy()
    result = getattr(game, method)(given, *actions)
    require(
        given.tobytes() == states.tobytes(),
        f"{method} must not modify the states it is given: copy them first",
    )
    require(
        may_be_view or not np.shares_memory(result, given),
        f"{method} must not return a view of what it is given: return a copy",
    )
    return result
