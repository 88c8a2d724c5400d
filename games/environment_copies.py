"""Environments of Gymnasium and PettingZoo as positions: copies, arguments, observations.

A copy of an environment is the pickled dictionary of its attributes. ``copy.deepcopy`` would not
do: many environments (PettingZoo's ``EzPickle``) are made anew from their arguments instead, so
that the copy is at the beginning.
"""

import pickle
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from games.replayed import layout
from games.spec import plain_call, shown

RULES = {"P", "action_space", "observation_space", "action_spaces", "observation_spaces", "spec",
         "_np_random", "np_random"}  # fmt: skip
"""Attributes that hold an environment's rules, not its position: all copies share them.

So they do the random numbers, which some environments draw although nothing depends on them.
"""

_TEXT = re.compile(r"[\w. -]{0,100}")
LARGEST = 500
"""The largest size of a number among an environment's arguments, which may be that of a board:
PettingZoo's Go takes 0.7 GB for 500 points a side, and 2.4 GB for 1,000."""
LONGEST = 500
"""Characters of an environment's name with its arguments, at most."""


def written(library: str, text: str) -> str:
    """The one way of writing an environment's name and arguments; see ``games.spec.plain_call``."""
    if len(text) > LONGEST or not text.isprintable():
        raise ValueError(f"{library}: {shown(text)} is no environment's name")
    return plain_call(text)


class Copies:
    """Copies of one environment, as bytes. ``ValueError``: it cannot be copied."""

    def __init__(self, environment: Any, name: str):
        self.name = name
        self._kind = type(environment)
        attributes = vars(environment)
        self._shared = {key: attributes[key] for key in attributes if key in RULES}

    def pack(self, environment: Any) -> bytes:
        own = {key: value for key, value in vars(environment).items() if key not in RULES}
        try:
            return pickle.dumps(own, pickle.HIGHEST_PROTOCOL)
        except Exception as error:  # an attribute of any kind
            raise ValueError(f"{self.name} cannot be copied: {first_line(error)}") from None

    def unpack(self, packed: bytes) -> Any:
        """The environment of ``packed``, which ``pack`` made in this process."""
        environment = object.__new__(self._kind)
        vars(environment).update(self._shared, **pickle.loads(packed))
        return environment


def arguments(name: str, texts: dict[str, str]) -> dict[str, Any]:
    """Keyword arguments of an environment from texts: whole numbers, numbers, true or false, words.

    They may come from a stranger: no paths, no addresses, nothing that opens a window.
    ``ValueError``, one line.
    """
    if "render_mode" in texts:
        raise ValueError(f"{name}: render_mode is not for games that are searched")
    return {key: _argument(name, key, text) for key, text in texts.items()}


def _argument(name: str, key: str, text: str) -> bool | int | float | str:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if re.fullmatch(r"[+-]?\d{1,9}(\.\d{1,9})?", text):
        number = float(text) if "." in text else int(text)
        if abs(number) <= LARGEST:
            return number
        raise ValueError(f"{name}: {key} must be -{LARGEST} to {LARGEST}, not {text}")
    if not _TEXT.fullmatch(text):
        raise ValueError(f"{name}: {key} must be a number or a word, not {shown(text)}")
    return text


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its kind where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def planes_of(space: Any, channels_last: bool) -> tuple[int, int, int]:
    """``(C, H, W)`` of the observations of a Gymnasium space; see ``planes``."""
    return layout(planes(space, space.sample(), channels_last).shape)


def planes(space: Any, observation: Any, channels_last: bool) -> NDArray:
    """One observation as an array of one to three dimensions; bytes of pictures become 0 to 1.

    ``channels_last``: arrays of three dimensions are rows, columns, planes. What is no array of
    numbers, such as a cell's number, is flattened: 2 of 4 is ``[0, 0, 1, 0]``.
    """
    from gymnasium import spaces

    if not isinstance(space, spaces.Box) or not 1 <= len(space.shape) <= 3:
        return np.asarray(spaces.flatten(space, observation))
    array = np.asarray(observation)
    if array.ndim == 3 and channels_last:
        array = np.moveaxis(array, -1, 0)
    elif array.ndim == 2:
        array = array[None]
    if array.dtype == np.uint8 and space.high.max() == 255:
        return array.astype(np.float32) / 255
    return np.ascontiguousarray(array)


def render(environment: Any, seen: NDArray, mover: int) -> str:
    """The environment's own text where it draws one, else its observation ``seen [C, H, W]``.

    Two planes are taken for the mover's stones and the opponent's. Of more, each cell shows the
    number of the first one that is not zero there.
    """
    if "ansi" in environment.metadata.get("render_modes", ()):
        environment.render_mode = "ansi"
        return _without_colours(str(environment.render()))
    marks = ".123456789abcdefghijklmnopqrstuvwxyz"
    if len(seen) == 2:
        marks = ".XO" if mover == 0 else ".OX"
    board = seen != 0
    first = np.where(board.any(axis=0), board.argmax(axis=0) + 1, 0)
    return "\n".join("".join(marks[min(n, len(marks) - 1)] for n in row) for row in first)


def _without_colours(text: str) -> str:
    """``text``; in brackets what an ANSI sequence marks with another background."""
    marked = re.sub(r"\x1b\[4\dm(.*?)\x1b\[0m", r"[\1]", text)
    return re.sub(r"\x1b\[[\d;]*m", "", marked)
