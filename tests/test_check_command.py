"""``alphazero check``: broken promises in one line, and figures of the game that keeps them."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from made_up_games import Tug

import games
from alphazero import game_time
from alphazero.search.tree import EDGE, NODE
from games import conformance
from games.tic_tac_toe import TicTacToe
from workers import cli
from workers.bench import rules
from workers.commands import check

METHODS = {"legal", "step", "outcome", "to_move", "observe", "advance"}


@pytest.fixture(autouse=True)
def briefly(monkeypatch):
    monkeypatch.setattr(check, "SECONDS", 0.2)


def write(folder, monkeypatch, name, text):
    (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(folder)


def test_a_game_that_keeps_the_contract_is_measured(capsys):
    assert cli.main(["check", "tic_tac_toe", "--games", "20", "--seed", "3", "--json", "-"]) == 0
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    named = {key: result[key] for key in ("game", "games", "seed", "broken_promise")}
    assert named == {"game": "tic_tac_toe", "games": 20, "seed": 3, "broken_promise": None}
    assert result["positions_per_second"].keys() == METHODS
    for rates in result["positions_per_second"].values():
        assert rates.keys() == {"1", "256"}
        assert min(rates.values()) > 0
    assert "advance" not in result["shares"]  # it calls the other four, which are counted
    assert sum(result["shares"].values()) == pytest.approx(result["game_share"])
    assert 0 < result["game_share"] < 1
    assert "tic_tac_toe keeps the contract (20 random games)" in printed.err
    assert "a state has 9 bytes, an observation 72 bytes" in printed.err


def test_the_memory_is_that_of_the_trees_of_self_play(capsys):
    sizes = rules.sizes(games.make("connect_four"))
    assert sizes["state"] == 16
    assert sizes["observation"] == 2 * 6 * 7 * 4
    assert 6 < sizes["legal_moves"] < 7  # 6.7, see memory.tree_bytes
    node = NODE.itemsize + 16 + EDGE.itemsize * sizes["legal_moves"]
    assert sizes["node"] == pytest.approx(node, abs=1)
    assert sizes["tree"] == pytest.approx((sizes["tree_simulations"] + 1) * node, abs=1)
    assert sizes["longest_game"] <= 42


@pytest.mark.parametrize("spec", ["made_up_games:ClockedTug", "made_up_games:Restless"])
def test_a_broken_promise_is_one_line_and_status_one(spec, capsys, tmp_path):
    file = tmp_path / "result.json"
    assert cli.main(["check", spec, "--json", str(file)]) == 1
    printed = capsys.readouterr()
    lines = printed.err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"{spec} breaks a promise: ")
    assert printed.out == ""
    assert json.loads(file.read_text())["broken_promise"] == lines[0].partition(": ")[2]


@pytest.mark.parametrize(
    ("module", "body", "said"),
    [
        ("bad_step", 'raise ValueError("not yet\\nwritten")', "ValueError: not yet written"),
        ("bad_numpy", "return np.pad(states, 'both')", "TypeError: `pad_width` .*"),
        ("bad_path", "return importlib.import_module('nowhere_at_all')", "ModuleNotFoundError: .*"),
        ("bad_json", "return json.loads('{')", "JSONDecodeError: .*"),
    ],
)
def test_an_error_in_the_game_is_one_line_that_names_its_place(
    module, body, said, capsys, tmp_path, monkeypatch
):
    text = f"""import importlib, json
import numpy as np
from games.tic_tac_toe import TicTacToe


class Bad(TicTacToe):
    name = "{module}:Bad"

    def step(self, states, actions):
        {body}
