"""Every registered game keeps the contract, and the check catches games that break it."""

import doctest
import re
from itertools import count

import numpy as np
import pytest

import games
from games import base
from games.base import Game
from games.conformance import check
from games.conformance.choices import greedy_moves, minimax_moves, random_moves
from games.conformance.notation import check_text
from games.conformance.rules import play
from games.conformance.symmetries import check_symmetries
from games.tic_tac_toe import TicTacToe

CHECKED = [
    "tic_tac_toe",
    "connect_four",
    "othello:size=4",
    "othello:size=6",
    "othello:size=8",
    "go:size=2,history=64",
    "go:size=5,history=4",
    "go:size=9",
    "chess",
    "hex:size=3,swap=true",
    "hex:size=5,swap=false",
    "hex:size=11,swap=true",
    "gomoku:size=3,length=3,exact=false",
    "gomoku:size=5x7,length=4,exact=true",
    "gomoku:size=15,length=5,exact=false",
    "othello:size=10",
    "breakthrough:rows=8,columns=8",
    "breakthrough:rows=6,columns=5",
    "breakthrough:rows=4,columns=2",
    "dots_and_boxes:rows=3,columns=3",
    "dots_and_boxes:rows=1,columns=1",
    "dots_and_boxes:rows=2,columns=4",
    "open_spiel:hex(board_size=3)",
    "pettingzoo",
    "gymnasium",
]
LONG = {"othello:size=10", "gomoku:size=15,length=5,exact=false", "hex:size=11,swap=true", "chess"}
"""Larger boards of games that are also checked on smaller ones, and chess: it takes a minute."""


@pytest.mark.parametrize(
    "spec",
    [pytest.param(spec, marks=[pytest.mark.slow] * (spec in LONG)) for spec in CHECKED],
)
def test_a_registered_game_keeps_the_contract(spec):
    check(games.make(spec))


def test_every_registered_game_is_checked():
    assert {spec.partition(":")[0] for spec in CHECKED} == set(games.registered())


def test_the_same_seed_plays_the_same_games():
    def played(seed):
        log = []

        class Logged(TicTacToe):
            def step(self, states, actions):
                log.append(actions.tobytes())
                return super().step(states, actions)

        with pytest.raises(AssertionError, match="this very game"):
            check(Logged(), games=5, seed=seed)
        return log

    assert played(1) == played(1)
    assert played(1) != played(2)


_good = TicTacToe()
_calls = count()
_kept = _good.initial(3)
_identity = np.arange(9)
_swapped = np.array([1, 0, 2, 3, 4, 5, 6, 7, 8])


def _spoil(result, value):
    result[0] = value
    return result


def _initial_without_moves(self, batch):
    states = _good.initial(batch)
    states["cells"] = [-1, -1, -1, 1, 1, 0, 1, 0, 0]
    return states


def _initial_of_several_kinds(self, batch):
    states = _good.initial(batch)
    states["cells"][1:, 0] = 1
    return states


def _initial_broadcast(self, batch):
    return np.broadcast_to(_good.initial(1), (batch,))


def _step_in_place(self, states, actions):
    states["cells"] = _good.step(states, actions)["cells"]
    return states.copy()


def _step_view(self, states, actions):
    return states


def _step_clears_actions(self, states, actions):
    after = _good.step(states, actions)
    actions[:] = 0
    return after


def _step_leaves_bytes(self, states, actions):
    after = _good.step(states, actions)
    after["cells"][0, actions[0]] = -2 - next(_calls) % 2
    return after


def _step_looks_at_neighbours(self, states, actions):
    return _good.step(states, actions)[::-1].copy()


def _advance_in_place(self, states, actions):
    result = _good.advance(states, actions)
    states[:] = result.states
    return result


def _read_only(result):
    result.outcome.flags.writeable = False
    return result


def _legal_in_finished_games(self, states):
    return states["cells"] == 0


def _legal_of_the_first_row(self, states):
    legal = _good.legal(states)
    legal[:] &= legal[0] | ~(legal & legal[0]).any(axis=1)[:, None]
    return legal


def _legal_cleans_up(self, states):
    legal = _good.legal(states)
    states["cells"][:, 8] = 0
    return legal


def _outcome_of_the_top_row(self, states):
    outcome = _good.outcome(states)
    outcome[(states["cells"][:, :3] == -1).all(axis=1)] = 0
    return outcome


def _render_and_clear(self, state):
    state["cells"][:] = 1
    return "gone"


def _text_to_first(self, text):
    return int(text) - 1 if text.isdigit() else 0


def _raise_two_lines(self, text):
    if not text.isdigit():
        raise ValueError("not\na move")
    return int(text) - 1


def _changed(method, change):
    """``method`` of the good game with its result changed."""
    return {method: lambda self, *args: change(getattr(_good, method)(*args))}


