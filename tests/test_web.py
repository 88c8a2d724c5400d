"""The page's server: positions, moves, analyses, runs; hostile requests; its files."""

import asyncio
import contextlib
import gzip
import hashlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest

pytest.importorskip("fastapi")

import httpx
from made_up_models import running
from made_up_runs import make_run
from node_doubles import wait_until

import games
from alphazero.judging import session, widget_script
from alphazero.metrics_file import MetricsFile
from games import svg
from workers import cli
from workers.runs.run_directory import INTERRUPTED
from workers.web import app, files, main
from workers.web.engines import make_analyst
from workers.web.offers import BUNDLED, GAMES, Offer, Target

HOST = "http://127.0.0.1"
SECONDS = 60  # a bound against hanging: nothing is measured


def send(application, *paths, headers=None, method="GET"):
    """The answers to requests that are sent at once."""

    async def scenario():
        transport = httpx.ASGITransport(application)
        async with httpx.AsyncClient(transport=transport, base_url=HOST) as http:
            sent = [http.request(method, path, headers=headers or {}) for path in paths]
            return await asyncio.gather(*sent)

    return asyncio.run(scenario())


def get(application, path, **parameters):
    query = str(httpx.QueryParams(parameters))
    return send(application, f"{path}?{query}" if query else path)[0]


def failures():
    """A log that refuses every line: none of these requests may fail in the server."""

    def log(line):
        raise AssertionError(line)

    return log


@pytest.fixture
def page():
    application = app.build(Target(), failures())
    yield application
    application.state.page.engines.close()


@pytest.fixture
def folder(tmp_path):
    """A folder with a run of Connect Four that has a checkpoint, and others that are no runs."""
    run = tmp_path / "runs" / "mine"
    make_run(run, lines=5)
    (tmp_path / "runs" / "empty").mkdir()
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "metrics.jsonl").write_text('{"step": 1, "loss": 42}\n')
    (tmp_path / "runs" / "link").symlink_to(tmp_path / "secret")
    return tmp_path / "runs"


@pytest.mark.parametrize("game", ["connect_four", "chess", "go:size=9", "hex:size=7"])
def test_a_position_is_the_drawing_of_the_game_after_the_moves(page, game):
    made, rng, played = games.make(game), np.random.default_rng(0), []
    states = made.initial(1)
    for _ in range(12):
        played.append(int(rng.choice(np.flatnonzero(made.legal(states)[0]))))
        states = made.step(states, np.array(played[-1:]))
    moves = ".".join(str(action + 1) for action in played)
    answer = get(page, "/api/position", game=game, moves=moves).json()
    drawing = made.drawing(states[0], played[-1]).plain()
    assert answer["board"] == {key: drawing[key] for key in answer["board"]}
    assert {"cells", "labels", "edges", "last", "line", "text"} == set(answer["board"])
    legal = np.flatnonzero(made.legal(states)[0]).tolist()
    assert [move["action"] - 1 for move in answer["legal"]] == legal
    assert {move["action"]: move["cells"] for move in answer["legal"]} == {
        action + 1: drawing["clicks"].get(str(action), []) for action in legal
    }
    picture = get(page, "/api/board.svg", game=game, moves=moves)
    assert picture.text == svg.render(made.drawing(states[0], played[-1]))
    assert picture.headers["content-type"] == "image/svg+xml"


def test_moves_may_be_written_in_the_notation_of_the_game(page):
    words = get(page, "/api/position", game="chess", moves="e4.e5.Nf3").json()
    numbers = ".".join(str(action) for action in words["moves"])
    assert get(page, "/api/position", game="chess", moves=numbers).json() == words
    assert words["texts"] == ["e4", "e5", "Nf3"]
    assert words["movers"] == [0, 1, 0, 1]


