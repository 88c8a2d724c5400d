"""The network evaluator: states in, policy logits and values out, on the fastest backend."""

import copy
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from alphazero import encoders, values
from alphazero import network as networks
from alphazero.config import InferenceSettings
from alphazero.device_inference import DeviceSession, Parts, best_sizes
from alphazero.errors import RunFailed
from alphazero.network_settings import Network
from alphazero.nn.device import PRECISIONS, choose, computes_bfloat16
from alphazero.nn.export import ModuleSession, OpenVINOSession, TorchSession, openvino_installed
from alphazero.nn.weights import Weights, find_broken, load
from alphazero.types import Evaluation
from games.base import Game, States

TIMED_BATCH = {"cpu": 128, "cuda": 1024, "mps": 1024}
"""Positions per timed call, by device."""
TIMED_SECONDS = 0.1
"""How long each candidate is timed once it is built; four candidates take less than a second."""

NO_TIMING = InferenceSettings(
    backend="openvino" if openvino_installed() else "torch", precision="float32", device="cpu"
)
"""Settings for few positions: timing the backends takes longer than a faster one would save."""


class InferenceSession(Protocol):
    """A forward pass with fixed weights on one backend."""

    def __call__(self, inputs: NDArray[np.float32], /) -> list[NDArray[np.float32]]:
        """Observations ``[B, C, H, W]`` to policy logits ``[B, A]`` and value logits ``[B, K]``.

        ``K`` is 3 for win, draw and loss, or 1 for a scalar.
        """
        ...


class Choice(NamedTuple):
    """The kind of inference session; names and values are those of ``InferenceSettings``."""

    backend: str
    precision: str


class Loaded(NamedTuple):
    """Session and version, read together by each call: no result mixes two versions."""

    session: InferenceSession | DeviceSession
    version: int


