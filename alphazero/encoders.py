"""Encoders: from positions to the network's input planes, apart from the rules of the game.

``network.encoder`` in the settings is ``game``, the planes of the game's own ``observe``, or
``history:plies=7``, these and planes of the last 7 positions (``History``), or the address
``module:Class`` of a subclass of ``Encoder``::

    class WithCorners(Encoder):
        def __init__(self, game):
            super().__init__(game)
            self.shape = (3, *self.shape[1:])

        def __call__(self, states):
            planes = self.game.observe(states)
            corners = np.zeros_like(planes[:, :1])
            corners[:, :, [0, 0, -1, -1], [0, -1, 0, -1]] = 1
            return np.concatenate([planes, corners], axis=1)

An encoder that states ``history = 4`` gets states that also hold the last four positions, those of
``games.history.WithHistory``; self-play and players then run on that game (``played_game``).
"""

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphazero import addresses
from alphazero.errors import reason
from games.base import Game, States, as_bytes
from games.history import LONGEST, WithHistory, earlier, present, replay
from games.spec import parse_options, split

OWN, HISTORY = "game", "history"
"""The names of the game's own planes and of the encoder that adds earlier positions."""
PLIES = 7
"""Earlier positions of ``history`` by default: eight in all, as in AlphaZero."""
_GAMES, _PLIES = 8, 12
"""Random games, and plies of them, on which an encoder is checked."""


class Encoder:
    """The planes of the game's own ``observe``, and the base of every other encoder.

    A subclass sets ``shape`` and defines ``__call__``; ``symmetries`` too where its planes have
    other cells than the game's, and ``key`` where its planes show what ``game.identity`` leaves
    out. The same states give the same planes: nothing is random, no argument is changed.
    """

    history: int = 0
    """How many earlier positions the states hold, at most 255; they are ``games.history`` states
    where it is not 0."""
    shape: tuple[int, int, int]
    """``(C, H, W)`` of one position's planes."""

    def __init__(self, game: Game):
        self.game = game
        self.shape = game.observation_shape

    def __call__(self, states: States) -> NDArray[np.float32]:
        """``float32 [B, C, H, W]``: the planes of ``states [B]``, from the mover's point of view.

        Finite, about 0 to 1; row ``i`` depends on ``states[i]`` only.
        """
        return self.game.observe(states)

    def of_bytes(self, constant: Callable[[NDArray], Any]) -> Callable[[Any], Any] | None:
        """``__call__`` for the bytes of states on a GPU, as of ``Game.observe_bytes``.

        None where there is none: then the planes are made on the CPU. By default that of the game,
        if its planes are those of this encoder.
        """
        own = type(self).__call__ is Encoder.__call__
        return self.game.observe_bytes(constant) if own else None

    def symmetries(self) -> list[NDArray[np.intp]]:
        """For each of ``game.symmetries()`` the permutation of the planes' cells ``[H * W]``.

        As there, after the symmetry cell ``i`` shows what cell ``cells[i]`` showed.
        """
        return [cells for cells, _ in self.game.symmetries()]

    def key(self, states: States) -> NDArray[np.uint8]:
        """``uint8 [B, K]``: positions with equal rows have equal evaluations, for caches.

        By default ``game.identity``, and all bytes of states with a history.
        """
        if self.history:
            return as_bytes(states)
        return self.game.identity(states)


class History(Encoder):
    """The game's own planes, then ``game.observe_earlier`` of the last ``plies`` positions.

    The latest comes first; the planes of positions before the game began are 0. An earlier position
    is seen by its own mover, unless the game's ``observe_earlier`` turns it to the present one, as
    in chess (Silver et al. 2018, "Input" of the supplement: eight positions).
    """

    def __init__(self, game: Game, plies: int = PLIES):
        """``ValueError`` for ``plies`` that are not 1 to 255."""
        super().__init__(game)
        if not 1 <= plies <= LONGEST:
            raise ValueError(f"plies must be 1 to {LONGEST}, not {plies}")
        self.history = plies
        nothing = game.observe_earlier(game.initial(0), np.zeros(0, np.bool_))
        own, height, width = game.observation_shape
        self.shape = (own + plies * nothing.shape[1], height, width)

    def __call__(self, states: States) -> NDArray[np.float32]:
        now = present(states)
        planes, mover = np.zeros((len(states), *self.shape), np.float32), self.game.to_move(now)
        end = self.game.observation_shape[0]
        planes[:, :end] = self.game.observe(now)
        count = (self.shape[0] - end) // self.history
        for back in range(1, self.history + 1):
            rows = np.flatnonzero(states["known"] >= back)
            before = earlier(states[rows], back)
            turned = self.game.to_move(before) != mover[rows]
            planes[rows, end : end + count] = self.game.observe_earlier(before, turned)
            end += count
        return planes