def test_a_pass_has_a_name_and_a_promotion_three_cells(page):
    go = get(page, "/api/position", game="go:size=9").json()["legal"]
    assert [(move["text"], move["name"]) for move in go if not move["cells"]] == [("pass", "pass")]
    moves = "a4.b5.axb5.a6.bxa6.h6.a7.g6"
    chess = get(page, "/api/position", game="chess", moves=moves).json()["legal"]
    cells = {move["text"]: move["cells"] for move in chess if "=" in move["text"]}
    assert cells == {
        "axb8=Q": [8, 1, 1], "axb8=N": [8, 1, 9], "axb8=R": [8, 1, 17], "axb8=B": [8, 1, 25],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("game", "moves"),
    [("hex:size=7", "b3.c5.d1.g7"), ("go:size=9", "E5.C3.J9"), ("gomoku:size=9", "a9.i1"),
     ("othello:size=6", ""), ("dots_and_boxes", "b1.d3"), ("tic_tac_toe", "5.1")],
)  # fmt: skip
def test_a_cell_has_the_name_of_the_move_that_is_made_there(page, game, moves):
    """For the player to move, and, of the cells that are taken, for those who moved there."""
    words = moves.split(".") if moves else []
    for ply in range(len(words) + 1):
        answer = get(page, "/api/position", game=game, moves=".".join(words[:ply])).json()
        for move in answer["legal"]:
            if len(move["cells"]) == 1:
                assert answer["places"][move["cells"][0]] == move["text"]
        if ply:
            (last,) = answer["board"]["last"]
            assert answer["places"][last] == words[ply - 1] == answer["texts"][-1]


@pytest.mark.parametrize("game", ["connect_four", "chess"])
def test_cells_without_a_move_of_their_own_have_no_name(page, game):
    answer = get(page, "/api/position", game=game).json()
    assert answer["places"] == [None] * len(answer["board"]["cells"])


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_page_says_whose_turn_it_is_also_while_nobody_chooses():
    """The function alone, in node: the libraries of the page are not loaded."""
    script = files.table()["/words.js"].content.decode()
    start = script.index("export function sentence")
    body = script[start : script.index("\n}\n", start) + 3].removeprefix("export ")
    calls = """
    const LETTERS = 'XO', say = (seat, mover) =>
      sentence({movers: [mover], board: {text: ''}}, {seat}, false, 'random', ['orange', 'blue']);
    const seats = ['first', 'second', 'both', 'none'];
    console.log(JSON.stringify(seats.map(s => [say(s, 0), say(s, 1)])));"""
    done = subprocess.run(["node", "-e", body + calls], capture_output=True, text=True, check=True)
    one, two = "orange (first) to move", "blue (second) to move"
    assert json.loads(done.stdout) == [
        [f"{one}: your turn", f"{two}: the turn of random"],
        [f"{one}: the turn of random", f"{two}: your turn"],
        [one, two],
        [f"{one}: the turn of random", f"{two}: the turn of random"],
    ]


def test_a_finished_game_has_a_result_and_no_moves(page):
    over = get(page, "/api/position", game="tic_tac_toe", moves="1.4.2.5.3").json()
    assert (over["result"], over["reason"], over["legal"]) == (1, "rules", [])
    assert over["board"]["line"] == [0, 1, 2]
    answer = get(page, "/api/move", game="tic_tac_toe", moves="1.4.2.5.3", player="random")
    assert (answer.status_code, answer.json()["error"]) == (422, "the game is over")


def test_a_move_that_cannot_be_played_is_named_with_those_that_can(page):
    answer = get(page, "/api/position", game="tic_tac_toe", moves="5.5")
    assert answer.status_code == 422
    assert answer.json()["field"] == "moves"
    assert "'5', cannot be played; possible are 1 2 3 4 6 7 8 9" in answer.json()["error"]


@pytest.mark.parametrize("player", ["mcts:seconds=1", "minimax:seconds=1", "random", BUNDLED])
def test_every_player_of_the_page_takes_the_win_or_plays_a_legal_move(page, player):
    more = {"simulations": 50} if player in ("mcts:seconds=1", BUNDLED) else {}
    answer = get(page, "/api/move", game="tic_tac_toe", moves="1.4.2.5", player=player, **more)
    action = answer.json()["action"]
    assert action in (3, 6, 7, 8, 9)
    assert player == "random" or action == 3


