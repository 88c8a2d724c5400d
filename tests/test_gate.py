"""``alphazero gate``: the newest agent replaces the best one only where it is stronger."""

import json

import pytest

from alphazero import checkpoint, sealed
from workers.cli import main

QUICK = ["--sprt", "elo0=0,elo1=150,alpha=0.2,beta=0.2", "--simulations", "8", "--seed", "1"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of tic-tac-toe whose checkpoint of step 0 is untrained."""
    folder = tmp_path_factory.mktemp("gate") / "run"
    settings = [
        "training.steps=400", "training.checkpoint_every=400", "evaluation.games=0",
        "network.blocks=1", "network.channels=16", "replay.min_positions=500",
        "replay.samples_per_position=16", "search.simulations=16",
    ]  # fmt: skip
    assert main(["train", "tic_tac_toe", *settings, "--run-dir", str(folder)]) == 0
    return folder


def test_the_first_agent_becomes_the_best_without_a_game(run, tmp_path, capsys):
    best = tmp_path / "best"
    assert main(["gate", str(run), "--best", str(best)]) == 0
    assert "now holds the newest agent" in " ".join(capsys.readouterr().out.split())
    assert checkpoint.describe(best).step == 400


def test_the_same_agent_again_is_not_accepted_and_the_best_one_stays(run, tmp_path, capsys):
    best, target = tmp_path / "best", tmp_path / "result.json"
    assert main(["gate", str(run), "--best", str(best)]) == 0
    before = {path.name: path.read_bytes() for path in best.iterdir()}
    assert main(["gate", str(run), "--best", str(best), *QUICK, "--json", str(target)]) == 1
    assert {path.name: path.read_bytes() for path in best.iterdir()} == before
    said = " ".join(capsys.readouterr().out.split())
    assert "+0 Elo for the newest agent is accepted against +150" in said
    assert json.loads(target.read_text())["sprt"]["accepted"] == 0


def test_a_stronger_agent_takes_the_place_of_the_best_one(run, tmp_path, capsys):
    best, untrained = tmp_path / "best", tmp_path / "untrained"
    settings = ["training.steps=1", "network.blocks=1", "network.channels=16",
                "evaluation.games=0", "replay.min_positions=256"]  # fmt: skip
    assert main(["train", "tic_tac_toe", *settings, "--run-dir", str(untrained)]) == 0
    assert main(["gate", str(untrained), "--best", str(best)]) == 0
    assert checkpoint.describe(best).step == 1
    assert main(["gate", str(run), "--best", str(best), *QUICK]) == 0
    assert "+150 Elo for the newest agent is accepted" in " ".join(capsys.readouterr().out.split())
    assert checkpoint.describe(best).step == 400


def test_a_best_folder_that_may_not_be_replaced_is_refused_before_any_game(run, tmp_path, capsys):
    best = tmp_path / "best"
    assert main(["gate", str(run), "--best", str(best)]) == 0
    (best / "notes.txt").write_text("mine")
    assert main(["gate", str(run), "--best", str(best), *QUICK]) == 2
    shown = capsys.readouterr().err
    assert "holds something already" in shown
    assert "log-likelihood" not in shown


def test_the_best_agent_is_brought_back_where_its_replacement_was_interrupted(run, tmp_path):
    best = tmp_path / "best"
    old = sealed.replaced(best)
    assert main(["gate", str(run), "--best", str(best)]) == 0
    best.rename(old)
    assert main(["gate", str(run), "--best", str(best), *QUICK]) == 1
    assert checkpoint.describe(best).step == 400
    assert not old.exists()


def test_the_json_of_every_outcome_says_whether_the_best_agent_was_replaced(run, tmp_path, capsys):
    best = tmp_path / "best"
    for expected in (0, 1):
        assert main(["gate", str(run), "--best", str(best), *QUICK, "--json", "-"]) == expected
        assert json.loads(capsys.readouterr().out)["replaced"] == (expected == 0)


def test_a_folder_that_is_no_run_is_refused_in_one_line(tmp_path, capsys):
    assert main(["gate", str(tmp_path / "nothing")]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
