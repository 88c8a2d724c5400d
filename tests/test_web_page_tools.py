"""The page's tools in a real browser: branches, files, exact results, trees, clocks; axe-core."""

import json
import threading
from importlib import resources

import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

import browser_pages
import served_pages
from browser_pages import MARKS, cells, moves_of, open_game, wait_for_moves

import games
from alphazero.judging import saved_games, session
from workers.web.offers import BUNDLED

browser, served, page = browser_pages.browser, served_pages.served, browser_pages.page
pytestmark = MARKS


def wait_for_status(page, text):
    page.wait_for_selector(f"p.status:has-text('{text}')")


def branches(page):
    return [item.inner_text() for item in page.locator(".branches li button:first-child").all()]


def test_a_whole_game_of_hex_is_played_by_clicks_against_an_opponent(page, served):
    open_game(page, served, game="hex:size=7", player="random")
    game = games.make("hex:size=7")
    for row in [*range(7)] * 4:  # down the column d, or past what the opponent has put there
        played = session.after(game, moves_of(page))
        if played.over():
            break
        wait_for_status(page, "your turn")
        drawing = game.drawing(played.states[0], None)
        legal = np.flatnonzero(game.legal(played.states)[0]).tolist()
        free = [a for a in legal if game.action_to_text(a).endswith(str(row + 1))]
        action = min(
            free or legal, key=lambda a: abs("abcdefg".index(game.action_to_text(a)[0]) - 3)
        )
        page.locator(f"[data-cell='{drawing.clicks[action][0]}']").click()
        wait_for_moves(page, len(played.actions) + 1)
        if not session.after(game, moves_of(page)).over():
            wait_for_moves(page, len(played.actions) + 2)
    assert session.after(game, moves_of(page)).over()
    wait_for_status(page, "won")


def test_a_game_of_go_is_played_by_clicks_and_passes_against_an_opponent(page, served):
    """The first player captures a corner stone if it is there, and passes when the other passes."""
    open_game(page, served, game="go:size=9", player="random")
    game = games.make("go:size=9")
    for point in (40, 20, 60):
        played = session.after(game, moves_of(page))
        legal = np.flatnonzero(game.legal(played.states)[0]).tolist()
        chosen = point if point in legal else next(a for a in legal if a < 81)
        wait_for_status(page, "your turn")
        page.locator(f"[data-cell='{chosen}']").click()
        wait_for_moves(page, len(played.actions) + 2)
    played = session.after(game, moves_of(page))
    wait_for_status(page, "your turn")
    page.get_by_role("button", name="pass", exact=True).click()
    wait_for_moves(page, len(played.actions) + 1)
    assert session.after(game, moves_of(page)).notation()[len(played.actions)] == "pass"


def test_another_move_keeps_the_rest_of_the_game_as_a_branch(page, served):
    open_game(page, served, game="chess", seat="both", moves="e4.e5.Nf3.Nc6")
    first = page.get_by_role("button", name="one move back")
    for _ in range(2):
        first.click()
    page.wait_for_function("() => location.hash.includes('at=2')")
    page.get_by_label("Move", exact=True).fill("f4")
    page.keyboard.press("Enter")
    page.wait_for_selector(".branches li")
    assert branches(page) == ["2. Nf3 Nc6"]
    assert session.after(games.make("chess"), moves_of(page)).notation() == ["e4", "e5", "f4"]
    page.locator(".branches button").first.click()  # and back to it
    page.wait_for_function("() => location.hash.includes('at=3')")
    page.wait_for_selector(".branches li:has-text('f4')")
    assert branches(page) == ["2. f4"]
    back = session.after(games.make("chess"), moves_of(page)).notation()
    assert back == ["e4", "e5", "Nf3", "Nc6"]
    page.get_by_role("button", name="remove the branch 2. f4").click()
    page.wait_for_selector(".branches", state="detached")


