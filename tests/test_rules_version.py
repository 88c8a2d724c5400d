"""A run, its games and its agents keep the version of the rules; other rules are refused."""

import dataclasses

import numpy as np
import pytest
from made_up_rows import random_record

import alphazero
import games
from alphazero import checkpoint, config, local_run, wire
from alphazero.judging import agent
from games.tic_tac_toe import TicTacToe

SETTINGS = [
    "training.steps=2", "training.batch_size=16", "training.threads=1", "network.blocks=1",
    "network.channels=4", "search.simulations=2", "selfplay.games=4", "replay.min_positions=20",
    "inference.backend=torch", "tracking.wandb=off",
]  # fmt: skip


def play_misere(monkeypatch):
    """Let three in a row lose from now on: the states are the same as before."""
    outcome = TicTacToe.outcome
    monkeypatch.setattr(TicTacToe, "outcome", lambda self, states: 0 - outcome(self, states))


@pytest.fixture
def run(tmp_path):
    alphazero.train(config.load("tic_tac_toe", SETTINGS), tmp_path / "run")
    return tmp_path / "run"


def test_games_of_other_rules_are_refused_in_one_line_that_names_both_versions(
    tmp_path, monkeypatch
):
    path, game = tmp_path / "shard_000000.bin", games.make("tic_tac_toe")
    path.write_bytes(wire.header(game) + wire.encode(game, random_record(game, 1)))
    assert [record.game_id for _, record in wire.read_shard(game, path)] == [1]
    play_misere(monkeypatch)
    misere = games.make("tic_tac_toe")
    with pytest.raises(wire.WireError, match="other rules of tic_tac_toe") as caught:
        list(wire.read_shard(misere, path))
    assert game.rules_version in str(caught.value)
    assert misere.rules_version in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_shard_without_a_version_of_the_rules_is_read_and_not_continued(tmp_path):
    path, game = tmp_path / "shard_000000.bin", games.make("tic_tac_toe")
    text = wire.header(game)[:-4].replace(f', "rules": "{game.rules_version}"'.encode(), b"")
    assert b"rules" not in text
    header = text + wire._CRC.pack(wire.zlib.crc32(text))
    path.write_bytes(header + wire.encode(game, random_record(game, 1)))
    assert [record.game_id for _, record in wire.read_shard(game, path)] == [1]
    assert not wire.is_current(game, path)


def test_a_run_is_not_resumed_and_its_agent_not_loaded_with_other_rules(run, monkeypatch):
    agent.load(run)
    saved = checkpoint.load(run)
    assert saved.rules_version == games.make("tic_tac_toe").rules_version
    files = sorted(path.name for path in run.rglob("*"))
    play_misere(monkeypatch)
    more = config.load("tic_tac_toe", [*SETTINGS, "training.steps=4"])
    for refused in (lambda: alphazero.train(more, run, resume=True), lambda: agent.load(run)):
        with pytest.raises(ValueError, match="other rules of tic_tac_toe") as caught:
            refused()
        assert "\n" not in str(caught.value)
    assert sorted(path.name for path in run.rglob("*")) == files


def test_a_released_agent_keeps_the_version_of_its_rules(run, tmp_path):
    checkpoint.release(checkpoint.load(run), tmp_path / "agent", {})
    assert checkpoint.load(tmp_path / "agent").rules_version == checkpoint.load(run).rules_version


def test_a_checkpoint_without_a_version_of_the_rules_is_accepted(run):
    earlier = dataclasses.replace(checkpoint.load(run), rules_version=None)
    checkpoint.check_rules(earlier, games.make("tic_tac_toe"))
    with pytest.raises(ValueError, match="rules_version is 'x', now"):
        checkpoint.check_rules(
            dataclasses.replace(earlier, rules_version="x"), games.make("tic_tac_toe")
        )


def test_games_are_the_same_in_both_rules_but_their_results_are_not():
    # What the tests above rely on: nothing but the version tells these rules apart.
    game, states = games.make("tic_tac_toe"), games.make("tic_tac_toe").initial(1)
    for action in (0, 3, 1, 4, 2):
        states = game.step(states, np.array([action]))
    assert game.outcome(states).tolist() == [-1]


def test_a_run_whose_game_has_other_planes_now_is_refused_before_anything_is_opened(
    run, monkeypatch
):
    observe, shape = TicTacToe.observe, TicTacToe.observation_shape

    def with_another_plane(self, states):
        planes = observe(self, states)
        return np.concatenate([planes, planes[:, :1]], axis=1)

    monkeypatch.setattr(TicTacToe, "observe", with_another_plane)
    monkeypatch.setattr(TicTacToe, "observation_shape", (shape[0] + 1, *shape[1:]))
    monkeypatch.setattr(local_run, "make_learner", None)
    monkeypatch.setattr(local_run, "Replay", None)
    settings = config.load("tic_tac_toe", SETTINGS)
    with pytest.raises(ValueError, match=r"weights of another network: \S+ has shape") as caught:
        alphazero.train(settings, run, resume=True)
    assert "\n" not in str(caught.value)
