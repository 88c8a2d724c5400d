"""Promises about symmetries: they are permutations, form a group and commute with the rules."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from games.base import Game, States, Symmetry
from games.conformance.promises import Ply, equal_rows, require, require_rows

_TURNED, _MOST_CELLS = 4000, 1 << 25
"""Positions whose images are looked for among them, and most actions of all of them together."""


def check_symmetries(game: Game, plies: list[Ply]) -> None:
    _, height, width = game.observation_shape
    symmetries = [(np.asarray(cells), np.asarray(acts)) for cells, acts in game.symmetries()]
    for number, (cells, actions) in enumerate(symmetries):
        for name, index, size in (
            ("cells", cells, height * width),
            ("actions", actions, game.num_actions),
        ):
            require(
                np.array_equal(np.sort(index), np.arange(size)),
                f"symmetries: {name} must be a permutation of 0..{size - 1}, but in symmetry "
                f"{number} they are {index.tolist()}",
            )
    require(
        symmetries and all(np.array_equal(index, np.sort(index)) for index in symmetries[0]),
        "symmetries: the identity must come first, as (np.arange(H * W), np.arange(A))",
    )
    _check_group(symmetries)
    for number, symmetry in fixing_the_start(game):
        _check_symmetry(game, number, symmetry, plies)
    _check_turned(game, symmetries, plies)


def _check_turned(game: Game, symmetries: list[Symmetry], plies: list[Ply]) -> None:
    """Compare legal moves where the image of a position has the observation of another position.

    This needs no image of the starting position. An observation need not show all that legal moves
    depend on (a move that superko forbids), so that a few pairs may differ: most of them must not.
    """
    states = np.concatenate([game.initial(1), *(ply.after for ply in plies)])
    states = states[np.isnan(game.outcome(states))][: min(_TURNED, _MOST_CELLS // game.num_actions)]
    observed, legal = game.observe(states), game.legal(states)
    place = {observation.tobytes(): row for row, observation in enumerate(observed)}
    for number, (cells, actions) in enumerate(symmetries):
        images = _transformed(observed, cells)
        pairs = np.array([place.get(image.tobytes(), -1) for image in images])
        matched = np.flatnonzero(pairs >= 0)
        differ = (legal[pairs[matched]] != legal[matched][:, actions]).any(axis=1)
        require(
            2 * differ.sum() <= len(matched),
            "symmetries: legal moves of the image must be the images of the legal moves, but in "
            f"symmetry {number} they differ in {differ.sum()} of {len(matched)} pairs of positions",
        )


def _check_group(symmetries: list[Symmetry]) -> None:
    """Applying two symmetries of the list in turn must give a symmetry of the list."""
    known = {(*cells, *actions) for cells, actions in symmetries}
    for first, (cells, actions) in enumerate(symmetries):
        for second, (then_cells, then_actions) in enumerate(symmetries):
            require(
                (*cells[then_cells], *actions[then_actions]) in known,
                "symmetries: one after another must be a symmetry of the list again, but "
                f"{first} and then {second} is none",
            )


def fixing_the_start(game: Game) -> list[tuple[int, Symmetry]]:
    """The symmetries, numbered, in whose image the starting position looks the same."""
    start = game.observe(game.initial(1))
    return [
        (number, (np.asarray(cells), np.asarray(actions)))
        for number, (cells, actions) in enumerate(game.symmetries())
        if np.array_equal(_transformed(start, np.asarray(cells)), start)
    ]


def replay(game: Game, symmetry: Symmetry, plies: list[Ply]) -> Iterator[tuple[Ply, States]]:
    """Each ply with the images of its positions ``after``: every move replaced by its image."""
    image_of = np.argsort(symmetry[1])  # new[i] = old[actions[i]]: action a becomes image_of[a]
    images = game.initial(len(plies[0].states))
    for ply in plies:
        images = game.step(images, image_of[ply.actions])
        yield ply, images
        images = images[game.legal(ply.after).any(axis=1)]


def _transformed(observation: NDArray, cells: NDArray) -> NDArray:
    return observation.reshape(*observation.shape[:2], -1)[:, :, cells].reshape(observation.shape)


def _check_symmetry(game: Game, number: int, symmetry: Symmetry, plies: list[Ply]) -> None:
    """Play the same games with every move replaced by its image and compare the results."""
    cells, actions = symmetry
    for ply, images in replay(game, symmetry, plies):
        legal = game.legal(ply.after)
        for promise, image, expected in (
            (
                "legal moves of the image must be the images of the legal moves",
                game.legal(images),
                legal[:, actions],
            ),
            (
                "observe of the image must be the image of observe",
                game.observe(images),
                _transformed(game.observe(ply.after), cells),
            ),
            (
                "outcome must be the same in the image",
                game.outcome(images),
                game.outcome(ply.after),
            ),
        ):
            require_rows(
                equal_rows(image, expected),
                f"symmetries: {promise}, but not in symmetry {number}",
                ply.history,
            )