def test_the_same_move_again_makes_no_branch_and_goes_on_in_the_game(page, served):
    open_game(page, served, game="tic_tac_toe", seat="both", moves="5.1.9")
    page.get_by_role("button", name="first position").click()
    page.wait_for_function("() => location.hash.includes('at=0')")
    page.wait_for_selector("[data-cell='4'].can")
    page.locator("[data-cell='4']").click()
    page.wait_for_function("() => location.hash.includes('at=1')")
    assert moves_of(page) == ["5", "1", "9"]
    assert page.locator(".branches").count() == 0


def saved(page, name):
    with page.expect_download() as download:
        page.get_by_role("link", name=name).click()
    return download.value.path().read_bytes()


@pytest.mark.parametrize(
    ("game", "moves", "kind"),
    [("go:size=9", "E5.E4.pass", "sgf"), ("chess", "e4.c5.Nf3", "pgn"),
     ("connect_four", "4.4.5", "json")],
)  # fmt: skip
def test_a_game_is_saved_and_loaded_again_by_the_page(page, served, tmp_path, game, moves, kind):
    open_game(page, served, game=game, seat="both", moves=moves)
    shown = cells(page)
    path = tmp_path / f"mine.{kind}"
    path.write_bytes(saved(page, f"Save as {kind.upper()}"))
    made = games.make(game)
    expected = session.after(made, moves.split("."))
    assert saved_games.read(path, made).notation() == expected.notation()
    page.get_by_role("button", name="New game").click()
    page.wait_for_function("() => !location.hash.includes('moves')")
    page.locator("input[type=file]").set_input_files(path)
    page.wait_for_selector("[role=status]:has-text('Loaded mine')")
    wait_for_moves(page, 3)
    page.wait_for_selector("circle.last, .moves [aria-current]")
    assert moves_of(page) == [str(action + 1) for action in expected.actions]
    page.wait_for_function("n => document.querySelectorAll('.moves li').length === n", arg=3)
    assert cells(page) == shown


@pytest.mark.parametrize(
    ("game", "moves", "kind", "seat", "player"),
    [("tic_tac_toe", "5", "json", "second", "random"),
     ("connect_four", "", "json", "first", BUNDLED),
     ("go:size=9", "E5", "sgf", "second", "mcts:seconds=1"),
     ("chess", "e4.e5", "pgn", "first", "random"),
     ("tic_tac_toe", "5.1.2.3.8", "json", "none", "random")],
)  # fmt: skip
def test_a_game_against_a_player_goes_on_as_it_was_saved(
    page, served, tmp_path, game, moves, kind, seat, player
):
    open_game(page, served, game=game, seat=seat, player=player, moves=moves)
    path = tmp_path / f"mine.{kind}"
    path.write_bytes(saved(page, f"Save as {kind.upper()}"))
    open_game(page, served, game=game, seat="both")
    page.wait_for_selector(".files a")
    page.locator("input[type=file]").set_input_files(path)
    page.wait_for_selector("[role=status]:has-text('Loaded mine')")
    assert page.locator("[role=status]:has-text('both sides')").count() == 0
    assert page.get_by_label("You play").input_value() == seat
    assert page.get_by_label("Opponent").input_value() == player
    assert len(moves_of(page)) == len(moves.split(".")) * bool(moves)


def test_a_game_against_a_player_that_is_not_there_is_for_both_sides_and_says_so(
    page, served, tmp_path
):
    played = session.after(games.make("tic_tac_toe"), "51")
    played.continue_as(("you", "gone, step 3"), None, None)
    path = tmp_path / "theirs.json"
    path.write_text(saved_games.writer(played.game, path)(played.as_dict()))
    open_game(page, served, game="tic_tac_toe", player="random", seat="second", moves="5")
    page.locator("input[type=file]").set_input_files(path)
    page.wait_for_selector("[role=status]:has-text('2 moves. You play both sides.')")
    assert page.get_by_label("You play").input_value() == "both"


