import io
import json
import os
import queue
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import games
from alphazero.judging.decisions import Decision, Player
from alphazero.types import Limits
from workers.engines import analysis
from workers.engines.analysis import Analysis
from workers.engines.candidates import of_decision
from workers.engines.engine import load_player
from workers.engines.inbox import LONGEST, Inbox
from workers.engines.requests import read

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-m", "alphazero", "analyse"]


def ask(
    *requests: dict | str,
    game: str = "othello",
    player: str | Player = "mcts:simulations=20",
    **options: object,
) -> list[dict]:
    """The answers to requests that are all sent at once."""
    rules = games.make(game)
    lines = [one if isinstance(one, str) else json.dumps(one) for one in requests]
    said: list[str] = []
    chosen = load_player(rules, player, (), fresh=True) if isinstance(player, str) else player
    inbox = Inbox(io.BytesIO("\n".join(lines).encode()).read)
    analysed = Analysis(rules, chosen, inbox, said.append)
    for name, value in options.items():
        setattr(analysed, name, value)
    analysed.serve()
    assert all(text.endswith("\n") and text.count("\n") == 1 for text in said)
    return [json.loads(text) for text in said]


def test_a_position_is_answered_with_its_moves_in_order():
    (answer,) = ask({"id": "a", "moves": ["d3", "c5"], "maxVisits": 60})
    assert (answer["id"], answer["turnNumber"], answer["isDuringSearch"]) == ("a", 2, False)
    moves, root = answer["moveInfos"], answer["rootInfo"]
    assert {move["move"] for move in moves} <= {"b6", "c6", "d6", "e6", "f6"}
    assert [move["order"] for move in moves] == list(range(len(moves)))
    assert sum(move["visits"] for move in moves) == root["visits"] == 60
    assert all(move["pv"][0] == move["move"] for move in moves)
    assert all(
        move["winrate"] == pytest.approx((move["value"] + 1) / 2, abs=1e-5) for move in moves
    )
    assert sum(move["prior"] for move in moves) == pytest.approx(1, abs=1e-4)
    assert root["currentPlayer"] == "B"


def test_moves_are_texts_numbers_or_pairs_with_a_colour():
    game = games.make("othello")
    number = game.text_to_action("c5") + 1
    wanted = [["d3", "c5"], ["D3", number], [["B", "d3"], ["white", "C5"]]]
    requests = ({"id": str(k), "moves": moves} for k, moves in enumerate(wanted))
    answers = ask(*requests, player=Batches().player)
    assert [answer["id"] for answer in answers] == ["0", "1", "2"]
    assert answers[0]["moveInfos"] == answers[1]["moveInfos"] == answers[2]["moveInfos"]


def test_each_turn_is_answered_and_a_finished_one_with_its_result():
    moves = [1, 4, 2, 5, 3]  # X has the first row
    answers = ask({"id": "t", "moves": moves, "analyzeTurns": [0, 4, 5]}, game="tic_tac_toe")
    by_turn = {answer["turnNumber"]: answer for answer in answers}
    assert set(by_turn) == {0, 4, 5}
    assert by_turn[4]["moveInfos"][0]["move"] == "3"
    over = by_turn[5]
    assert (over["over"], over["moveInfos"]) == (True, [])
    assert over["rootInfo"] == {"currentPlayer": "W", "visits": 0, "winrate": 0.0, "value": -1.0}


def test_values_are_those_of_the_mover_or_of_one_side():
    request = {"moves": [1, 4, 2, 5], "maxVisits": 200}  # X wins with 3
    views = ["SIDETOMOVE", "black", "WHITE"]
    answers = ask(
        *({"id": view, **request, "overrideSettings": {"reportAnalysisWinratesAs": view}}
          for view in views), game="tic_tac_toe"
    )  # fmt: skip
    best = [answer["moveInfos"][0] for answer in answers]
    assert [move["move"] for move in best] == ["3"] * 3
    assert [move["winrate"] for move in best] == [1, 1, 0]
    assert [move["value"] for move in best] == [1, 1, -1]


