"""``check(game)`` tests every promise of ``games.base``; run it on a new game first.

It cannot decide whose win it is: that ``outcome``, ``observe`` and ``final_ownership`` take the
view of the player about to move must be tested against the rules themselves. Symmetries that change
the starting position (half of Othello's) are tested to be permutations that form a group with the
others, and on the positions of the games whose images are positions of the games, too; often there
are none.
"""

import numpy as np

from games.base import Game
from games.conformance.choices import greedy_moves, minimax_moves, random_moves
from games.conformance.description import check_description, check_registry, check_text
from games.conformance.drawings import check_drawings
from games.conformance.optional import (
    check_earlier,
    check_endings,
    check_final,
    check_identity,
    check_max_legal,
    check_version,
)
from games.conformance.promises import Ply
from games.conformance.rules import check_advance, check_initial, check_single, play
from games.conformance.symmetries import check_symmetries

__all__ = ["check"]

PLAYED_GAMES, PLAYED_PLIES = 8, 200
"""Games of a greedy player and of minimax against themselves; they may go on for very long."""


def check(game: Game, games: int = 200, seed: int = 0) -> None:
    """Play ``games`` random games of ``game`` at once and test every promise of the contract.

    Some games of a greedy player and of minimax follow, which reach other positions.

    Returns without a word when all are kept. Else raises ``AssertionError``, one line: the promise,
    what was there instead, and, where it depends on the position, the actions that lead to it. The
    same ``seed`` plays the same games.
    """
    rng = np.random.default_rng(seed)
    check_description(game)
    check_initial(game)
    plies = play(game, games, rng, random_moves, game.max_plies)
    _check_games(game, plies, rng)
    check_drawings(game, plies)
    for choose in (greedy_moves, minimax_moves):
        few = min(games, PLAYED_GAMES)
        _check_games(game, play(game, few, rng, choose, PLAYED_PLIES), rng)
    check_text(game)
    check_registry(game)
    check_version(game)


def _check_games(game: Game, plies: list[Ply], rng: np.random.Generator) -> None:
    """Test the promises about positions on those of some games, which were played in lock step."""
    for ply in plies:
        check_advance(game, ply)
        check_single(game, ply, int(rng.integers(len(ply.states))))
    check_symmetries(game, plies)
    check_max_legal(game, plies, rng)
    check_identity(game, plies, rng)
    check_earlier(game, plies)
    check_endings(game, plies)
    check_final(game, plies)