def test_players_whose_names_are_cut_to_the_same_text_leave_both_sides(page, served):
    open_game(page, served, game="tic_tac_toe")
    name = "checkpoint:path=/home/me/projects/alphazero/runs/connect_four_large,simulations="
    seats = page.evaluate(
        """async names => {
            const {seatNames, seatOf} = await import('/words.js');
            return [names, names.slice(0, 1)].map(all => seatOf(seatNames('first', names[0]), all));
        }""",
        [f"{name}100", f"{name}400"],
    )
    assert seats == [{"seat": "both"}, {"seat": "first", "player": f"{name}100"}]


def test_a_file_that_is_no_game_is_a_sentence_and_the_game_stays(page, served, tmp_path):
    open_game(page, served, game="chess", seat="both", moves="e4")
    path = tmp_path / "bad.pgn"
    path.write_text("1. e4 e5 2. Ke7")
    page.locator("input[type=file]").set_input_files(path)
    page.wait_for_selector("[role=alert]:has-text('the file cannot be loaded')")
    assert len(moves_of(page)) == 1
    path.write_bytes(b"x" * 2**19)
    page.locator("input[type=file]").set_input_files(path)
    page.wait_for_selector("[role=alert]:has-text('too large')")


def test_a_resignation_is_in_the_link_and_in_the_file(page, served):
    open_game(page, served, game="go:size=9", player="random", moves="")
    page.get_by_role("button", name="Resign").click()
    wait_for_status(page, "You have resigned.")
    page.reload()
    wait_for_status(page, "You have resigned.")
    assert b"RE[W+R]" in saved(page, "Save as SGF")
    page.get_by_role("button", name="Undo").click()
    wait_for_status(page, "your turn")


def test_exact_results_are_shown_beside_those_of_the_search(page, served):
    open_game(page, served, game="tic_tac_toe", seat="both", moves="1.5.2")
    page.get_by_label("Analysis", exact=True).check()
    page.wait_for_selector("th:has-text('exact')")
    page.wait_for_selector("tr:has-text('loss in 2')")
    page.wait_for_selector("tr.best td:last-child:text-is('draw')")
    rows = page.locator("tbody tr").all()
    exact = {row.locator("th").inner_text(): row.locator("td").last.inner_text() for row in rows}
    assert exact.pop("3") == "draw"
    assert set(exact.values()) == {"loss in 2"}


def test_leaving_ends_the_process_of_the_exact_results(page, served):
    solvers = served[1].state.page.solvers
    open_game(page, served, game="chess", seat="both")
    page.get_by_label("Analysis", exact=True).check()
    waiting = threading.Event()
    for _ in range(600):
        if solvers.running:
            break
        waiting.wait(0.1)
    assert solvers.running == 1
    page.goto("about:blank")
    for _ in range(600):
        if not solvers.running:
            break
        waiting.wait(0.1)
    assert solvers.running == 0


def test_the_tree_shows_the_first_plies_and_a_click_plays_its_line(page, served):
    open_game(page, served, game="connect_four", seat="both", moves="4.4")
    page.get_by_label("Analysis", exact=True).check()
    page.get_by_label("Tree").check()
    page.wait_for_selector(".tree .tree .tree button")
    line = page.evaluate(  # at once: the search goes on and orders the tree anew
        "() => { const reply = document.querySelector('.tree .tree > li > button');"
        " const first = reply.closest('.tree').closest('li').querySelector('button');"
        " const line = [first.innerText, reply.innerText]; reply.click(); return line; }"
    )
    wait_for_moves(page, 4)
    assert moves_of(page) == ["4", "4", *line]


def test_two_analysts_stand_side_by_side_and_the_link_names_both(page, served):
    open_game(page, served, game="connect_four", seat="both", moves="4.1.4.1.4.2")
    page.get_by_label("and by").select_option("mcts:seconds=1")
    page.get_by_label("Analysis", exact=True).check()
    page.wait_for_function("() => document.querySelectorAll('.pair table').length === 2")
    captions = page.locator(".pair caption").all_inner_texts()
    assert [caption.split(":")[0] for caption in captions] == [BUNDLED, "mcts"]
    page.wait_for_function(
        "() => [...document.querySelectorAll('.pair tr.best')]"
        ".filter(row => row.querySelector('th').innerText === '4').length === 2"
    )
    page.reload()
    page.wait_for_selector("svg.board")
    page.get_by_label("Analysis", exact=True).check()
    page.wait_for_function("() => document.querySelectorAll('.pair table').length === 2")


