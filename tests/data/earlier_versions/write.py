"""Writes the files of this folder with the code of version 0.1 (revision 215db71).

Run once there, with the folder to write to: PYTHONPATH=. python write.py FOLDER. The files are not
to be written again: later versions write other formats.
"""

import shutil
import sys
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from pydantic import TypeAdapter

import games
from alphazero import checkpoint, loop, wire
from alphazero.config import Config, ReplaySettings, SelfPlaySettings
from alphazero.inference import NetworkEvaluator
from alphazero.learner import Learner
from alphazero.local_fleet import LocalFleet
from alphazero.loop import Hooks
from alphazero.replay import Replay
from alphazero.search import run
from alphazero.search.gumbel import Gumbel
from alphazero.selfplay import GameGroup
from alphazero.types import Evaluation

SHARDS = {"tic_tac_toe": 20, "connect_four": 6, "othello:size=4": 6}
TREE = {
    "game": "tic_tac_toe",
    "search": {"kind": "gumbel", "simulations": 4},
    "selfplay": {"games": 2, "groups": 2, "random_opening_plies": 2},
    "network": {
        "blocks": 1, "channels": 2, "policy_channels": 1, "value_channels": 1, "value_hidden": 2
    },
    "replay": {"min_positions": 60, "window_min": 100},
    "training": {"steps": 9, "batch_size": 32, "publish_every": 3, "precision": "float32"},
    "inference": {"backend": "torch", "precision": "float32"},
}  # fmt: skip


def hashed(game):
    def evaluate(states):
        rngs = [np.random.default_rng(list(state.tobytes())) for state in states]
        logits = np.array([rng.normal(size=game.num_actions) for rng in rngs], np.float32)
        value = np.array([rng.uniform(-0.9, 0.9) for rng in rngs], np.float32)
        return Evaluation(logits, value, 3)

    return evaluate


def columns(records):
    """The records' arrays one after another, and the numbers of plies and positions per game."""
    names = ("actions", "states", "policy", "value", "outcome")
    arrays = {name: np.concatenate([getattr(r, name) for r in records]) for name in names}
    arrays["states"] = np.frombuffer(arrays["states"].tobytes(), np.uint8)
    for name in ("game_id", "version"):
        arrays[name] = np.array([getattr(record, name) for record in records])
    arrays["plies"] = np.array([len(record.actions) for record in records])
    arrays["positions"] = np.array([len(record) for record in records])
    return arrays


def write_shards(folder):
    for spec, number in SHARDS.items():
        game = games.make(spec)
        settings = SelfPlaySettings(games=4, random_opening_plies=3, resign_value=0.8)
        group = GameGroup(game, Gumbel(simulations=4), settings, 1, count(5))
        records = []
        while len(records) < number:
            records += run(group.move(), hashed(game))
        name = spec.partition(":")[0]
        with TemporaryDirectory() as run_folder:
            replay = Replay(game, Path(run_folder), ReplaySettings())
            replay.extend(records[:number])
            replay.close()
            shutil.copy(Path(run_folder) / "shard_000000.bin", folder / f"{name}_shard.bin")
        np.savez_compressed(folder / f"{name}_shard.npz", **columns(records[:number]))


def write_checkpoint(folder):
    """A training state, and the next games of its first group."""
    config = TypeAdapter(Config).validate_python(TREE)
    game = games.make(config.game)
    torch.set_num_threads(1)
    with TemporaryDirectory() as directory:
        learner = Learner(game, config.network, config.optimizer, config.training, config.seed)
        replay = Replay(game, Path(directory) / "games", config.replay)
        evaluator = NetworkEvaluator(game, config.network, config.inference)
        fleet = LocalFleet(game, config.search, config.selfplay, evaluator, config.seed)
        parts = loop.Run(config, Path(directory), learner, replay, fleet)
        saved = []
        # Until a checkpoint holds a game that has ended and was not yet collected.
        for steps in range(1, 9):
            hooks = Hooks(
                stop=lambda steps=steps: learner.step >= steps,
                saved=lambda _, path: saved.append(path),
            )
            loop.train(parts, hooks)
            state = checkpoint.load_state(saved[-1])
            if any(seat["played"] for seat in state["fleet"]["seats"]):
                break
        shutil.copy(saved[-1] / "training.pt", folder / "training.pt")
        shutil.copy(Path(directory) / "games" / "shard_000000.bin", folder / "training_shard.bin")
        fleet.close()
        replay.close()
    played = [
        wire.decode(game, frame) for seat in state["fleet"]["seats"] for frame in seat["played"]
    ]
    np.savez_compressed(folder / "training_played.npz", **columns(played))
    group = GameGroup(game, config.search, config.selfplay, config.seed, count(0, 2))
    group.restore(state["fleet"]["seats"][0]["group"])
    later = [record for _ in range(12) for record in run(group.move(), hashed(game))]
    np.savez_compressed(folder / "training_later.npz", **columns(later))
    print("step", learner.step, len(played), "played", len(later), "later")


if __name__ == "__main__":
    write_shards(Path(sys.argv[1]))
    write_checkpoint(Path(sys.argv[1]))