def test_requests_for_moves_at_once_are_answered_separately(page):
    lines = ["1.4.2.5", "4.1.5.2", ""]
    paths = [
        f"/api/move?game=tic_tac_toe&player=bundled+agent&simulations=30&moves={moves}"
        for moves in lines
    ]
    answers = [answer.json()["action"] for answer in send(page, *paths)]
    assert answers[:2] == [3, 6]
    assert 1 <= answers[2] <= 9


def test_players_are_named_by_the_lists_of_the_server_only(page):
    for player in ("gtp:cmd='touch /tmp/x'", "checkpoint:path=/etc", "solver", "", "mcts"):
        answer = get(page, "/api/move", game="tic_tac_toe", player=player)
        assert (answer.status_code, answer.json()["field"]) == (404, "player")
    for game in ("os:system", "open_spiel:hex", "pettingzoo:antigravity", "../go", "go:size=99"):
        answer = get(page, "/api/position", game=game)
        assert (answer.status_code, answer.json()["field"]) == (404, "game")


def events(text):
    """The data of the events of a stream, and whether it ended as it should."""
    blocks = [block for block in text.split("\n\n") if block]
    data = [json.loads(b.removeprefix("data: ")) for b in blocks if b.startswith("data: ")]
    return data, blocks[-1] == "event: done\ndata: {}"


def test_an_analysis_reports_visits_that_add_up_and_finds_the_win(page):
    answer = get(
        page, "/api/analyse", game="connect_four", moves="4.1.4.1.4.1", player=BUNDLED,
        simulations=300,
    )  # fmt: skip
    assert answer.headers["content-type"].startswith("text/event-stream")
    reports, ended = events(answer.text)
    assert ended
    last = reports[-1]
    assert (last["best"], last["value"], last["first"]) == (4, 1.0, 1.0)
    assert last["moves"][0]["proven"] == 1
    assert last["variation"] == ["4"]
    assert sum(move["visits"] for move in last["moves"]) == last["simulations"] > 0
    assert 0.9 < sum(move["prior"] for move in last["moves"]) <= 1.01


def test_an_analysis_without_a_network_uses_random_games(page):
    answer = get(
        page, "/api/analyse", game="tic_tac_toe", moves="1.5.2", player="mcts:seconds=1",
        simulations=400,
    )  # fmt: skip
    (*_, last), ended = events(answer.text)
    assert ended
    assert last["best"] == 3  # anything else loses
    assert last["first"] == -last["value"]


def test_a_player_without_a_tree_cannot_analyse(page):
    answer = get(page, "/api/analyse", game="tic_tac_toe", player="random")
    assert (answer.status_code, answer.json()["field"]) == (422, "player")


def test_the_values_of_a_game_are_those_of_its_positions_and_its_result(page):
    answer = get(
        page, "/api/values", game="connect_four", moves="4.1.4.1.4.1.4", player=BUNDLED,
        simulations=20,
    )  # fmt: skip
    reports, ended = events(answer.text)
    assert ended
    assert [report["ply"] for report in reports] == list(range(8))
    assert reports[-1] == {"ply": 7, "first": 1, "over": True}
    assert all(report["first"] > 0.9 for report in reports[4:6])
    assert reports[6]["first"] == 1.0  # the win is proven one move before


