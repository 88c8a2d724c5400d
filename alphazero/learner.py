"""The learner trains the network on batches of stored self-play positions."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alphazero import encoders, heads, values
from alphazero import network as networks
from alphazero.config import TrainingSettings
from alphazero.network_settings import Network
from alphazero.nn import losses
from alphazero.nn.device import choose, to_device
from alphazero.nn.divergence import Losses
from alphazero.nn.parallel import Forward, compute_dtype
from alphazero.nn.settings import OptimizerSettings
from alphazero.nn.training import Optimization, Reduce
from alphazero.nn.weights import Weights
from alphazero.replay import Batch
from games.base import Game

TIMED_BATCH = 256
"""Rows of the batch on which ``training.precision`` auto is timed."""

Columns = dict[str, NDArray[Any]]
"""Arrays with one row per position, by name."""

AUXILIARY = "auxiliary."
"""The prefix of the columns that are targets of auxiliary heads."""


class Learner:
    """Trains one network on batches of stored positions.

    Everything that decides the next step is in ``state``: 10 steps, ``restore`` and 10 more steps
    equal 20 steps bit for bit, on the same machine with the same number of threads.
    """

    def __init__(
        self,
        game: Game,
        network: Network,
        optimizer: OptimizerSettings,
        training: TrainingSettings,
        seed: int,
        timed: bool = True,
    ):
        """Draw the first weights from ``seed`` alone.

        ``timed``: time the precisions where ``training.precision`` is auto; without it ``restore``
        has to follow, and sets the stored one. ValueError where this machine has no
        ``training.device``.
        """
        self._training, self._heads = training, network.heads
        self._network = networks.build(game, network, seed).to(choose(training.device))
        threads = 1 if training.threads == "auto" else training.threads
        self._optimization = Optimization(
            self._network,
            optimizer,
            training.ema,
            training.precision,
            threads,
            fusable=isinstance(self._network, networks.PolicyValueNetwork),
        )
        if timed:
            columns = _blank(game, encoders.make(network.encoder, game).shape)
            self._optimization.choose_precision(*self._loss_of(columns))

    @property
    def step(self) -> int:
        """Optimizer steps taken."""
        return self._optimization.steps

    @property
    def losses(self) -> Losses:
        """The losses of the last steps, and where they jumped."""
        return self._optimization.losses

    @property
    def device(self) -> torch.device:
        return self._optimization.device

    @property
    def precision(self) -> str:
        return self._optimization.precision

    @property
    def description(self) -> str:
        """The precision, and the layers that are computed otherwise than by torch."""
        names = {"fused layers": self.fused, "weight gradients on AMX": self.tiles}
        used = " and ".join(name for name, is_used in names.items() if is_used)
        return f"{self.precision} with {used}" if used else self.precision

    @property
    def fused(self) -> bool:
        """Whether BatchNorm and what follows it are computed together, as in ``nn.fused``."""
        return self._optimization.fused

    @property
    def tiles(self) -> bool:
        """Whether weight gradients are computed on tiles of AMX, as in ``nn.weight_gradients``."""
        return self._optimization.tiles

    def train_step(self, batch: Batch, progress: float) -> dict[str, float]:
        """Take one optimizer step on ``batch``; return its losses and other figures from before.

        ``progress`` in [0, 1] is the share of the run that is done; the learning rate follows it.

        ValueError for a batch that is not finite, has an illegal action in a policy or lacks the
        target of a head. It is refused before the forward pass, since a NaN would stay in
        BatchNorm's running statistics for good. Diverged: see ``Optimization.step``; the run has to
        resume from a checkpoint then.
        """
        check(batch, self._heads)
        return self.train_on(columns_of(batch, self._heads), progress)

    def train_on(
        self, columns: Columns, progress: float, reduce: Reduce | None = None
    ) -> dict[str, float]:
        """Take one optimizer step on the columns of a checked batch, or on a share of its rows.

        ``reduce``: as of ``Optimization.step``, for a share.
        """
        return self._optimization.step(*self._loss_of(columns), progress, reduce)

    def close(self) -> None:
        """End what belongs to the learner outside of this process: nothing here."""

    def initialize_from(
        self, weights: Weights, report: Callable[[str], object] = lambda line: None
    ) -> None:
        """Start from ``weights`` trained elsewhere.

        Their network may have fewer blocks and other auxiliary heads; ``report`` is called with a
        line for each head that begins anew or is left out. ValueError where they belong to another
        network, or a step has been taken already.
        """
        if self.step:
            raise ValueError(f"the learner is at step {self.step}: initial weights come too late")
        fitted = networks.fit_heads(self._network, weights, report)
        self._optimization.load(networks.deepen(self._network, fitted))

    def weights(self) -> Weights:
        """The averaged weights, with which self-play plays: parameters and BatchNorm statistics."""
        return self._optimization.weights()

    def state(self) -> dict[str, Any]:
        """A snapshot for ``torch.save``; ``torch.load(weights_only=True)`` reads it."""
        return self._optimization.state()

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from the ``state`` of a learner with the same settings.

        ValueError for a state of an earlier version, with a separate optimizer state per tensor,
        and with KeyError for that of another network or optimizer; nothing is changed then.
        """
        if len(state["optimizer"]["state"]) > len(state["optimizer"]["param_groups"]):
            raise ValueError(
                "this checkpoint was saved by an earlier version and cannot be resumed; "
                "its weights can still play"
            )
        self._optimization.restore(state)

    def _loss_of(self, columns: Columns) -> tuple[Forward, list[Tensor]]:
        """The loss as a function of the columns' tensors, which replicas divide; the tensors."""
        device = self._optimization.device
        tensors = [to_device(array, device) for array in columns.values()]
        return partial(self._forward, tuple(columns)), tensors

    def _forward(
        self, names: tuple[str, ...], network: Any, *tensors: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss to minimize, and the figures to report.

        The loss is ``cross_entropy(policy) + value_weight * value_loss`` (Silver et al. 2018,
        equation 1; the L2 penalty is in the optimizer), plus ``weight * loss`` of each auxiliary
        head. ``names`` are those of the ``tensors``, as in ``columns_of``.
        """
        columns = dict(zip(names, tensors, strict=True))
        observations, legal = columns["observations"], columns["legal"]
        policy, wdl, weight = columns["policy"], columns["wdl"], columns.get("weight")
        assert legal.shape == policy.shape == (len(observations), policy.shape[1])
        observations = observations.to(compute_dtype(network), memory_format=torch.channels_last)
        outputs = networks.as_outputs(network(observations))
        logits, value_logits = outputs.policy.float(), outputs.value.float()
        log_policy = losses.masked_log_softmax(logits, legal)
        policy_loss = losses.cross_entropy(log_policy, policy, weight)
        value_loss = values.loss(value_logits, wdl, weight)
        loss = policy_loss + self._training.value_weight * value_loss
        auxiliary = {
            name: heads.HEADS[name].loss(outputs.auxiliary[name], columns[AUXILIARY + name])
            for name in self._heads
            if AUXILIARY + name in columns
        }
        for name, head_loss in auxiliary.items():
            loss = loss + self._heads[name] * head_loss
        value, target = values.from_logit_tensor(value_logits), values.expectation(wdl)
        with torch.no_grad():
            return loss, {
                "loss": loss,
                "policy_loss": policy_loss,
                "value_loss": value_loss,
                "policy_entropy": losses.entropy(log_policy.exp()),
                "policy_kl": policy_loss - losses.entropy(policy, weight),
                "value_accuracy": losses.sign_accuracy(value, target),
                **{f"{name}_loss": head_loss for name, head_loss in auxiliary.items()},
            }


def check(batch: Batch, names: Iterable[str] = ()) -> None:
    """Raise ValueError, with the array's name, for a batch that would damage the network.

    It needs a target for each of the heads called ``names``; NaN there means that there is none.
    """
    for name in ("observations", "policy", "wdl", "weight"):
        array = getattr(batch, name)
        if array is not None and not np.isfinite(array).all():
            raise ValueError(f"the batch's {name} hold values that are not finite")
    if batch.policy[~batch.legal].any():
        raise ValueError("the batch's policy is above 0 on an illegal action")
    for name in names:
        if name not in batch.auxiliary:
            raise ValueError(f"the batch has no target for the head {name}")
        if np.isinf(batch.auxiliary[name]).any():
            raise ValueError(f"the batch's targets of the head {name} are infinite")


def columns_of(batch: Batch, names: Iterable[str]) -> Columns:
    """The arrays of ``batch`` that are used, by name: those of ``Batch``, then the heads'."""
    columns = {name: getattr(batch, name) for name in ("observations", "legal", "policy", "wdl")}
    if batch.weight is not None:
        columns["weight"] = batch.weight
    return columns | {AUXILIARY + name: batch.auxiliary[name] for name in names}


def _blank(game: Game, shape: tuple[int, int, int]) -> Columns:
    """Columns of a batch without targets of heads, for timing the network."""
    actions = (TIMED_BATCH, game.num_actions)
    return {
        "observations": np.zeros((TIMED_BATCH, *shape), np.float32),
        "legal": np.ones(actions, np.bool_),
        "policy": np.zeros(actions, np.float32),
        "wdl": np.zeros((TIMED_BATCH, 3), np.float32),
    }
