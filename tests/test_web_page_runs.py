"""The runs of the page in a real browser: games of self-play and matches."""

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

import browser_pages
import httpx
from browser_pages import MARKS, cells, moves_of
from drawn_cells import on_page
from served_pages import serving
from test_train import run, tiny

import games
from alphazero.judging import session
from workers import cli

browser, page = browser_pages.browser, browser_pages.page
pytestmark = MARKS
GAME = games.make("tic_tac_toe")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A server with a short run of tic-tac-toe and a match; its address and its application."""
    folder = tmp_path_factory.mktemp("runs")
    assert run(folder / "short", tiny("selfplay.random_opening_plies=1")) == 0
    match = ["arena", "--game", "tic_tac_toe", "--games", "4", "random", "minimax:depth=9"]
    assert cli.main([*match, "--json", str(folder / "match.json")]) == 0
    with serving(folder) as server:
        yield server


def test_a_game_of_self_play_is_replayed_with_the_policy_and_opened_on_the_board(page, served):
    address = served[0]
    newest = httpx.get(f"{address}api/selfplay?run=short").json()["games"][0]
    page.goto(f"{address}#view=runs")
    page.get_by_role("button", name="games of short").click()
    page.wait_for_selector("svg.board")
    for ply in range(len(newest["moves"]) + 1):
        page.get_by_label("ply", exact=True).fill(str(ply))
        page.wait_for_selector(f"text={ply} of {len(newest['moves'])}: ")
        states = session.after(GAME, newest["moves"][:ply]).states
        drawn = GAME.drawing(states[0])
        expected = on_page(drawn)
        page.wait_for_function(
            "cells => JSON.stringify([...document.querySelectorAll('.cell')].map("
            "c => [c.dataset.player, c.dataset.piece])) === JSON.stringify(cells)",
            arg=expected,
        )
        searched = newest["searched"][ply] if ply < len(newest["searched"]) else None
        shares = page.locator(".replay tbody td").all_inner_texts()
        assert shares == [
            f"{100 * share:.1f} %" for _, share in (searched or {"policy": []})["policy"]
        ]
    said, last = page.locator(".replay [role=status]"), len(newest["moves"])
    assert f"{last} of {last}: the end of the game" in said.inner_text()
    page.get_by_role("button", name="first position").click()
    page.wait_for_selector(".replay [role=status]:has-text('0 of')")
    assert "a random move of the opening follows, without a search" in said.inner_text()
    for step in ("one move on", "last position", "one move back"):
        page.get_by_role("button", name=step).click()
    page.wait_for_selector(f".replay [role=status]:has-text('{last - 1} of {last}: win rate of ')")
    side = ("orange", "blue")[(last - 1) % 2]
    page.wait_for_selector(f".replay [role=status]:has-text('win rate of {side}, about to move')")
    page.get_by_label("ply", exact=True).fill("2")
    page.get_by_role("button", name="Open on the board").click()
    page.wait_for_selector("p.status")
    assert moves_of(page) == newest["moves"]
    assert sum(player != "" for player, _ in cells(page)) == 2


def test_a_position_that_fails_blocks_neither_the_replay_nor_its_other_plies(page, served):
    refused = "**/api/position*moves=*"
    page.goto(f"{served[0]}#view=runs")
    page.get_by_role("button", name="games of short").click()
    page.wait_for_selector("svg.board")
    answer = {"status": 503, "content_type": "application/json", "body": '{"error": "too busy"}'}
    page.route(refused, lambda route: route.fulfill(**answer))
    page.get_by_label("ply", exact=True).fill("3")
    page.wait_for_selector(".replay [role=alert]:has-text('too busy')")
    assert page.locator(".replay tbody td").count() == 0  # the board is that of the first ply
    page.unroute(refused)
    page.get_by_label("ply", exact=True).fill("4")
    page.wait_for_selector(".replay [role=alert]", state="detached")
    page.wait_for_function(
        "() => [...document.querySelectorAll('.cell')].filter(c => c.dataset.player).length === 4"
    )


def test_the_games_of_a_run_come_into_view_though_they_lie_below_the_charts(page, served):
    page.goto(f"{served[0]}#view=runs")
    page.wait_for_selector(".u-over")
    page.get_by_role("button", name="games of short").click()
    section = "document.querySelector('[aria-label=\"self-play of short\"]')"
    page.wait_for_function(f"() => {section}?.getBoundingClientRect().top < innerHeight / 2")


def test_a_chart_tells_the_figure_under_the_pointer(page, served):
    page.goto(f"{served[0]}#view=runs")
    page.get_by_label("over").select_option("step")
    chart = page.locator("figure", has_text="policy loss (nats)")
    chart.locator(".u-over").hover(position={"x": 10, "y": 40})
    under = chart.locator(".under")
    under.wait_for()
    step = int(under.inner_text().removeprefix(", ").removesuffix(" optimizer steps"))
    rows = httpx.get(f"{served[0]}api/curves?run=short&after=0").json()["rows"]
    (loss,) = [row["policy_loss"] for row in rows if row["step"] == step]
    assert chart.locator("li").inner_text().strip() == f"short: {float(f'{loss:.4g}'):g}"
    assert step < max(row["step"] for row in rows if "policy_loss" in row)
    page.mouse.move(1, 1)
    under.wait_for(state="detached")


def test_a_share_is_drawn_in_per_cent_under_a_name_in_plain_words(page, served):
    page.goto(f"{served[0]}#view=runs")
    page.get_by_label("one more chart").select_option(label="value accuracy (%)")
    chart = page.locator("figure", has_text="value accuracy (%)")
    rows = httpx.get(f"{served[0]}api/curves?run=short&after=0").json()["rows"]
    last = 100 * [row["value_accuracy"] for row in rows if "value_accuracy" in row][-1]
    chart.locator("li").filter(has_text=f"short: {float(f'{last:.4g}'):g}").wait_for()
    over = chart.get_by_role("img").get_attribute("aria-label")
    assert over.startswith("value accuracy (%) over minutes: short ")


@pytest.mark.parametrize("button", ["play against short", "Open on the board"])
def test_another_game_on_the_board_has_nothing_of_the_one_before(page, served, button):
    page.goto(f"{served[0]}#view=runs&clock=60&times=1-1&second=gone&analyst=gone&end=time-0")
    page.get_by_role("button", name="games of short").click()
    page.wait_for_selector("svg.board")
    page.get_by_role("button", name=button).click()
    page.wait_for_selector("p.status")
    address = page.evaluate("location.hash")
    assert not any(f"{key}=" in address for key in ("clock", "times", "second", "end"))
    assert "gone" not in address


def test_a_match_is_a_table_of_the_points_of_each_pair(page, served):
    page.goto(f"{served[0]}#view=runs")
    table = page.get_by_role("group", name="match match.json")
    table.wait_for()
    (match,) = httpx.get(f"{served[0]}api/matches").json()["matches"]
    rows = [row.split("\t") for row in table.locator("tbody tr").all_inner_texts()]
    for i, row in enumerate(rows):
        assert row[0] == f"{i + 1} {match['players'][i]['name']}"
        expected = ["–" if met is None else f"{met[0]:g}/{met[1]:g}" for met in match["points"][i]]
        assert row[2:] == expected
        elo, low, high = (match["players"][i][key] for key in ("elo", "elo_low", "elo_high"))
        low, high = ("open" if bound is None else f"{bound:.0f}" for bound in (low, high))
        assert row[1] == f"{elo:.0f} ({low} to {high})".replace("-", "−")
