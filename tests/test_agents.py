"""The bundled agents: undamaged, small, described, and found without a path."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest

import games
from alphazero import agents, checkpoint
from alphazero.judging import agent, mistakes, players
from workers import cli
from workers.runs.export import UNKNOWN_STRENGTH

ROOT = Path(__file__).parents[1]
LARGEST = 3_000_000
each_agent = pytest.mark.parametrize("name", agents.names())


def test_every_folder_is_the_agent_of_one_game():
    folders = sorted(path.parent.name for path in agents.FOLDER.glob(f"*/{agents.CARD}"))
    assert folders == sorted(agents.FOLDERS.values())


@each_agent
def test_an_agent_is_undamaged_small_and_plays_the_game_of_its_name(name):
    folder = agents.find(name)
    assert games.make(checkpoint.load(folder).config.game).name == name
    assert sum(path.stat().st_size for path in folder.iterdir()) <= LARGEST


@each_agent
def test_a_model_card_names_the_weights_beside_it_and_their_measured_strength(name):
    digest = hashlib.sha256((agents.find(name) / checkpoint.WEIGHTS).read_bytes()).hexdigest()
    assert digest in agents.card(name)
    assert UNKNOWN_STRENGTH not in agents.card(name)


def test_a_single_flipped_bit_is_an_error_of_one_line_that_names_the_file(tmp_path):
    folder = shutil.copytree(agents.find("tic_tac_toe"), tmp_path / "agent")
    weights = bytearray((folder / checkpoint.WEIGHTS).read_bytes())
    weights[len(weights) // 2] ^= 1
    (folder / checkpoint.WEIGHTS).write_bytes(weights)
    with pytest.raises(ValueError, match=r"weights\.safetensors was altered") as refused:
        players.make(f"policy:path={folder}", games.make("tic_tac_toe"))
    assert "\n" not in str(refused.value)


def test_a_player_without_a_path_is_the_bundled_agent():
    game = games.make("tic_tac_toe")
    states = game.step(game.initial(9), np.arange(9))
    rngs = [np.random.default_rng(row) for row in range(9)]
    bundled = players.make("policy", game)(states, rngs)
    named = players.make(f"policy:path={agents.FOLDER / 'tic_tac_toe'}", game)(states, rngs)
    np.testing.assert_allclose(bundled.policy, named.policy, atol=0.02)
    assert players.make("checkpoint:simulations=2", game).simulations == 2


@pytest.mark.parametrize("name", ["go:size=5,komi=24", "go:komi=24.0,size=5", "go_5x5"])
def test_an_agent_is_loaded_by_any_spelling_of_its_game_and_by_its_folder(name):
    assert agent.find(name) == agents.FOLDER / "go_5x5"


@pytest.mark.parametrize("spec", ["policy", "checkpoint:simulations=8"])
def test_a_game_without_an_agent_is_refused_in_one_line_that_lists_those_with_one(spec):
    game = games.make("othello:size=6")
    for look in (players.check, players.make):
        with pytest.raises(
            ValueError, match=r"only for connect_four, .* and tic_tac_toe"
        ) as refused:
            look(spec, game)
        assert "no agent for othello:size=6" in str(refused.value)
        assert "\n" not in str(refused.value)


def test_the_default_opponent_is_the_bundled_agent_or_else_rollouts():
    assert players.default(games.make("connect_four")) == "checkpoint:simulations=600"
    assert players.default(games.make("othello:size=4")) == "mcts:seconds=1.5"


@pytest.mark.parametrize(
    ("game", "printed"),
    [
        ("tic_tac_toe", "tic_tac_toe against checkpoint:simulations=600."),
        ("othello:size=4", "No agent for othello:size=4 comes with this program: mcts:seconds"),
    ],
)
def test_play_begins_with_nothing_but_a_game(game, printed, monkeypatch, capsys):
    monkeypatch.setattr("builtins.input", lambda prompt: "q")
    assert cli.main(["play", game]) == 0
    assert capsys.readouterr().out.startswith(printed)


def test_play_shows_the_model_card_of_the_agent_or_reports_that_there_is_none(capsys):
    assert cli.main(["play", "tic_tac_toe", "--about"]) == 0
    assert "How strong" in capsys.readouterr().out
    assert cli.main(["play", "tic_tac_toe", "--about", "--player", "random"]) == 2
    assert cli.main(["play", "othello:size=4", "--about"]) == 2
    assert "no agent for othello:size=4" in capsys.readouterr().err


def test_the_tic_tac_toe_agent_never_errs_even_without_search():
    game = games.make("tic_tac_toe")
    positions = mistakes.positions_from("all", game)
    result = mistakes.evaluate(players.make("policy", game), positions, game, seed=0)
    assert (result["positions"], result["mistakes"]) == (4520, 0)