def test_the_policy_has_a_share_of_each_action_and_minus_one_where_it_is_illegal():
    (answer,) = ask({"id": "p", "moves": [5], "includePolicy": True}, game="tic_tac_toe")
    policy = answer["policy"]
    assert policy[4] == -1
    assert sum(share for share in policy if share >= 0) == pytest.approx(1, abs=1e-4)
    assert len(policy) == 9
    (answer,) = ask({"id": "p", "moves": [5]}, game="tic_tac_toe")
    assert "policy" not in answer


def test_a_score_lead_is_a_multiple_of_the_value_and_there_only_where_it_was_demanded():
    request = {"id": "s", "moves": [1, 4, 2, 5], "maxVisits": 100}
    (answer,) = ask(request, game="tic_tac_toe", points=20)
    assert answer["rootInfo"]["scoreLead"] == pytest.approx(
        20 * answer["rootInfo"]["value"], abs=0.01
    )
    (answer,) = ask(request, game="tic_tac_toe")
    assert "scoreLead" not in answer["rootInfo"]


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        ({"moves": []}, "id"),
        ({"id": 7, "moves": []}, "id"),
        ({"id": "x" * 1000, "moves": []}, "id"),
        ({"id": "a"}, "moves"),
        ({"id": "a", "moves": "d3"}, "moves"),
        ({"id": "a", "moves": ["d3", "d3"]}, "moves"),
        ({"id": "a", "moves": [None]}, "moves"),
        ({"id": "a", "moves": [["B", ["d3"]]]}, "moves"),
        ({"id": "a", "moves": [["W", "d3"]]}, "moves"),
        ({"id": "a", "moves": [10**400]}, "moves"),
        ({"id": "a", "moves": [], "analyzeTurns": [1]}, "analyzeTurns"),
        ({"id": "a", "moves": [], "analyzeTurns": [True]}, "analyzeTurns"),
        ({"id": "a", "moves": [], "maxVisits": 0}, "maxVisits"),
        ({"id": "a", "moves": [], "maxVisits": 1e3}, "maxVisits"),
        ({"id": "a", "moves": [], "maxTime": -1}, "maxTime"),
        ({"id": "a", "moves": [], "maxTime": "1"}, "maxTime"),
        ({"id": "a", "moves": [], "maxTime": 10**400}, "maxTime"),
        (
            {"id": "a", "moves": [], "reportDuringSearchEvery": -(10**400)},
            "reportDuringSearchEvery",
        ),
        ({"id": "a", "moves": [], "includePolicy": 1}, "includePolicy"),
        ({"id": "a", "moves": [], "priority": "high"}, "priority"),
        ({"id": "a", "moves": [], "boardXSize": 9}, "boardXSize"),
        ({"id": "a", "moves": [], "initialPlayer": "W"}, "initialPlayer"),
        ({"id": "a", "moves": [], "initialStones": [["B", "d3"]]}, "initialStones"),
        ({"id": "a", "moves": [], "overrideSettings": []}, "overrideSettings"),
        ({"id": "a", "action": "dance"}, "action"),
        ({"id": "a", "action": "terminate"}, "terminateId"),
    ],
)
def test_a_bad_request_has_an_error_that_names_the_field_and_the_next_is_answered(request_, field):
    bad, good = ask(request_, {"id": "next", "moves": [], "maxVisits": 1})
    assert bad["field"] == field
    assert len(bad["error"].splitlines()) == 1
    assert bad.get("id", "a") == "a"
    assert good["id"] == "next"
    assert good["rootInfo"]["visits"] == 1


