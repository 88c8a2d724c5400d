"""The rate of training by itself."""

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing.connection import Connection

import numpy as np
import torch
from torch.nn import functional

from alphazero import network
from alphazero.config import Config
from alphazero.learner import Learner
from alphazero.nn.parallel import keep_memory
from alphazero.parts import encoder_of, game_of
from alphazero.replay import Batch
from alphazero.targets import TARGETS
from games.base import Game
from workers.bench.measuring import BenchSettings, Figures, Work, circumstances, measure, midgame


def bench(chosen: Config, settings: BenchSettings) -> Figures:
    """Measure optimizer steps of the learner and of a plain float32 loop, in turns."""
    keep_memory()
    game = game_of(chosen)
    training = replace(chosen.training, threads=settings.threads)
    learner = Learner(game, chosen.network, chosen.optimizer, training, chosen.seed)
    batch = _batch(chosen, settings.batch)

    def step(_: int) -> int:
        learner.train_step(batch, progress=0.0)
        return settings.batch

    with _plain_process(chosen, settings) as plain:
        ours, theirs = measure([Work(step, threads=1), Work(plain, threads=1)], settings.seconds)
    return {
        "samples_per_second": ours.rate,
        "plain_samples_per_second": theirs.rate,
        "ratio": ours.rate / theirs.rate,
        **circumstances(chosen, settings),
        "batch": settings.batch,
        "precision": learner.precision,
        "fused": learner.fused,
        "tiles": learner.tiles,
    }


@contextmanager
def _plain_process(chosen: Config, settings: BenchSettings) -> Iterator[Callable[[int], int]]:
    """Yield the step of a plain loop that runs in a process of its own.

    There it has the conditions of an ordinary script: torch's own threads on all cores, the C
    library's default memory settings, and the main thread.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(chosen, settings, theirs), daemon=True)
    process.start()
    theirs.close()

    def step(_: int) -> int:
        ours.send(True)
        return ours.recv()

    try:
        yield step
    finally:
        ours.close()
        process.join()


def _serve(chosen: Config, settings: BenchSettings, pipe: Connection) -> None:
    """Take one step per message from ``pipe``, until it is closed."""
    torch.set_num_threads(settings.threads)
    game = game_of(chosen)
    step = _plain_loop(chosen, game, _batch(chosen, settings.batch))
    with suppress(EOFError):
        while pipe.recv():
            pipe.send(step())


def _batch(chosen: Config, size: int) -> Batch:
    """Positions with uniform policies, random outcomes and targets of 0 for auxiliary heads.

    They cost as much as real ones.
    """
    game = game_of(chosen)
    states = midgame(game, size)
    legal = game.legal(states)
    policy = (legal / legal.sum(axis=1, keepdims=True)).astype(np.float32)
    wdl = np.eye(3, dtype=np.float32)[np.random.default_rng(0).integers(3, size=size)]
    auxiliary = {
        name: np.zeros((size, *TARGETS[name].shape(game)), np.float32)
        for name in chosen.network.heads
    }
    return Batch(encoder_of(chosen)(states), legal, policy, wdl, None, auxiliary)


def _plain_loop(chosen: Config, game: Game, batch: Batch) -> Callable[[], int]:
    """Plain torch for comparison: float32, the default memory layout, plain Adam.

    Auxiliary heads are computed, but not trained.
    """
    wdl_network = network.build(game, chosen.network, chosen.seed).train()
    optimizer = torch.optim.Adam(wdl_network.parameters(), lr=1e-3, weight_decay=1e-4)

    def step() -> int:
        observations, legal, policy, wdl = (torch.from_numpy(array) for array in batch[:4])
        logits, value_logits = wdl_network(observations)[:2]
        target = wdl if value_logits.shape[1] == 3 else wdl[:, :1]
        loss = functional.cross_entropy(logits.masked_fill(~legal, -1e9), policy)
        loss = loss + functional.mse_loss(value_logits, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
        return len(observations)

    return step
