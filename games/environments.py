"""The parts that the adapters for Gymnasium and for PettingZoo share."""

from typing import Any

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from games import pixels
from games.base import Game, States

METADATA: dict[str, Any] = {"render_modes": ["ansi", "rgb_array"], "render_fps": 1}


def check_two_players(game: Game) -> None:
    """``ValueError``, one line, for a game in which one player makes all moves."""
    if getattr(game, "one_player", False):
        raise ValueError(
            f"{game.name} is a game of one player, and these environments are for two: use the "
            "environment from which it was made"
        )


def observation_space(game: Game) -> Box:
    """The observations of ``game``: float32 ``[C, H, W]`` within the bounds that it states."""
    low, high = game.observation_bounds
    return Box(low, high, game.observation_shape, np.float32)


def is_legal(game: Game, states: States, action: Any) -> bool:
    """Whether ``action``, of any type, is a whole number that is legal in ``states [1]``."""
    number = np.asarray(action)
    if number.ndim or number.dtype.kind not in "iu":
        return False
    return bool(0 <= number < game.num_actions and game.legal(states)[0, number])


class Renderer:
    """The method ``render`` of an environment in one of the ``render_modes``, or in none.

    ``ansi`` gives a position as text, ``rgb_array`` an image ``uint8 [height, width, 3]``, whose
    size is that of the first one, because a video has one size.
    """

    def __init__(self, game: Game, mode: str | None):
        """``ValueError``, one line, for another mode, and for images without Pillow."""
        if mode == "human":
            raise ValueError(
                "render_mode 'human': an environment opens no window; "
                "`alphazero play` shows a board, ansi and rgb_array return one"
            )
        if mode is not None and mode not in METADATA["render_modes"]:
            raise ValueError(f"render_mode must be ansi, rgb_array or None, not {mode!r}")
        if mode == "rgb_array" and not pixels.available():
            raise ValueError("render_mode 'rgb_array' needs Pillow: pip install pillow")
        self._game, self._mode = game, mode
        self._shape: tuple[int, ...] | None = None

    def __call__(self, state: np.void, last_action: int | None) -> str | NDArray[np.uint8] | None:
        """``state`` drawn, with the move that led to it marked; None without a mode."""
        if self._mode is None:
            return None
        if self._mode == "ansi":
            return self._game.render(state)
        image = pixels.render(self._game.drawing(state, last_action))
        self._shape = self._shape or image.shape
        return _fitted(image, self._shape)


def _fitted(image: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The image cut at the right and below, or continued there in white, to this shape."""
    result = np.full(shape, 255, np.uint8)
    height, width = np.minimum(image.shape[:2], shape[:2])
    result[:height, :width] = image[:height, :width]
    return result
