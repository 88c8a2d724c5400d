"""The pictures of the docs: what is kept of a run's metrics, and whether a picture can be read."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

import games
from alphazero import checkpoint, ladder, players
from alphazero import network as networks
from alphazero.config import load

SCRIPT = Path(__file__).parents[1] / "docs" / "curves.py"
PAGES = ("#ffffff", "#0d1117")
"""A light page and GitHub's dark one."""


@pytest.fixture(scope="module")
def curves():
    spec = importlib.util.spec_from_file_location("curves", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def lines():
    """A run of 1,024 steps in eight minutes, with a count of mistakes every minute."""
    for step in range(1, 1025):
        figures = {"step": step, "minutes": step / 128, "loss": step, "games": 2 * step}
        if step % 128 == 0:
            figures |= {
                "policy_mistakes/opening_hard": 0.5 - step / 4096,
                "ladder_elo/search": None,
            }
        yield figures
    yield {"step": 1025, "ladder_elo/search": 123.0, "elo": 5.0}


def test_spans_keep_their_mean_and_figures_that_are_rare(curves):
    rows = curves.thin(lines(), points=64)
    assert len(rows) == 64
    assert rows[0] == {"minutes": 8.5 / 128, "games": 17, "loss": 8.5}
    counted = [row["policy_mistakes/opening_hard"] for row in rows if len(row) > 3]
    assert counted == [0.5 - minute / 32 for minute in range(1, 9)]
    assert rows[-1]["ladder_elo/search"] == 123
    assert "elo" not in rows[-1]


def test_what_was_written_is_what_is_read_and_is_small(curves, tmp_path):
    rows = curves.thin(lines(), points=100)
    curves.write(rows, tmp_path / "run.csv")
    assert (tmp_path / "run.csv").stat().st_size < 10_000
    for before, after in zip(rows, curves.read(tmp_path / "run.csv"), strict=True):
        assert after == pytest.approx(before, rel=1e-4)


def test_a_picture_shows_each_run_and_each_curve_and_is_small_and_repeatable(curves, tmp_path):
    pytest.importorskip("matplotlib")
    runs = {f"seed_{seed}": curves.thin(lines()) for seed in (0, 1)}
    pictures = []
    for path in (tmp_path / "a.svg", tmp_path / "b.svg"):
        assert curves.draw(runs, "mistakes", path)
        pictures.append(path.read_text(encoding="utf-8"))
    for text in ("seed 0", "seed 1", "policy mistakes, opening hard", "minutes"):
        assert text in pictures[0]
    assert len(pictures[0]) < 100_000
    assert pictures[0] == pictures[1]
    assert not re.search("#ffffff|#000000", pictures[0])


def test_a_line_that_a_crash_cut_short_is_left_out(curves, tmp_path):
    text = "".join(json.dumps(line) + "\n" for line in lines())
    (tmp_path / "metrics.jsonl").write_text(text + '{"step": 1026, "lo')
    assert curves.main(["--folder", str(tmp_path), "keep", str(tmp_path), "run"]) == 0
    curves.write(curves.thin(lines()), tmp_path / "whole.csv")
    assert (tmp_path / "data/run.csv").read_text() == (tmp_path / "whole.csv").read_text()


def test_checkpoints_are_rated_where_their_step_was_in_time(curves, tmp_path):
    game = games.make("connect_four")
    config = load("connect_four", ["network.blocks=1", "network.channels=4"])
    weights = networks.to_weights(networks.build(game, config.network, 0).state_dict())
    for step in (128, 512, 640):
        checkpoint.save(tmp_path, step, weights, {}, config)
    text = "".join(json.dumps(line) + "\n" for line in lines())
    (tmp_path / "metrics.jsonl").write_text(text)
    rows = list(curves.rated(tmp_path, 4))
    assert [row["minutes"] for row in rows] == [1, 4, 5]
    kinds = ["ladder_elo/network_alone", "ladder_elo/200_simulations"]
    assert all(list(row) == ["minutes", *kinds] for row in rows)
    first = ladder.rate(
        game, players.make(f"policy:path={tmp_path}", game), ladder.load(game), games=4
    )
    assert rows[-1]["ladder_elo/network_alone"] == first.elo


def test_without_such_figures_there_is_no_picture(curves, tmp_path):
    runs = {"run": curves.thin(line for line in lines() if "ladder_elo/search" not in line)}
    assert not curves.draw(runs, "elo", tmp_path / "a.svg")
    assert not (tmp_path / "a.svg").exists()


def test_every_colour_stands_out_from_a_light_page_and_from_a_dark_one(curves):
    for colour in (*curves.COLOURS, curves.GREY):
        assert min(contrast(colour, page) for page in PAGES) >= 3, colour


def contrast(one, other):
    """WCAG 2.1: 1 for equal colours, 21 for black and white."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def luminance(colour):
    parts = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_a_folder_without_runs_is_refused_in_one_line(curves, tmp_path, capsys):
    assert curves.main(["--folder", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_folder_that_is_no_run_is_refused_in_one_line(curves, tmp_path, capsys):
    assert curves.main(["keep", str(tmp_path), "name"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