@pytest.mark.parametrize(
    "line",
    ["{", "[]", "7", '"id"', "\x00", "[" * 100_000, '{"id":"a","maxTime":NaN,"moves":[]}',
     '{"id":"a","maxTime":1e999,"moves":[]}', '{"id":' + "9" * 5000 + "}",
     "x" * (LONGEST + 10),
     '{"id":"a","action":"clear_cache","x":NaN}', '{"id":"a","action":"clear_cache","x":1e999}',
     '{"id":"a","action":"clear_cache","x":' + "[" * 950 + "]" * 950 + "}",
     '{"id":"a","moves":[],"komi":' + '{"x":' * 60_000 + "0" + "}" * 60_000 + "}"],
    ids=range(14),
)  # fmt: skip
def test_a_line_that_is_no_request_has_an_error(line):
    bad, good = ask(line, {"id": "next", "moves": [], "maxVisits": 1})
    assert "error" in bad
    assert len(bad["error"]) < 400
    assert good["id"] == "next"


NUMBERS = st.integers(-(10**400), 10**400) | st.integers(-3, 30) | st.floats()
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
DEEP = st.integers(1, 3000).map(lambda depth: "[" * depth + "]" * depth)
NAMES = ("id", "moves", "analyzeTurns", "maxVisits", "maxTime", "reportDuringSearchEvery", "action",
         "terminateId", "priority", "komi", "rules", "boardXSize", "overrideSettings",
         "initialStones", "initialPlayer", "includePolicy", "unknown")  # fmt: skip
ACTIONS = st.sampled_from(["query_version", "clear_cache", "terminate", "terminate_all"])
VALUES = {"action": ACTIONS.map(json.dumps), "moves": st.just("[5, 1]")}
"""Values that are right, which are sent beside others."""


@st.composite
def nearly_right(draw) -> str:
    """A request in which up to three fields hold anything."""
    fields = {"id": '"x"', "moves": "[]"}
    for name in draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3)):
        anything = NUMBERS.map(json.dumps) | JSON.map(json.dumps) | DEEP
        fields[name] = draw(anything | VALUES.get(name, anything))
    return "{" + ",".join(f'"{name}":{value}' for name, value in fields.items()) + "}"


@settings(max_examples=150, deadline=None)
@given(st.lists(nearly_right(), max_size=4), st.binary(max_size=80))
def test_whatever_is_sent_only_objects_come_back_and_the_last_request_is_answered(texts, noise):
    last = json.dumps({"id": "the last one", "moves": []})
    broken = noise.replace(b"\n", b" ").decode("latin-1")
    answers = ask(*texts, broken, last, game="tic_tac_toe", player="random")
    assert all(isinstance(answer, dict) for answer in answers)
    finals = [a for a in answers if a.get("id") == "the last one"]
    assert len(finals) == 1
    assert len(finals[0]["moveInfos"]) == 1


def test_unknown_fields_have_a_warning_and_the_request_is_answered():
    warning, answer = ask(
        {"id": "w", "moves": [], "maxVisits": 1, "komi": 6.5, "rules": "chinese", "mood": 3}
    )
    assert warning == {"id": "w", "warning": "this field is not used", "field": "mood"}
    assert answer["rootInfo"]["visits"] == 1


class Batches:
    """A player that notes the sizes and limits of its batches."""

    def __init__(self, own: Limits = Limits()) -> None:
        self.seen: list[tuple[int, Limits]] = []
        self.player = Player("batches", self.decide, limits=own)

    def decide(self, states, rngs, limits, lines):
        assert len(rngs) == len(lines) == len(states)
        self.seen.append((len(states), limits))
        return Decision(games.make("othello").legal(states).argmax(axis=1))


def test_positions_that_are_searched_alike_are_one_batch():
    batches = Batches()
    wanted = [{"id": f"{k}", "moves": [], "maxVisits": 10 + k % 2} for k in range(40)]
    answers = ask(*wanted, player=batches.player)
    assert {answer["id"] for answer in answers} == {request["id"] for request in wanted}
    sizes = [(size, limits.simulations) for size, limits in batches.seen]
    assert sizes == [(16, 10), (16, 11), (4, 10), (4, 11)]


