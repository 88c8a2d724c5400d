"""``check(game)`` executes every promise of ``games.base``: what a game's author runs first.

It cannot know whose win it is: that ``outcome`` and ``observe`` take the view of the player about
to move must be tested against the rules themselves. Symmetries that change the starting position
(half of Othello's) are only held to be permutations that compose to symmetries of the list.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import games
from games.base import Game, States


class _Ply(NamedTuple):
    """One move in each of the games still going on."""

    states: States
    actions: NDArray[np.int64]
    after: States


def check(game: Game, games: int = 200, seed: int = 0) -> None:
    """Play ``games`` random games of ``game`` at once and hold it to the contract.

    Silent when all is well, else ``AssertionError`` with one line that says what was promised.
    """
    rng = np.random.default_rng(seed)
    _check_description(game)
    _check_initial(game)
    plies = _play(game, games, rng)
    for ply in plies:
        _check_advance(game, ply)
        _check_single(game, ply, int(rng.integers(len(ply.states))))
        _check_render(game, ply.after[0])
    _check_symmetries(game, plies)
    _check_text(game)
    _check_registry(game)


def _require(condition: object, promise: str) -> None:
    if not condition:
        raise AssertionError(promise)


def _check_description(game: Game) -> None:
    _require(isinstance(game.name, str) and game.name, "name must be a string")
    for field in ("num_actions", "max_plies"):
        value = getattr(game, field)
        _require(isinstance(value, int) and value > 0, f"{field} must be a positive int")
    shape = game.observation_shape
    _require(
        isinstance(shape, tuple) and len(shape) == 3 and min(shape) > 0,
        f"observation_shape must be (C, H, W), not {shape}",
    )
    _require(isinstance(game.dtype, np.dtype), f"dtype must be a np.dtype, not {game.dtype}")
    _require(not game.dtype.hasobject, "dtype must hold plain numbers, no Python objects")
    _require(game.dtype.names, "dtype must be a record with named fields")
    used = _used_bytes(game.dtype)
    _require(
        used == game.dtype.itemsize,
        f"dtype must have no padding bytes: its fields fill {used} of {game.dtype.itemsize}",
    )


def _used_bytes(dtype: np.dtype) -> int:
    if dtype.subdtype is not None:
        element, shape = dtype.subdtype
        return _used_bytes(element) * int(np.prod(shape))
    if dtype.fields is None:
        return dtype.itemsize
    return sum(_used_bytes(field[0]) for field in dtype.fields.values())


def _check_initial(game: Game) -> None:
    states = game.initial(3)
    _check_array("initial(3)", states, (3,), game.dtype)
    _require(
        states.flags.writeable
        and states.strides == (game.dtype.itemsize,)
        and not np.shares_memory(states, game.initial(3)),
        "initial(batch) must return copies of its own in each call",
    )
    _require(
        states.tobytes() == 3 * game.initial(1).tobytes(),
        "initial(batch) must repeat the one starting position",
    )
    _require(not game.to_move(states).any(), "to_move must be 0 for the player who begins")
    _require(game.legal(states).any(axis=1).all(), "the starting position must have a legal move")


def _check_array(call: str, array: NDArray, shape: tuple[int, ...], dtype: np.dtype | type) -> None:
    _require(isinstance(array, np.ndarray), f"{call} must return a NumPy array")
    _require(array.shape == shape, f"{call} must have shape {shape}, not {array.shape}")
    _require(array.dtype == dtype, f"{call} must be of dtype {np.dtype(dtype)}, not {array.dtype}")


def _play(game: Game, batch: int, rng: np.random.Generator) -> list[_Ply]:
    """Random games to their ends, each position checked on the way."""
    states, plies = game.initial(batch), []
    for _ in range(game.max_plies + 1):
        legal = _check_views(game, states)
        going = legal.any(axis=1)
        if not going.any():
            return plies
        states, legal = states[going], legal[going]
        actions = np.where(legal, rng.random(legal.shape), -1.0).argmax(axis=1)
        after = _check_step(game, states, actions)
        plies.append(_Ply(states, actions, after))
        states = after
    raise AssertionError(f"no game may be longer than max_plies = {game.max_plies}")


def _check_views(game: Game, states: States) -> NDArray[np.bool_]:
    """What the methods say of a batch, each called on a copy that it must leave alone."""
    batch = len(states)
    legal, outcome, mover, observation = (
        _pure(game, method, states) for method in ("legal", "outcome", "to_move", "observe")
    )
    _check_array("legal(states)", legal, (batch, game.num_actions), np.bool_)
    _check_array("outcome(states)", outcome, (batch,), np.float32)
    _check_array("to_move(states)", mover, (batch,), np.int8)
    _check_array("observe(states)", observation, (batch, *game.observation_shape), np.float32)
    _require(
        np.array_equal(legal.any(axis=1), np.isnan(outcome)),
        "a row of legal must be all False exactly where outcome is not NaN",
    )
    _require(
        np.isin(outcome[~np.isnan(outcome)], (-1, 0, 1)).all(), "outcome must be -1, 0, +1 or NaN"
    )
    _require(np.isin(mover, (0, 1)).all(), "to_move must be 0 or 1")
    _require(np.isfinite(observation).all(), "observe must be finite")
    return legal


def _pure(game: Game, method: str, states: States, *actions: NDArray[np.int64]) -> NDArray:
    given = states.copy()
    result = getattr(game, method)(given, *actions)
    _require(
        given.tobytes() == states.tobytes(), f"{method} must not modify the states it is given"
    )
    _require(
        not np.shares_memory(result, given), f"{method} must not return a view of what it is given"
    )
    return result


def _check_step(game: Game, states: States, actions: NDArray[np.int64]) -> States:
    chosen = actions.copy()
    after = _pure(game, "step", states, chosen)
    _require(np.array_equal(chosen, actions), "step must not modify the actions it is given")
    _check_array("step(states, actions)", after, (len(states),), game.dtype)
    _require(
        after.tobytes() == game.step(states, actions).tobytes(),
        "step must write every byte: the same call twice gave different states",
    )
    return after


def _check_advance(game: Game, ply: _Ply) -> None:
    given, actions = ply.states.copy(), ply.actions.copy()
    said = game.advance(given, actions)
    methods = (getattr(game, name) for name in said._fields[1:])
    expected = (ply.after, *(method(ply.after.copy()) for method in methods))
    _require(
        given.tobytes() == ply.states.tobytes() and np.array_equal(actions, ply.actions),
        "advance must not modify what it is given",
    )
    for name, array, right in zip(said._fields, said, expected, strict=True):
        _require(
            array.dtype == right.dtype
            and np.array_equal(array, right, equal_nan=right.dtype.kind == "f"),
            f"advance must give the {name} that the method of its own gives",
        )
        _require(
            array.flags.writeable
            and array.flags.c_contiguous
            and not np.shares_memory(array, given),
            f"advance must return {name} as a contiguous array of its own",
        )


def _check_single(game: Game, ply: _Ply, row: int) -> None:
    """One row alone says the same as in its batch, so no method looks at a row's neighbours."""
    one = slice(row, row + 1)
    alone = game.step(ply.states[one], ply.actions[one])
    _require(
        alone.tobytes() == ply.after[one].tobytes(), "step of one state must equal its batch row"
    )
    for method in ("legal", "outcome", "to_move", "observe"):
        whole, single = getattr(game, method)(ply.after), getattr(game, method)(alone)
        _require(
            np.array_equal(whole[one], single, equal_nan=whole.dtype.kind == "f"),
            f"{method} of one state must equal its batch row",
        )