def test_a_search_of_a_batch_has_the_results_that_it_has_alone():
    """Two searches in one thread do not mix: each equals the search's own run."""
    from alphazero.search import run
    from alphazero.types import Limits
    from workers.web.analysis import Analyser, Wanted

    game = games.make("tic_tac_toe")
    analyst = make_analyst(Offer(BUNDLED, "checkpoint"), game)
    analyser, reports = Analyser(analyst), {}
    lines = {"": (), "5": (4,), "5 1": (4, 0)}
    for name, line in lines.items():
        at = session.after(game, [action + 1 for action in line]).states
        analyser.start(game, at, line, reports.setdefault(name, []).append, Wanted(60))
    deadline = time.monotonic() + SECONDS
    while any(not given or given[-1] is not None for given in reports.values()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert not analyser.busy
    for name, line in lines.items():
        at = session.after(game, [action + 1 for action in line]).states
        rngs, temperature = [np.random.default_rng(0)], np.zeros(1, np.float32)
        steps = analyst.search(game, at, rngs, temperature, Limits(60))
        alone = run(steps, analyst.evaluate)
        last = reports[name][-2]
        visits = {move["action"] - 1: move["visits"] for move in last["moves"] if move["visits"]}
        expected = {i: int(n) for i, n in enumerate(alone.visits[0]) if n}
        assert visits == expected
        assert last["best"] == alone.action[0] + 1


def wait_for(condition):
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_page_that_leaves_stops_its_search(page):
    state = page.state.page
    query = "game=othello&player=mcts%3Aseconds%3D1"
    with running(page, app.LIMITS) as address:
        connections = []
        for _ in range(3):
            connection = socket.create_connection(address, timeout=SECONDS)
            head = f"GET /api/analyse?{query} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
            connection.sendall(head.encode())
            connections.append(connection)
        for connection in connections:
            received = b""
            while b"data: " not in received:
                received += connection.recv(4096)
        assert state.searches == 3
        connections.pop().close()
        wait_for(lambda: state.searches == 2)
        for connection in connections:
            connection.close()
        wait_for(lambda: state.searches == 0)
        analyser = asyncio.run(state.engines.analyser("othello", "mcts:seconds=1"))
        wait_for(lambda: not analyser.busy)


def test_the_bundled_agent_plays_and_analyses_with_another_komi_and_its_name_says_so():
    target, failed = Target(game="go:size=5,komi=20"), failures()
    page = app.build(target, failed)
    game = "go:size=5,komi=20"
    offered = get(page, "/api/players", game=game).json()["players"]
    label = f"{BUNDLED}, trained in go:size=5,komi=24.0,history=16"
    assert label in [player["label"] for player in offered]
    assert 1 <= get(page, "/api/move", game=game, player=label).json()["action"] <= 26
    answer = get(page, "/api/analyse", game=game, player=label, simulations=20)
    (*_, last), _ = events(answer.text)
    assert last["best"]


def test_more_searches_than_there_is_room_for_are_refused_with_503(page, monkeypatch):
    monkeypatch.setattr(app, "MOST_SEARCHES", 0)
    answer = get(page, "/api/analyse", game="tic_tac_toe", player=BUNDLED)
    assert answer.status_code == 503
    assert "retry-after" in answer.headers


def test_runs_are_listed_with_their_checkpoints_which_play_and_analyse(folder):
    page = app.build(Target(folder=folder), failures())
    (run,) = get(page, "/api/runs").json()["runs"]
    assert (run["name"], run["game"], run["steps"]) == ("mine", "connect_four", [7])
    labels = [p["label"] for p in get(page, "/api/players", game="connect_four").json()["players"]]
    assert labels == [BUNDLED, "mine, step 7", "mcts:seconds=1", "minimax:seconds=1", "random"]
    given = {"game": "connect_four", "moves": "4.1.4.1.4.1", "player": "mine, step 7"}
    assert get(page, "/api/move", **given).json() == {"action": 4}
    (*_, last), _ = events(get(page, "/api/analyse", **given, simulations=50).text)
    assert last["best"] == 4
    page.state.page.engines.close()


def read_on(page, last):
    """The server's answer to the page's request for what follows ``last``."""
    given = {} if last["step"] is None else {"step": last["step"]}
    return get(page, "/api/curves", run="mine", after=last["next"], **given).json()


def test_curves_are_read_on_from_the_last_line_which_may_have_grown(folder):
    page = app.build(Target(folder=folder), failures())
    first = get(page, "/api/curves", run="mine").json()
    assert [row["step"] for row in first["rows"]] == [0, 1, 2, 3, 4]
    assert (first["more"], first["restarted"], first["step"]) == (False, False, 4)
    file = folder / "mine" / "metrics.jsonl"
    with file.open("a") as metrics:
        metrics.write('{"step": 5, "loss": 0.1, "note": "x", "big": 1' + "0" * 400 + "}\n")
        metrics.write('{"step": 6, "lo')  # the rest follows
    second = read_on(page, first)
    assert second["rows"] == [first["rows"][-1], {"step": 5, "loss": 0.1}]
    with file.open("a") as metrics:
        metrics.write('ss": 0.05}\n')
    third = read_on(page, second)
    assert third["rows"] == [{"step": 5, "loss": 0.1}, {"step": 6, "loss": 0.05}]
    file.write_text('{"step": 1, "loss": 3}\n')
    again = read_on(page, third)
    assert (again["rows"], again["restarted"]) == ([{"step": 1, "loss": 3}], True)


def test_figures_that_a_match_adds_to_the_last_line_are_read(folder):
    page, path = app.build(Target(folder=folder), failures()), folder / "mine" / "metrics.jsonl"
    file = MetricsFile(path, resume=True, step=None)
    file.write(5, {"loss": 0.5})
    first = get(page, "/api/curves", run="mine").json()
    file.write(5, {"elo": 1200.0})
    file.write(6, {"loss": 0.25})
    second = read_on(page, first)
    assert second["restarted"] is False
    assert [(row["step"], row.get("elo")) for row in second["rows"]] == [(5, 1200.0), (6, None)]
    file.close()


def test_a_file_that_was_written_anew_is_read_from_its_start(folder):
    page, path = app.build(Target(folder=folder), failures()), folder / "mine" / "metrics.jsonl"
    last = get(page, "/api/curves", run="mine").json()
    lines = path.read_text().splitlines()
    for shift in (0, 1):  # another line, and the middle of a line, where the last one began
        path.write_text("x" * shift + lines[0] + "\n" + "".join(
            json.dumps({"step": 10 * n, "time": 1.0, "loss": 1 / (n + 1), "minutes": n / 2}) + "\n"
            for n in range(1, 9)
        ))  # fmt: skip
        again = read_on(page, last)
        assert again["restarted"] is True
        assert again["rows"][-1]["step"] == 80


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_page_replaces_the_rows_that_come_again(tmp_path):
    """The function alone, in node: the libraries of the page are not loaded."""
    script = files.table()["/runs.js"].content.decode()
    start = script.index("export function joined")
    body = script[start : script.index("\n}\n", start) + 3].removeprefix("export ")
    calls = """
    const row = (step, more) => ({step, ...more}), old = [row(0), row(1), row(2)];
    const join = (rows, restarted = false) => joined(old, {rows, restarted});
    console.log(JSON.stringify([join([row(2, {elo: 7}), row(3)]), join([row(2)]) === old,
      join([]) === old, join([row(1)]), join([row(5)], true), join([], true)]));"""
    done = subprocess.run(["node", "-e", body + calls], capture_output=True, text=True, check=True)
    steps = [{"step": n} for n in range(6)]
    assert json.loads(done.stdout) == [
        [*steps[:2], {"step": 2, "elo": 7}, steps[3]], True, True, steps[:2], [steps[5]], [],
    ]  # fmt: skip


def test_long_metrics_come_in_parts(folder, monkeypatch):
    from workers.web import runs

    monkeypatch.setattr(runs, "PART", 150)
    page, after, steps = app.build(Target(folder=folder), failures()), 0, []
    for _ in range(20):
        part = get(page, "/api/curves", run="mine", after=after).json()
        steps += [row["step"] for row in part["rows"]]
        after = part["next"]
        if not part["more"]:
            break
    assert steps == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "name",
    ["link", "../secret", "..", ".", "", "empty", "mine/../../secret", "mine/", "%2e%2e/secret",
     "/etc", "mine\x00", "..\\secret", "MINE"],
)  # fmt: skip
def test_a_run_is_looked_up_and_never_a_path(folder, name):
    page = app.build(Target(folder=folder), failures())
    answer = get(page, "/api/curves", run=name)
    assert (answer.status_code, "42" in answer.text) == (404, False)


