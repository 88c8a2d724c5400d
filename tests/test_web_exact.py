"""Exact results and trees of searches for the page; bounds of the work of one request."""

import asyncio
import logging
import signal
import socket
import time
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("fastapi")

from made_up_models import running
from test_web import events, failures, get, wait_for

import games
from alphazero.judging import session
from alphazero.search import run
from alphazero.types import Limits
from workers.serve.batching import Unavailable
from workers.web import analysis, app, engines, exact, trees
from workers.web.analysis import Wanted
from workers.web.engines import make_analyst
from workers.web.offers import BUNDLED, Offer, Target

SECONDS = 60  # a bound against hanging: nothing is measured


@pytest.fixture
def page():
    application = app.build(Target(), failures())
    yield application
    application.state.page.stop()
    application.state.page.engines.close()


def test_exact_results_come_from_a_process_and_are_those_of_best_play(page):
    reports, ended = events(get(page, "/api/exact", game="tic_tac_toe", moves="1.5.2").text)
    assert ended
    # Cell 3 must be taken; after any other move the first player makes a row two plies on.
    draw, lost = [0, None], [-1, 2]
    assert reports[-1]["moves"] == {"3": draw, **{str(cell): lost for cell in (4, 6, 7, 8, 9)}}
    assert page.state.page.solvers.running == 0


def test_a_position_that_is_over_or_wrong_starts_no_process(page, monkeypatch):
    monkeypatch.setattr(exact, "CODE", "raise SystemExit")
    for moves in ("1.4.2.5.3", "1.1", "x"):
        assert get(page, "/api/exact", game="tic_tac_toe", moves=moves).status_code == 422
    assert get(page, "/api/exact", game="os:system").status_code == 404


@pytest.fixture
def statuses(monkeypatch):
    """The exit status of each process when it is killed: None where it had not ended by itself."""
    ends, kill = [], exact._kill

    def killed(process):
        ends.append(process.returncode)
        kill(process)

    monkeypatch.setattr(exact, "_kill", killed)
    return ends


def test_a_process_that_does_not_come_to_an_end_is_ended_at_its_deadline(
    page, monkeypatch, statuses
):
    monkeypatch.setattr(exact, "SECONDS", 2.0)
    reports, ended = events(get(page, "/api/exact", game="chess").text)
    assert (reports, ended) == ([], True)
    assert statuses == [-signal.SIGALRM]
    assert page.state.page.solvers.running == 0


def test_a_process_that_fails_is_a_line_in_the_log_and_an_error_for_the_page(
    page, monkeypatch, caplog
):
    monkeypatch.setattr(exact, "CODE", "raise SystemExit(3)")
    with caplog.at_level(logging.ERROR, "workers.web.exact"):
        reports, ended = events(get(page, "/api/exact", game="tic_tac_toe").text)
    assert (reports, ended) == ([{"error": exact.FAILED}], True)
    assert [record.getMessage() for record in caplog.records] == [
        "the process of exact results ended with status 3"
    ]


def test_a_process_that_starts_while_the_server_ends_is_killed(page, monkeypatch, statuses):
    start = asyncio.create_subprocess_exec

    async def started(*command, **options):
        process = await start(*command, **options)
        page.state.page.solvers.stop()
        return process

    monkeypatch.setattr(exact, "CODE", "import time\ntime.sleep(60)")
    monkeypatch.setattr(asyncio, "create_subprocess_exec", started)
    assert events(get(page, "/api/exact", game="chess").text) == ([], True)
    assert statuses == [None, -signal.SIGKILL]


def test_pages_that_wait_are_counted_as_soon_as_they_are_accepted(monkeypatch):
    monkeypatch.setattr(exact, "MOST_WAITING", 1)
    solvers = exact.Solvers()
    leave = solvers.enter()
    with pytest.raises(Unavailable):
        solvers.enter()
    leave()
    leave()
    solvers.enter()
    assert solvers.waiting == 1


def values_of(page, start, after=lambda: None):
    """The events of the values of a game of five moves, with ``after`` called after each one."""

    async def read():
        texts = []
        played = session.after(games.make("tic_tac_toe"), "51937")
        async for text in page._values(played, start, Wanted(2)):
            texts.append(text)
            after()
        return "".join(texts)

    return events(asyncio.run(read()))[0]


def test_the_values_of_a_game_end_with_an_error_when_there_is_no_room_any_more(page, monkeypatch):
    def start(game, states, line, report, wanted):
        report({"first": 0.0})
        report(None)
        return SimpleNamespace(stop=lambda: None)

    monkeypatch.setattr(app, "TOGETHER", 2)
    full = lambda: monkeypatch.setattr(app, "MOST_SEARCHES", 0)  # noqa: E731
    reports = values_of(page.state.page, start, full)
    assert [report.get("ply") for report in reports] == [0, 1, None]
    assert "searched already" in reports[-1]["error"]
    assert page.state.page.searches == 0


def test_a_search_that_fails_to_start_ends_those_that_have_begun(page):
    stopped = []

    def start(game, states, line, report, wanted):
        if len(line) == 2:
            raise OSError("no thread")
        return SimpleNamespace(stop=lambda: stopped.append(line))

    with pytest.raises(OSError, match="no thread"):
        values_of(page.state.page, start)
    assert [len(line) for line in stopped] == [0, 1]
    assert page.state.page.searches == 0


