"""``check(game)`` tests every promise of ``games.base``; run it on a new game first.

It cannot decide whose win it is: that ``outcome``, ``observe`` and ``final_ownership`` take the
view of the player about to move must be tested against the rules themselves. Symmetries that change
the starting position (half of Othello's) are only tested to be permutations that form a group with
the others.
"""

import numpy as np

from games.base import Game
from games.conformance.description import check_description, check_registry, check_text
from games.conformance.drawings import check_drawings
from games.conformance.optional import (
    check_endings,
    check_final,
    check_identity,
    check_max_legal,
    check_version,
)
from games.conformance.rules import check_advance, check_initial, check_single, play
from games.conformance.symmetries import check_symmetries

__all__ = ["check"]


def check(game: Game, games: int = 200, seed: int = 0) -> None:
    """Play ``games`` random games of ``game`` at once and test every promise of the contract.

    Returns without a word when all are kept. Else raises ``AssertionError``, one line: the promise,
    what was there instead, and, where it depends on the position, the actions that lead to it. The
    same ``seed`` plays the same games.
    """
    rng = np.random.default_rng(seed)
    check_description(game)
    check_initial(game)
    plies = play(game, games, rng)
    for ply in plies:
        check_advance(game, ply)
        check_single(game, ply, int(rng.integers(len(ply.states))))
    check_symmetries(game, plies)
    check_text(game)
    check_max_legal(game, plies, rng)
    check_identity(game, plies, rng)
    check_endings(game, plies)
    check_final(game, plies)
    check_drawings(game, plies)
    check_registry(game)
    check_version(game)