def test_metrics_that_are_a_link_a_folder_or_a_fifo_are_not_read(folder, tmp_path):
    page = app.build(Target(folder=folder), failures())
    for name, make in {
        "linked": lambda file: file.symlink_to(tmp_path / "secret" / "metrics.jsonl"),
        "folder": lambda file: file.mkdir(),
        "fifo": os.mkfifo,
    }.items():
        (folder / name).mkdir()
        make(folder / name / "metrics.jsonl")
        answer = get(page, "/api/curves", run=name)
        assert (answer.status_code, "42" in answer.text) == (404, False)


def test_a_run_whose_configuration_names_code_of_its_own_offers_no_game(folder):
    config = folder / "mine" / "config.yaml"
    config.write_text(config.read_text().replace("game: connect_four", "game: antigravity:Game"))
    page = app.build(Target(folder=folder), failures())
    assert [run["game"] for run in get(page, "/api/runs").json()["runs"]] == [None]
    assert "antigravity:Game" not in get(page, "/api/start").json()["games"]


def test_the_runs_of_a_game_that_the_command_line_names_are_its_players(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)  # whose folder runs/ is ``folder``
    config, game = folder / "mine" / "config.yaml", "made_up_games:Tug"
    config.write_text(config.read_text().replace("game: connect_four", f"game: {game}"))
    page = app.build(main.target(game, (), ()), failures())
    assert [run["game"] for run in get(page, "/api/runs").json()["runs"]] == [game]
    offered = get(page, "/api/players", game=game).json()["players"]
    assert "mine, step 7" in [player["label"] for player in offered]