def asking(address, query):
    """A connection that has sent a request, of which nothing is read."""
    connection = socket.create_connection(address, timeout=SECONDS)
    connection.sendall(f"GET {query} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode())
    return connection


def test_a_page_that_leaves_kills_its_process_and_the_next_one_has_its_turn(page, monkeypatch):
    solvers = page.state.page.solvers
    monkeypatch.setattr(exact, "SECONDS", float(SECONDS))
    with running(page, app.LIMITS) as address:
        pages = [asking(address, "/api/exact?game=chess") for _ in range(3)]
        wait_for(lambda: (solvers.running, solvers.waiting) == (exact.MOST_PROCESSES, 1))
        processes = set(solvers._running)
        for connection in pages[:2]:
            connection.close()
        wait_for(lambda: (solvers.running, solvers.waiting) == (1, 0))
        pages[2].close()
        wait_for(lambda: solvers.running == 0)
        wait_for(lambda: all(process.returncode == -9 for process in processes))


def test_more_pages_than_may_wait_for_a_process_are_refused_with_503(page, monkeypatch):
    monkeypatch.setattr(exact, "MOST_WAITING", 0)
    assert get(page, "/api/exact", game="tic_tac_toe").status_code == 503


def test_the_end_of_the_server_kills_the_processes(page, monkeypatch):
    solvers = page.state.page.solvers
    monkeypatch.setattr(exact, "SECONDS", float(SECONDS))
    with running(page, app.LIMITS) as address:
        connection = asking(address, "/api/exact?game=chess")
        wait_for(lambda: solvers.running == 1)
        (process,) = solvers._running
        page.state.page.solvers.stop()
        wait_for(lambda: solvers.running == 0)
        wait_for(lambda: process.returncode is not None)
        connection.close()


def searched(text, moves, simulations):
    game = games.make(text)
    analyst = make_analyst(Offer(BUNDLED, "checkpoint"), game)
    states = session.after(game, moves).states
    rngs, temperature = [np.random.default_rng(0)], np.zeros(1, np.float32)
    steps = analyst.search(game, states, rngs, temperature, Limits(simulations))
    return game, states, run(steps, analyst.evaluate).tree


def test_the_branches_of_a_tree_are_lines_that_can_be_played_with_the_most_visits_first():
    game, states, tree = searched("tic_tac_toe", "5", 300)
    listed = trees.branches(game, states, tree, 2)
    root_visits = {
        int(e["action"]): int(e["visits"]) for e in tree.edges[: tree.nodes["count"][0, 0]]
    }
    most = sorted(root_visits.values(), reverse=True)[: trees.WIDTH]
    assert [branch["visits"] for branch in listed] == [
        n for n in most if n >= trees.LEAST * sum(root_visits.values())
    ]
    assert len(listed) > 1
    for branch in listed:
        assert branch["visits"] == root_visits[branch["action"] - 1]
        below = branch["branches"]
        assert all(len(reply["branches"]) == 0 for reply in below)
        assert sum(reply["visits"] for reply in below) < branch["visits"]
        for reply in below:
            line = [5, branch["action"], reply["action"]]
            assert session.after(game, line).notation()[1:] == [branch["text"], reply["text"]]
    assert trees.branches(game, states, tree, 99) == trees.branches(game, states, tree, 3)


def test_all_values_of_a_tree_are_for_the_player_about_to_move():
    """Three in a column: the mover wins at once; after another move the reply would block it."""
    game, states, tree = searched("connect_four", "414141", 400)
    (first, *_) = trees.branches(game, states, tree, 2)
    assert (first["text"], first["value"], first["branches"]) == ("4", 1.0, [])
    game, states, tree = searched("connect_four", "4141415", 400)  # now the other one must block
    listed = {branch["text"]: branch for branch in trees.branches(game, states, tree, 2)}
    for text, branch in listed.items():
        best = max(branch["branches"], key=lambda reply: reply["visits"], default=None)
        if text != "4" and best is not None:
            assert (best["text"], best["value"]) == ("4", -1.0)


def test_a_tree_is_sent_where_it_is_wanted_only(page):
    given = {"game": "tic_tac_toe", "player": BUNDLED, "simulations": 50}
    for plies, wanted in ((None, False), (0, False), (2, True)):
        query = given if plies is None else {**given, "plies": plies}
        reports, _ = events(get(page, "/api/analyse", **query).text)
        assert ("tree" in reports[-1]) is wanted
    assert get(page, "/api/analyse", **given, plies=9).status_code == 422


def test_a_search_ends_at_its_bound_of_memory(page, monkeypatch):
    monkeypatch.setattr(analysis, "MOST_BYTES", 100_000)
    given = {"game": "othello", "player": "mcts:seconds=1"}
    (*_, last), ended = events(get(page, "/api/analyse", **given).text)
    assert ended
    assert 10 < last["simulations"] < 2000


def test_many_searches_of_one_network_share_their_memory(monkeypatch):
    analyser = analysis.Analyser(
        make_analyst(Offer(BUNDLED, "checkpoint"), games.make("tic_tac_toe"))
    )
    assert analyser._room() == analysis.MOST_BYTES
    analyser._jobs = [None] * 64
    assert 64 * analyser._room() <= analysis.ALL_BYTES


def test_the_search_for_a_move_ends_at_its_bound_of_memory(page, monkeypatch):
    """Without it a search of seconds goes on until its time: the clock is stopped here."""
    monkeypatch.setattr(engines, "MOST_BYTES", 50_000)
    monkeypatch.setattr("alphazero.search.budget.clock", lambda: 0.0)
    began = time.monotonic()
    answer = get(page, "/api/move", game="othello:size=6", player="mcts:seconds=1")
    assert answer.status_code == 200
    assert time.monotonic() - began < SECONDS
