"""The network as an evaluator: states in, logits and values out, on the fastest backend."""

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from alphazero.config import InferenceSettings, NetworkSettings
from alphazero.network import PolicyValueNetwork
from alphazero.nn.cuda import BucketedCopy
from alphazero.nn.device import PRECISIONS, choose, computes_bfloat16
from alphazero.nn.export import OpenVINOCopy, TorchCopy, openvino_installed
from alphazero.nn.weights import Weights, load
from alphazero.types import Evaluation, RunFailed
from games.base import Game, States

TIMED_BATCH = {"cpu": 128, "cuda": 1024, "mps": 1024}
TIMED_SECONDS = 0.1
"""For each candidate, building not counted: four of them are done within a second."""

AT_ONCE = InferenceSettings(
    backend="openvino" if openvino_installed() else "torch", precision="float32", device="cpu"
)
"""For few positions at a time: what a timing could win is less than the timing takes."""

Copy = Callable[[NDArray[np.float32]], list[NDArray[np.float32]]]
"""Observations ``[B, C, H, W]`` to policy logits ``[B, A]`` and value logits ``[B, 3 or 1]``."""


class Choice(NamedTuple):
    """How weights are turned into an inference copy; the names are ``InferenceSettings``' own."""

    backend: str
    precision: str


class Loaded(NamedTuple):
    """What one call reads at once, so that no answer mixes two versions."""

    copy: Copy
    version: int


class NetworkEvaluator:
    """Evaluates positions with the newest weights given to ``load``.

    Several threads may call while another loads: none waits for it, and each call is answered by
    one version throughout. ``choice`` is made at the first load and kept. Where it was left to a
    timing, a resumed run that must repeat an earlier one bit for bit sets ``choice`` to the earlier
    one's before it.

    Against the network itself in float32, over positions of random games: in float32 logits and
    values differ by rounding. In bfloat16 the policies' mean KL divergence is below 1e-4, the
    values' mean difference below 0.005, and the best move is the same in more than 98.5 %.
    """

    def __init__(
        self,
        game: Game,
        network: NetworkSettings,
        inference: InferenceSettings,
        report: Callable[[str], None] = lambda line: None,
    ):
        """``report`` is told ``description`` at the first load.

        ValueError where the settings ask for a device or a backend this machine lacks.
        """
        self._game = game
        self._device = _device(inference)
        self._candidates = _candidates(inference, self._device)
        self._network = PolicyValueNetwork(game.observation_shape, game.num_actions, network)
        self._loading = threading.Lock()
        self._loaded: Loaded | None = None
        self.choice: Choice | None = None
        self._why = "as it was chosen earlier"
        self._report = report

    @property
    def description(self) -> str:
        """One line on backend, precision and device, and why these."""
        if self.choice is None:
            return "no weights yet"
        return f"{self.choice.backend} {self.choice.precision} on {self._device}: {self._why}"

    def prefer(self, choice: Choice) -> None:
        """Take ``choice``, made earlier, instead of timing; unless the settings exclude it."""
        if choice in self._candidates:
            self.choice = choice

    def load(self, weights: Weights, version: int) -> None:
        """Answer with ``weights`` from now on; calls that have begun end with the old ones.

        ValueError where they are another network's, RunFailed where they are not finite; the old
        ones stay then. The outputs would not always tell: OpenVINO's ReLU makes 0 of a NaN.
        """
        broken = [name for name, array in weights.items() if not np.isfinite(array).all()]
        if broken:
            raise RunFailed(f"weights version {version} are not finite: {', '.join(broken)}")
        with self._loading:
            load(self._network, weights)
            if self.choice is None:
                self.choice, self._why = self._choose()
            first = self._loaded is None
            self._loaded = Loaded(self._build(self.choice), version)
        if first:
            self._report(self.description)

    def __call__(self, states: States) -> Evaluation:
        """Logits ``[B, A]`` and values ``[B]`` of ``states [B]``, ``B >= 1``.

        ValueError for an empty batch and before the first load; RunFailed where the weights give
        anything that is not finite.
        """
        if self._loaded is None:
            raise ValueError("the evaluator has no weights; call load(weights, version) first")
        if len(states) == 0:
            raise ValueError("an empty batch of states; evaluate at least one")
        copy, version = self._loaded
        logits, value_logits = copy(self._game.observe(states))
        if not (np.isfinite(logits).all() and np.isfinite(value_logits).all()):
            raise RunFailed(f"weights version {version} give values that are not finite")
        return Evaluation(logits, _scalar(value_logits), version)

    def _build(self, choice: Choice) -> Copy:
        """A copy of the network as it is now, as ready for calls as the one it follows."""
        network, shape = self._network, self._game.observation_shape
        modules = network.tower, (network.policy, network.value), PRECISIONS[choice.precision]
        before = self._loaded.copy if self._loaded else None
        if choice.backend == "openvino":
            requests = before.requests if isinstance(before, OpenVINOCopy) else 1
            return OpenVINOCopy(*modules, shape, requests)
        if self._device.type == "cuda":
            sizes = before.sizes if isinstance(before, BucketedCopy) else ()
            return BucketedCopy(*modules, self._device, shape, sizes)
        return TorchCopy(*modules, self._device)

    def _choose(self) -> tuple[Choice, str]:
        """The fastest candidate and the reason."""
        if len(self._candidates) == 1:
            only = self._candidates[0]
            return only, "the only one that settings and machine allow"
        batch = TIMED_BATCH[self._device.type]
        observations = self._game.observe(self._game.initial(batch))
        rates = {c: batch / _seconds(self._build(c), observations) for c in self._candidates}
        ranking = sorted(rates, key=lambda c: rates[c], reverse=True)
        timed = ", ".join(f"{c.backend} {c.precision} {rates[c]:,.0f}" for c in ranking)
        why = f"the fastest at batch {batch} (evaluations/s: {timed})"
        return ranking[0], why


def _scalar(value_logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """``network.scalar_value`` without torch, whose calls cost more than the sums of a batch."""
    if value_logits.shape[1] == 1:
        return np.tanh(value_logits[:, 0])
    odds = np.exp(value_logits - value_logits.max(axis=1, keepdims=True))
    return (odds[:, 0] - odds[:, 2]) / odds.sum(axis=1)


def _device(inference: InferenceSettings) -> torch.device:
    if inference.backend != "openvino":
        return choose(inference.device)
    if inference.device not in ("auto", "cpu"):
        raise ValueError(
            f"inference.backend openvino runs on the cpu, not on {inference.device!r}; "
            "set inference.device to cpu or inference.backend to torch"
        )
    return torch.device("cpu")


def _candidates(inference: InferenceSettings, device: torch.device) -> list[Choice]:
    backends = [inference.backend]
    if inference.backend == "auto":
        with_openvino = device.type == "cpu" and openvino_installed()
        backends = ["openvino", "torch"] if with_openvino else ["torch"]
    precisions = [inference.precision]
    if inference.precision == "auto":
        precisions = ["bfloat16", "float32"] if computes_bfloat16(device) else ["float32"]
    return [Choice(backend, precision) for backend in backends for precision in precisions]


def _seconds(copy: Copy, observations: NDArray[np.float32]) -> float:
    """Of the quickest call, since what disturbs a timing only ever lengthens it."""
    copy(observations)
    quickest, deadline = float("inf"), time.perf_counter() + TIMED_SECONDS
    while True:
        start = time.perf_counter()
        copy(observations)
        now = time.perf_counter()
        quickest = min(quickest, now - start)
        if now >= deadline:
            return quickest