def test_positions_with_a_time_are_searched_one_by_one_and_many_visits_in_small_batches():
    batches = Batches()
    ask(*({"id": f"{k}", "moves": [], "maxTime": 2.5} for k in range(2)), player=batches.player)
    assert [(n, limits.seconds) for n, limits in batches.seen] == [(1, 2.5), (1, 2.5)]
    batches = Batches()
    ask(*({"id": f"{k}", "moves": [], "maxVisits": 10**8} for k in range(2)),
        player=batches.player)  # fmt: skip
    assert [(n, limits.simulations) for n, limits in batches.seen] == [(1, 10**6)] * 2
    assert all(limits.seconds for _, limits in batches.seen)  # whose trees have a bound in bytes
    batches = Batches(Limits(seconds=1.0))
    ask(*({"id": f"{k}", "moves": []} for k in range(2)), player=batches.player)
    assert [n for n, _ in batches.seen] == [1, 1]


def test_a_batch_has_the_results_of_single_searches():
    wanted = [{"id": "".join(line), "moves": line, "maxVisits": 80}
             for line in (["5"], ["1", "5"], ["1", "2", "3"])]  # fmt: skip
    player = "minimax:depth=2"
    together = ask(*wanted, game="tic_tac_toe", player=player)
    single = [ask(one, game="tic_tac_toe", player=player)[0] for one in wanted]
    assert together == single


def test_higher_priorities_come_first():
    wanted = [{"id": f"{k}", "moves": [], "maxVisits": 1 + k, "priority": k} for k in range(4)]
    assert [answer["id"] for answer in ask(*wanted)] == ["3", "2", "1", "0"]


def test_a_player_that_fails_has_an_error_and_the_others_are_answered():
    game = games.make("othello")

    def decide(states, rngs, limits, lines):
        if limits.simulations == 13:
            raise RuntimeError("out of\nluck")
        return Decision(game.legal(states).argmax(axis=1))

    bad, good = ask({"id": "a", "moves": [], "maxVisits": 13}, {"id": "b", "moves": []},
                    player=Player("fails", decide))  # fmt: skip
    assert bad == {"id": "a", "turnNumber": 0, "error": "out of luck"}
    assert good["moveInfos"][0]["visits"] == 0


def test_the_move_of_a_decision_comes_first():
    game = games.make("othello")
    player = load_player(game, "mcts:simulations=60", ())
    decision = player(game.initial(1), [np.random.default_rng(0)], Limits(), [()])
    for move in of_decision(decision):
        other = decision._replace(action=np.array([move.action]))
        assert of_decision(other)[0] == move


def test_a_search_goes_on_for_the_positions_that_are_not_terminated():
    game = games.make("othello")
    inbox = Inbox(io.BytesIO(b"").read)
    analysed = Analysis(game, load_player(game, "random", ()), inbox, [].append)
    analysed._running = [read(game, {"id": name, "moves": []}).positions[0] for name in ("a", "b")]
    stopped = []
    for name in ("a", "b"):
        analysed._handle(json.dumps({"id": "t", "action": "terminate", "terminateId": name}))
        stopped.append(analysed._stopped())
    assert stopped == [False, True]


def test_waiting_positions_are_dropped_when_their_request_is_terminated():
    waiting = [{"id": "a", "moves": ["d3"], "analyzeTurns": [0, 1]}, {"id": "b", "moves": []}]
    answers = ask(*waiting, {"id": "t", "action": "terminate", "terminateId": "a"})
    assert [(a["id"], a.get("turnNumber")) for a in answers if a.get("noResults")] == [
        ("a", 0), ("a", 1),
    ]  # fmt: skip
    assert [a["id"] for a in answers if "action" in a] == ["t"]
    assert [a["id"] for a in answers if "moveInfos" in a] == ["b"]
    answers = ask(*waiting, {"id": "t", "action": "terminate_all"})
    assert not [a for a in answers if "moveInfos" in a]


