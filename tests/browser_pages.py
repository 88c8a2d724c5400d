"""The page in a real browser, Debian's Chromium through playwright: fixtures and helpers."""

import shutil

import pytest
from playwright.sync_api import sync_playwright

CHROMIUM = shutil.which("chromium")
WAIT = 120_000  # milliseconds: a bound against hanging, nothing is measured
MARKS = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine"),
]


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser, served):
    """An empty page whose console must stay empty, and that must not overflow its width.

    Chromium itself writes there which requests were refused.
    """
    context = browser.new_context(viewport={"width": 420, "height": 900}, color_scheme="dark")
    opened, said = context.new_page(), []
    opened.set_default_timeout(WAIT)
    opened.on("console", lambda message: said.append(message.text))
    failed = "Failed to load resource: the server responded with a status of"
    refused = (f"{failed} 422", f"{failed} 503")
    opened.on("pageerror", lambda error: said.append(str(error)))
    yield opened
    assert opened.evaluate("document.documentElement.scrollWidth") <= 420
    context.close()
    assert [line for line in said if not line.startswith(refused)] == []


def open_game(page, served, **state):
    parts = "&".join(f"{key}={value}" for key, value in state.items())
    page.goto(f"{served[0]}#{parts}")
    page.reload()
    page.wait_for_selector("svg.board")


def cells(page):
    """Per cell of the page the player and the piece."""
    return page.eval_on_selector_all(
        ".cell", "all => all.map(cell => [cell.dataset.player, cell.dataset.piece])"
    )


def moves_of(page):
    """The moves in the address of the page."""
    moves = page.evaluate("new URLSearchParams(location.hash.slice(1)).get('moves') || ''")
    return moves.split(".") if moves else []


def wait_for_moves(page, number):
    page.wait_for_function(
        "n => (new URLSearchParams(location.hash.slice(1)).get('moves') || '').split('.')"
        ".filter(Boolean).length >= n",
        arg=number,
    )


def status(page):
    return page.locator("p.status").inner_text()
