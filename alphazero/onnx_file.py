"""An agent's network as a file of ONNX, which programs in other languages can run.

    planes  [B, C, H, W] float32   the network's input, as ``game.observe`` or the encoder makes it
    policy  [B, A] float32         logits of all actions, illegal ones included
    value   [B] float32            in [-1, 1], for the player about to move

The batch size is free. Rules and search are not part of the file. Its metadata name the game, the
version of its rules and the encoder of the input.
"""

import importlib.util
import logging
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from alphazero import encoders, evaluators, values
from alphazero import network as networks
from alphazero.checkpoint import Checkpoint
from alphazero.encoders import Encoder
from alphazero.errors import RunFailed
from alphazero.nn import extras
from alphazero.nn.export import fold
from alphazero.nn.weights import load
from games.base import Game, States

OPSET = 18
"""The version of ONNX's operators; read by onnxruntime from 1.14 on."""
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
POSITIONS = 3000
"""Random positions on which the file is compared with the network in torch."""
BATCH = 50
TOLERANCE = 1e-3
"""The largest difference of a logit or a value that is accepted."""
EXAMPLES = 3
"""The batch with which the network is traced; a batch of 1 would be taken for a fixed one."""


class Difference(NamedTuple):
    """The largest differences between the file and the network in torch, both in float32."""

    policy: float
    """The largest of a logit."""
    value: float


class _PolicyAndValue(nn.Module):
    """The two outputs of a network that the file has."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, planes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        outputs = networks.as_outputs(self.network(planes))
        return outputs.policy, values.from_logit_tensor(outputs.value)


def check_packages() -> None:
    """``ValueError``, one line, where a package is missing."""
    if any(importlib.util.find_spec(name) is None for name in PACKAGES):
        raise ValueError(extras.missing("ONNX files need onnx, onnxscript and onnxruntime", "onnx"))


def write(agent: Checkpoint, game: Game, path: Path) -> Difference:
    """Write the agent's network to the new file ``path``, and compare the file with it.

    ``game``: that of the agent. ``ValueError``, one line: a package is missing, or the weights are
    those of another network. ``RunFailed``: torch cannot translate the network, or the file's
    results are others than those of torch by more than ``TOLERANCE``; there is no file then.
    """
    check_packages()
    settings, encoder = agent.config.network, encoders.make(agent.config.network.encoder, game)
    network = networks.for_inference(encoder.shape, game.num_actions, settings)
    load(network, networks.without_heads(network, agent.weights))
    module = _PolicyAndValue(fold(network)).eval()
    data = _translated(module, encoder.shape, _metadata(agent, game, encoder))
    difference = _compare(module, data, _planes(game, encoder))
    if not all(one <= TOLERANCE for one in difference):
        raise RunFailed(f"ONNX and torch differ by up to {max(difference):.2g}: nothing is written")
    with path.open("xb") as file:
        file.write(data)
    return difference


def _metadata(agent: Checkpoint, game: Game, encoder: Encoder) -> dict[str, str]:
    planes = " x ".join(map(str, encoder.shape))
    return {
        "game": agent.config.game,
        "rules_version": game.rules_version,
        "encoder": str(agent.config.network.encoder),
        "planes": planes,
        "actions": str(game.num_actions),
        "step": str(agent.step),
    }


def _translated(module: nn.Module, shape: tuple[int, int, int], metadata: dict[str, str]) -> bytes:
    """The bytes of the file."""
    import onnx

    examples = (torch.zeros(EXAMPLES, *shape),)
    batch = torch.export.Dim("batch", min=1, max=2**20)
    # torch warns of packages that this network does not need, and of its own old parts.
    exporter = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exported = torch.export.export(module, examples, dynamic_shapes=({0: batch},))
            program: Any = torch.onnx.export(
                exported, input_names=["planes"], output_names=["policy", "value"],
                opset_version=OPSET, verbose=False,
            )  # fmt: skip
    except Exception as error:  # the module may be the user's own
        line = str(error).strip().partition("\n")[0]
        raise RunFailed(f"torch cannot translate this network to ONNX: {line}") from None
    finally:
        exporter.setLevel(level)
    model = program.model_proto
    onnx.helper.set_model_props(model, metadata)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def _planes(game: Game, encoder: Encoder) -> NDArray[np.float32]:
    """Inputs of ``POSITIONS`` random positions, from the beginnings to the ends of games."""
    played, rng = encoders.played_game(game, encoder), np.random.default_rng(0)
    states: States = played.initial(BATCH)
    kept = [states]
    while sum(map(len, kept)) < POSITIONS:
        actions = evaluators.random_actions(played.legal(states), rng)
        after = played.step(states, actions)
        going = played.legal(after).any(axis=1)
        states = np.concatenate([after[going], played.initial(int((~going).sum()))])
        kept.append(states)
    return encoder(np.concatenate(kept)[:POSITIONS])


def _compare(module: nn.Module, data: bytes, planes: NDArray[np.float32]) -> Difference:
    """Run both on ``planes``, in batches of several sizes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    largest = np.zeros(2)
    for part in np.split(planes, [1, 8, *range(BATCH, len(planes), BATCH)]):
        with torch.inference_mode():
            expected = [output.numpy() for output in module(torch.from_numpy(part))]
        computed = session.run(["policy", "value"], {"planes": part})
        differences = [np.abs(a - b).max() for a, b in zip(expected, computed, strict=True)]
        largest = np.maximum(largest, differences)
    return Difference(*largest.tolist())
