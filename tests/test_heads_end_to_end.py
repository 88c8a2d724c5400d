"""Self-play, replay, batches and learner together, with every head and an encoder with history."""

from itertools import count

import numpy as np
import pytest

import games
from alphazero import encoders, heads
from alphazero.cache import EvaluationCache
from alphazero.config import (
    InferenceSettings,
    NetworkSettings,
    ReplaySettings,
    SelfPlaySettings,
    TrainingSettings,
)
from alphazero.inference import NetworkEvaluator
from alphazero.learner import Learner
from alphazero.nn.settings import OptimizerSettings, ScheduleSettings
from alphazero.replay import Replay, to_batch
from alphazero.search import run
from alphazero.search.gumbel import Gumbel
from alphazero.selfplay import GameGroup
from workers import cli

NETWORK = NetworkSettings(
    blocks=1,
    channels=8,
    encoder="made_up_encoders:HistoryPlanes",
    heads=dict.fromkeys(heads.HEADS, 0.5),
)
TORCH = InferenceSettings(backend="torch", precision="float32", device="cpu")
OPTIMIZER = OptimizerSettings(schedule=ScheduleSettings(kind="constant", warmup_steps=0))
ON_CPU = TrainingSettings(device="cpu", precision="float32")


@pytest.mark.parametrize("name", ["connect_four", "othello:size=6"])
def test_every_head_learns_from_games_played_on_states_with_a_history(name, tmp_path):
    rules = games.make(name)
    encoder = encoders.make(NETWORK.encoder, rules)
    game = encoders.played_game(rules, encoder)
    learner = Learner(game, NETWORK, OPTIMIZER, ON_CPU, 0)
    evaluator = NetworkEvaluator(game, NETWORK, TORCH)
    evaluator.load(learner.weights(), 1)
    settings = SelfPlaySettings(games=8, stop_when_proven=False)
    group = GameGroup(game, Gumbel(simulations=8), settings, 3, count())
    cache = EvaluationCache(game, 2**12, evaluator.encoder.key)
    replay = Replay(game, tmp_path, ReplaySettings(), heads=tuple(NETWORK.heads))
    while replay.positions < 400:
        replay.extend(run(cache.wrap(group.move()), evaluator))
    batch = to_batch(game, replay.sample(128, np.random.default_rng(0)), encoder)
    figures = [learner.train_step(batch, 0.0) for _ in range(60)]
    for head in heads.HEADS:
        known = ~np.isnan(batch.auxiliary[head].reshape(128, -1)).any(axis=1)
        assert known.mean() > 0.8, head
        assert figures[-1][f"{head}_loss"] < figures[0][f"{head}_loss"], head
    replay.close()


def test_a_run_says_which_heads_learn_nothing_from_games_that_end_by_a_proof(tmp_path, capsys):
    words = (
        "train", "othello_6x6", "training.steps=1",
        "selfplay.games=4", "replay.min_positions=20", "training.batch_size=16",
        "network={blocks: 1, channels: 8, heads: {ownership: 1, reply: 1}}",
        "evaluation.games=0", "tracking.wandb=off",
    )  # fmt: skip
    assert cli.main([*words, "--run-dir", str(tmp_path / "proofs")]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "games that end by a proof teach nothing to the heads ownership;" in text
    played_out = [*words, "selfplay.stop_when_proven=false", "--run-dir", str(tmp_path / "rules")]
    assert cli.main(played_out) == 0
    assert "teach nothing" not in capsys.readouterr().out