def test_a_game_that_is_not_there_is_answered_with_how_to_have_it(page):
    """A friend's link may name such a game."""
    answer = get(page, "/api/position", game="hex:size=5", moves="5")
    assert (answer.status_code, "`alphazero web GAME`" in answer.text) == (404, True)


# Hostile requests


def test_another_host_is_refused(page):
    for host in ("evil.example", "127.0.0.1.evil.example", "evil.example:80", "10.0.0.1"):
        for path in ("/", "/api/start", "/main.js", "/nothing"):
            assert send(page, path, headers={"host": host})[0].status_code == 421
    for host in ("localhost", "127.0.0.1:8080", "LOCALHOST:1"):
        assert send(page, "/api/start", headers={"host": host})[0].status_code == 200


@pytest.mark.parametrize(
    ("headers", "path", "status"),
    [
        ({"sec-fetch-site": "cross-site"}, "/api/start", 403),
        ({"sec-fetch-site": "same-site"}, "/api/runs", 403),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, "/", 403),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, "/api/start", 403),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, "/", 200),
        ({"sec-fetch-site": "same-origin"}, "/api/start", 200),
        ({"sec-fetch-site": "none"}, "/", 200),
        ({"origin": "http://evil.example"}, "/api/start", 403),
        ({"origin": "null"}, "/api/start", 403),
        ({"origin": "http://127.0.0.1"}, "/api/start", 200),
    ],
)
def test_requests_of_other_sites_are_refused_but_a_link_to_the_page_works(
    page, headers, path, status
):
    assert send(page, path, headers=headers)[0].status_code == status


def test_every_answer_has_the_headers_of_a_closed_page(page):
    for path in ("/", "/main.js", "/api/start", "/nothing", "/api/position?game=x"):
        answer = send(page, path)[0]
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'self'; ")
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize(
    "method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "NONSENSE"]
)
def test_only_get_is_answered(page, method):
    for path in ("/", "/api/start", "/api/move"):
        assert send(page, path, method=method)[0].status_code == 405


@pytest.mark.parametrize(
    "path",
    ["/../app.py", "/%2e%2e/app.py", "/..%2fapp.py", "/vendor/../../app.py", "//etc/passwd",
     "/page/index.html", "/index.html/", "/vendor", "/main.js%00", "/vendor/SHA256SUMS"],
)  # fmt: skip
def test_only_the_files_of_the_table_are_sent(page, path):
    assert send(page, path)[0].status_code == 404


