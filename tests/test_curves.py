"""The pictures of the docs: the metrics kept of a run, and the legibility of a picture."""

import importlib.util
import json
import re
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

import games
from alphazero import checkpoint
from alphazero import network as networks
from alphazero.config import load
from alphazero.judging import ladder, players
from alphazero.nn.weights import arrays

DOCS = Path(__file__).parents[1] / "docs"
SVG = "{http://www.w3.org/2000/svg}"
PAGES = ("#ffffff", "#0d1117")
"""A light page and GitHub's dark one."""


@pytest.fixture(scope="module")
def curves():
    spec = importlib.util.spec_from_file_location("curves", DOCS / "curves.py")
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


def test_a_run_is_not_kept_in_the_place_of_the_measured_matches(curves, tmp_path, capsys):
    (tmp_path / "metrics.jsonl").write_text('{"minutes": 1, "loss": 2}\n')
    assert curves.main(["--folder", str(tmp_path), "keep", str(tmp_path), "rungs"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "data").exists()


ENTRIES = dict(
    part.split("\n", 1)
    for part in (DOCS / "experiments.md").read_text(encoding="utf-8").split("\n## ")[1:]
)
"""The text of each entry of docs/experiments.md by its heading."""
COUNTED = ("won", "drawn", "lost")


@pytest.fixture(scope="module")
def measured(curves):
    return curves.read_measurements(DOCS / "data" / "rungs.csv")


def numbers(text):
    """The numbers of a text, without the commas between thousands."""
    plain = re.sub(r"(?<=\d),(?=\d)", "", text)
    return set(map(float, re.findall(r"\d+(?:\.\d+)?", plain)))


def test_every_measurement_adds_up_and_is_listed_once(measured):
    for row in measured:
        tally = [int(row[name]) for name in COUNTED if row[name]]
        assert bool(tally) != bool(row["percent"]), row
        assert not tally or (len(tally), sum(tally)) == (3, int(row["games"])), row
        assert not row["different"] or int(row["different"]) <= int(row["games"]), row
    assert len({tuple(row.values()) for row in measured}) == len(measured)


def test_every_measurement_stands_in_the_entry_that_it_names(measured):
    agents = (DOCS / "agents.md").read_text(encoding="utf-8")
    for row in measured:
        entry, quote = ENTRIES[row["entry"]], row["quote"]
        assert quote in entry, row
        figures = [row[name] for name in (*COUNTED, "percent", "different") if row[name]]
        if row["figure"] == "right signs":
            figures = [row["won"]]
        elif "all different" in quote:
            figures = [row[name] for name in COUNTED]
        missing = {float(text) for text in figures} - numbers(quote) - {0}
        assert not missing, (missing, row)
        if row["figure"] != "right signs" and row["lost"] not in ("", "0"):
            tally = r"\D+".join(row[name] for name in COUNTED)
            assert re.search(rf"(?<![\d.]){tally}(?![\d.])", quote), row
        known = numbers(entry) | numbers(row["entry"])
        assert {float(row["games"]), float(row["simulations"])} - {0} <= known, row
        assert float(row["minutes"]) in known or f"in {row['minutes']} minutes" in agents, row


def test_the_intervals_are_those_of_the_entries(curves, measured):
    """Some entries write them without decimals, or leave out how many games were different."""
    compared = 0
    for row in measured:
        for texts in re.findall(r"([\d.]+) % \(([\d.]+) to ([\d.]+)\)", row["quote"]):
            interval = [100 * value for value in curves.share(row)]
            if abs(float(texts[0]) - interval[0]) < 0.6:  # in Connect Four a line has two of them
                exact = "." in texts[1] and (row["different"] or row["games"] not in ("100", "200"))
                close = 0.051 if exact else 1.1
                assert interval[1:] == pytest.approx(list(map(float, texts[1:])), abs=close), row
                compared += 1
    assert compared == sum(" % (" in row["quote"] for row in measured)


def test_the_picture_of_the_measurements_is_up_to_date(curves, measured, tmp_path):
    matplotlib = pytest.importorskip("matplotlib")
    kept = (DOCS / "curves_rungs.svg").read_text(encoding="utf-8")
    if f"v{matplotlib.__version__}," not in kept:
        pytest.skip("another version of matplotlib draws another picture")
    curves.draw_measurements(measured, tmp_path / "drawn.svg")
    drawn = (tmp_path / "drawn.svg").read_text(encoding="utf-8")
    assert drawn == kept, "run python docs/curves.py"


def test_each_panel_shows_a_point_for_each_of_its_measurements(curves, measured):
    shown = Counter()
    for panel in ElementTree.parse(DOCS / "curves_rungs.svg").iter(f"{SVG}g"):
        titles = {element.text for element in panel.iter(f"{SVG}text")}
        rows = [row for row in measured if row["game"] in titles]
        if panel.get("id", "").startswith("axes_") and rows:
            name = curves.gid(rows[0]["game"], "")
            lines = [g for g in panel.iter(f"{SVG}g") if g.get("id", "").startswith(name)]
            shown[rows[0]["game"]] = sum(len(list(line.iter(f"{SVG}use"))) for line in lines)
    assert shown == Counter(row["game"] for row in measured)


def test_elo_has_no_bound_at_all_points_and_at_none(curves):
    assert [curves.elo(share) for share in (0, 0.25, 0.5, 0.75, 1)] == [
        "",
        "-191",
        "+0",
        "+191",
        "",
    ]
