"""Promises about the optional methods, tested on the positions of random games."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

import games
from games.base import Game, States, Symmetry, as_bytes
from games.conformance.promises import (
    Ply,
    equal_rows,
    place,
    pure,
    require,
    require_array,
    require_rows,
)
from games.conformance.symmetries import fixing_the_start, replay

_GREEDY_GAMES, _GREEDY_CHOICES, _GREEDY_PLIES = 4, 8, 1000
_TWINS, _FUTURE, _MOST_CELLS = 2_000, 6, 1 << 25
"""Pairs of positions with equal identity that are compared; plies that both are followed; most
actions of all pairs together."""


def check_bounds(game: Game, plies: list[Ply]) -> None:
    """No observation has a number outside ``observation_bounds``."""
    bounds = game.observation_bounds
    require(
        isinstance(bounds, tuple)
        and len(bounds) == 2
        and all(isinstance(bound, int | float) and np.isfinite(bound) for bound in bounds)
        and bounds[0] < bounds[1],
        f"observation_bounds must be two finite numbers, the lesser one first, not {bounds!r}",
    )
    for ply in plies:
        observation = game.observe(ply.after).reshape(len(ply.after), -1)
        within = (observation >= bounds[0]) & (observation <= bounds[1])
        require_rows(
            within.all(axis=1),
            f"observe must stay within observation_bounds = {bounds}, but has numbers from "
            f"{observation.min(initial=0):g} to {observation.max(initial=0):g}",
            ply.history,
        )


def check_observe_bytes(game: Game, plies: list[Ply]) -> None:
    """The planes from a state's bytes, which are made on a GPU, are those of ``observe``."""
    observe = game.observe_bytes(lambda array: array)
    if observe is None:
        return
    for ply in plies:
        planes = observe(as_bytes(ply.after))
        expected = game.observe(ply.after)
        require(
            planes.shape == expected.shape,
            f"observe_bytes must give planes of shape {expected.shape}, not {planes.shape}",
        )
        require_rows(
            (planes == expected).reshape(len(planes), -1).all(axis=1),
            "observe_bytes must give the planes of observe",
            ply.history,
        )


def check_max_legal(game: Game, plies: list[Ply], rng: np.random.Generator) -> None:
    """No position of random games, nor of games that seek many moves, has more of them."""
    most = game.max_legal
    require(
        isinstance(most, int) and 1 <= most <= game.num_actions,
        f"max_legal must be an int from 1 to num_actions = {game.num_actions}, not {most!r}",
    )
    for ply in plies:
        _check_mobility(game, game.legal(ply.states), ply.history[:, :-1])
    states, history = game.initial(_GREEDY_GAMES), np.empty((_GREEDY_GAMES, 0), np.int64)
    for _ in range(min(game.max_plies, _GREEDY_PLIES) if most < game.num_actions else 0):
        legal = game.legal(states)
        _check_mobility(game, legal, history)
        going = legal.any(axis=1)
        if not going.any():
            break
        states, history = states[going], history[going]
        actions = _most_mobile(game, states, legal[going], rng)
        states, history = game.step(states, actions), np.column_stack([history, actions])


def _check_mobility(game: Game, legal: NDArray[np.bool_], history: NDArray[np.integer]) -> None:
    counts = legal.sum(axis=1)
    require_rows(
        counts <= game.max_legal,
        f"no position may have more legal actions than max_legal = {game.max_legal}, but one has "
        f"{counts.max(initial=0)}",
        history,
    )


