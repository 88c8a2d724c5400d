"""The default recipe's sizes follow from the game."""

import numpy as np
import pytest

import games
from alphazero import recipe


def test_the_figures_of_a_game_without_choice_are_exact():
    """Dots and boxes on one box: always four lines, so 4 + 3 + 2 + 1 legal moves in 4 plies."""
    measured = recipe.figures(games.make("dots_and_boxes:rows=1,columns=1"))
    assert (measured.plies, measured.moves) == (4, 2.5)


def test_the_figures_of_hex_are_those_of_games_one_at_a_time():
    game, rng = games.make("hex:size=3,swap=false"), np.random.default_rng(1)
    plies, moves = [], []
    for _ in range(400):
        state = game.initial(1)
        while np.isnan(game.outcome(state)[0]):
            (legal,) = np.nonzero(game.legal(state)[0])
            moves.append(len(legal))
            state = game.step(state, np.array([rng.choice(legal)]))
        plies.append(len(moves) - sum(plies))
    measured = recipe.figures(game)
    assert measured.plies == pytest.approx(np.mean(plies), abs=0.5)
    assert measured.moves == pytest.approx(np.mean(moves), abs=0.3)
    assert measured.cells == 9


@pytest.mark.parametrize(("moves", "scale"), [(2, 0.1), (7, 0.1), (21, 0.3), (35, 0.5), (300, 0.5)])
def test_the_value_scale_grows_with_the_legal_moves_within_its_bounds(moves, scale):
    assert recipe.value_scale(moves) == scale


def test_heads_are_those_whose_targets_the_game_offers():
    heads = {spec: set(recipe.settings(games.make(spec), {})["network"]["heads"])
             for spec in ("go:size=5", "hex:size=5")}  # fmt: skip
    assert heads == {"go:size=5": {"ownership", "score"}, "hex:size=5": set()}


def test_games_that_do_not_end_are_measured_up_to_max_plies():
    game = games.make("hex:size=5,swap=false")
    game.max_plies = 3
    assert recipe.figures(game)[:2] == (3, 24)  # 25, 24 and 23 free cells
