"""The learner: batches in, better weights out."""

import copy
import math
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alphazero import network as networks
from alphazero.config import NetworkSettings, TrainingSettings
from alphazero.nn import losses, optim
from alphazero.nn.device import choose
from alphazero.nn.parallel import Replicas
from alphazero.nn.settings import OptimizerSettings
from alphazero.replay import Batch
from alphazero.types import RunFailed, Weights
from games.base import Game

PRECISIONS = ("float32", "bfloat16")

TIMED_BATCH = 256
TIMED_CALLS = 3


class Learner:
    """Trains one network; ``step`` counts its optimizer steps.

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
        self.step = 0
        self.device = choose(training.device)
        self._optimizer_settings, self._training = optimizer, training
        place: dict[str, Any] = {"device": self.device, "memory_format": torch.channels_last}
        self._network = networks.build(game, network, seed).to(**place)
        threads = 1 if training.threads == "auto" or self.device.type != "cpu" else training.threads
        self._replicas = Replicas(self._network, threads)
        self._optimizer = optim.build(self._network, optimizer)
        self._factor = optim.schedule(optimizer.schedule)
        self._ema = optim.Ema(self._network, training.ema)
        self.precision = training.precision
        if self.precision == "auto":
            self.precision = _faster_precision(self._network, game.observation_shape)

    def train_step(self, batch: Batch, progress: float) -> dict[str, float]:
        """One optimizer step on ``batch``; losses and other figures of it, before the step.

        ``progress`` in [0, 1] is the share of the run that is over; the learning rate follows it.

        ValueError for a batch that is not finite or aims at an illegal action, and it is refused
        before the forward pass: BatchNorm's running statistics would remember a NaN for ever. A
        loss or gradient that is not finite raises RunFailed; to skip it would leave the
        statistics just as damaged, so the run has to go on from its newest checkpoint.
        """
        check(batch)
        tensors = [torch.from_numpy(array).to(self.device) for array in batch]
        figures = self._replicas.backward(self._forward, tensors)
        figures["gradient_norm"] = optim.clip_gradient(
            self._network, self._optimizer_settings.gradient_clip
        )
        metrics = _as_floats(figures)
        if not (math.isfinite(metrics["loss"]) and math.isfinite(metrics["gradient_norm"])):
            raise RunFailed(
                f"training diverged at step {self.step}: loss {metrics['loss']}, gradient norm "
                f"{metrics['gradient_norm']}; lower optimizer.learning_rate and resume"
            )
        rate = self._optimizer_settings.learning_rate * self._factor(self.step, progress)
        optim.set_learning_rate(self._optimizer, rate)
        self._optimizer.step()
        self._ema.update(self._network, self.step)
        self.step += 1
        return metrics | {"learning_rate": rate}

    def weights(self) -> Weights:
        """The averaged weights, which play: parameters and BatchNorm statistics."""
        return networks.to_weights(self._ema.average)

    def state(self) -> dict[str, Any]:
        """A snapshot for ``torch.save``; ``torch.load(weights_only=True)`` reads it."""
        return copy.deepcopy(
            {
                "step": self.step,
                "precision": self.precision,
                "network": dict(self._network.state_dict()),
                "optimizer": self._optimizer.state_dict(),
                "average": self._ema.average,
            }
        )

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a ``state`` of a learner with the same settings."""
        state = copy.deepcopy(state)
        self.step = state["step"]
        if self._training.precision == "auto":
            self.precision = state["precision"]
        self._network.load_state_dict(state["network"])
        moments = state["optimizer"]["state"]
        # Only the moments: rate, L2 and the like are what the settings say now.
        self._optimizer.load_state_dict(self._optimizer.state_dict() | {"state": moments})
        self._ema.restore(state["average"])

    def _forward(
        self, network: Any, observations: Tensor, legal: Tensor, policy: Tensor, wdl: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss to minimize and what is reported of it."""
        logits, value_logits = _outputs(network, observations, self.precision)
        log_policy = losses.masked_log_softmax(logits, legal)
        policy_loss = losses.cross_entropy(log_policy, policy)
        value = networks.scalar_value(value_logits)
        target = wdl[:, 0] - wdl[:, 2]
        if value_logits.shape[1] == 3:
            value_loss = losses.wdl_loss(value_logits, wdl)
        else:
            value_loss = losses.scalar_loss(value, target)
        loss = policy_loss + self._training.value_weight * value_loss
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


def _outputs(network: Any, observations: Tensor, precision: str) -> tuple[Tensor, Tensor]:
    """Policy and value logits in float32, computed in ``precision``."""
    observations = observations.contiguous(memory_format=torch.channels_last)
    kind, enabled = observations.device.type, precision == "bfloat16"
    with torch.autocast(kind, dtype=torch.bfloat16, enabled=enabled):
        logits, value_logits = network(observations)
    return logits.float(), value_logits.float()


def _as_floats(figures: dict[str, Tensor]) -> dict[str, float]:
    """All at once, because on a GPU each read waits for the device."""
    values = torch.stack([tensor.detach() for tensor in figures.values()]).tolist()
    return dict(zip(figures, values, strict=True))


def _faster_precision(network: Any, shape: tuple[int, int, int]) -> str:
    """bfloat16 without hardware for it is several times slower, so both are timed."""
    scratch = copy.deepcopy(network).train()
    observations = torch.zeros(TIMED_BATCH, *shape, device=next(scratch.parameters()).device)
    seconds = {name: _seconds(scratch, observations, name) for name in PRECISIONS}
    return min(seconds, key=lambda name: seconds[name])


def _seconds(network: Any, observations: Tensor, precision: str) -> float:
    """Of the quickest forward and backward pass after a first one."""
    times = []
    for _ in range(1 + TIMED_CALLS):
        start = time.perf_counter()
        logits, value_logits = _outputs(network, observations, precision)
        (logits.sum() + value_logits.sum()).backward()
        logits.sum().item()  # on a GPU, waits until it has finished
        times.append(time.perf_counter() - start)
    return min(times[1:])
