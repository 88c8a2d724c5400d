"""The page in a real browser, which must be there: games are played, analysed and watched."""

import threading

import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

import browser_pages
import served_pages
from browser_pages import MARKS, cells, moves_of, open_game, wait_for_moves
from drawn_cells import on_page

import games
from alphazero.judging import session
from workers.web.offers import BUNDLED

browser, served, page = browser_pages.browser, served_pages.served, browser_pages.page
pytestmark = MARKS


@pytest.mark.parametrize(
    ("game", "plies"),
    [("connect_four", 9), ("chess", 20), ("hex:size=7", 8), ("go:size=9", 14), ("othello", 10),
     ("dots_and_boxes", 9), ("breakthrough", 10), ("tic_tac_toe", 4)],
)  # fmt: skip
def test_the_page_draws_the_cells_of_the_terminal(page, served, game, plies):
    made, rng, played = games.make(game), np.random.default_rng(7), []
    states = made.initial(1)
    for _ in range(plies):
        played.append(int(rng.choice(np.flatnonzero(made.legal(states)[0]))))
        states = made.step(states, np.array(played[-1:]))
    moves = ".".join(str(action + 1) for action in played)
    open_game(page, served, game=game, seat="both", moves=moves)
    drawing = made.drawing(states[0], played[-1])
    expected = on_page(drawing)
    assert cells(page) == expected
    layout = drawing.layout()
    for cell, (start, end) in zip(drawing.cells, layout.spans, strict=True):
        assert layout.text[start:end] == cell.text
    assert page.locator("circle.last").count() == len(drawing.last)
    sides = page.eval_on_selector_all(
        "polyline.side",
        "all => all.map(side => [getComputedStyle(side).stroke, side.points.length])",
    )
    colours = ("rgb(232, 166, 64)", "rgb(91, 143, 221)")  # of stones in the dark
    assert sides == [[colours[edge.player], len(edge.points)] for edge in drawing.edges]


def test_a_whole_game_of_connect_four_is_played_by_clicks(page, served):
    open_game(page, served, game="connect_four", player=BUNDLED, level=8)
    game = games.make("connect_four")
    for _ in range(21):
        played = session.after(game, moves_of(page))
        if played.over():
            break
        action = int(np.flatnonzero(game.legal(played.states)[0])[0])
        # The top cell of the column: the stone falls from there.
        page.locator(f"[data-cell='{action}']").click()
        number = len(played.actions)
        wait_for_moves(page, number + 1)
        if not session.after(game, moves_of(page)).over():
            wait_for_moves(page, number + 2)
            page.wait_for_selector("p.status:has-text('your turn'), p.status:has-text('.')")
    assert session.after(game, moves_of(page)).over()
    page.wait_for_selector("p.status:has-text('The game is a draw'), p.status:has-text('won')")


def test_a_game_of_go_ends_with_two_passes_by_its_button(page, served):
    open_game(page, served, game="go:size=9", seat="both")
    for point in (40, 41, 31):
        page.locator(f"[data-cell='{point}']").click()
        page.wait_for_selector(f"[data-cell='{point}'] .stone")
    for number in (4, 5):
        page.get_by_role("button", name="pass", exact=True).click()
        wait_for_moves(page, number)
    page.wait_for_selector("p.status:has-text('won')")


def test_a_pawn_is_promoted_by_two_clicks_and_a_choice(page, served):
    open_game(page, served, game="chess", seat="both", moves="a4.b5.axb5.a6.bxa6.h6.a7.g6")
    page.locator("[data-cell='8']").click()
    page.locator("[data-cell='1']").click()
    choices = [choice.inner_text() for choice in page.locator("button.choice").all()]
    assert sorted(choices) == ["axb8=B", "axb8=N", "axb8=Q", "axb8=R"]
    page.get_by_role("button", name="axb8=N").click()
    page.wait_for_selector("[data-cell='1'][data-piece='N']")
    page.get_by_role("button", name="Undo").click()
    page.wait_for_selector("[data-cell='1'][data-piece='n']")


