"""The names of metrics in the page's charts."""

from pathlib import Path

import pytest

pytest.importorskip("fastapi")

from made_up_runs import make_run

from workers.terminal import dashboard, node_rows
from workers.web import labels, runs

METRICS = Path(__file__).parents[1] / "docs" / "reference" / "metrics.md"
OPPONENT = "mcts:simulations=200"


@pytest.mark.parametrize(
    ("metric", "text"),
    [
        ("policy_mistakes/opening_medium", "mistakes, medium openings (%)"),
        ("policy_loss", "policy loss (nats)"),
        ("value_loss", "value loss"),
        ("positions_per_second", "positions/s"),
        ("value_accuracy", "value accuracy (%)"),
        ("elo", "Elo against mcts:simulations=200"),
        ("elo_low", "Elo against mcts:simulations=200, lower end of the 95 % interval"),
        ("node/big-1/busy", "big-1: busy (%)"),
        ("node/" * 50_000, ", ".join(["node"] * 50_000) + ", "),
        ("some_own/figure", "some own, figure"),
    ],
    ids=lambda value: value[:40],
)
def test_a_metric_has_a_name_in_plain_words_with_its_unit(metric, text):
    assert labels.label(metric, OPPONENT) == text


def test_elo_without_a_known_opponent_names_none():
    assert labels.label("elo") == "Elo"
    assert labels.label("elo_low") == "Elo, lower end of the 95 % interval"


def test_what_the_terminal_shows_in_per_cent_charts_do_too():
    shares = {m.name for m in (*dashboard.METRICS, *node_rows.FIGURES) if m.form.endswith("%")}
    assert len(shares) > 4
    assert {name for name in shares if not labels.label(name).endswith("(%)")} == set()


@pytest.mark.parametrize("name", sorted(labels.SHARES | labels.NATS | set(labels.ELO)))
def test_every_metric_with_a_unit_is_one_of_the_list_of_metrics(name):
    assert f"`{name}`" in (text := METRICS.read_text()) or f"`{name}/" in text


def test_curves_bring_the_names_of_their_metrics_with_the_opponent_of_the_run(tmp_path):
    make_run(tmp_path / "mine", lines=3)
    (run,) = runs.listed(tmp_path).values()
    with (tmp_path / "mine" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 9, "time": 1.0, "elo": 12}\n')
    got = runs.curves(run, 0)
    assert set(got["labels"]) == {name for row in got["rows"] for name in row}
    assert got["labels"]["elo"] == f"Elo against {run.opponent}"
    assert run.opponent == "minimax:depth=5"
