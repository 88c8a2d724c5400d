"""The points by which a finished game was won, as players count them: ``B+13`` is 13 points."""

import numpy as np

from games.base import Game, States


def margin(game: Game, states: States) -> float | None:
    """The points of player 0 less those of player 1 in ``states [1]``, a position that is over.

    In Othello empty squares count for neither, where players often give them to the winner.
    They are the cells that each owns, in Go with komi. None where the game is not about them: where
    its ``final_score`` is no share of them, as in Connect Four, or it has none.
    """
    owners, score = game.final_ownership(states), game.final_score(states)
    if owners is None or score is None:
        return None
    side, komi = (1 if int(game.to_move(states)[0]) == 0 else -1), getattr(game, "komi", 0.0)
    points = side * float(np.sum(owners[0])) - komi
    # A share of all cells and of komi; of the owned ones where others belong to neither player.
    totals = np.array([owners[0].size + abs(komi), np.count_nonzero(owners[0])])
    fits = np.isclose(side * float(score[0]) * totals, points, atol=1e-3).any()
    return points if fits else None


def shown(game: Game, states: States) -> str:
    """The winner's margin as a text, ``5.5``; empty in a draw, or where there are no points."""
    points = margin(game, states)
    return f"{abs(points):g}" if points else ""