"""
    write(tmp_path, monkeypatch, module, text)
    assert cli.main(["check", f"{module}:Bad"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    place = f"step ({tmp_path / f'{module}.py'}, line 10)"
    before = re.escape(f"{module}:Bad breaks a promise: {place} raised ")
    assert re.fullmatch(before + said, line)


@pytest.mark.parametrize("words", [
    ["tic_tac"], ["nowhere:Game"], ["made_up_games:Nothing"], ["tic_tac_toe", "--games", "0"],
    ["othello:size=5"], [],
])  # fmt: skip
def test_bad_input_is_status_two(words, capsys):
    try:
        status = cli.main(["check", *words])
    except SystemExit as stopped:  # argparse's own
        status = stopped.code
    assert status == 2
    assert capsys.readouterr().err.strip()


@pytest.mark.parametrize("spec", ["tic_tac_toe", "othello:size=4"])
def test_the_progress_of_a_check_ends_at_its_total(spec):
    reports = []
    conformance.check(games.make(spec), 10, report=lambda *report: reports.append(report))
    total = reports[-1][1]
    assert reports == [(done, total) for done in range(1, total + 1)]


@pytest.mark.parametrize("seed", [0, 1])
def test_the_measured_positions_are_unfinished_and_of_all_parts_of_a_game(seed):
    game = games.make("connect_four")
    states = rules.unfinished(game, 256, np.random.default_rng(seed))
    assert np.isnan(game.outcome(states)).all()
    stones = game.observe(states).sum(axis=(1, 2, 3))
    assert stones.min() < 3
    assert stones.max() > 15


def test_the_time_of_a_search_is_divided_among_the_methods(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(game_time, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    monkeypatch.setattr(rules, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    class Slow(TicTacToe):
        """Two seconds per call of ``step``, one per call of ``outcome``, which ``legal`` calls."""

        def step(self, states, actions):
            now[0] += 2
            return super().step(states, actions)

        def outcome(self, states):
            now[0] += 1
            return super().outcome(states)

    game = Slow()
    figures = rules.shares(game, game.initial(4), seconds=1)
    shares = figures["shares"]
    assert sum(shares.values()) == pytest.approx(figures["game_share"]) == pytest.approx(1)
    assert next(iter(shares)) == max(shares, key=shares.__getitem__) == "step"
    assert 0 < shares["outcome"] <= shares["legal"] < shares["step"]
    assert shares["to_move"] == shares["observe"] == 0
    assert figures["microseconds_per_simulation"] == pytest.approx(1e6 * now[0] / 4 / 32, rel=0.5)
    assert "step" not in vars(game)  # the game itself is not measured from now on


@pytest.mark.parametrize(("shares", "words"), [
    ({"step": 0.3, "observe": 0.2}, "the game takes 50 % of a search without a network, "
     "4.0 microseconds per simulation; speed up first: step, 60 % of that"),
    ({"step": 0.1, "legal": 0.1}, "the game takes 20 % of a search without a network, "
     "4.0 microseconds per simulation: to make it faster would gain little"),
])  # fmt: skip
def test_the_advice_names_the_method_that_costs_most(shares, words):
    result = {"shares": shares, "game_share": sum(shares.values())}
    assert check._advice(result | {"microseconds_per_simulation": 4.04}) == words


def observing(numbers, bounds=None):
    """Tug with all numbers of its observations replaced by these."""

    class Observing(Tug):
        name = "nothing"

        def observe(self, states):
            return np.resize(np.array(numbers, np.float32), (len(states), 1, 1, 5))

    if bounds is not None:
        Observing.observation_bounds = bounds
    return Observing()


@pytest.mark.parametrize(("game", "message"), [
    (observing([0, -1]), r"within observation_bounds = \(0.0, 1.0\), but has numbers from -1 to 0"),
    (observing([0, 2], (-1.0, 1.5)), r"\(-1.0, 1.5\), but has numbers from 0 to 2"),
    (observing([0], (0.0, 0.0)), "observation_bounds must be two finite numbers"),
    (observing([0], (0.0, np.inf)), "observation_bounds must be two finite numbers"),
    (observing([0], (0.0,)), "observation_bounds must be two finite numbers"),
])  # fmt: skip
def test_observations_outside_their_bounds_are_found(game, message):
    with pytest.raises(AssertionError, match=message):
        conformance.optional.check_bounds(game, conformance.play(
            game, 4, np.random.default_rng(0), conformance.random_moves, 3))  # fmt: skip


def test_observations_within_the_bounds_of_the_game_are_accepted():
    game = observing([-1, 2.5], (-1, 2.5))
    rng = np.random.default_rng(0)
    conformance.optional.check_bounds(
        game, conformance.play(game, 4, rng, conformance.random_moves, 3)
    )
