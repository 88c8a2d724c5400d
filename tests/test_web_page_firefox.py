"""The page in Firefox: a game, an analysis, a link, a file, curves; 420 px wide and dark."""

import json
import time

import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("websockets", reason="websockets is not installed")

import firefox
import served_pages
from drawn_cells import on_page

import games
from alphazero.judging import session
from workers.web.offers import BUNDLED

served = served_pages.served
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(firefox.FIREFOX is None, reason="there is no firefox on this machine"),
]
MOVES = (
    "(new URLSearchParams(location.hash.slice(1)).get('moves') || '').split('.').filter(Boolean)"
)
CELLS = "[...document.querySelectorAll('.cell')].map(c => [c.dataset.player, c.dataset.piece])"


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    with firefox.opened(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(opened):
    """An empty dark page of 420 px that it must not overflow, whose console must stay empty."""
    opened.said.clear()
    yield opened
    assert opened.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    assert opened.evaluate("innerWidth") == 420
    assert opened.evaluate("document.documentElement.scrollWidth") <= 420
    assert opened.said == []


def open_game(page, served, **state):
    page.goto(f"{served[0]}#" + "&".join(f"{key}={value}" for key, value in state.items()))
    page.wait_for("document.querySelector('svg.board') !== null")


def test_a_whole_game_of_connect_four_is_played_by_clicks_in_firefox(page, served):
    game = games.make("connect_four")
    open_game(page, served, game="connect_four", player=BUNDLED, level=8)
    while not (played := session.after(game, page.evaluate(MOVES))).over():
        page.wait_for_text("p.status", "your turn")
        action = int(np.flatnonzero(game.legal(played.states)[0])[0])
        page.click(f"[data-cell='{action}']")  # the top of the column: the stone falls from there
        number = len(played.actions) + 1
        moves = page.wait_for(f"{MOVES}.length >= {number} && {MOVES}")
        if not session.after(game, moves[:number]).over():
            page.wait_for(f"{MOVES}.length > {number}")
    page.wait_for(r"/is a draw|won/.test(document.querySelector('p.status').textContent)")
    assert page.evaluate(CELLS) == on_page(played.drawing)


def test_an_analysis_begins_and_ends_with_its_position_in_firefox(page, served):
    state = served[1].state.page
    open_game(page, served, game="connect_four", seat="both", moves="4.1.4.1.4.2")
    page.click("section.right input[type=checkbox]")
    page.wait_for_text("tr.best", "win")  # proven: four in a column
    assert page.evaluate("document.querySelector('.figure.best text').textContent") == "100"
    page.click("[aria-label='one move back']")
    page.click("[aria-label='one move back']")
    page.wait_for("document.querySelector('tr.best') !== null")
    page.goto("about:blank")
    end = time.monotonic() + firefox.WAIT
    while state.searches:
        assert time.monotonic() < end, "the search has not ended"
        time.sleep(0.1)
    open_game(page, served, game="tic_tac_toe")


def test_a_link_and_a_file_bring_their_games_in_firefox(page, served, tmp_path):
    game = games.make("chess")
    open_game(page, served, game="chess", seat="both", moves="e4.e5.Nf3")
    assert page.evaluate(CELLS) == on_page(session.after(game, "e4 e5 Nf3").drawing)
    played = session.after(game, "d4 d5 c4")
    expected, path = on_page(played.drawing), tmp_path / "game.json"
    path.write_text(json.dumps(played.as_dict()) + "\n")
    page.choose_file("input[type=file]", path)
    page.wait_for_text("[role=status]", "Loaded game.json")
    page.wait_for(f"JSON.stringify({CELLS}) === JSON.stringify({json.dumps(expected)})")


def test_the_curves_of_a_run_are_drawn_in_firefox(page, served):
    page.goto(f"{served[0]}#view=runs")
    page.wait_for_text("figcaption", "loss")
    page.wait_for_text(".legend", "mine: 0.02")
    inked = (
        "(canvas => canvas && canvas.getContext('2d').getImageData(0, 0, canvas.width, "
        "canvas.height).data.some(part => part))(document.querySelector('canvas'))"
    )
    page.wait_for(inked)