def test_giant_games_and_absurd_parameters_are_refused(page):
    tall = ".".join(["4"] * 5000)
    for path, query in [
        ("/api/position", {"game": "connect_four", "moves": tall}),
        ("/api/position", {"game": "connect_four", "moves": "9" * 11_000}),
        ("/api/position", {"game": "connect_four", "moves": "4." * 6_001}),
        ("/api/position", {"game": "connect_four", "moves": "-1"}),
        ("/api/position", {"game": "connect_four", "moves": "0"}),
        ("/api/position", {"game": "connect_four", "moves": "４"}),
        ("/api/position", {"game": "c" * 301}),
        ("/api/move", {"game": "tic_tac_toe", "player": BUNDLED, "simulations": 10**9}),
        ("/api/move", {"game": "tic_tac_toe", "player": BUNDLED, "simulations": 1}),
        ("/api/curves", {"run": "x", "after": -1}),
        ("/api/curves", {"run": "x", "after": 10**30}),
    ]:
        answer = get(page, path, **query)
        assert answer.status_code in (404, 422), (path, answer.text)
        assert set(answer.json()) == {"error", "field"}
        assert len(answer.text) < 2000


def mutated(rng, query, pieces):
    """``query`` with one field changed, left out or added."""
    field = rng.choice([*query, "simulations"])
    change = rng.randrange(4)
    if change == 0:
        query.pop(field, None)
    elif change == 1:
        query[field] = f"{query.get(field, '')}{rng.choice(('', '.'))}{rng.choice(pieces)}"
    else:
        query[field] = rng.choice(pieces)
    return query


def test_random_requests_never_fail_in_the_server(page):
    """Requests that would be answered, but for one field; some of them still are."""
    rng, answered = random.Random(5), set()
    pieces = ["game", "moves", "", "2", "16", "connect_four", "random", "4.4", "..", "/", "\0",
              "=", "&", "a" * 500, "-1", "1e9", "NaN", "[]", "'", "chess", "e4", "9", "💥", "\r\n",
              "minimax:seconds=1", BUNDLED]  # fmt: skip
    names = ["position", "move", "analyse", "values", "players", "runs", "curves", "board.svg", ""]
    paths = []
    for _ in range(1000):
        query = {"game": "tic_tac_toe", "moves": rng.choice(("5", "5.1", "5.1.9.2", "1.4.2.5")),
                 "player": rng.choice((BUNDLED, "random")), "simulations": "4"}  # fmt: skip
        query = mutated(rng, query, pieces)
        query.setdefault("simulations", "4")  # without it an analysis lasts up to a minute
        paths.append(f"/api/{rng.choice(names)}?{httpx.QueryParams(query)}")
    for start in range(0, len(paths), 40):
        part = paths[start : start + 40]
        for path, answer in zip(part, send(page, *part), strict=True):
            full = answer.status_code == 503  # 40 at once may be more than there is room for
            assert full or answer.status_code < 500, (path, answer.text)
            if answer.status_code == 200:
                answered.add(path.split("?")[0])
    assert {f"/api/{name}" for name in ("position", "move", "analyse", "values")} <= answered


def exchanged(address, data):
    """All that the server sends for ``data`` until it closes the connection, as it must."""
    answer = b""
    connection = socket.create_connection(address, timeout=SECONDS)
    with connection, contextlib.suppress(ConnectionError):
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        while part := connection.recv(65536):
            answer += part
    return answer


def test_bytes_that_are_no_requests_are_disconnected_and_the_server_goes_on(page):
    with running(page, app.LIMITS) as address:
        for data in (
            b"\x16\x03\x01\x00", b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n" + b"a: b\r\n" * 9000,
            b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 999999\r\n\r\n",
            b"GET / HTTP/1.1\r\n\r\n",
        ):  # fmt: skip
            answer = exchanged(address, data)
            assert not answer or 400 <= int(answer[9:12]) < 500, answer[:200]
        answer = httpx.get("http://{}:{}/api/start".format(*address))
        assert answer.status_code == 200


# The files of the page, and the command


def test_the_page_is_at_most_60_kb_compressed():
    sent = {path: file for path, file in files.table().items() if not path.endswith(".txt")}
    size = sum(len(gzip.compress(file.content)) for path, file in sent.items() if path != "/")
    assert size <= 60_000