def make(spec: str, game: Game) -> Encoder:
    """The encoder named by ``spec`` for ``game``, or for the game inside of a ``WithHistory``.

    ``ValueError``, one line: it cannot be imported, or breaks a promise of ``Encoder`` in positions
    of a few random games.
    """
    rules = game.game if isinstance(game, WithHistory) else game
    if spec == OWN:
        return Encoder(rules)
    made = None if _is_history(spec) else _load(spec)
    try:
        encoder = made(rules) if made else _history(spec, rules)
        _check(encoder, rules)
    except Exception as error:  # a user's own class may raise anything
        raise ValueError(f"encoder {spec!r}: {reason(error)}") from error
    return encoder


def played_game(game: Game, encoder: Encoder) -> Game:
    """The game whose states ``encoder`` reads: ``game``, or one with a history."""
    rules = game.game if isinstance(game, WithHistory) else game
    return WithHistory(rules, encoder.history) if encoder.history else rules


def played_states(
    played: Game, states: States, lines: Sequence[Sequence[int]] | None = None
) -> States:
    """``states [B]`` of a game as states of the ``played_game``.

    With a history they are replayed from ``lines``, for each position the actions from the start;
    without ``lines`` no earlier position is known. ``ValueError`` where ``lines`` lead elsewhere.
    """
    if not isinstance(played, WithHistory) or states.dtype == played.dtype:
        return states
    if lines is None:
        return played.without_earlier(states)
    replayed = replay(played, lines)
    if present(replayed).tobytes() != states.tobytes():
        raise ValueError("the lines of moves do not lead to the positions that came with them")
    return replayed


def address_of(spec: str) -> str | None:
    """The address that ``make`` would import for ``spec``; None for a named encoder."""
    return spec if addresses.is_address(spec) and not _is_history(spec) else None


def check_bytes(encoder: Encoder, game: Game) -> None:
    """Compare ``of_bytes`` with the encoder's planes in positions of a few random games.

    ``ValueError``, one line, where they differ: a subclass may have changed one of them only.
    """
    encode = encoder.of_bytes(lambda array: array)
    states = [game.initial(_GAMES)]
    for actions in _random_lines(game, np.random.default_rng(0)):
        states.append(game.step(states[-1][: len(actions)], actions))
    positions = np.concatenate(states)
    if encode and not np.array_equal(encode(as_bytes(positions)), encoder(positions)):
        raise ValueError(
            f"the planes that {game!r} computes from bytes (observe_bytes) are not those of "
            "observe; where one is changed, the other has to be, too"
        )


def _is_history(spec: str) -> bool:
    """Whether the text is ``history``, alone or with ``key=value``; ``history:Class`` is not."""
    name, options = split(spec)
    return name == HISTORY and ("=" in options or ":" not in spec)


def _history(spec: str, game: Game) -> History:
    given = {option.key: option.value or "" for option in parse_options(split(spec)[1])}
    plies = given.pop("plies", str(PLIES))
    if given or not re.fullmatch("[0-9]{1,3}", plies):
        raise ValueError(f"it is written {HISTORY}:plies={PLIES}, with 1 to {LONGEST} plies")
    return History(game, int(plies))


def _load(spec: str) -> type[Encoder]:
    if not address_of(spec):
        raise ValueError(
            f"unknown encoder {spec!r}: it is {OWN!r}, {HISTORY + ':plies=7'!r} or an address "
            "module:Class"
        )
    encoder = addresses.load(spec, "encoder")
    if not (inspect.isclass(encoder) and issubclass(encoder, Encoder)):
        raise ValueError(f"{spec!r} is not an encoder: that is a subclass of {__name__}.Encoder")
    return encoder


