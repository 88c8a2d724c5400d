"""The pictures of the docs: the metrics kept of a run, and the legibility of a picture."""

import importlib.util
import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

import games
from alphazero import checkpoint
from alphazero import network as networks
from alphazero.config import load
from alphazero.judging import ladder, players
from alphazero.nn.weights import arrays

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


def test_a_span_has_the_mean_of_its_values_and_rare_metrics_are_kept(curves):
    rows = curves.thin(lines(), points=64)
    assert len(rows) == 64
    assert rows[0] == {"minutes": 8.5 / 128, "games": 17, "loss": 8.5}
    counted = [row["policy_mistakes/opening_hard"] for row in rows if len(row) > 3]
    assert counted == [0.5 - minute / 32 for minute in range(1, 9)]
    assert rows[-1]["ladder_elo/search"] == 123
    assert "elo" not in rows[-1]


def test_written_rows_are_read_back_and_the_file_is_small(curves, tmp_path):
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


@pytest.fixture
def run(tmp_path):
    """Twelve checkpoints, the last of which comes first in the alphabet."""
    config = load("connect_four", ["network.blocks=1", "network.channels=4"])
    game = games.make(config.game)
    weights = arrays(networks.build(game, config.network, 0).state_dict())
    for step in (*range(999_989, 1_000_000), 1_000_000):
        checkpoint.save(tmp_path / "run", step, weights, {}, config, keep=20)
    timed = ({"step": step, "minutes": step - 999_980} for step in (999_980, 1_000_000))
    text = "".join(json.dumps(line) + "\n" for line in timed)
    (tmp_path / "run/metrics.jsonl").write_text(text)
    return tmp_path / "run"


@pytest.fixture
def ratings(monkeypatch):
    """The players that were rated and their games; each gets 100 Elo more than the last."""
    rated = []

    def rate(game, player, rungs, games):
        rated.append((player, games))
        return SimpleNamespace(elo=100.0 * len(rated))

    monkeypatch.setattr(players, "make", lambda spec, game: spec)
    monkeypatch.setattr(ladder, "rate", rate)
    return rated


def test_ten_checkpoints_including_first_and_last_are_rated_without_and_with_search(
    curves, run, ratings
):
    rows = list(curves.rate(run, 4))
    minutes = [9, 10, 11, 13, 14, 15, 16, 18, 19, 20]
    assert [row["minutes"] for row in rows] == pytest.approx(minutes, abs=1)
    assert (rows[0]["minutes"], rows[-1]["minutes"], len(rows)) == (9, 20, 10)
    last = run / "checkpoints/step_1000000"
    assert ratings[-2:] == [
        (f"policy:path={last}", 4),
        (f"checkpoint:path={last},simulations=200", 4),
    ]
    kinds = ["ladder_elo/network_alone", "ladder_elo/200_simulations"]
    assert [rows[-1][kind] for kind in kinds] == [1900, 2000]


def test_ratings_before_an_error_are_kept(curves, run, ratings, tmp_path, capsys):
    (run / "checkpoints/step_1000000/weights.safetensors").write_bytes(b"torn")
    arguments = ["--folder", str(tmp_path), "keep", str(run), "mine", "--elo", "4"]
    assert curves.main(arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1
    kept = curves.read(tmp_path / "data/mine.csv")
    assert sum("ladder_elo/network_alone" in row for row in kept) == 9


def test_without_metrics_of_a_kind_there_is_no_picture(curves, tmp_path):
    runs = {"run": curves.thin(line for line in lines() if "ladder_elo/search" not in line)}
    assert not curves.draw(runs, "elo", tmp_path / "a.svg")
    assert not (tmp_path / "a.svg").exists()


def test_every_colour_has_enough_contrast_on_a_light_and_on_a_dark_page(curves):
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


def test_a_folder_that_is_not_a_run_is_refused_in_one_line(curves, tmp_path, capsys):
    assert curves.main(["keep", str(tmp_path), "name"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
