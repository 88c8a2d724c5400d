"""Evaluators and groups that the processes of a node import in tests."""

import itertools
import logging
import os
import time
from pathlib import Path

import numpy as np

import games
from alphazero.errors import RunFailed
from alphazero.types import Evaluation
from workers.node.player import game_groups


def wait_until(condition, seconds=240.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true in time"
        time.sleep(0.02)


class Hashing:
    """An evaluator without torch: values and logits are a hash of the state and the weights."""

    def __init__(self, num_actions):
        self.num_actions = num_actions
        self.loaded = (0, -1)

    def load(self, weights, version):
        self.loaded = int(weights["salt"]), version

    def __call__(self, states):
        salt, version = self.loaded
        rows = np.frombuffer(states.tobytes(), np.uint8).reshape(len(states), -1)
        mixed = np.sin((rows * np.arange(1, rows.shape[1] + 1)).sum(1) + salt)
        logits = np.sin(mixed[:, None] * np.arange(1, self.num_actions + 1))
        return Evaluation(logits.astype(np.float32), mixed.astype(np.float32), version)


def hashing(config):
    return Hashing(games.make(config.game).num_actions)


class Failing(Hashing):
    """Fails with weights from ``version`` on."""

    def __init__(self, num_actions, version):
        super().__init__(num_actions)
        self.version = version

    def __call__(self, states):
        if self.loaded[1] >= self.version:
            raise RunFailed(f"weights version {self.loaded[1]} give values that are not finite")
        return super().__call__(states)


def failing_at_once(config):
    return Failing(9, 0)


def failing_later(config):
    return Failing(9, 1)


def warning(config):
    logging.getLogger("alphazero.nn.cuda").warning("inference continues without graphs")
    return hashing(config)


def broken(config):
    raise ValueError("no such device: cuda:7")


def asleep(seconds):
    time.sleep(seconds)


def weights(salt: int) -> dict:
    return {"salt": np.array(salt)}


class Raising:
    """A group whose game raises at its second move."""

    def __init__(self):
        self.moves = 0

    def move(self, newest):
        self.moves += 1
        if self.moves == 2:
            raise IndexError("list index\nout of range")
        return []
        yield


def raising_groups(count, game_ids):
    return [Raising() for _ in range(count)]


class Once:
    """Ends the first ``times`` processes that call it by SIGKILL, as counted in a file."""

    def __init__(self, path: Path, times: int):
        self.path, self.times = Path(path), times

    def __call__(self):
        with self.path.open("ab") as file:
            file.write(b".")
        if self.path.stat().st_size <= self.times:
            os.kill(os.getpid(), 9)


class Killed(Hashing):
    """An evaluator whose process is killed while it evaluates, at its tenth call."""

    def __init__(self, path, num_actions):
        super().__init__(num_actions)
        self.end, self.calls = Once(path, 1), itertools.count()

    def __call__(self, states):
        if next(self.calls) == 10:
            self.end()
        return super().__call__(states)


class KilledAt:
    """Makes ``Killed`` evaluators; pickled by its attributes."""

    def __init__(self, path):
        self.path = str(path)

    def __call__(self, config):
        return Killed(self.path, games.make(config.game).num_actions)


def always_killed(config, processes, game_ids):
    """Groups whose process is killed as soon as it plays."""
    groups = game_groups(config, processes, game_ids)
    os.kill(os.getpid(), 9)
    return groups


def exiting_groups(text, game_ids):
    """Groups whose process writes a text and ends, as where a library ends it."""
    os.write(2, text.encode())
    os._exit(1)


class Uncounted:
    """A place for games that counts none."""

    positions = 0

    def store(self, games):
        return len(list(games))
