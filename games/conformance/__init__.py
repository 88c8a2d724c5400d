"""``check(game)`` tests every promise of ``games.base``; run it on a new game first.

It cannot decide whose win it is: that ``outcome``, ``observe`` and ``final_ownership`` take the
view of the player about to move must be tested against the rules themselves. Symmetries that change
the starting position (half of Othello's) are tested to be permutations that form a group with the
others, and on the positions of the games whose images are positions of the games, too; often there
are none.
"""

from collections.abc import Callable, Iterator

import numpy as np

from games.base import Game
from games.conformance.choices import greedy_moves, minimax_moves, random_moves
from games.conformance.description import check_description, check_registry
from games.conformance.drawings import check_drawings
from games.conformance.notation import check_notation, check_text
from games.conformance.optional import (
    check_bounds,
    check_earlier,
    check_endings,
    check_final,
    check_identity,
    check_max_legal,
    check_observe_bytes,
    check_version,
)
from games.conformance.promises import Ply
from games.conformance.rules import check_advance, check_initial, check_single, play
from games.conformance.symmetries import check_symmetries

__all__ = ["check"]

PLAYED_GAMES, PLAYED_PLIES = 8, 200
"""Games of a greedy player and of minimax against themselves; they may go on for very long."""

_STAGES = 33
"""Stages of a check: as often as ``_check`` yields."""


def check(
    game: Game,
    games: int = 200,
    seed: int = 0,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Play ``games`` random games of ``game`` at once and test every promise of the contract.

    Some games of a greedy player and of minimax follow, which reach other positions.

    Returns without a word when all are kept. Else raises ``AssertionError``, one line: the promise,
    what was there instead, and, where it depends on the position, the actions that lead to it. The
    same ``seed`` plays the same games. ``report`` is called after each stage with the number of
    finished stages and of all stages, which take different times.
    """
    rng = np.random.default_rng(seed)
    for done, _ in enumerate(_check(game, games, rng), start=1):
        report(done, _STAGES)


def _check(game: Game, games: int, rng: np.random.Generator) -> Iterator[None]:
    """Yield after each stage of a check."""
    yield check_description(game)
    yield check_initial(game)
    yield check_text(game)
    plies = play(game, games, rng, random_moves, game.max_plies)
    yield from _check_games(game, plies, rng)
    yield check_drawings(game, plies)
    for choose in (greedy_moves, minimax_moves):
        few = min(games, PLAYED_GAMES)
        yield from _check_games(game, play(game, few, rng, choose, PLAYED_PLIES), rng)
    yield check_registry(game)
    yield check_version(game)


def _check_games(game: Game, plies: list[Ply], rng: np.random.Generator) -> Iterator[None]:
    """Test the promises about positions on those of some games, which were played in lock step."""
    yield  # the games have been played
    for ply in plies:
        check_advance(game, ply)
        row = int(rng.integers(len(ply.states)))
        check_single(game, ply, row)
        check_notation(game, ply, row)
    yield check_bounds(game, plies)
    yield check_observe_bytes(game, plies)
    yield check_symmetries(game, plies)
    yield check_max_legal(game, plies, rng)
    yield check_identity(game, plies, rng)
    yield check_earlier(game, plies)
    yield check_endings(game, plies)
    yield check_final(game, plies)
