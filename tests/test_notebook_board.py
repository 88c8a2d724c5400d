"""``alphazero.board``: the Python side of the widget, without a browser."""

import builtins
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

pytest.importorskip("anywidget", reason="anywidget is not installed")

import alphazero
import games
from alphazero.judging import plain_positions, session, widget_script


def test_the_widget_shows_the_position_of_the_page_as_json():
    board = alphazero.board("connect_four", "4453")
    played = session.after(games.make("connect_four"), "4453")
    assert board.shown["here"] == plain_positions.as_json(played)
    assert (board.shown["game"], board.shown["at"]) == ("connect_four", 4)
    assert board.shown["texts"] == ["4", "4", "5", "3"]
    assert board.shown["movers"] == [0, 1, 0, 1, 0]
    assert json.loads(json.dumps(board.get_state(["shown"]))) == {"shown": board.shown}
    assert repr(board) == repr(alphazero.show("connect_four", "4453"))


def test_a_click_plays_a_move_and_a_move_further_back_leaves_the_rest():
    board = alphazero.board("connect_four", "44")
    board.receive({"play": 5, "at": 2})
    assert board.shown["texts"] == ["4", "4", "5"]
    board.receive({"go": 1})
    assert (board.at, board.shown["at"], board.session.actions) == (1, 1, [3, 3, 4])
    assert board.shown["here"]["texts"] == ["4"]
    board.receive({"play": 4, "at": 1})  # the game's own next move
    assert (board.at, board.session.actions) == (2, [3, 3, 4])
    board.go(1)
    board.receive({"play": 7, "at": 1})
    assert (board.at, board.session.actions) == (2, [3, 6])


def test_steps_end_at_the_first_and_the_last_position():
    board = alphazero.board("connect_four", "44")
    for ply, at in ((-5, 0), (1, 1), (9, 2)):
        board.go(ply)
        assert board.shown["at"] == at


@pytest.mark.parametrize("number", [0, -1, 8, 10**30, True, 1])
def test_a_click_on_a_move_that_cannot_be_played_is_refused_in_a_sentence(number):
    board = alphazero.board("connect_four", "111111")  # column 1 is full
    before = board.shown["here"]
    board.receive({"play": number, "at": 6})
    assert board.shown["here"] == before
    assert board.shown["message"].count("\n") == 0
    assert board.shown["message"] != ""
    board.receive({"play": 2, "at": 6})
    assert (board.at, board.shown["message"]) == (7, "")


@pytest.mark.parametrize(
    "content",
    [None, "play", [], {}, {"play": 4}, {"play": "4", "at": 1}, {"play": 4, "at": 0}, {"go": "1"},
     {"go": 0.5}, {"play": 4.0, "at": 1}, {"go": None}],
)  # fmt: skip
def test_other_messages_and_clicks_on_an_older_position_change_nothing(content):
    board = alphazero.board("connect_four", "4")
    before = board.shown
    board.receive(content)
    assert board.shown == before


def test_a_finished_game_has_no_moves_but_can_be_stepped_through():
    board = alphazero.board("connect_four", "1212121", weights={3: 0.5})
    assert board.shown["here"]["reason"] == "rules"
    assert (board.shown["here"]["legal"], board.shown["weights"]) == ([], {})
    board.receive({"play": 3, "at": 7})
    assert "the game is over" in board.shown["message"]
    board.receive({"go": 6})
    assert len(board.shown["here"]["legal"]) == 7


def test_an_agent_gives_each_position_its_policy_and_value():
    agent = alphazero.load_agent("tic_tac_toe", simulations=16)
    board = alphazero.board("tic_tac_toe", "1", agent=agent)
    for moves in ("15", "159"):
        board.play(moves[-1])
        analysis = agent.analyse(moves)
        expected = {str(move.action + 1): move.probability for move in analysis.moves}
        assert board.shown["weights"] == expected
        assert board.shown["value"] == analysis.value


def test_weights_belong_to_the_position_that_they_are_given_for():
    board = alphazero.board("tic_tac_toe", "15", weights=np.full(9, 0.125))
    assert board.shown["weights"] == {str(number): 0.125 for number in range(1, 10)}
    board.go(1)
    assert board.shown["weights"] == {}
    board.go(2)
    assert board.shown["weights"] != {}


def test_a_board_for_what_does_not_fit_together_is_refused_in_one_line():
    agent = alphazero.load_agent("tic_tac_toe", simulations=16)
    for message, make in {
        "not connect_four": lambda: alphazero.board("connect_four", agent=agent),
        "one of the two": lambda: alphazero.board("tic_tac_toe", agent=agent, weights={0: 1.0}),
        "cannot be played": lambda: alphazero.board("tic_tac_toe", "11"),
        "in \\[0, 1\\]": lambda: alphazero.board("tic_tac_toe", weights={0: 2.0}),
    }.items():
        with pytest.raises(ValueError, match=message) as caught:
            make()
        assert "\n" not in str(caught.value)


def test_without_anywidget_one_line_says_which_extra_brings_it(monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **others):
        if name in ("anywidget", "alphazero.judging.widget"):
            raise ModuleNotFoundError(f"No module named {name!r}", name="anywidget")
        return real(name, *arguments, **others)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ValueError, match=r"needs anywidget .*\[notebook\]") as caught:
        alphazero.board("tic_tac_toe")
    assert "\n" not in str(caught.value)


def test_a_front_end_without_widgets_gets_the_picture_of_the_position():
    board = alphazero.board("tic_tac_toe", "15")
    bundle, _ = board._repr_mimebundle_()
    assert bundle["image/svg+xml"] == alphazero.show("tic_tac_toe", "15").svg()
    assert bundle["text/plain"] == repr(board)


def test_the_script_is_one_module_that_imports_and_loads_nothing():
    script = widget_script.script()
    assert re.findall(r"^(?:import|export)\b.*", script, re.MULTILINE) == ["export default {"]
    assert "http" not in script.replace("http://www.w3.org/", "")


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_every_name_that_a_module_of_the_script_imports_is_exported(tmp_path):
    path = tmp_path / "script.mjs"
    path.write_text(
        widget_script.script() + "\nprocess.stdout.write(typeof _page_board_js.Board);\n"
    )
    done = subprocess.run(["node", path], capture_output=True, text=True, check=True)
    assert done.stdout == "function"
    for names, source in re.findall(r"const \{([^}]*)\} = (_\w+);", path.read_text()):
        (exported,) = re.findall(
            rf"const {source} = .*?^return \{{(.*?)\}};$",
            path.read_text(),
            re.DOTALL | re.MULTILINE,
        )
        public = {pair.split(":")[0].strip() for pair in exported.split(",")}
        assert {name.split(":")[0].strip() for name in names.split(",")} <= public