BROKEN = [
    ({"name": ""}, "name must be"),
    ({"name": "unheard_of"}, "games.make must accept name 'unheard_of'"),
    ({}, "must build this very game"),
    ({"num_actions": 9.0}, "num_actions must be a positive int"),
    ({"max_plies": 0}, "max_plies must be a positive int"),
    ({"observation_shape": (3, 3)}, r"observation_shape must be \(C, H, W\)"),
    ({"dtype": "u8"}, "dtype must be a np.dtype"),
    ({"dtype": np.dtype("u8")}, "dtype must be a record"),
    ({"dtype": np.dtype([("cells", object)])}, "no Python objects"),
    ({"dtype": np.dtype([("a", "u1"), ("b", "u4")], align=True)}, "fields fill 5 of 8"),
    (_changed("initial", lambda states: states[:2]), r"initial\(3\) must have shape \(3,\)"),
    ({"initial": lambda self, batch: _kept[:batch]}, "initial.* copies of its own"),
    ({"initial": _initial_broadcast}, "initial.* copies of its own"),
    ({"initial": _initial_of_several_kinds}, "repeat the one starting position"),
    ({"initial": _initial_without_moves}, "starting position must have a legal move"),
    (_changed("to_move", lambda mover: 1 - mover), "to_move must be 0 for the player who begins"),
    (_changed("to_move", lambda mover: mover.astype(int)), "to_move.* dtype int8"),
    (_changed("to_move", lambda mover: 2 * mover), "to_move must be 0 or 1"),
    (_changed("legal", lambda legal: legal.astype(np.int8)), "legal.* dtype bool"),
    (_changed("legal", lambda legal: legal[:, :8]), r"legal.* shape \(200, 9\)"),
    ({"legal": _legal_in_finished_games}, "False exactly where outcome is not NaN"),
    ({"legal": _legal_cleans_up}, "legal must not modify"),
    ({"legal": _legal_of_the_first_row}, "legal of one state must equal its batch row"),
    (_changed("outcome", lambda outcome: outcome.astype(float)), "outcome.* dtype float32"),
    (_changed("outcome", lambda outcome: outcome / 2), "outcome must be -1, 0, .1 or NaN"),
    ({"outcome": _outcome_of_the_top_row}, "outcome must be the same in the image"),
    (_changed("observe", lambda planes: planes[:, :1]), "observe.* shape"),
    (_changed("observe", lambda planes: planes.astype(int)), "observe.* dtype float32"),
    (_changed("observe", lambda planes: _spoil(planes, np.inf)), "observe must be finite"),
    (_changed("observe", lambda planes: planes + planes[0]), "observe of one state"),
    (_changed("step", lambda after: after["cells"]), "step.* must have shape"),
    (_changed("step", lambda after: after.view([("x", "i1", (9,))])), "step.* dtype"),
    ({"step": _step_in_place}, "step must not modify the states"),
    ({"step": _step_view}, "step must not return a view"),
    ({"step": _step_clears_actions}, "step must not modify the actions"),
    ({"step": _step_leaves_bytes}, "step must write every byte"),
    ({"step": _step_looks_at_neighbours}, "step of one state must equal its batch row"),
    ({"advance": _advance_in_place}, "advance must not modify what it is given"),
    (
        _changed("advance", lambda after: after._replace(to_move=1 - after.to_move)),
        "give the to_move",
    ),
    (
        _changed("advance", lambda after: _read_only(after)),
        "outcome as a contiguous array of its own",
    ),
    ({"render": lambda self, state: None}, "render must return a drawing"),
    ({"render": _render_and_clear}, "render must not modify"),
    (_changed("symmetries", lambda all_: []), "identity must come first"),
    (_changed("symmetries", lambda all_: all_[::-1]), "identity must come first"),
    (_changed("symmetries", lambda all_: all_[:2]), "one after another must be a symmetry"),
    (
        {"symmetries": lambda self: [(_identity, _identity), (_identity * 0, _identity)]},
        "cells must be a permutation of 0..8",
    ),
    (
        {"symmetries": lambda self: [(_identity, _identity), (_identity, _identity[:8])]},
        "actions must be a permutation of 0..8",
    ),
    (
        {"symmetries": lambda self: [(c, np.argsort(a)) for c, a in _good.symmetries()[:4]]},
        "observe of the image must be the image",
    ),
    (
        {"symmetries": lambda self: [(_identity, a) for _, a in _good.symmetries()]},
        "observe of the image must be the image",
    ),
    (
        {"symmetries": lambda self: [(_identity, _identity), (_swapped, _swapped)]},
        "legal moves of the image must be the images",
    ),
    ({"action_to_text": lambda self, action: "x"}, "text_to_action must undo action_to_text"),
    ({"text_to_action": _text_to_first}, "must raise ValueError"),
    ({"text_to_action": _raise_two_lines}, "explain itself in one line"),
    ({"move_to_text": lambda self, state, action: "x"}, "a text of its own"),
    ({"move_to_text": lambda self, state, action: str(9 - action)}, "must undo move_to_text"),
    (
        {"text_to_move": lambda self, state, text: int(text[:1] if text < "a" else 1) - 1},
        "text_to_move must raise ValueError",
    ),
]


