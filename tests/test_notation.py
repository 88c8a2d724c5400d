"""Moves whose notation depends on the position are shown and read in it, everywhere."""

import numpy as np
import pytest
from made_up_games import Race

from alphazero import evaluators
from alphazero.judging import advice, lines, players, session, variations
from alphazero.judging.analysis import analysis
from alphazero.search import strongest_moves
from alphazero.search.puct import PUCT
from games.conformance import check
from games.history import WithHistory

GAME = Race()
TEXTS = ["ab", "db", "bd"]
"""The first player runs one field, the second two, and the first two more: he wins."""
ACTIONS = [0, 1, 1]


def searched(moves):
    states = session.after(GAME, moves).states
    search = PUCT(simulations=64).without_noise()
    evaluate = evaluators.uniform(GAME)
    return states, strongest_moves(search, GAME, states, [np.random.default_rng(0)], evaluate)


def test_the_game_of_these_tests_keeps_the_contract():
    check(GAME)


def test_a_line_is_written_in_the_notation_of_each_position():
    assert lines.notation(GAME, GAME.initial(1), ACTIONS) == TEXTS
    assert lines.notation(GAME, session.after(GAME, ["ab"]).states, [1, 1]) == ["db", "bd"]


def test_a_session_reads_writes_and_saves_such_moves():
    played = session.after(GAME, TEXTS[:2])
    assert played.actions == ACTIONS[:2]
    assert played.notation() == TEXTS[:2]
    assert played.legal_moves() == ["bc", "bd"]
    assert session.load(played.as_dict(), GAME).notation() == TEXTS[:2]
    played.move("bd")
    assert played.result(0) == 1
    with pytest.raises(ValueError, match=r"the game is over after .abdbbd.: X has won"):
        session.unfinished(GAME, TEXTS)


def test_the_move_of_the_other_side_is_refused_in_the_mover_s_notation():
    played = session.after(GAME, TEXTS[:1])
    with pytest.raises(ValueError, match="'ab' is not a move here; possible are dc db"):
        played.move("ab")


def test_an_analysis_and_its_variation_use_the_notation_of_their_positions():
    states, result = searched(["ab"])
    analysed = analysis(GAME, states, result)
    assert {move.move for move in analysed.moves} == {"dc", "db"}
    assert analysed.variation == tuple(
        session.after(GAME, ["ab", *analysed.variation]).notation()[1:]
    )
    below = variations.replies(GAME, states, result.tree, (1,))
    assert {reply.move for reply in below} == {"bc", "bd"}


def test_advice_names_moves_as_the_mover_sees_them():
    player = players.make("mcts:simulations=64", GAME)
    states = session.after(GAME, ["ab"]).states
    decision = player(states, [np.random.default_rng(0)])
    said = " ".join(advice.described(GAME, states, decision, own=True))
    assert "db (" in said
    assert "ab" not in said


def test_a_game_with_history_has_the_notation_of_its_game():
    game = WithHistory(GAME, 2)
    assert lines.notation(game, game.initial(1), ACTIONS) == TEXTS
    assert game.text_to_move(game.initial(1)[0], "ac") == 1