def test_an_analyst_that_is_not_there_is_named_and_none_takes_its_place(page, served):
    open_game(page, served, game="connect_four", seat="both", moves="4", analyst="gone, step 3")
    page.wait_for_selector("[role=alert]:has-text('There is no player gone, step 3 here')")
    page.get_by_label("Analysis", exact=True).check()
    assert page.get_by_role("button", name="Hint").is_disabled()
    assert page.get_by_role("button", name="Analyse the game").is_disabled()
    assert page.locator(".pair table").count() == 0
    assert served[1].state.page.searches == 0
    page.locator(".right select").first.select_option(BUNDLED)
    page.wait_for_selector(".pair table")


def test_the_side_whose_time_is_over_has_lost_and_the_file_says_so(page, served):
    open_game(page, served, game="tic_tac_toe", seat="both", clock="60", times="60.0-1.5")
    assert page.locator(".clocks").inner_text().split() == ["orange", "1:00", "blue", "1.5"]
    page.locator("[data-cell='4']").click()
    wait_for_status(page, "Blue, the second player, has lost on time.")
    assert page.locator(".clocks span").last.inner_text() == "blue 0.0"
    assert json.loads(saved(page, "Save as JSON"))["forfeit"] == "ran out of time"
    first = float(page.evaluate("location.hash.match(/times=([0-9.]+)-/)[1]"))
    assert first == 60.0  # the clock runs from the first move on


def test_a_move_gives_its_increment_to_the_side_that_made_it(page, served):
    open_game(page, served, game="tic_tac_toe", seat="both", clock="180%2B2")
    for cell, number in ((4, 1), (0, 2)):
        page.locator(f"[data-cell='{cell}']").click()
        wait_for_moves(page, number)
        page.wait_for_selector(f"[data-cell='{cell}'] .stone")
    page.wait_for_function("() => /times=180.0-18[12]/.test(location.hash)")


def refuse(route):
    route.fulfill(status=503, content_type="application/json", body='{"error": "too busy"}')


def test_an_opponent_without_an_answer_of_the_server_does_not_lose_on_time(page, served):
    open_game(page, served, game="tic_tac_toe", player="random", clock="60", times="60.0-3.0")
    page.route("**/api/move*", refuse)
    page.locator("[data-cell='4']").click()
    page.wait_for_selector("[role=alert]:has-text('too busy')")
    page.wait_for_timeout(4000)
    assert "lost on time" not in page.locator("p.status").inner_text()
    page.unroute("**/api/move*")
    page.get_by_role("button", name="Try again").click()
    wait_for_moves(page, 2)
    wait_for_status(page, "your turn")


def test_an_opponent_uses_the_time_of_the_clock_that_is_there_at_its_move(page, served):
    open_game(page, served, game="tic_tac_toe", player="random", clock="60")
    held = []
    page.route("**/api/move*", lambda route: held.append(route))
    with page.expect_request("**/api/move*"):
        page.locator("[data-cell='4']").click()
    page.locator(".left select").last.select_option("300")
    page.wait_for_timeout(1500)
    held[0].continue_()
    wait_for_moves(page, 2)
    first, second = page.evaluate("location.hash.match(/times=([0-9.]+)-([0-9.]+)/).slice(1)")
    assert float(first) == 300.0
    assert 60 < float(second) <= 298.7


def test_exact_results_that_are_refused_are_a_sentence(page, served):
    open_game(page, served, game="tic_tac_toe", seat="both")
    page.route("**/api/exact*", refuse)
    page.get_by_label("Analysis", exact=True).check()
    page.wait_for_selector("[role=alert]:has-text('The server gives no exact results now')")