def _require(condition: object, promise: str) -> None:
    if not condition:
        raise AssertionError(promise)


def _check(encoder: Encoder, game: Game) -> None:
    """Raise ``AssertionError``, one line, for a broken promise."""
    shape, history = encoder.shape, encoder.history
    _require(
        isinstance(shape, tuple) and len(shape) == 3 and all(int(n) == n > 0 for n in shape),
        f"shape must be (C, H, W), three positive ints, not {shape!r}",
    )
    _require(
        isinstance(history, int) and 0 <= history <= LONGEST,
        f"history must be a number of plies, 0 to {LONGEST}, not {history!r}",
    )
    played, rng = played_game(game, encoder), np.random.default_rng(0)
    lines = _random_lines(played, rng)
    states = [played.initial(_GAMES)]
    for actions in lines:
        states.append(played.step(states[-1][: len(actions)], actions))
    for batch in states:
        _check_planes(encoder, batch)
    _check_keys(encoder, np.concatenate(states))
    _check_symmetries(encoder, played, lines, states)


def _random_lines(game: Game, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """The actions of random games, ply by ply; the games that go on come first in a batch."""
    states, lines = game.initial(_GAMES), []
    for _ in range(_PLIES):
        legal = game.legal(states)
        going = int(legal.any(axis=1).cumprod().sum())
        if not going:
            break
        legal = legal[:going]
        lines.append(np.where(legal, rng.random(legal.shape), -1.0).argmax(axis=1))
        states = game.step(states[:going], lines[-1])
    return lines


def _check_planes(encoder: Encoder, states: States) -> None:
    planes, expected = encoder(states), (len(states), *encoder.shape)
    _require(isinstance(planes, np.ndarray), f"it must return an array, not {type(planes)}")
    _require(
        planes.shape == expected and planes.dtype == np.float32,
        f"its planes must be float32 of shape {expected}, not {planes.dtype} of {planes.shape}",
    )
    _require(np.isfinite(planes).all(), "its planes must be finite, without NaN or infinity")
    key = encoder.key(states)
    _require(
        key.dtype == np.uint8 and key.ndim == 2 and len(key) == len(states),
        f"key must be uint8 of shape ({len(states)}, K), not {key.dtype} of {key.shape}",
    )


def _check_keys(encoder: Encoder, states: States) -> None:
    """Positions with equal keys share an entry of a cache, so their planes must be equal, too."""
    planes = encoder(states)
    _, first, place = np.unique(encoder.key(states), axis=0, return_index=True, return_inverse=True)
    _require(
        np.allclose(planes, planes[first[place.reshape(-1)]], atol=1e-5),
        "positions with equal rows of key must have equal planes",
    )


def _check_symmetries(
    encoder: Encoder, game: Game, lines: list[NDArray[np.int64]], states: list[States]
) -> None:
    """Play the images of the same games; their planes must be the images of the planes.

    Symmetries that change the starting position cannot be tested so, as for a game.
    """
    permutations, count = encoder.symmetries(), encoder.shape[1] * encoder.shape[2]
    _require(
        len(permutations) == len(game.symmetries()),
        f"symmetries must be {len(game.symmetries())}, one for each of the game's, not "
        f"{len(permutations)}",
    )
    for number, cells in enumerate(permutations):
        _require(
            np.array_equal(np.sort(cells), np.arange(count)),
            f"symmetry {number} must be a permutation of 0..{count - 1}",
        )
        images = states[0]
        if not np.array_equal(encoder(images), _permuted(encoder(images), cells)):
            continue
        image_of = np.argsort(game.symmetries()[number][1])
        for actions, after in zip(lines, states[1:], strict=True):
            images = game.step(images[: len(actions)], image_of[actions])
            _require(
                np.allclose(encoder(images), _permuted(encoder(after), cells), atol=1e-5),
                f"symmetry {number} must turn the planes of a position into those of its image",
            )


def _permuted(planes: NDArray[np.float32], cells: NDArray[np.intp]) -> NDArray[np.float32]:
    """``planes [B, C, H, W]`` after the symmetry that has these ``cells``."""
    return planes.reshape(*planes.shape[:2], -1)[:, :, cells].reshape(planes.shape)
