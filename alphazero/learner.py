"""The learner: batches in, better weights out."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from alphazero import network as networks
from alphazero.config import NetworkSettings, TrainingSettings
from alphazero.nn import losses
from alphazero.nn.descent import Descent, Diverged
from alphazero.nn.device import choose
from alphazero.nn.parallel import compute_dtype
from alphazero.nn.settings import OptimizerSettings
from alphazero.nn.weights import Weights
from alphazero.replay import Batch
from alphazero.types import RunFailed
from games.base import Game

TIMED_BATCH = 256


class Learner:
    """Trains one network from what self-play stored.

    Everything that decides the next step is in ``state``, so that 10 steps, ``restore`` and 10
    more equal 20 bit for bit on the same machine with the same number of threads.
    """

    def __init__(
        self,
        game: Game,
        network: NetworkSettings,
        optimizer: OptimizerSettings,
        training: TrainingSettings,
        seed: int,
    ):
        """First weights from ``seed`` alone. ValueError where ``training.device`` is not here."""
        self._training = training
        self._network = networks.build(game, network, seed).to(choose(training.device))
        threads = 1 if training.threads == "auto" else training.threads
        self._descent = Descent(self._network, optimizer, training.ema, training.precision, threads)
        self._descent.measure(self._forward, _blank(game, self._descent.device))

    @property
    def step(self) -> int:
        """Optimizer steps so far."""
        return self._descent.step

    @property
    def precision(self) -> str:
        return self._descent.precision

    def train_step(self, batch: Batch, progress: float) -> dict[str, float]:
        """One optimizer step on ``batch``; losses and other figures of it, before the step.

        ``progress`` in [0, 1] is the share of the run that is over; the learning rate follows it.

        ValueError for a batch that is not finite or aims at an illegal action, and it is refused
        before the forward pass: BatchNorm's running statistics would remember a NaN for ever. A
        loss or gradient that is not finite raises RunFailed; to skip it would leave the
        statistics just as damaged, so the run has to go on from its newest checkpoint.
        """
        check(batch)
        tensors = [torch.from_numpy(array).to(self._descent.device) for array in batch]
        try:
            return self._descent.descend(self._forward, tensors, progress)
        except Diverged as error:
            raise RunFailed(f"{error} and resume") from error

    def begin_with(self, weights: Weights) -> None:
        """Take ``weights`` trained elsewhere for the first ones; they may have fewer blocks.

        ValueError: another network's.
        """
        if self.step:
            raise ValueError(f"the learner is at step {self.step}: it has weights of its own")
        self._descent.load(networks.deepen(self._network, weights))

    def weights(self) -> Weights:
        """The averaged weights, which play: parameters and BatchNorm statistics."""
        return self._descent.weights()

    def state(self) -> dict[str, Any]:
        """A snapshot for ``torch.save``; ``torch.load(weights_only=True)`` reads it."""
        return self._descent.state()

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a ``state`` of a learner with the same settings.

        ValueError for one of an earlier version, which had an optimizer state for each tensor.
        """
        if len(state["optimizer"]["state"]) > len(state["optimizer"]["param_groups"]):
            raise ValueError(
                "this checkpoint was saved by an earlier version and cannot be resumed; "
                "its weights can still play"
            )
        self._descent.restore(state)

    def _forward(
        self, network: Any, observations: Tensor, legal: Tensor, policy: Tensor, wdl: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss to minimize and what is reported of it."""
        observations = observations.to(compute_dtype(network), memory_format=torch.channels_last)
        logits, value_logits = (found.float() for found in network(observations))
        log_policy = losses.masked_log_softmax(logits, legal)
        policy_loss = losses.cross_entropy(log_policy, policy)
        value = networks.scalar_value(value_logits)
        target = wdl[:, 0] - wdl[:, 2]
        if value_logits.shape[1] == 3:
            value_loss = losses.wdl_loss(value_logits, wdl)
        else:
            value_loss = losses.scalar_loss(value, target)
        loss = policy_loss + self._training.value_weight * value_loss
        with torch.no_grad():
            return loss, {
                "loss": loss,
                "policy_loss": policy_loss,
                "value_loss": value_loss,
                "policy_entropy": losses.entropy(log_policy.exp()),
                "policy_kl": policy_loss - losses.entropy(policy),
                "value_accuracy": losses.sign_accuracy(value, target),
            }


def check(batch: Batch) -> None:
    """ValueError, naming the array, for a batch that would damage the network."""
    for name in ("observations", "policy", "wdl"):
        if not np.isfinite(getattr(batch, name)).all():
            raise ValueError(f"the batch's {name} hold values that are not finite")
    if batch.policy[~batch.legal].any():
        raise ValueError("the batch's policy is above 0 on an illegal action")


def _blank(game: Game, device: torch.device) -> list[Tensor]:
    """A batch as ``train_step`` has it, to time the network on."""
    actions = (TIMED_BATCH, game.num_actions)
    return [
        torch.zeros(TIMED_BATCH, *game.observation_shape, device=device),
        torch.ones(actions, dtype=torch.bool, device=device),
        torch.zeros(actions, device=device),
        torch.zeros(TIMED_BATCH, 3, device=device),
    ]
