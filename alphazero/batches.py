"""Training batches, drawn from the replay buffer beside the learner's step."""

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from alphazero.config import Config
from alphazero.parts import encoder_of, game_of
from alphazero.protocols import ReplayRole
from alphazero.replay import Batch, to_batch
from alphazero.types import Stream


class Batches:
    """The batches of a run; a context manager, which ends its thread.

    Each step's batch is drawn with a generator of its own, seeded by the run's seed and the step:
    a resumed run draws the same ones.
    """

    def __init__(self, config: Config, replay: ReplayRole):
        self._config, self._replay = config, replay
        self._game, self._encoder = game_of(config), encoder_of(config)
        self._pool = ThreadPoolExecutor(1, "batches")
        self._next: Future[Batch] | None = None

    def __enter__(self) -> "Batches":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def take(self, step: int, ahead: bool) -> Batch:
        """The batch of ``step``, which is the step after the one of the last call.

        ``ahead``: draw the batch of ``step + 1`` on a thread, now. Only where no game will be
        stored before that step, or the batch would miss its positions.
        """
        batch = self._next.result() if self._next else self._draw(step)
        self._next = self._pool.submit(self._draw, step + 1) if ahead else None
        return batch

    def _draw(self, step: int) -> Batch:
        config = self._config
        rng = np.random.default_rng([config.seed, Stream.BATCH, step])
        samples = self._replay.sample(config.training.batch_size, rng)
        return to_batch(self._game, samples, self._encoder)