def test_vendored_files_are_those_of_the_list_and_have_their_licences():
    vendor = widget_script.FOLDER / "vendor"
    sums = dict(line.split()[::-1] for line in (vendor / "SHA256SUMS").read_text().splitlines())
    scripts = {path.name for path in vendor.iterdir() if path.suffix in (".js", ".css")}
    assert set(sums) == scripts
    for name, digest in sums.items():
        assert hashlib.sha256((vendor / name).read_bytes()).hexdigest() == digest
    for name, words in {
        "htm": "Apache License", "preact": "The MIT License", "uplot": "The MIT License",
    }.items():  # fmt: skip
        assert words in (vendor / f"LICENSE-{name}.txt").read_text()


def test_the_page_loads_nothing_from_elsewhere():
    for path, file in files.table().items():
        if path.startswith("/vendor/") or path.endswith(".svg"):
            continue
        assert b"http://" not in file.content.replace(b"http://www.w3.org/2000/svg", b"")
        assert b"https://" not in file.content


def test_every_game_of_the_page_can_be_made():
    for spec in GAMES:
        assert games.make(spec).num_actions > 0


def test_the_command_line_names_a_game_a_run_a_folder_or_an_agent(folder, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # whose folder runs/ is ``folder``
    assert main.target(None, (), ()) == Target(folder=folder)
    assert main.target("hex:size=5", ("random",), ()) == Target(
        "hex:size=5", None, main.RUNS, ("random",)
    )
    assert main.target("runs/mine", (), ()) == Target("connect_four", "mine", folder)
    assert main.target(str(folder), (), ()) == Target(folder=folder)
    agent = folder / "mine" / "checkpoints" / "step_000007"
    assert main.target(str(agent), (), ()) == Target("connect_four", players=(str(agent),))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing_like_that"], "unknown game 'nothing_like_that'"),
        (["runs/mistyped"], "there is no folder runs/mistyped; and as a game: unknown game"),
        (["--port", "99999"], "'99999' is not a port"),
        (["--player", "not_there"], "there is no kind 'not_there'"),
        (["chess", "--player", "uci:cmd=nostockfish"], "there is no program 'nostockfish'"),
        (["go:size=9", "--player", "gtp:cmd=nognugo"], "there is no program 'nognugo'"),
        (["chess", "--player", "uci:cmd=true"], "player 'uci:cmd=true': it ended"),
        (["--player", "uci:cmd=cat"], "UCI is for chess and breakthrough"),
        (["--player", "random", "--player", "checkpoint:path=gone"], "no checkpoint in gone"),
    ],
)
def test_bad_input_ends_with_one_line(arguments, message, capsys):
    try:
        status = cli.main(["web", *arguments])
    except SystemExit as ended:
        status = ended.code
    assert status == 2
    said = capsys.readouterr()
    assert message in " ".join(said.err.split())
    assert "http://" not in said.out


def test_a_run_whose_game_cannot_be_made_ends_with_one_line(folder, capsys):
    config = folder / "mine" / "config.yaml"
    config.write_text(config.read_text().replace("game: connect_four", "game: hex:size=99"))
    assert cli.main(["web", str(folder / "mine")]) == 2
    assert "size must be 3 to 19" in " ".join(capsys.readouterr().err.split())


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM for processes")
def test_a_signal_while_players_are_checked_leaves_no_program(tmp_path):
    program = tmp_path / "silent"
    program.write_text("#!/bin/sh\nexec sleep 97\n")
    program.chmod(0o755)
    command = [sys.executable, "-m", "alphazero", "web", "chess", "--port", "0"]
    with subprocess.Popen([*command, "--player", f"uci:cmd={program}"]) as process:
        started = psutil.Process(process.pid)
        try:
            wait_until(lambda: any(child.name() == "sleep" for child in started.children(True)))
            children = started.children(True)
            process.terminate()
            assert process.wait(timeout=60) == INTERRUPTED
            _, alive = psutil.wait_procs(children, timeout=30)
            assert not alive
        finally:
            process.kill()


def test_a_port_in_use_is_one_line(capsys):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert cli.main(["web", "tic_tac_toe", "--port", str(port)]) == 1
    error = capsys.readouterr().err
    assert f"cannot listen on 127.0.0.1:{port}" in error
    assert "--port" in error
