"""The check refuses games that break a promise of the optional methods, and accepts the others."""

from dataclasses import replace
from itertools import count

import made_up_games
import numpy as np
import pytest

import games
from games.conformance import check, optional, rules
from games.conformance.choices import random_moves
from games.connect_four import ConnectFour
from games.drawing import Cell, Drawing, Edge
from games.gomoku import Gomoku
from games.othello import Othello
from games.tic_tac_toe import TicTacToe

_calls = count()


@pytest.mark.parametrize("name", ["Tug", "TugNearerEnd", "CountedTug", "Climb", "Rosette"])
def test_a_game_that_keeps_the_contract_is_accepted(name):
    check(getattr(made_up_games, name)())


def test_a_game_whose_play_exceeds_max_plies_is_accepted_and_adjudicated():
    game = made_up_games.Tug()
    states = game.initial(1)
    for ply in range(2 * game.max_plies):
        assert np.isnan(game.outcome(states)[0])
        assert np.isnan(game.result(states, ply)[0]) == (ply < game.max_plies)
        states = game.step(states, np.array([0]))  # both pull to their own ends


@pytest.mark.parametrize(
    ("game", "promise"),
    [
        (made_up_games.HighClimb(), "more legal actions than max_legal = 9, but one has 10"),
        (
            made_up_games.ClockedTug(),
            "equal identity must be alike, but legal differs 0 equal moves later; broken at the "
            r"start and after the actions \[",
        ),
        (made_up_games.StakedTug(), "identity must be alike, but adjudicate differs 0 equal moves"),
        (made_up_games.Restless(), "rules_version must be the same for equal rules"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_game_that_breaks_a_promise_on_a_rare_path_is_refused(game, promise):
    with pytest.raises(AssertionError, match=promise):
        check(game)


def test_positions_of_equal_identity_are_followed_to_where_they_differ():
    # Within four plies no clock has run out: the difference is 6 plies after the start, where the
    # position of ply 4 has counted to 10.
    game, rng = made_up_games.ClockedTug(), np.random.default_rng(0)
    plies = rules.play(game, 200, rng, random_moves, 200)[:4]
    with pytest.raises(AssertionError, match="legal differs 6 equal moves later; broken at the"):
        optional.check_identity(game, plies, rng)


def _changed(base, method, change):
    """``base`` with the result of one method changed."""
    good = getattr(base, method)
    return base, {method: lambda self, *args: change(good(self, *args))}


def _with_other_planes(base, change):
    """``base`` with the planes that it computes from bytes changed."""

    def observe_bytes(self, constant):
        good = base.observe_bytes(self, constant)
        return lambda states: change(good(states))

    return base, {"observe_bytes": observe_bytes}


def _redrawn(base=TicTacToe, **changes):
    """``base`` with parts of its drawing changed; each change is a function of the old part."""

    def drawing(self, state, last_action=None):
        old = base.drawing(self, state, last_action)
        return replace(
            old, **{name: change(getattr(old, name)) for name, change in changes.items()}
        )

    return base, {"drawing": drawing}


def _identity_in_place(self, states):
    states["cells"] = 0
    return np.zeros((len(states), 1), np.uint8)


def _adjudicate_in_place(self, states):
    states["cells"] = 0
    return np.zeros(len(states), np.float32)


def _adjudicate_by_the_first_row(self, states):
    others = np.arange(len(states)) % 2 == 0
    return (others & (len(states) > 1)).astype(np.float32)


def _adjudicate_by_a_corner(self, states):
    return states["cells"][:, 0].astype(np.float32)


def _never_cut(self, states, plies):
    return self.outcome(states)


def _ownership_of_many_only(self, states):
    return ConnectFour.final_ownership(self, states) if len(states) > 1 else None


def _owner_of_a_corner(ownership):
    ownership[:, 1:] = 0
    return ownership


def _draw_in_place(self, state, last_action=None):
    state["cells"][0] = 1
    return Drawing((), {}, dict.fromkeys(range(9), "a move"), text="gone")


def _moved(cells, number=8, **changes):
    return (*cells[:number], replace(cells[number], **changes), *cells[number + 1 :])


BROKEN = [
    ((TicTacToe, {"max_legal": 9.0}), "max_legal must be an int from 1 to num_actions = 9"),
    ((TicTacToe, {"max_legal": 10}), "max_legal must be an int from 1 to num_actions = 9"),
    ((TicTacToe, {"max_legal": 8}), "max_legal = 8, but one has 9; broken at the start"),
    (
        _with_other_planes(ConnectFour, lambda planes: planes[..., ::-1, :]),
        "observe_bytes must give the planes of observe; broken after",
    ),
    (_with_other_planes(TicTacToe, lambda planes: planes[:, 0]), r"not \(200, 3, 3\)"),
    (_changed(Gomoku, "observe", lambda planes: planes / 2), "give the planes of observe"),
    (_changed(TicTacToe, "identity", lambda rows: rows.astype(int)), "identity.* dtype uint8"),
    (_changed(TicTacToe, "identity", lambda rows: rows[:, 0]), r"identity.* shape \(1, 1\)"),
    (_changed(TicTacToe, "identity", lambda rows: rows + rows[-1]), "identity of one state"),
    ((TicTacToe, {"identity": _identity_in_place}), "identity must not modify the states"),
    (
        _changed(TicTacToe, "identity", lambda rows: rows != 0),
        r"identity\(states\) must be of dtype uint8",
    ),
    (
        _changed(TicTacToe, "identity", lambda rows: (rows != 0).astype(np.uint8)),
        "equal identity must be alike, but",
    ),
    (
        _changed(TicTacToe, "adjudicate", lambda verdict: verdict.astype(int)),
        "adjudicate.* dtype float32",
    ),
    (_changed(TicTacToe, "adjudicate", lambda verdict: verdict[:1]), "adjudicate.* shape"),
    (_changed(TicTacToe, "adjudicate", lambda verdict: verdict + 0.5), "adjudicate must be -1, 0"),
    (
        _changed(TicTacToe, "adjudicate", lambda verdict: verdict * np.nan),
        "adjudicate must be -1, 0",
    ),
    ((TicTacToe, {"adjudicate": _adjudicate_in_place}), "adjudicate must not modify"),
    ((TicTacToe, {"adjudicate": _adjudicate_by_the_first_row}), "adjudicate of one state"),
    ((TicTacToe, {"adjudicate": _adjudicate_by_a_corner}), "adjudicate of the image must be"),
    ((TicTacToe, {"result": _never_cut, "max_plies": 5}), "result must be"),
    (
        _changed(ConnectFour, "final_ownership", lambda owner: owner.reshape(-1, 6, 7)),
        r"final_ownership.* shape \(\d+, 42\)",
    ),
    (
        _changed(ConnectFour, "final_ownership", lambda owner: owner.astype(np.int8)),
        "final_ownership.* dtype float32",
    ),
    (
        _changed(ConnectFour, "final_ownership", lambda owner: owner / 2),
        "final_ownership must be .1 .the player about to move., -1 or 0 in every cell",
    ),
    ((ConnectFour, {"final_ownership": _ownership_of_many_only}), "None for every batch or for"),
    (
        _changed(ConnectFour, "final_ownership", _owner_of_a_corner),
        "final_ownership of the image must be the image",
    ),
    (
        _changed(ConnectFour, "final_ownership", lambda owner: np.roll(owner, 1, axis=0)),
        "final_ownership of one state must equal its batch row",
    ),
    (_changed(Othello, "final_score", lambda score: score * 64), "final_score must be finite and"),
    (
        _changed(ConnectFour, "final_score", lambda score: score * np.nan),
        "final_score must be finite",
    ),
    (_changed(Othello, "final_score", lambda score: -score), "final_score must have the sign of"),
    (
        _changed(ConnectFour, "final_score", lambda score: score.astype(float)),
        "final_score.* dtype float32",
    ),
    ((TicTacToe, {"drawing": lambda self, state, last=None: "X"}), "a games.drawing.Drawing, not"),
    ((TicTacToe, {"drawing": _draw_in_place}), "drawing must not modify the state"),
    (_redrawn(text=lambda text: str(next(_calls))), "drawing must be the same for the same"),
    (_redrawn(line=lambda line: (np.int64(1),)), "plain numbers and texts, which JSON has"),
    (
        _redrawn(cells=lambda cells: _moved(cells, x=float("nan"))),
        "plain numbers and texts, which JSON has",
    ),
    (
        _redrawn(made_up_games.Tug, text=lambda text: " "),
        "drawing must show something, but is blank",
    ),
    (_redrawn(cells=lambda cells: (*cells[:8], None)), "plain numbers|cell 8 must be a Cell"),
    (
        _redrawn(cells=lambda cells: _moved(cells, shape="round")),
        "shape of cell 8 must be one of square, hexagon, point, dot, across, down, not 'round'",
    ),
    (
        _redrawn(cells=lambda cells: _moved(cells, player=2, piece="P")),
        "player of cell 8 must be 0, 1 or None, not 2",
    ),
    (
        _redrawn(cells=lambda cells: (*cells, Cell(0.0, 0.0))),
        "two cells must not be in one place",
    ),
    (
        _redrawn(clicks=lambda clicks: {a: clicks[a] for a in range(8)}),
        "every action needs cells to click or a name, .* action 8 is wrong at the start",
    ),
    (_redrawn(named=lambda named: {9: "pass"}), "no other may have them, but action 9 is wrong"),
    (_redrawn(named=lambda named: {8: ""}), "name of action 8 must be a text"),
    (_redrawn(clicks=lambda clicks: clicks | {8: (9,)}), r"cells from 0 to 8, not \(9,\)"),
    (_redrawn(clicks=lambda clicks: clicks | {8: ()}), r"cells from 0 to 8, not \(\)"),
    (
        _redrawn(edges=lambda edges: (Edge(2, ((0.0, 0.0), (1.0, 0.0))),)),
        "an edge must be an Edge of player 0 or 1",
    ),
    (_redrawn(edges=lambda edges: (Edge(0, ((0.0, 0.0),)),)), "with two points or more"),
    (_redrawn(last=lambda last: (9,)), r"last must be cells from 0 to 8, not \(9,\) at the start"),
    (_redrawn(last=lambda last: (0,)), "last must be empty without last_action at the start"),
    (_redrawn(last=lambda last: ()), "last must mark the cells of last_action after the actions"),
    (_redrawn(line=lambda line: (*line, -1)), r"line must be cells from 0 to 8, not \(-1,\)"),
    (_redrawn(line=lambda line: (0, 1, 2)), "line marks how a finished game was won"),
    (
        _redrawn(clicks=lambda clicks: clicks | {8: (3, 4)}),
        r"clicks must choose one legal action, but \(3,\) is action 3 and begins action 8",
    ),
    (
        _redrawn(clicks=lambda clicks: clicks | {8: (3,)}),
        r"clicks must choose one legal action, but \(3,\) is action 3 and begins action 8",
    ),
]


@pytest.mark.parametrize(("game", "promise"), BROKEN, ids=lambda value: "")
def test_a_broken_promise_of_an_optional_method_is_named_in_the_error(game, promise):
    base, changes = game
    with pytest.raises(AssertionError, match=promise) as refused:
        check(type("Broken", (base,), changes)())
    assert "\n" not in str(refused.value)


def test_a_version_that_is_no_text_of_one_line_is_refused(monkeypatch):
    monkeypatch.setattr(games, "_registry", dict(games._registry))
    for version in ("", "a\nb", 2):
        changes = {"rules_version": version, "name": "mine", "__module__": f"m{version}"}
        mine = type("Mine", (TicTacToe,), changes)
        games._registry.pop("mine", None)
        games.register("mine", mine)
        with pytest.raises(AssertionError, match="rules_version must be a text of one line"):
            check(mine())