class NetworkEvaluator:
    """Evaluates positions with the newest weights given to ``load``.

    Several threads may call while another thread loads: no call waits for it, and each call uses
    one version throughout. ``choice``, the backend and the precision, is made at the first load and
    kept. Where timing decides it, a resumed run that must repeat an earlier one bit for bit first
    restores the earlier choice with ``set_choice``.

    The states are those of ``encoders.played_game``: of the game itself, unless the network's
    encoder has a history. Auxiliary heads are not computed. A network of a tower under a policy and
    a value, which does nothing else, is folded and translated; any other one runs in torch as a
    whole.

    Compared with the network itself in float32 on positions of random games: in float32, logits and
    values differ by rounding only. In bfloat16 the policies' mean KL divergence is below 1e-4, the
    values' mean difference is below 0.005, and the best move is the same in more than 98.5 %.
    """

    def __init__(
        self,
        game: Game,
        network: Network,
        inference: InferenceSettings,
        report: Callable[[str], None] = lambda line: None,
    ):
        """``report`` is called with ``description`` at the first load.

        ValueError where this machine lacks the device or the backend that the settings name.
        """
        self.encoder = encoders.make(network.encoder, game)
        self._game = encoders.played_game(game, self.encoder)
        self._network = networks.for_inference(self.encoder.shape, game.num_actions, network)
        self._device = _device(inference)
        self._whole = not _can_be_translated(self._network, self.encoder.shape)
        self._limit = inference.batch_size
        self._sizes: list[int] = []
        if self._uses_graphs:
            encoders.check_bytes(self.encoder, self._game)
        self._candidates = _candidates(inference, self._device, not self._whole)
        self._loading = threading.Lock()
        self._loaded: Loaded | None = None
        self.choice: Choice | None = None
        self._reason = "as it was chosen earlier"
        self._report = report

    @property
    def description(self) -> str:
        """One line: backend, precision, device, and the reason for the choice."""
        if self.choice is None:
            return "no weights yet"
        return f"{self.choice.backend} {self.choice.precision} on {self._device}: {self._reason}"

    @property
    def batch_size(self) -> int | None:
        """The largest batch of one pass on a CUDA device; None elsewhere and before the first load.

        With ``inference.batch_size`` auto the timing at the first load has chosen it.
        """
        return self._sizes[-1] if self._sizes else None

    @property
    def _uses_graphs(self) -> bool:
        return self._device.type == "cuda" and not self._whole

    def set_choice(self, choice: Choice) -> None:
        """Use an earlier ``choice`` instead of timing; ignored where the settings exclude it."""
        if choice in self._candidates:
            self.choice = choice

    def load(self, weights: Weights, version: int) -> None:
        """Use ``weights`` from now on; calls that have already begun finish with the old ones.

        Weights of auxiliary heads are left out. ValueError where the others belong to another
        network, RunFailed where no result can be finite; the old ones stay then.
        """
        if broken := find_broken(weights):
            names = ", ".join(broken)
            raise RunFailed(f"weights version {version} are not finite or variances < 0: {names}")
        with self._loading:
            load(self._network, networks.without_heads(self._network, weights))
            if self.choice is None:
                self.choice, self._reason = self._choose()
            if self._uses_graphs and not self._sizes:
                self._sizes = best_sizes(self._build_on_device(self.choice), self._limit)
            first = self._loaded is None
            self._loaded = Loaded(self._build(self.choice), version)
        if first:
            self._report(self.description)

    def snapshot(self) -> "NetworkEvaluator":
        """An evaluator that keeps the present weights when this one loads others."""
        return copy.copy(self)

    def __call__(self, states: States) -> Evaluation:
        """Return logits ``[B, A]`` and values ``[B]`` of ``states`` ``[B]``, ``B >= 1``.

        A value is in [-1, 1], for the player about to move. ValueError for an empty batch, before
        the first load, and for states of another game; RunFailed where an output is not finite.
        """
        if self._loaded is None:
            raise ValueError("the evaluator has no weights; call load(weights, version) first")
        if len(states) == 0:
            raise ValueError("an empty batch of states; evaluate at least one")
        if states.dtype != self._game.dtype:
            raise ValueError(
                f"these states are not those of {self._game!r} (encoders.played_states makes them)"
            )
        session, version = self._loaded
        on_device = isinstance(session, DeviceSession)
        logits, value = session(states if on_device else self.encoder(states))
        # On a device the values are computed already, NaN where an output is not finite.
        checked = (value,) if on_device else (logits, value)
        if not all(np.isfinite(output).all() for output in checked):
            raise RunFailed(f"weights version {version} give values that are not finite")
        if not on_device:
            value = values.from_logits(value)
        return Evaluation(logits, value, version)

    def _build(self, choice: Choice) -> InferenceSession | DeviceSession:
        """A session with the network's current weights.

        It prepares as many requests or batch sizes as the session before it had in use, so that no
        call after a load has to wait for a compilation.
        """
        dtype = PRECISIONS[choice.precision]
        if self._whole:
            return ModuleSession(self._network, dtype, self._device)
        modules, shape = (*_parts(self._network), dtype), self.encoder.shape
        before = self._loaded.session if self._loaded else None
        if choice.backend == "openvino":
            requests = before.requests if isinstance(before, OpenVINOSession) else 1
            return OpenVINOSession(*modules, shape, requests)
        if self._uses_graphs:
            return self._build_on_device(choice, before)
        return TorchSession(*modules, self._device)

    def _build_on_device(
        self, choice: Choice, before: InferenceSession | DeviceSession | None = None
    ) -> DeviceSession:
        """A session for a CUDA device; it captures the graphs that ``before`` had."""
        ready = before.captured if isinstance(before, DeviceSession) else ()
        parts = Parts(*_parts(self._network), PRECISIONS[choice.precision], self._device)
        return DeviceSession(self.encoder, parts, self._sizes, ready)

    def _choose(self) -> tuple[Choice, str]:
        """The fastest candidate, and the reason in words.

        An example: at batch 128 on a CPU, OpenVINO in bfloat16 takes 12 ms, in float32 20 ms, torch
        25 and 32 ms. The first is chosen, with 128 / 0.012 = 10,667 evaluations per second.
        """
        if len(self._candidates) == 1:
            only = self._candidates[0]
            return only, "the only one that settings and machine allow"
        batch = TIMED_BATCH[self._device.type]
        states = self._game.initial(batch)
        inputs = states if self._uses_graphs else self.encoder(states)
        rates = {c: batch / _seconds(self._build(c), inputs) for c in self._candidates}
        ranking = sorted(rates, key=lambda c: rates[c], reverse=True)
        timed = ", ".join(f"{c.backend} {c.precision} {rates[c]:,.0f}" for c in ranking)
        return ranking[0], f"the fastest at batch {batch} (evaluations/s: {timed})"


