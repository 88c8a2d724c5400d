"""The widget's script in a real browser, with a stand-in for the notebook's model."""

import pytest

pytest.importorskip("anywidget", reason="anywidget is not installed")
pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

import browser_pages
from browser_pages import MARKS, WAIT, cells
from drawn_cells import on_page

import alphazero
from alphazero.judging import widget_script

browser = browser_pages.browser
pytestmark = MARKS
MOUNT = """async ([script, shown]) => {
  const address = URL.createObjectURL(new Blob([script], {type: 'text/javascript'}));
  const {default: widget} = await import(address), hears = new Map();
  window.model = {
    shown, get: name => window.model[name],
    on: (event, call) => hears.set(event, call), off: event => hears.delete(event),
    send: content => window.received(content).then(shown => {
      window.model.shown = shown;
      hears.get('change:shown')?.();
    }),
  };
  document.body.innerHTML = '<button>of the notebook</button><div id="output"></div>';
  window.leave = widget.render({model: window.model, el: document.getElementById('output')});
}"""


@pytest.fixture
def mount(browser):
    """A function that shows a board in an empty page whose console must stay empty."""
    context = browser.new_context(viewport={"width": 420, "height": 900}, color_scheme="dark")
    page, said = context.new_page(), []
    page.set_default_timeout(WAIT)
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))

    def show(board):
        def received(content):
            board.receive(content)
            return board.shown

        page.expose_function("received", received)
        page.evaluate(MOUNT, [widget_script.script(), board.shown])
        page.wait_for_selector("svg.board")
        return page

    yield show
    assert page.evaluate("document.documentElement.scrollWidth") <= 420
    context.close()
    assert said == []


def wait_for_moves(page, number):
    page.wait_for_function(
        "n => document.getElementById('output').shadowRoot.querySelectorAll('.moves li').length"
        " === n",
        arg=number,
    )


def test_clicks_play_a_game_to_its_end_and_lead_back_through_it(mount):
    board = alphazero.board("connect_four", "12121")
    page = mount(board)
    for number, action in ((6, 1), (7, 0)):
        page.locator(f"[data-cell='{action}']").click()
        wait_for_moves(page, number)
        assert cells(page) == on_page(board.position.drawing)
    page.wait_for_selector("p.status:has-text('orange, the first player, has won')")
    assert page.locator(".can, .drop").count() == 0
    assert page.locator("circle.won").count() == 4
    page.get_by_role("button", name="one move back").click()
    page.wait_for_selector("p.status:has-text('orange (first) to move')")
    assert cells(page) == on_page(board.position.drawing)
    page.locator(".moves button").nth(1).click()
    page.wait_for_selector(".moves [aria-current]:has-text('2.')")
    page.locator("[data-cell='6']").click()
    wait_for_moves(page, 3)
    assert board.session.actions == [0, 1, 6]


def test_a_promotion_is_two_clicks_and_a_choice(mount):
    board = alphazero.board("chess", "a4 b5 axb5 a6 bxa6 h6 a7 g6")
    page = mount(board)
    page.locator("[data-cell='8']").click()
    page.locator("[data-cell='1']").click()
    page.get_by_role("button", name="axb8=N").click()
    wait_for_moves(page, 9)
    assert board.session.notation()[-1] == "axb8=N"


def test_the_shares_of_an_agents_policy_lie_on_the_cells(mount):
    agent = alphazero.load_agent("tic_tac_toe", simulations=16)
    board = alphazero.board("tic_tac_toe", "1", agent=agent)
    page = mount(board)
    best = max(board.shown["weights"].values())
    assert page.locator(".figure.best text").text_content() == f"{100 * best:.0f}"
    assert page.locator("p.status .now").inner_text() == f"{50 + 50 * board.shown['value']:.0f} %"
    page.locator("[data-cell='4']").click()
    wait_for_moves(page, 2)
    assert page.locator(".figure").count() > 0


def test_the_board_has_its_own_style_and_leaves_the_notebooks_alone(mount):
    page = mount(alphazero.board("tic_tac_toe"))
    minimum = "e => getComputedStyle(e).minHeight"
    assert page.eval_on_selector("body > button", minimum) in ("0px", "auto")
    assert page.eval_on_selector(".notebook button", minimum) == "34px"
    page.evaluate("window.leave()")
    assert page.locator("svg.board").count() == 0