def _check_render(game: Game, state: np.void) -> None:
    before = state.tobytes()
    drawing = game.render(state)
    _require(isinstance(drawing, str) and drawing.strip(), "render must return a drawing, a str")
    _require(state.tobytes() == before, "render must not modify the state")


def _check_symmetries(game: Game, plies: list[_Ply]) -> None:
    _, height, width = game.observation_shape
    symmetries = [(np.asarray(cells), np.asarray(acts)) for cells, acts in game.symmetries()]
    for cells, actions in symmetries:
        for name, index, size in (
            ("cells", cells, height * width),
            ("actions", actions, game.num_actions),
        ):
            _require(
                np.array_equal(np.sort(index), np.arange(size)),
                f"symmetries: {name} must be a permutation of 0..{size - 1}",
            )
    _require(
        symmetries and all(np.array_equal(index, np.sort(index)) for index in symmetries[0]),
        "symmetries: the identity must come first",
    )
    _check_group(symmetries)
    start = game.observe(game.initial(1))
    for symmetry in symmetries:
        if np.array_equal(_transformed(start, symmetry[0]), start):
            _check_symmetry(game, symmetry, plies)


def _check_group(symmetries: list) -> None:
    known = {(*cells, *actions) for cells, actions in symmetries}
    for cells, actions in symmetries:
        for then_cells, then_actions in symmetries:
            _require(
                (*cells[then_cells], *actions[then_actions]) in known,
                "symmetries: one after another must be a symmetry of the list again",
            )


def _transformed(observation: NDArray, cells: NDArray) -> NDArray:
    return observation.reshape(*observation.shape[:2], -1)[:, :, cells].reshape(observation.shape)


def _check_symmetry(game: Game, symmetry: tuple, plies: list[_Ply]) -> None:
    """Play the same games with every move replaced by its image and compare what comes out."""
    cells, actions = symmetry
    image_of = np.argsort(actions)
    images = game.initial(len(plies[0].states))
    for ply in plies:
        images = game.step(images, image_of[ply.actions])
        legal = game.legal(ply.after)
        _require(
            np.array_equal(game.legal(images), legal[:, actions]),
            "symmetries: legal moves of the image must be the images of the legal moves",
        )
        _require(
            np.array_equal(game.observe(images), _transformed(game.observe(ply.after), cells)),
            "symmetries: observe of the image must be the image of observe",
        )
        _require(
            np.array_equal(game.outcome(images), game.outcome(ply.after), equal_nan=True),
            "symmetries: outcome must be the same in the image",
        )
        images = images[legal.any(axis=1)]


def _check_text(game: Game) -> None:
    for action in range(game.num_actions):
        text = game.action_to_text(action)
        _require(
            isinstance(text, str) and game.text_to_action(text) == action,
            f"text_to_action must undo action_to_text: action {action} became {text!r}",
        )
    try:
        game.text_to_action("no such move")
    except ValueError as error:
        _require(
            "\n" not in str(error) and str(error), "text_to_action must explain itself in one line"
        )
    else:
        raise AssertionError("text_to_action must raise ValueError for what is not a move")


def _check_registry(game: Game) -> None:
    advice = "register it with games.register, or use package.module:Class as the name"
    try:
        made = games.make(game.name)
    except ValueError as error:
        raise AssertionError(
            f"games.make must know name {game.name!r}: {error}; {advice}"
        ) from error
    _require(
        type(made) is type(game) and made.name == game.name,
        f"games.make({game.name!r}) must build this very game, not {made!r}; {advice}",
    )