def _parts(network: nn.Module) -> tuple[nn.Module, tuple[nn.Module, nn.Module]]:
    """Trunk and heads of a network that can be folded and translated."""
    parts = dict(network.named_children())
    return parts["tower"], (parts["policy"], parts["value"])


def _can_be_translated(network: nn.Module, shape: tuple[int, int, int]) -> bool:
    """Whether policy and value are those of the parts of these names, on every backend.

    The names alone do not say so: the user's ``forward`` may add a shortcut around the tower, and
    a layer may have no translation. It is tried with random weights, since first weights are often
    0, which would hide a difference.
    """
    parts, own = {"tower", "policy", "value"}, dict(network.named_children()).keys()
    weighted = {name.partition(".")[0] for name in network.state_dict()}
    if not (parts <= own and weighted <= parts | {"heads"}):
        return False
    if isinstance(network, networks.PolicyValueNetwork):
        return True
    tried, generator = copy.deepcopy(network).eval(), torch.Generator().manual_seed(0)
    for weight in tried.parameters():
        deviation = weight[0].numel() ** -0.5 if weight.ndim > 1 else 1.0
        weight.data.normal_(0, deviation, generator=generator)
    inputs = torch.rand(4, *shape, generator=generator).numpy()
    modules, cpu = (*_parts(tried), torch.float32), torch.device("cpu")
    expected = ModuleSession(tried, torch.float32, cpu)(inputs.copy())
    try:
        results = [TorchSession(*modules, cpu)(inputs.copy())]
        if openvino_installed():
            results.append(OpenVINOSession(*modules, shape)(inputs.copy()))
    except (ValueError, RuntimeError):
        return False
    return all(
        np.allclose(output, right, rtol=1e-2, atol=1e-3)
        for outputs in results
        for output, right in zip(outputs, expected, strict=True)
    )


def _device(inference: InferenceSettings) -> torch.device:
    if inference.backend != "openvino":
        return choose(inference.device)
    if inference.device not in ("auto", "cpu"):
        raise ValueError(
            f"inference.backend openvino runs on the cpu, not on {inference.device!r}; "
            "set inference.device to cpu or inference.backend to torch"
        )
    return torch.device("cpu")


def _candidates(
    inference: InferenceSettings, device: torch.device, translatable: bool = True
) -> list[Choice]:
    """The choices that settings and machine allow.

    Torch alone, whatever the settings say, where the network has no translation.
    """
    backends = [inference.backend]
    if not translatable:
        backends = ["torch"]
    elif inference.backend == "auto":
        with_openvino = device.type == "cpu" and openvino_installed()
        backends = ["openvino", "torch"] if with_openvino else ["torch"]
    precisions = [inference.precision]
    if inference.precision == "auto":
        precisions = ["bfloat16", "float32"] if computes_bfloat16(device) else ["float32"]
    return [Choice(backend, precision) for backend in backends for precision in precisions]


def _seconds(session: Callable[[NDArray[Any]], object], inputs: NDArray[Any]) -> float:
    """The quickest call's seconds: a disturbance can only lengthen a call."""
    session(inputs)
    quickest, deadline = float("inf"), time.perf_counter() + TIMED_SECONDS
    while True:
        start = time.perf_counter()
        session(inputs)
        now = time.perf_counter()
        quickest = min(quickest, now - start)
        if now >= deadline:
            return quickest
