"""How often resigning would have been a mistake: by hand, and against games that were resigned."""

import numpy as np
import pytest
from made_up_games import DoubleNim, TugNearerEnd
from made_up_rows import made_up_rows, uniform_policy
from test_selfplay import play, to_the_end

import games
from alphazero import resignation
from alphazero.loop import _Played
from alphazero.packing import GameCounts, count_game
from alphazero.protocols import summarize
from alphazero.types import Ending, GameRecord

NIM = DoubleNim()


def record_of(value, mover, outcome_of_0, ending=Ending.RULES) -> GameRecord:
    """A record of double nim with these values and movers; its actions are made up."""
    states = np.array([(9, player, 0) for player in mover], NIM.dtype)
    outcome = np.where(np.array(mover) == 0, outcome_of_0, -outcome_of_0)
    rows = made_up_rows(NIM, states, uniform_policy(NIM, states), value=value, outcome=outcome)
    return GameRecord(0, 0, np.zeros(len(mover), np.int32), rows, ending)


ALTERNATING = [0, 1] * 4
EXAMPLE = [0.1, 0, -0.92, 0, -0.95, 0, 0.3, 0]


@pytest.mark.parametrize(
    ("value", "outcome_of_0", "expected"),
    [
        (EXAMPLE, 1, (1, 1)),
        (EXAMPLE, 0, (1, 1)),
        (EXAMPLE, -1, (1, 0)),
        ([0.1, 0, -0.92, 0, 0.3, 0, -0.95, 0], 1, (0, 0)),
        # Player 1 would have been first, so that player 0's is none.
        ([0, -0.91, 0, -0.91, -0.92, 0, -0.95, 0], 1, (1, 0)),
        # The values of the two players are not mixed up.
        ([-0.95, -0.95, 0, 0, -0.95, -0.95, 0, 0], 1, (0, 0)),
    ],
)
def test_the_first_of_two_low_values_in_a_row_would_have_ended_the_game(
    value, outcome_of_0, expected
):
    assert (
        resignation.count_mistakes(NIM, record_of(value, ALTERNATING, outcome_of_0), 0.9)
        == expected
    )


def test_a_player_who_moves_twice_resigns_at_the_second_of_its_own_moves():
    twice = record_of([-0.95, 0, 0, -0.95, 0], [0, 1, 1, 0, 0], 1)
    assert resignation.count_mistakes(NIM, twice, 0.9) == (1, 1)


def test_a_proof_and_the_rules_end_a_game_before_a_resignation_would_have_and_its_length_does_not():
    low = [0, 0, -0.95, 0, -1]
    mover = [0, 1, 0, 1, 0]
    assert resignation.count_mistakes(NIM, record_of(low, mover, -1, Ending.PROVEN), 0.9) == (0, 0)
    assert resignation.count_mistakes(NIM, record_of(low, mover, -1), 0.9) == (0, 0)
    long = record_of(low, mover, -1, Ending.LENGTH)
    assert resignation.count_mistakes(NIM, long, 0.9) == (1, 0)
    later = record_of([*low, 0], [*mover, 1], -1)
    assert resignation.count_mistakes(NIM, later, 0.9) == (1, 0)


def test_resigned_games_and_runs_without_resignation_are_not_counted():
    resigned = record_of(EXAMPLE, ALTERNATING, -1, Ending.RESIGNED)
    assert resignation.count_mistakes(NIM, resigned, 0.9) == (0, 0)
    assert resignation.count_mistakes(NIM, record_of(EXAMPLE, ALTERNATING, -1), None) == (0, 0)
    assert resignation.count_mistakes(NIM, record_of([], [], 1), 0.9) == (0, 0)


@pytest.mark.parametrize(
    "game", [games.make("connect_four"), games.make("go:size=3"), TugNearerEnd()]
)
def test_the_games_found_are_those_that_end_by_resignation_where_players_may_resign(game):
    """The same games twice, by their ids: with resignation and without."""
    limit = 0.2

    def played(disabled):
        chosen = to_the_end(games=32, resign_value=limit, resign_disabled_fraction=disabled)
        return {record.game_id: record for record in play(game, chosen, moves=84)}

    resigning, going_on = played(0.0), played(1.0)
    counts = summarize([count_game(game, one, limit) for one in resigning.values()], None)
    assert (counts.would_resign, counts.mistaken) == (0, 0)
    resigned, wrong = 0, 0
    for number in set(resigning) & set(going_on):
        ended, whole = resigning[number], going_on[number]
        would, mistaken = resignation.count_mistakes(game, whole, limit)
        assert resignation.count_mistakes(game, ended, limit) == (0, 0)
        assert would == (ended.ending == Ending.RESIGNED)
        if would:
            assert mistaken == (whole.rows["outcome"][len(ended) - 1] > -1)
        resigned, wrong = resigned + would, wrong + mistaken
    assert resigned > wrong > 0


def test_the_share_of_mistakes_is_a_metric_of_the_games_since_the_last_line():
    played = _Played()
    wrong = count_game(NIM, record_of(EXAMPLE, ALTERNATING, 1), 0.9)
    right = count_game(NIM, record_of(EXAMPLE, ALTERNATING, -1), 0.9)
    other = GameCounts(0, 7, Ending.RULES)
    assert (wrong.would_resign, wrong.mistaken) == (1, 1)
    assert (right.would_resign, right.mistaken) == (1, 0)
    played.add(summarize([wrong, other], None), 0)
    played.add(summarize([right, right, other, right], None), 0)
    assert played.metrics()["resignation_mistakes"] == 0.25
    played.add(summarize([other], None), 0)
    assert "resignation_mistakes" not in played.metrics()