def test_the_keyboard_alone_plays_a_game_against_an_opponent(page, served):
    open_game(page, served, game="tic_tac_toe", player="random")
    page.locator("[data-cell='0']").focus()
    for key in ("ArrowRight", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    wait_for_moves(page, 2)
    assert moves_of(page)[0] == "5"
    page.wait_for_selector("p.status:has-text('your turn')")
    legal = session.after(games.make("tic_tac_toe"), moves_of(page)).legal_moves()
    page.get_by_label("Move", exact=True).focus()
    page.keyboard.type(legal[0])
    page.keyboard.press("Enter")
    wait_for_moves(page, 3)
    assert moves_of(page)[2] == legal[0]


def test_switching_sides_lets_the_opponent_begin_and_undo_goes_back_to_ones_own_move(page, served):
    open_game(page, served, game="tic_tac_toe", player="random")
    page.get_by_role("button", name="Switch sides").click()
    wait_for_moves(page, 1)
    page.wait_for_selector("p.status:has-text('your turn')")
    first = moves_of(page)
    page.get_by_label("Move", exact=True).fill(
        session.after(games.make("tic_tac_toe"), first).legal_moves()[0]
    )
    page.keyboard.press("Enter")
    wait_for_moves(page, 3)
    page.wait_for_selector("p.status:has-text('your turn')")
    page.get_by_role("button", name="Undo").click()
    page.wait_for_function("() => /moves=\\d+(&|$)/.test(location.hash)")
    assert moves_of(page) == first


def test_an_analysis_fills_the_table_and_the_board_and_stops_with_the_page(page, served):
    state = served[1].state.page
    open_game(page, served, game="connect_four", seat="both", moves="4.1.4.1.4.2")
    page.get_by_label("Analysis", exact=True).check()
    page.wait_for_selector("tr.best:has-text('win')")  # proven: four in a column
    assert page.locator("tr.best th").inner_text() == "4"
    assert page.locator(".figure.best text").text_content() == "100"
    assert page.locator("p.variation").inner_text() == "Expected: 4"
    page.get_by_role("button", name="one move back").click()
    page.get_by_role("button", name="one move back").click()
    page.wait_for_selector("tr.best")
    page.goto("about:blank")
    done = threading.Event()
    for _ in range(600):
        if state.searches == 0:
            break
        done.wait(0.1)
    assert state.searches == 0


def test_the_graph_marks_a_mistake_and_leads_to_it(page, served):
    # With three in a column, the fifth move lets the win go and the sixth does not stop it again.
    open_game(page, served, game="connect_four", seat="both", moves="4.1.4.1.4.1.5.4.1")
    page.get_by_role("button", name="Analyse the game").click()
    page.wait_for_selector(".moves .sign")
    signs = page.eval_on_selector_all(
        ".moves button", "all => all.map(b => b.querySelector('.sign') ? 1 : 0)"
    )
    assert signs[6] == 1  # 5 instead of the winning 4
    page.locator(".moves button").nth(6).click()
    page.wait_for_function("() => location.hash.includes('at=7')")
    assert page.locator(".moves [aria-current]").inner_text().startswith("7.")


def test_a_hint_is_shown_on_the_board(page, served):
    open_game(page, served, game="connect_four", moves="4.1.4.1.4.1", player=BUNDLED)
    page.get_by_role("button", name="Hint").click()
    page.wait_for_selector("circle.hint")
    drawing = games.make("connect_four").drawing(
        session.after(games.make("connect_four"), "414141").states[0]
    )
    cell = drawing.cells[drawing.clicks[3][0]]
    ring = page.locator("circle.hint")
    assert (ring.get_attribute("cx"), ring.get_attribute("cy")) == (
        f"{cell.x * 40:g}", f"{cell.y * 40:g}"
    )  # fmt: skip


def test_a_link_opens_the_same_game_and_the_back_button_the_game_before(page, served):
    open_game(page, served, game="chess", seat="both", moves="e4.e5.Nf3")
    shown = cells(page)
    page.locator("select").first.select_option("tic_tac_toe")
    page.wait_for_function("() => document.querySelectorAll('.cell').length === 9")
    page.go_back()
    page.wait_for_function("() => document.querySelectorAll('.cell').length === 64")
    assert cells(page) == shown


def test_the_link_of_a_game_that_has_begun_names_the_game_and_the_opponent(page, served):
    """The page of another server has another first game, perhaps, and another first opponent."""
    page.goto(served[0])
    page.locator("[data-cell='38']").click()
    wait_for_moves(page, 2)
    held = "key => new URLSearchParams(location.hash.slice(1)).get(key)"
    assert page.evaluate(held, "game") == "connect_four"
    chosen = page.get_by_label("Opponent").evaluate("choice => choice.value")
    assert page.evaluate(held, "player") == chosen


def test_a_link_with_a_move_that_cannot_be_played_says_so_in_a_sentence(page, served):
    page.goto(f"{served[0]}#game=tic_tac_toe&moves=5.5")
    page.wait_for_selector("[role=alert]:has-text('cannot be played; possible are')")
    page.get_by_role("button", name="New game").click()
    page.wait_for_selector("svg.board")


def test_the_curves_of_a_run_grow_while_it_trains_and_its_checkpoint_plays(page, served):
    address, _, run = served
    page.goto(f"{address}#view=runs")
    page.wait_for_selector("figcaption:has-text('loss')")
    page.wait_for_selector("canvas")
    page.wait_for_selector(".legend:has-text('mine: 0.02')")
    with (run / "metrics.jsonl").open("a") as metrics:
        metrics.write('{"step": 60, "time": 2.0, "loss": 0.0123, "minutes": 30}\n')
    page.wait_for_selector(".legend:has-text('mine: 0.0123')")
    page.get_by_role("button", name="play against mine").click()
    page.wait_for_selector("svg.board")
    page.locator("[data-cell='38']").click()
    wait_for_moves(page, 2)
    assert page.evaluate("location.hash").count("mine") >= 1


def test_the_targets_of_a_piece_are_marked_after_the_first_click(page, served):
    open_game(page, served, game="chess", seat="both", moves="e4.d5")
    assert page.locator(".picking").count() == 0
    page.locator("[data-cell='36']").click()
    page.wait_for_selector(".picking")
    marked = page.locator(".picking .can").evaluate_all("all => all.map(c => c.dataset.cell)")
    assert sorted(marked) == ["27", "28"]  # e5, and d5, where it captures
    seen = "cell => getComputedStyle(cell.querySelector('.ghost')).opacity"
    assert page.locator("[data-cell='28']").evaluate(seen) == "0.45"


def test_the_name_of_a_player_that_has_won_is_written_as_it_is(page, served):
    moves = "4.1.4.1.4.1.4"
    open_game(page, served, game="connect_four", player=BUNDLED, seat="second", moves=moves)
    page.wait_for_selector(f"p.status:text-is('{BUNDLED} has won.')")


def test_a_game_whose_rules_are_compiled_says_so_and_is_no_error(page, served):
    held = []
    page.route("**/api/position*", lambda route: held.append(route))
    page.goto(f"{served[0]}#game=connect_four")
    page.wait_for_selector("p[role=status]:has-text('compiled')")
    assert page.get_by_role("alert").count() == 0
    page.unroute("**/api/position*")
    page.reload()
    page.wait_for_selector("svg.board")


def test_an_analysis_that_is_over_says_so(page, served):
    report = '{"simulations": 7, "moves": [], "best": null, "variation": [], "first": 0}'
    body = f"data: {report}\n\nevent: done\ndata: {{}}\n\n"
    answer = {"status": 200, "content_type": "text/event-stream", "body": body}
    page.route("**/api/analyse*", lambda route: route.fulfill(**answer))
    open_game(page, served, game="connect_four", seat="both")
    page.get_by_label("Analysis", exact=True).check()
    page.wait_for_selector("caption:has-text('7 simulations, the search has ended')")


def test_a_refused_file_takes_the_notice_of_the_one_before_away(page, served, tmp_path):
    open_game(page, served, game="chess", seat="both")
    for name, text, seen in [
        ("good.pgn", "1. d4 *", "[role=status]:has-text('Loaded good')"),
        ("bad.pgn", "1. e4 e5 2. Ke7", "[role=alert]:has-text('the file cannot be loaded')"),
    ]:
        path = tmp_path / name
        path.write_text(text)
        page.locator("input[type=file]").set_input_files(path)
        page.wait_for_selector(seen)
    assert page.locator("[role=status]:has-text('Loaded')").count() == 0


def test_the_cell_where_a_stone_would_fall_is_marked_from_anywhere_in_its_column(page, served):
    open_game(page, served, game="connect_four", seat="both", moves="4.4")
    for top, landing in ((3, "24"), (2, "37")):
        page.locator(f"[data-cell='{top}']").hover()
        page.wait_for_selector(f".aimed[data-cell='{landing}']")
        assert page.locator(".aimed").count() == 1
    ghost = page.locator(".aimed .ghost")
    assert ghost.evaluate("ghost => getComputedStyle(ghost).opacity") == "0.45"
    page.mouse.move(1, 1)
    page.wait_for_selector(".aimed", state="detached")


@pytest.mark.parametrize("text", ["9", "a move whose name is too long for one line " * 4])
def test_a_sentence_about_an_error_does_not_move_the_board(page, served, text):
    open_game(page, served, game="tic_tac_toe", seat="both", moves="9")
    before = page.locator("svg.board").bounding_box()
    page.get_by_label("Move", exact=True).fill(text)
    page.keyboard.press("Enter")
    page.wait_for_selector("[role=alert]:has-text('is not a move here')")
    assert page.locator("svg.board").bounding_box() == before
    page.locator("[data-cell='0']").click()
    page.wait_for_selector("[data-cell='0'] .stone")
    assert page.get_by_role("alert").inner_text() == ""


@pytest.mark.parametrize(
    ("game", "moves", "numbered"),
    [("chess", "e4.e5.Nf3", ["1. e4", "e5", "2. Nf3"]),
     ("connect_four", "4.4.5", ["1. 4", "2. 4", "3. 5"])],
)  # fmt: skip
def test_chess_counts_pairs_of_plies_and_other_games_each_ply(page, served, game, moves, numbered):
    open_game(page, served, game=game, seat="both", moves=moves)
    page.wait_for_function("() => document.querySelectorAll('.moves li').length === 3")
    assert page.locator(".moves button").all_inner_texts() == numbered
