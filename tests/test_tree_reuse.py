"""The benchmark of tree reuse, in miniature."""

import json
from pathlib import Path

FOLDER = Path(__file__).parent / "benchmarks"


def test_the_benchmark_of_tree_reuse_counts_games_and_evaluations(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(FOLDER))
    import tree_reuse

    small = ["--games", "6", "--simulations", "24", "--seconds", "0.02", "--at-once", "2"]
    rows = tree_reuse.main(small)
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == json.loads(json.dumps(rows))
    for row in rows.values():
        assert row["wins"] + row["draws"] + row["losses"] == row["games"] == 6
        assert row["low"] <= row["score"] <= row["high"]
        for name in ("with reuse", "without"):
            assert 0 < row[name]["computed"] <= row[name]["needed"]
    both = rows["equal simulations"]
    # The kept visits count towards the simulations: fewer evaluations for about as many visits.
    assert both["with reuse"]["needed"] < 0.9 * both["without"]["needed"]
    assert rows["equal time"]["limits"] == {"simulations": None, "seconds": 0.02}