def _most_mobile(
    game: Game, states: States, legal: NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[np.int64]:
    """The action per state, among some legal ones, after which the next mover has the most."""
    drawn = np.where(legal, rng.random(legal.shape), -1.0)
    choices = np.argsort(-drawn, axis=1)[:, :_GREEDY_CHOICES]
    rows, places = np.nonzero(np.take_along_axis(legal, choices, axis=1))
    mobility = np.full(choices.shape, -1)
    after = game.step(states[rows], choices[rows, places])
    mobility[rows, places] = game.legal(after).sum(axis=1)
    return choices[np.arange(len(states)), mobility.argmax(axis=1)]


def check_identity(game: Game, plies: list[Ply], rng: np.random.Generator) -> None:
    """Positions of equal identity are alike, and so are those that equal moves lead to."""
    states = np.concatenate([game.initial(1), *(ply.after for ply in plies)])
    width = _identity(game, states[:1], None).shape[1]
    identity = _identity(game, states, width)
    require(
        identity[:1].tobytes() == game.identity(states[:1].copy()).tobytes(),
        "identity of one state must equal its batch row, but differs at the start",
    )
    most = min(_TWINS, _MOST_CELLS // game.num_actions)
    first, second = (rows[:most] for rows in _twins(states, identity))
    ones, others = states[first], states[second]
    for later in range(_FUTURE + 1):
        for method, row in _differences(game, ones, others):
            pair = " and ".join(_place(plies, int(rows[row])) for rows in (first, second))
            raise AssertionError(
                f"positions of equal identity must be alike, but {method} differs {later} equal "
                f"moves later; broken {pair}"
            )
        legal = game.legal(ones)
        going = legal.any(axis=1)
        first, second, ones, others = (rows[going] for rows in (first, second, ones, others))
        actions = np.where(legal[going], rng.random(legal[going].shape), -1.0).argmax(axis=1)
        ones, others = game.step(ones, actions), game.step(others, actions)


def _differences(game: Game, ones: States, others: States) -> Iterator[tuple[str, int]]:
    """Methods that give two positions different results, and the first row where they do."""
    always = np.ones(len(ones), bool)
    going = np.isnan(game.outcome(ones))
    for method, rows in (
        *((method, always) for method in ("legal", "outcome", "to_move", "observe")),
        ("adjudicate", going),
        *((method, ~going) for method in ("final_ownership", "final_score")),
    ):
        one, other = (getattr(game, method)(states[rows]) for states in (ones, others))
        if one is None or other is None:
            continue
        for row in np.flatnonzero(~equal_rows(one, other))[:1]:
            yield method, int(np.flatnonzero(rows)[row])


def _identity(game: Game, states: States, width: int | None) -> NDArray[np.uint8]:
    identity = pure(game, "identity", states, may_be_view=True)
    columns = width or (identity.shape[1] if identity.ndim == 2 else 1)
    require_array("identity(states)", identity, (len(states), columns), np.uint8)
    return identity


def _twins(states: States, identity: NDArray) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Indices of pairs of states that have equal identities and different bytes."""
    keys = np.ascontiguousarray(identity).view(f"V{identity.shape[1]}")[:, 0]
    raw = np.ascontiguousarray(states).view(f"V{states.itemsize}")
    _, first, place = np.unique(keys, return_index=True, return_inverse=True)
    partner = first[place.reshape(-1)]
    second = np.flatnonzero(raw != raw[partner])
    return partner[second], second


def _place(plies: list[Ply], index: int) -> str:
    """Where a state is: the start is number 0, then the states after the first ply, and so on."""
    index -= 1
    for ply in plies:
        if index < len(ply.after):
            return place(ply.history[index] if index >= 0 else ply.history[0, :0])
        index -= len(ply.after)
    raise IndexError(index)


def check_earlier(game: Game, plies: list[Ply]) -> None:
    """``observe_earlier`` gives planes as ``observe`` does, of one number, for either player."""
    count = game.observe_earlier(game.initial(1), np.zeros(1, bool)).shape[1]
    for ply in plies:
        states = ply.after
        for turned in (np.zeros(len(states), bool), np.ones(len(states), bool)):
            planes = game.observe_earlier(states.copy(), turned)
            expected = (len(states), count, *game.observation_shape[1:])
            require_array("observe_earlier(states, turned)", planes, expected, np.float32)
            require_rows(
                np.isfinite(planes).reshape(len(states), -1).all(axis=1),
                "observe_earlier must be finite, without NaN or infinity",
                ply.history,
            )
            require_rows(
                equal_rows(planes[:1], game.observe_earlier(states[:1], turned[:1])),
                "observe_earlier of one state must equal its batch row",
                ply.history[:1],
            )


def check_endings(game: Game, plies: list[Ply]) -> None:
    """``adjudicate`` works on every unfinished position, and ``result`` is its definition."""
    _check_verdict(game, game.initial(1), 0, np.empty((1, 0), np.int64))
    for number, ply in enumerate(plies, start=1):
        _check_verdict(game, ply.after, number, ply.history)
    _check_images(game, plies, "adjudicate", finished=False)


def _check_verdict(game: Game, states: States, plies: int, history: NDArray[np.integer]) -> None:
    outcome = game.outcome(states)
    going = np.isnan(outcome)
    verdict = pure(game, "adjudicate", states[going])
    require_array("adjudicate(states)", verdict, (int(going.sum()),), np.float32)
    require_rows(
        np.isin(verdict, (-1, 0, 1)),
        "adjudicate must be -1, 0 or +1 in every unfinished position",
        history[going],
    )
    require_rows(
        equal_rows(verdict[:1], game.adjudicate(states[going][:1])),
        "adjudicate of one state must equal its batch row",
        history[going][:1],
    )
    adjudicated = outcome.copy()
    adjudicated[going] = verdict
    for played in (plies, game.max_plies):
        expected = adjudicated if played >= game.max_plies else outcome
        require_rows(
            equal_rows(game.result(states, played), expected),
            "result must be outcome, and at max_plies adjudicate: do not override it",
            history,
        )


def check_final(game: Game, plies: list[Ply]) -> None:
    """Ownership and score of the positions that the rules finished."""
    for ply in plies:
        over = ~np.isnan(game.outcome(ply.after))
        _check_ownership(game, ply.after[over], ply.history[over])
        _check_score(game, ply.after[over], ply.history[over])
    for method in ("final_ownership", "final_score"):
        if getattr(game, method)(game.initial(0)) is not None:
            _check_images(game, plies, method, finished=True)


def _check_ownership(game: Game, states: States, history: NDArray[np.integer]) -> None:
    ownership = _final(game, "final_ownership", states)
    if ownership is None:
        return
    _, height, width = game.observation_shape
    shape = (len(states), height * width)
    require_array("final_ownership(states)", ownership, shape, np.float32)
    require_rows(
        np.isin(ownership, (-1, 0, 1)).all(axis=1),
        "final_ownership must be +1 (the player about to move), -1 or 0 in every cell",
        history,
    )


def _check_score(game: Game, states: States, history: NDArray[np.integer]) -> None:
    score = _final(game, "final_score", states)
    if score is None:
        return
    require_array("final_score(states)", score, (len(states),), np.float32)
    require_rows(np.abs(score) <= 1, "final_score must be finite and in [-1, 1]", history)
    require_rows(
        np.equal(np.sign(score), game.outcome(states)),
        "final_score must have the sign of outcome, both for the player about to move",
        history,
    )


def _final(game: Game, method: str, states: States) -> NDArray | None:
    """The method's result; None must mean that the game has no such thing, for every batch."""
    offered = getattr(game, method)(game.initial(0)) is not None
    result = getattr(game, method)(states.copy())
    require(
        (result is not None) == offered,
        f"{method} must be None for every batch or for none, but is "
        f"{'an array' if offered else 'None'} for no states and not for {len(states)}",
    )
    if result is None:
        return None
    result = pure(game, method, states)
    single = getattr(game, method)(states[:1].copy())
    require(
        equal_rows(result[:1], single).all(),
        f"{method} of one state must equal its batch row, but differs",
    )
    return result


def _check_images(game: Game, plies: list[Ply], method: str, finished: bool) -> None:
    """In the image of a position a method gives the image of its result."""
    for number, symmetry in fixing_the_start(game):
        for ply, images in replay(game, symmetry, plies):
            rows = np.isnan(game.outcome(ply.after)) != finished
            expected = getattr(game, method)(ply.after[rows])
            require_rows(
                equal_rows(getattr(game, method)(images[rows]), _turned(expected, symmetry)),
                f"symmetries: {method} of the image must be the image of {method}, but not in "
                f"symmetry {number}",
                ply.history[rows],
            )


def _turned(result: NDArray, symmetry: Symmetry) -> NDArray:
    """Results per cell with their cells moved; a result per position stays."""
    return result[:, symmetry[0]] if result.ndim == 2 else result


def check_version(game: Game) -> None:
    """``rules_version`` must be a text, and the same for every instance of the same rules."""
    version, again = game.rules_version, games.make(game.name).rules_version
    require(
        isinstance(version, str) and version and "\n" not in version,
        f"rules_version must be a text of one line, not {version!r}",
    )
    require(
        version == again,
        f"rules_version must be the same for equal rules, but is {version!r} and then {again!r}",
    )