@pytest.mark.parametrize(("changes", "promise"), BROKEN)
def test_a_broken_promise_is_named_in_the_error(changes, promise):
    broken = type("Broken", (TicTacToe,), changes)
    with pytest.raises(AssertionError, match=promise):
        check(broken())


def test_the_error_gives_the_actions_that_lead_to_the_broken_promise():
    broken = type("Broken", (TicTacToe,), {"legal": _legal_in_finished_games})
    with pytest.raises(AssertionError) as refused:
        check(broken())
    assert "\n" not in str(refused.value)
    (actions,) = re.findall(r"broken after the actions \[(.*)\]", str(refused.value))
    states = _good.initial(1)
    for action in actions.split(", "):
        assert np.isnan(_good.outcome(states)).all()
        states = _good.step(states, np.array([int(action)]))
    assert not np.isnan(_good.outcome(states)).any()


def test_the_example_in_the_contract_gives_what_it_shows():
    result = doctest.testmod(base)
    assert result.attempted > 5
    assert result.failed == 0


class Marathon(Game):
    """A token on five cells; each side pulls it towards its end, or back. Good play goes on."""

    name, num_actions, observation_shape, max_plies = "marathon", 2, (1, 1, 5), 300
    dtype = np.dtype([("at", "i1"), ("player", "i1"), ("ply", "i2")])
    most = 300
    """The first ply with a wrong result of an adjudication."""

    def initial(self, batch):
        return np.array([(2, 0, 0)] * batch, self.dtype)

    def legal(self, states):
        return np.repeat(((states["at"] % 4) != 0)[:, None], 2, axis=1)

    def step(self, states, actions):
        after = states.copy()
        forward = np.where(states["player"] == 0, 1, -1)
        after["at"] += np.where(np.asarray(actions) == 0, forward, -forward).astype(np.int8)
        after["player"], after["ply"] = 1 - states["player"], states["ply"] + 1
        return after

    def outcome(self, states):
        won = np.where((states["at"] == 4) == (states["player"] == 0), 1, -1)
        return np.where(states["at"] % 4 == 0, won, np.nan).astype(np.float32)

    def to_move(self, states):
        return states["player"].copy()

    def observe(self, states):
        at = np.where(states["player"] == 0, states["at"], 4 - states["at"])
        return (np.arange(5) == at[:, None]).astype(np.float32)[:, None, None, :]

    def adjudicate(self, states):
        return np.where(states["ply"] < self.most, 0, 7).astype(np.float32)

    def render(self, state):
        return str(state["at"])


def test_a_fault_that_only_long_games_reach_is_found_in_games_of_good_play():
    game = Marathon()
    rng = np.random.default_rng(0)
    longest = len(play(game, 200, rng, random_moves, game.max_plies))
    assert longest < 100, "random games are short"
    Marathon.most = 100
    with pytest.raises(AssertionError, match=r"adjudicate must be -1, 0 or \+1"):
        check(game)


@pytest.mark.parametrize("choose", [random_moves, greedy_moves, minimax_moves])
def test_the_moves_of_the_check_are_legal_and_those_of_a_player_who_looks_ahead_win(choose):
    game = games.make("tic_tac_toe")
    line = [0, 3, 1, 4]  # X wins with 2, and O would win with 5
    states = game.initial(50)
    for action in line:
        states = game.step(states, np.full(50, action))
    legal = game.legal(states)
    chosen = choose(game, states, legal, np.random.default_rng(0))
    assert legal[np.arange(50), chosen].all()
    assert (chosen == 2).all() == (choose is not random_moves)


def test_a_wrong_symmetry_under_which_the_start_differs_is_found_where_positions_coincide():
    class Cornered(TicTacToe):
        """X has a stone in the first corner from the start: a mirror image is another start."""

        max_plies = 8

        def initial(self, batch):
            return super().step(super().initial(batch), np.zeros(batch, np.int64))

        def to_move(self, states):
            return 1 - super().to_move(states)

        def symmetries(self):
            cells = np.array([2, 1, 0, 5, 4, 3, 8, 7, 6])
            return [(_identity, _identity), (cells, self.moves(cells))]

    right = type("Right", (Cornered,), {"moves": lambda self, cells: cells})
    wrong = type("Wrong", (Cornered,), {"moves": lambda self, cells: _identity})
    for kind in (right, wrong):
        plies = play(kind(), 100, np.random.default_rng(0), random_moves, 8)
        if kind is right:
            check_symmetries(kind(), plies)
        else:
            with pytest.raises(AssertionError, match=r"in symmetry 1 they differ in \d+ of"):
                check_symmetries(kind(), plies)


def test_the_notation_of_many_actions_is_read_in_linear_time():
    class Wide(TicTacToe):
        num_actions = 3000
        calls = 0

        def action_to_text(self, action):
            Wide.calls += 1
            return f"m{action}"

    check_text(Wide())
    assert Wide.calls <= 3 * 3000
