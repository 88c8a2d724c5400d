"""Promises about symmetries: they are permutations, form a group and commute with the rules."""

import numpy as np
from numpy.typing import NDArray

from games.base import Game, Symmetry
from games.conformance.promises import Ply, equal_rows, require, require_rows


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
    start = game.observe(game.initial(1))
    for number, symmetry in enumerate(symmetries):
        if np.array_equal(_transformed(start, symmetry[0]), start):
            _check_symmetry(game, number, symmetry, plies)


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


def _transformed(observation: NDArray, cells: NDArray) -> NDArray:
    return observation.reshape(*observation.shape[:2], -1)[:, :, cells].reshape(observation.shape)


def _check_symmetry(game: Game, number: int, symmetry: Symmetry, plies: list[Ply]) -> None:
    """Play the same games with every move replaced by its image and compare the results."""
    cells, actions = symmetry
    image_of = np.argsort(actions)  # new[i] = old[actions[i]]: old action a becomes image_of[a]
    images = game.initial(len(plies[0].states))
    for ply in plies:
        images = game.step(images, image_of[ply.actions])
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
        images = images[legal.any(axis=1)]
