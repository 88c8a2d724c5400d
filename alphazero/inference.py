"""The network as an evaluator: states in, logits and values out, on the fastest backend."""

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from alphazero.config import InferenceSettings, NetworkSettings
from alphazero.network import PolicyValueNetwork, load, scalar_value
from alphazero.nn.device import choose
from alphazero.nn.export import OpenVINOCopy, TorchCopy, openvino_installed
from alphazero.types import Evaluation, RunFailed, Weights
from games.base import Game, States

TIMED_BATCH = 128
TIMED_SECONDS = 0.1
"""For each candidate, building not counted: four of them are done within a second."""

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

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

    Several threads may call while another loads: each call is answered by one version throughout.
    ``choice`` is made at the first load and kept. Where it was left to a timing, a resumed run
    that must repeat an earlier one bit for bit sets ``choice`` to the earlier one's before it.
    """

    def __init__(self, game: Game, network: NetworkSettings, inference: InferenceSettings):
        """ValueError where the settings ask for a device or a backend this machine lacks."""
        self._game = game
        self._device = _device(inference)
        self._candidates = _candidates(inference, self._device)
        self._network = PolicyValueNetwork(game.observation_shape, game.num_actions, network)
        self._loading = threading.Lock()
        self._loaded: Loaded | None = None
        self.choice: Choice | None = None
        self._why = "as it was chosen earlier"

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

        ValueError, and the old ones stay, where they are another network's or not finite. The
        outputs would not always tell: OpenVINO's ReLU makes 0 of a NaN.
        """
        broken = [name for name, array in weights.items() if not np.isfinite(array).all()]
        if broken:
            raise RunFailed(f"weights version {version} are not finite: {', '.join(broken)}")
        with self._loading:
            load(self._network, weights)
            if self.choice is None:
                self.choice, self._why = self._choose()
            self._loaded = Loaded(self._build(self.choice), version)

    def __call__(self, states: States) -> Evaluation:
        """Logits ``[B, A]`` and values ``[B]`` of ``states [B]``, ``B >= 1``.

        ValueError for an empty batch, before the first load, and where the weights give anything
        that is not finite.
        """
        if self._loaded is None:
            raise ValueError("the evaluator has no weights; call load(weights, version) first")
        if len(states) == 0:
            raise ValueError("an empty batch of states; evaluate at least one")
        copy, version = self._loaded
        logits, value_logits = copy(self._game.observe(states))
        value = scalar_value(torch.from_numpy(value_logits)).numpy()
        if not (np.isfinite(logits).all() and np.isfinite(value).all()):
            raise RunFailed(f"weights version {version} give values that are not finite")
        return Evaluation(logits, value, version)

    def _build(self, choice: Choice) -> Copy:
        network, dtype = self._network, DTYPES[choice.precision]
        heads = (network.policy, network.value)
        if choice.backend == "openvino":
            return OpenVINOCopy(network.tower, heads, dtype, self._game.observation_shape)
        return TorchCopy(network.tower, heads, dtype, self._device)

    def _choose(self) -> tuple[Choice, str]:
        """The fastest candidate and the reason."""
        if len(self._candidates) == 1:
            only = self._candidates[0]
            return only, "the only one that is allowed here"
        observations = self._game.observe(self._game.initial(TIMED_BATCH))
        rates = {
            c: len(observations) / _seconds(self._build(c), observations) for c in self._candidates
        }
        ranking = sorted(rates, key=lambda c: rates[c], reverse=True)
        timed = ", ".join(f"{c.backend} {c.precision} {rates[c]:,.0f}" for c in ranking)
        why = f"the fastest at batch {TIMED_BATCH} (evaluations/s: {timed})"
        return ranking[0], why


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
        precisions = ["bfloat16", "float32"]
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
