"""Promises about positions, tested on every position of many games."""

import numpy as np
from numpy.typing import NDArray

from games.base import Game, States
from games.conformance.choices import Choose
from games.conformance.promises import (
    Ply,
    equal_rows,
    place,
    pure,
    require,
    require_array,
    require_rows,
)


def check_initial(game: Game) -> None:
    states = game.initial(3)
    require_array("initial(3)", states, (3,), game.dtype)
    require(
        states.flags.writeable
        and states.strides == (game.dtype.itemsize,)
        and not np.shares_memory(states, game.initial(3)),
        "initial(batch) must return copies of its own in each call: a new, writable, contiguous "
        "array that no other call returns",
    )
    require(
        states.tobytes() == 3 * game.initial(1).tobytes(),
        "initial(batch) must repeat the one starting position: initial(3) is not three times "
        "initial(1)",
    )
    require(
        not game.to_move(states).any(),
        "to_move must be 0 for the player who begins, but is 1 in initial(3)",
    )
    require(
        game.legal(states).any(axis=1).all(),
        "the starting position must have a legal move, but legal(initial(3)) is all False",
    )


def play(game: Game, batch: int, rng: np.random.Generator, choose: Choose, most: int) -> list[Ply]:
    """Play games to their ends by ``choose``, at most ``most`` plies, and test every position.

    Games that reach ``max_plies`` end there, as everywhere in the framework.
    """
    # Every ply keeps its history: the smallest type, as cyclic games are all max_plies long.
    history = np.empty((batch, 0), np.min_scalar_type(game.num_actions))
    states, plies = game.initial(batch), []
    for _ in range(min(most, game.max_plies)):
        legal = _check_views(game, states, history)
        going = legal.any(axis=1)
        if not going.any():
            return plies
        states, legal, history = states[going], legal[going], history[going]
        actions = choose(game, states, legal, rng)
        after = _check_step(game, states, actions)
        history = np.column_stack([history, actions.astype(history.dtype)])
        plies.append(Ply(states, actions, after, history))
        states = after
    _check_views(game, states, history)
    return plies


def _check_views(game: Game, states: States, history: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Test the four methods over states on a batch and return its legal actions."""
    batch = len(states)
    legal, outcome, mover, observation = (
        pure(game, method, states) for method in ("legal", "outcome", "to_move", "observe")
    )
    require_array("legal(states)", legal, (batch, game.num_actions), np.bool_)
    require_array("outcome(states)", outcome, (batch,), np.float32)
    require_array("to_move(states)", mover, (batch,), np.int8)
    require_array("observe(states)", observation, (batch, *game.observation_shape), np.float32)
    going = np.isnan(outcome)
    require_rows(
        np.equal(legal.any(axis=1), going),
        "a row of legal must be all False exactly where outcome is not NaN",
        history,
    )
    require_rows(
        np.isin(np.where(going, 0, outcome), (-1, 0, 1)),
        "outcome must be -1, 0, +1 or NaN (NaN while the game goes on)",
        history,
    )
    require_rows(
        np.isin(mover, (0, 1)), "to_move must be 0 or 1 (0: the player who began)", history
    )
    require_rows(
        np.isfinite(observation).reshape(batch, -1).all(axis=1),
        "observe must be finite, without NaN or infinity",
        history,
    )
    return legal


def _check_step(game: Game, states: States, actions: NDArray[np.int64]) -> States:
    chosen = actions.copy()
    after = pure(game, "step", states, chosen)
    require(
        np.array_equal(chosen, actions),
        "step must not modify the actions it is given: copy them first",
    )
    require_array("step(states, actions)", after, (len(states),), game.dtype)
    require(
        after.tobytes() == game.step(states, actions).tobytes(),
        "step must write every byte: the same call twice gave different states; begin with "
        "np.zeros or states.copy(), or fill every field",
    )
    return after


def check_advance(game: Game, ply: Ply) -> None:
    """``advance`` must agree with the four methods that it replaces."""
    given, actions = ply.states.copy(), ply.actions.copy()
    result = game.advance(given, actions)
    methods = (getattr(game, name) for name in result._fields[1:])
    expected = (ply.after, *(method(ply.after.copy()) for method in methods))
    require(
        given.tobytes() == ply.states.tobytes() and np.array_equal(actions, ply.actions),
        "advance must not modify what it is given: copy the states and actions first",
    )
    for name, array, right in zip(result._fields, result, expected, strict=True):
        method = "step" if name == "states" else name
        require(
            array.dtype == right.dtype and array.shape == right.shape,
            f"advance must give the {name} that {method} gives: {right.dtype} {right.shape}, not "
            f"{array.dtype} {array.shape}",
        )
        require_rows(
            equal_rows(array, right),
            f"advance must give the {name} that {method} gives",
            ply.history,
        )
        require(
            array.flags.writeable
            and array.flags.c_contiguous
            and not np.shares_memory(array, given),
            f"advance must return {name} as a contiguous array of its own, writable and no view of "
            "its arguments",
        )


def check_single(game: Game, ply: Ply, row: int) -> None:
    """A row alone must give what it gives in its batch: no method may use a row's neighbours."""
    one, where = slice(row, row + 1), place(ply.history[row])
    alone = game.step(ply.states[one], ply.actions[one])
    require(
        alone.tobytes() == ply.after[one].tobytes(),
        f"step of one state must equal its batch row, but differs {where}",
    )
    for method in ("legal", "outcome", "to_move", "observe"):
        whole, single = getattr(game, method)(ply.after), getattr(game, method)(alone)
        require(
            np.array_equal(whole[one], single, equal_nan=whole.dtype.kind == "f"),
            f"{method} of one state must equal its batch row, but differs {where}",
        )