def test_a_file_that_is_read_after_another_game_was_chosen_is_left_out(page, served, tmp_path):
    open_game(page, served, game="tic_tac_toe", seat="both", moves="5.1")
    path = tmp_path / "mine.json"
    path.write_bytes(saved(page, "Save as JSON"))
    held = []
    page.route("**/api/load*", lambda route: held.append(route))
    with page.expect_request("**/api/load*"):
        page.locator("input[type=file]").set_input_files(path)
    page.locator(".left select").first.select_option("othello")
    page.wait_for_selector("[data-cell='63']")
    with page.expect_response("**/api/load*"):
        held[0].continue_()
    page.wait_for_timeout(300)
    assert moves_of(page) == []


def test_names_for_a_file_are_short_and_differ_and_a_resignation_is_the_end_of_a_game(page, served):
    page.goto(served[0])
    names = page.evaluate(
        "async () => { const {seatNames} = await import('/words.js');"
        " return ['none', 'first', 'second'].map(seat => seatNames(seat, 'x'.repeat(80))); }"
    )
    assert all(len(set(pair)) == 2 and max(map(len, pair)) == 60 for pair in names)
    assert names[0][0].endswith("x (1)")
    ends = page.evaluate(
        "async () => { const {endOf} = await import('/replays.js');"
        " return [[1, 'resignation'], [-1, 'resignation'], [1, 'rules']]"
        ".map(([first, reason]) => endOf({first, reason})); }"
    )
    assert ends == ["resignation-1", "resignation-0", ""]


def test_the_keyboard_alone_reaches_and_uses_every_tool(page, served):
    open_game(page, served, game="tic_tac_toe", seat="both", moves="5.1")
    page.locator("select").first.focus()
    names = []
    for _ in range(40):
        page.keyboard.press("Tab")
        name = page.evaluate(
            "() => { const e = document.activeElement, texts = [...e.labels?.[0]?.childNodes ?? []]"
            ".filter(node => node.nodeType === 3).map(node => node.textContent).join('').trim();"
            " return e.ariaLabel || texts || e.innerText?.trim() || e.tagName; }"
        )
        names.append(name)
        if name == "Analysis":
            page.keyboard.press("Space")
    page.wait_for_selector(".pair table")
    for wanted in ("You play", "Clock", "New game", "Undo", "Hint", "Resign", "Move",
                   "Save as JSON", "Load", "one move back", "Analyse the game"):  # fmt: skip
        assert wanted in names, (wanted, names)


@pytest.fixture(scope="module")
def axe():
    """The text of axe-core, which looks for what keeps people from using a page."""
    pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
    return resources.files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize(
    ("state", "tools"),
    [({"game": "connect_four", "seat": "both", "moves": "4.1.4.1.4.2.5.5"}, True),
     ({"game": "chess", "moves": "e4", "player": "random", "clock": "300"}, False),
     ({"game": "hex:size=7", "seat": "both", "moves": "d4.c3", "analyst": "gone"}, False),
     ({"game": "go:size=9", "seat": "both", "moves": "E5.pass.pass"}, False),
     ({"view": "runs"}, False)],
    ids=["analysis", "a game with a clock", "hex", "the end of a game", "runs"],
)  # fmt: skip
def test_axe_reports_no_serious_violation(page, served, axe, colours, state, tools):
    page.emulate_media(color_scheme=colours)
    if state.get("view") == "runs":
        page.goto(f"{served[0]}#view=runs")
        page.wait_for_selector("canvas")
    else:
        open_game(page, served, **state)
    if tools:
        page.get_by_label("and by").select_option("mcts:seconds=1")
        page.get_by_label("Analysis", exact=True).check()
        page.get_by_label("Tree").check()
        page.get_by_role("button", name="Analyse the game").click()
        page.get_by_role("button", name="one move back").click()
        page.locator(".pair table button").last.click()
        page.wait_for_selector(".tree button")
        page.wait_for_selector(".moves .sign, .branches li")
    page.evaluate(axe)
    result = page.evaluate("() => axe.run({resultTypes: ['violations']})")
    serious = [
        (violation["id"], [node["target"] for node in violation["nodes"]][:3])
        for violation in result["violations"]
        if violation["impact"] in ("serious", "critical")
    ]
    assert serious == []
