"""The learner trains the network on batches of stored self-play positions."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from alphazero import network as networks
from alphazero.config import NetworkSettings, TrainingSettings
from alphazero.errors import RunFailed
from alphazero.nn import losses
from alphazero.nn.device import choose
from alphazero.nn.parallel import compute_dtype
from alphazero.nn.settings import OptimizerSettings
from alphazero.nn.training import Diverged, Optimization
from alphazero.nn.weights import Weights
from alphazero.replay import Batch
from games.base import Game

TIMED_BATCH = 256
"""Rows of the batch on which ``training.precision`` auto is timed."""


class Learner:
    """Trains one network on batches of stored positions.

    Everything that decides the next step is in ``state``: 10 steps, ``restore`` and 10 more steps
    equal 20 steps bit for bit, on the same machine with the same number of threads.
    """

    def __init__(
        self,
        game: Game,
        network: NetworkSettings,
        optimizer: OptimizerSettings,
        training: TrainingSettings,
        seed: int,
    ):
        """Draw the first weights from ``seed`` alone.

        ValueError where this machine has no ``training.device``.
        """
        self._training = training
        self._network = networks.build(game, network, seed).to(choose(training.device))
        threads = 1 if training.threads == "auto" else training.threads
        self._optimization = Optimization(
            self._network, optimizer, training.ema, training.precision, threads
        )
        self._optimization.choose_precision(self._forward, _blank(game, self._optimization.device))

    @property
    def step(self) -> int:
        """Optimizer steps taken."""
        return self._optimization.steps

    @property
    def precision(self) -> str:
        return self._optimization.precision

    def train_step(self, batch: Batch, progress: float) -> dict[str, float]:
        """Take one optimizer step on ``batch``; return its losses and other figures from before.

        ``progress`` in [0, 1] is the share of the run that is done; the learning rate follows it.

        ValueError for a batch that is not finite or has an illegal action in a policy. It is
        refused before the forward pass, since a NaN would stay in BatchNorm's running statistics
        for good. A loss or gradient that is not finite raises RunFailed: the forward pass has
        damaged the statistics by then, so the run has to resume from its newest checkpoint.
        """
        check(batch)
        tensors = [torch.from_numpy(array).to(self._optimization.device) for array in batch[:4]]
        try:
            return self._optimization.step(self._forward, tensors, progress)
        except Diverged as error:
            raise RunFailed(f"{error} and resume") from error

    def initialize_from(self, weights: Weights) -> None:
        """Start from ``weights`` trained elsewhere; their network may have fewer blocks.

        ValueError where they belong to another network, or a step has been taken already.
        """
        if self.step:
            raise ValueError(f"the learner is at step {self.step}: initial weights come too late")
        self._optimization.load(networks.deepen(self._network, weights))

    def weights(self) -> Weights:
        """The averaged weights, with which self-play plays: parameters and BatchNorm statistics."""
        return self._optimization.weights()

    def state(self) -> dict[str, Any]:
        """A snapshot for ``torch.save``; ``torch.load(weights_only=True)`` reads it."""
        return self._optimization.state()

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from the ``state`` of a learner with the same settings.

        ValueError for a state of an earlier version, with a separate optimizer state per tensor.
        """
        if len(state["optimizer"]["state"]) > len(state["optimizer"]["param_groups"]):
            raise ValueError(
                "this checkpoint was saved by an earlier version and cannot be resumed; "
                "its weights can still play"
            )
        self._optimization.restore(state)

    def _forward(
        self, network: Any, observations: Tensor, legal: Tensor, policy: Tensor, wdl: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss to minimize, and the figures to report.

        The loss is ``cross_entropy(policy) + value_weight * value_loss`` (Silver et al. 2018,
        equation 1; the L2 penalty is in the optimizer). ``policy`` ``[B, A]`` is the search's
        policy, ``wdl`` ``[B, 3]`` the target distribution of win, draw and loss for the player to
        move. A scalar value head learns its expectation: (0.9, 0.1, 0) becomes 0.9.
        """
        rows = len(observations)
        assert legal.shape == policy.shape == (rows, policy.shape[1])
        assert wdl.shape == (rows, 3)
        observations = observations.to(compute_dtype(network), memory_format=torch.channels_last)
        logits, value_logits = (output.float() for output in network(observations))
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
    """Raise ValueError, with the array's name, for a batch that would damage the network."""
    for name in ("observations", "policy", "wdl"):
        if not np.isfinite(getattr(batch, name)).all():
            raise ValueError(f"the batch's {name} hold values that are not finite")
    if batch.policy[~batch.legal].any():
        raise ValueError("the batch's policy is above 0 on an illegal action")


def _blank(game: Game, device: torch.device) -> list[Tensor]:
    """A batch of the shapes of ``train_step``, for timing the network."""
    actions = (TIMED_BATCH, game.num_actions)
    return [
        torch.zeros(TIMED_BATCH, *game.observation_shape, device=device),
        torch.ones(actions, dtype=torch.bool, device=device),
        torch.zeros(actions, device=device),
        torch.zeros(TIMED_BATCH, 3, device=device),
    ]
