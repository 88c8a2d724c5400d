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


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """A run of tic-tac-toe of a single step."""
    folder = tmp_path_factory.mktemp("gate") / "untrained"
    settings = ["training.steps=1", "network.blocks=1", "network.channels=16",
                "evaluation.games=0", "replay.min_positions=256"]  # fmt: skip
    assert main(["train", "tic_tac_toe", *settings, "--run-dir", str(folder)]) == 0
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_weaker_agent_is_not_accepted_and_the_best_one_stays(run, untrained, tmp_path, capsys):
    best, target = tmp_path / "best", tmp_path / "result.json"
    assert main(["gate", str(run), "--best", str(best)]) == 0
    before = contents(best)
    assert main(["gate", str(untrained), "--best", str(best), *QUICK, "--json", str(target)]) == 1
    assert contents(best) == before
    said = " ".join(capsys.readouterr().out.split())
    lead = "a lead of +0 Elo or less for the newest agent is accepted, of +150 Elo or more rejected"
    assert lead in said
    assert "wins" in said
    assert "the interval of the table counts single games" in said
    assert "stays: a lead of +150 Elo or more is rejected" in said
    figures = json.loads(target.read_text())
    assert figures["sprt"]["accepted"] == 0
    assert [one["name"] for one in figures["players"]] == ["the newest agent", "the best agent"]


def test_an_undecided_test_says_that_more_games_may_decide(run, untrained, tmp_path, capsys):
    best = tmp_path / "best"
    assert main(["gate", str(run), "--best", str(best)]) == 0
    few = ["--games", "24", "--simulations", "8", "--seed", "1", "--opening-plies", "1"]
    assert main(["gate", str(untrained), "--best", str(best), *few]) == 1
    shown = capsys.readouterr()
    assert "games begin with 1 to 2 random plies" in " ".join(shown.err.split())
    said = " ".join(shown.out.split())
    assert "undecided between a lead of +0 and +20 Elo for the newest agent" in said
    assert "More --games may decide it or, where games repeat" in said
    assert said.endswith("stays: the test is undecided")


def test_the_same_agent_again_is_the_best_one_already_without_a_game(run, tmp_path, capsys):
    best = tmp_path / "best"
    assert main(["gate", str(run), "--best", str(best)]) == 0
    before = contents(best)
    assert main(["gate", str(run), "--best", str(best)]) == 1
    assert contents(best) == before
    said = capsys.readouterr()
    assert f"{best} holds the newest agent of {run} already" in " ".join(said.out.split())
    assert "games" not in said.err


def test_a_stronger_agent_takes_the_place_of_the_best_one(run, untrained, tmp_path, capsys):
    best = tmp_path / "best"
    assert main(["gate", str(untrained), "--best", str(best)]) == 0
    assert checkpoint.describe(best).step == 1
    assert main(["gate", str(run), "--best", str(best), *QUICK, "--opening-plies", "3"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "a lead of +150 Elo or more for the newest agent is accepted" in said
    assert checkpoint.describe(best).step == 400


def test_an_exported_agent_is_no_run_and_stays_as_it_is(run, tmp_path, capsys):
    agent = tmp_path / "agent"
    assert main(["export", str(run), "--to", str(agent)]) == 0
    before = contents(agent)
    assert main(["gate", str(agent)]) == 2
    assert (
        "is no run directory: it has no folder checkpoints; `alphazero arena --sprt` compares"
        in (capsys.readouterr().err)
    )
    assert contents(agent) == before


@pytest.mark.parametrize(
    ("number", "rule"),
    [
        ("1", "simulations=1: should be greater than or equal to 2"),
        (str(10**10), "simulations: should be less than or equal to 4294967295"),
    ],
)
def test_impossible_simulations_are_refused_in_one_line(
    number, rule, run, untrained, tmp_path, capsys
):
    best = tmp_path / "best"
    assert main(["gate", str(untrained), "--best", str(best)]) == 0
    capsys.readouterr()
    assert main(["gate", str(run), "--best", str(best), "--simulations", number]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert rule in line


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