def test_a_running_search_reports_and_ends_when_it_is_terminated():
    reading, writing = os.pipe()
    said: list[dict] = []

    def say(text: str) -> None:
        said.append(json.loads(text))
        if len(said) == 2:
            end = {"id": "t", "action": "terminate", "terminateId": "long"}
            os.write(writing, (json.dumps(end) + "\n").encode())
            os.close(writing)

    request = {"id": "long", "moves": [], "maxVisits": 10**7, "reportDuringSearchEvery": 0.01}
    os.write(writing, (json.dumps(request) + "\n").encode())
    game = games.make("othello")
    inbox = Inbox(lambda size: os.read(reading, size))
    Analysis(game, load_player(game, "mcts:simulations=5", ()), inbox, say).serve()
    os.close(reading)
    results = [one for one in said if one["id"] == "long"]
    assert [one["isDuringSearch"] for one in results[:2]] == [True, True]
    assert results[-1]["isDuringSearch"] is False
    assert [one["action"] for one in said if one["id"] == "t"] == ["terminate"]
    visits = [one["rootInfo"]["visits"] for one in results]
    assert visits == sorted(visits)


def test_no_line_is_read_while_many_positions_wait(monkeypatch):
    monkeypatch.setattr(analysis, "MOST_WAITING", 3)
    longest: queue.Queue[int] = queue.Queue()
    game = games.make("othello")
    wanted = [json.dumps({"id": f"{k}", "moves": []}) for k in range(20)]
    inbox = Inbox(io.BytesIO("\n".join(wanted).encode()).read)
    said: list[str] = []

    def decide(states, rngs, limits, lines):
        longest.put(len(states))
        return Decision(game.legal(states).argmax(axis=1))

    Analysis(game, Player("counts", decide), inbox, said.append).serve()
    assert len(said) == 20
    assert max(longest.queue) <= 3


def test_the_command_answers_all_that_is_queued_before_it_ends():
    wanted = [{"id": f"{k}", "moves": list("45")[: k % 3], "maxVisits": 5} for k in range(20)]
    text = "\n".join(json.dumps(one) for one in wanted) + "\nnonsense\n"
    ended = subprocess.run(
        [*COMMAND, "connect_four", "--batch", "4"], input=text, capture_output=True, text=True,
        cwd=ROOT, timeout=300,
    )  # fmt: skip
    answers = [json.loads(line) for line in ended.stdout.splitlines()]
    assert ended.returncode == 0
    assert {a["id"] for a in answers if "moveInfos" in a} == {f"{k}" for k in range(20)}
    assert len([a for a in answers if "error" in a]) == 1
    assert "Traceback" not in ended.stderr


def test_fields_of_katrains_requests_are_read():
    """As KaTrain's engine.py sends them, but for the board."""
    request = {
        "id": "QUERY:1", "rules": "chinese", "priority": 1, "analyzeTurns": [1], "maxVisits": 25,
        "komi": 6.5, "boardXSize": 8, "boardYSize": 8, "includeOwnership": False,
        "includeMovesOwnership": False, "includePolicy": True, "initialStones": [],
        "initialPlayer": "B", "moves": [["B", "D3"]],
        "overrideSettings": {"reportAnalysisWinratesAs": "BLACK", "wideRootNoise": 0.04,
                             "maxTime": 30.0},
    }  # fmt: skip
    warning, answer = ask(request, points=10)
    assert warning["field"] == "overrideSettings.wideRootNoise"
    for info in (*answer["moveInfos"], answer["rootInfo"]):
        assert {"visits", "winrate", "scoreLead"} <= set(info)
    assert len(answer["policy"]) == games.make("othello").num_actions
    mover = np.array([move["value"] for move in answer["moveInfos"]])
    assert (np.abs(mover) <= 1).all()
