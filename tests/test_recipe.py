"""The default recipe: sizes that follow from the game."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

import games
from alphazero import config, config_file, recipe, targets
from tests.made_up_games import Tug

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))


def test_the_figures_of_a_game_without_choice_are_exact():
    """Dots and boxes on one box: always four lines, so 4 + 3 + 2 + 1 legal moves in 4 plies."""
    measured = recipe.measure(games.make("dots_and_boxes:rows=1,columns=1"))
    assert (measured.plies, measured.moves) == (4, 2.5)


def test_the_figures_of_hex_are_those_of_games_one_at_a_time():
    game, rng = games.make("hex:size=3,swap=false"), np.random.default_rng(1)
    plies, moves = [], []
    for _ in range(400):
        state = game.initial(1)
        while np.isnan(game.outcome(state)[0]):
            (legal,) = np.nonzero(game.legal(state)[0])
            moves.append(len(legal))
            state = game.step(state, np.array([rng.choice(legal)]))
        plies.append(len(moves) - sum(plies))
    measured = recipe.measure(game)
    assert measured.plies == pytest.approx(np.mean(plies), abs=0.8)
    assert measured.moves == pytest.approx(np.mean(moves), abs=0.5)
    assert measured.cells == 9


@pytest.mark.parametrize(("moves", "scale"), [(2, 0.1), (7, 0.1), (21, 0.3), (35, 0.5), (300, 0.5)])
def test_the_value_scale_grows_with_the_legal_moves_within_its_bounds(moves, scale):
    assert recipe.value_scale(moves) == scale


def test_heads_are_those_whose_targets_the_game_offers():
    heads = {spec: set(recipe.settings(games.make(spec), {})["network"]["heads"])
             for spec in ("go:size=5", "hex:size=5")}  # fmt: skip
    assert heads == {"go:size=5": {"ownership", "score"}, "hex:size=5": set()}


@pytest.mark.parametrize(
    ("game", "network", "stops"),
    [
        ("go:size=5", {}, False),
        ("go:size=5", {"kind": "perceptron"}, False),
        ("go:size=5", {"heads": {}}, True),
        ("go:size=5", {"heads": {"reply": 0.15}}, True),
        ("go:size=5", {"kind": "my_net:Net"}, True),
        ("hex:size=5", {}, True),
        ("hex:size=5", {"heads": {"moves_left": 0.2}}, False),
    ],
)
def test_games_are_played_to_their_end_where_a_head_learns_from_the_end(game, network, stops):
    filling = recipe.settings(games.make(game), {"network": network})
    assert filling["selfplay"]["stop_when_proven"] is stops


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_no_configuration_has_heads_that_its_games_do_not_teach(path):
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    heads = (values.get("network") or {}).get("heads") or {}
    stops = (values.get("selfplay") or {}).get("stop_when_proven", True)
    assert not (targets.of_finished_games(heads) and stops and values.get("recipe") == "none")


def test_games_that_do_not_end_are_measured_up_to_max_plies():
    game = games.make("hex:size=5,swap=false")
    game.max_plies = 3
    assert recipe.measure(game)[:2] == (3, 24)  # 25, 24 and 23 free cells


def test_games_without_a_near_end_are_measured_for_a_thousand_plies():
    calls = []

    class Counted(Tug):
        max_plies = 10**6

        def step(self, states, actions):
            calls.append(len(states))
            return states  # the token never moves

    assert recipe.measure(Counted())[:2] == (1000, 2)
    assert len(calls) == 1000


def test_the_sizes_of_a_large_board_with_many_moves_are_those_of_the_rule():
    sizes = recipe.sizes(recipe.Figures(plies=300.5, moves=28, cells=361), {"score": 0.2}, True)
    assert sizes["search"] == {"kind": "gumbel", "simulations": 24, "value_scale": 0.4}
    assert sizes["selfplay"] == {
        "games": 128,
        "random_opening_plies": 8,
        "temperature_plies": 151,
        "stop_when_proven": False,
    }
    assert sizes["network"]["blocks"] == 6
    assert sizes["network"]["heads"] == {"score": 0.2}
    assert sizes["training"]["time_limit_minutes"] == 30
    assert sizes["evaluation"]["opponent"] == "random"


def test_the_sizes_of_a_small_board_with_few_moves_are_those_of_the_rule():
    sizes = recipe.sizes(recipe.Figures(plies=20, moves=6.8, cells=42), {}, False)
    assert sizes["search"]["value_scale"] == 0.1
    assert sizes["selfplay"]["random_opening_plies"] == 3
    assert sizes["selfplay"]["temperature_plies"] == 10
    assert sizes["selfplay"]["stop_when_proven"]
    assert (sizes["network"]["blocks"], sizes["network"]["channels"]) == (4, 32)
    assert "time_limit_minutes" not in sizes["training"]
    assert sizes["evaluation"]["opponent"] == "mcts:simulations=100"


def test_the_page_states_the_numbers_of_the_recipe():
    page = (Path(__file__).parents[1] / "docs/recipe.md").read_text(encoding="utf-8")
    sizes = recipe.sizes(recipe.Figures(20, 7, 42), recipe.HEADS, True)
    rows = dict(re.findall(r"^\| `([\w.]+)` \| (.*) \|$", page, re.MULTILINE))
    for section, values in sizes.items():
        text = " ".join(row for key, row in rows.items() if key.split(".")[0] == section)
        numbers = {float(number.replace(",", "")) for number in re.findall(r"[\d,.]*\d", text)}
        stated = {key: value for key, value in values.items() if type(value) in (int, float)}
        derived = {"value_scale", "random_opening_plies", "temperature_plies"}
        assert {v for key, v in stated.items() if key not in derived} <= numbers, section


def rows_of(page):
    """The cells of each row of the tables of a page."""
    lines = [line.strip() for line in page.splitlines()]
    rows = [line[1:].rstrip("|").split("|") for line in lines if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in rows]


def scores_of_choices(experiments):
    """``(choice, game, share)`` of each row of an experiment whose second cell is a game."""
    choice = ""
    for cells in rows_of(experiments):
        if len(cells) > 2 and cells[1] in ("Hex 7x7", "Go 7x7"):
            choice = choice if cells[0] == "the same" else cells[0]
            for share in re.findall(r"([\d.]+) %", " | ".join(cells[2:])):
                yield choice, cells[1], share


def test_the_worth_of_each_choice_is_a_score_of_its_experiment_and_the_elo_of_that():
    docs = Path(__file__).parents[1] / "docs"
    page, experiments = ((docs / name).read_text() for name in ("recipe.md", "experiments.md"))
    known, compared = list(scores_of_choices(experiments)), 0
    for choice, *cells, _ in rows_of(page.partition("## What each choice")[2])[1:]:
        words = re.findall(r"\w{5,}|PUCT", choice)
        for game, cell in zip(("Hex 7x7", "Go 7x7"), cells, strict=True):
            for share, elo in re.findall(r"([\d.]+) %, ([+-]?\d+)\b", cell):
                sources = [one for one, *rest in known if rest == [game, share]]
                assert any(word in one for word in words for one in sources), (choice, game, share)
                # A share is rounded to its last digit, and an Elo was computed before that.
                half = 0.5 * 10.0 ** -len(share.partition(".")[2])
                low, high = (
                    400 * math.log10(p / (100 - p))
                    for p in (float(share) - half, float(share) + half)
                )
                assert low - 1 <= float(elo) <= high + 1, (share, elo)
                compared += 1
    assert compared > 30


def test_a_game_whose_random_games_fail_is_one_line():
    class Broken(Tug):
        def step(self, states, actions):
            raise RuntimeError("no such square")

    with pytest.raises(ValueError, match=r"random games of .*Tug fail: .*no such square") as caught:
        recipe.settings(Broken(), {})
    assert "\n" not in str(caught.value)


def test_where_nothing_is_open_no_random_game_is_played():
    stored = config_file.as_dict(config.load("hex:size=5"))

    class Unplayed(Tug):
        def initial(self, batch):
            raise AssertionError("a random game was played")

    assert recipe.settings(Unplayed(), stored) == {}
    del stored["network"]["heads"]
    with pytest.raises(ValueError, match="a random game was played"):
        recipe.settings(Unplayed(), stored)
