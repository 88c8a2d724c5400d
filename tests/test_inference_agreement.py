"""The inference sessions against the network itself, on positions of whole random games."""

import functools
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch.nn import functional

import games
from alphazero import network, values
from alphazero.config import InferenceSettings, NetworkSettings
from alphazero.inference import NetworkEvaluator
from alphazero.network_settings import PerceptronSettings
from alphazero.nn.weights import arrays
from alphazero.types import Evaluation
from games import solvers
from games.base import Game, States
from games.solvers import minimax

POSITIONS = 3000
NETWORKS = {"residual": NetworkSettings(), "perceptron": PerceptronSettings()}
# In Othello the short lesson makes a perceptron certain of draws, which compares nothing.
CASES = ["residual connect_four", "residual othello:size=8", "perceptron connect_four"]


class Disagreement(NamedTuple):
    """Mean differences over the positions."""

    divergence: float
    """KL divergence between the network's policy and the session's, in nats."""
    value: float
    """Absolute difference of the values."""
    best: float
    """Share of positions with another best move."""


def random_games(game: Game) -> States:
    """Different unfinished positions, evenly over the plies of random games."""
    rng = np.random.default_rng(0)
    states, seen = game.initial(200), []
    while len(states):
        seen.append(states)
        scores = rng.random((len(states), game.num_actions)) * game.legal(states)
        states = game.step(states, scores.argmax(axis=1))
        states = states[game.legal(states).any(axis=1)]
    return rng.permutation(np.unique(np.concatenate(seen)))[:POSITIONS]


@functools.cache
def case(name: str) -> tuple[Game, network.PolicyValueNetwork, States]:
    """A network of default size trained briefly on the results of a minimax search of two plies."""
    torch.set_num_threads(1)
    kind, _, rules = name.partition(" ")
    game = games.make(rules)
    states, rng = random_games(game), np.random.default_rng(0)
    observations, legal = map(torch.from_numpy, (game.observe(states), game.legal(states)))
    policy, value = lesson(game, states)
    made = network.build(game, NETWORKS[kind], seed=0).train()
    optimizer = torch.optim.Adam(made.parameters(), lr=2e-3)
    for _ in range(20):
        rows = torch.from_numpy(rng.integers(len(states), size=64))
        logits, value_logits, _ = made(observations[rows])
        logits = logits.masked_fill(~legal[rows], -1e9)
        loss = functional.cross_entropy(logits, policy[rows])
        loss = loss + functional.mse_loss(values.from_logit_tensor(value_logits), value[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return game, made.eval(), states


def lesson(game: Game, states: States) -> tuple[torch.Tensor, torch.Tensor]:
    """For each state a policy with more weight on better moves, and the sign of the value."""
    value, moves = minimax.search(game, states, 2, solvers.heuristic(game))
    worse = np.nanmax(moves, axis=1, keepdims=True) - moves
    weight = np.nan_to_num(np.exp(-3 * worse / np.nanstd(worse)))
    policy = weight / weight.sum(axis=1, keepdims=True)
    return torch.from_numpy(policy).float(), torch.from_numpy(np.tanh(value / value.std())).float()


@functools.cache
def reference(name: str) -> Evaluation:
    """The outputs of torch without folding, in float32, in the default memory format."""
    game, made, states = case(name)
    with torch.inference_mode():
        logits, value, _ = made(torch.from_numpy(game.observe(states)))
    return Evaluation(logits.numpy(), values.from_logit_tensor(value).numpy())


def copied(name: str, backend: str, precision: str) -> Evaluation:
    if backend == "openvino":
        pytest.importorskip("openvino", reason="the openvino extra is not installed")
    game, made, states = case(name)
    device = "auto" if backend == "torch" else "cpu"
    chosen = InferenceSettings(backend=backend, precision=precision, device=device)
    evaluate = NetworkEvaluator(game, NETWORKS[name.split()[0]], chosen)
    evaluate.load(arrays(made.state_dict()), version=1)
    return evaluate(states)


def log_policy(name: str, evaluation: Evaluation) -> np.ndarray:
    game, _, states = case(name)
    logits = np.where(game.legal(states), evaluation.logits.astype(np.float64), -1e9)
    return logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)


def disagreement(name: str, evaluation: Evaluation) -> Disagreement:
    right = reference(name)
    first, second = log_policy(name, right), log_policy(name, evaluation)
    return Disagreement(
        float((np.exp(first) * (first - second)).sum(axis=1).mean()),
        float(np.abs(right.value - evaluation.value).mean()),
        float((first.argmax(axis=1) != second.argmax(axis=1)).mean()),
    )


@pytest.mark.parametrize("name", CASES)
def test_the_compared_network_has_decided_policies_and_values(name):
    assert len(case(name)[2]) == POSITIONS
    favourite = np.exp(log_policy(name, reference(name))).max(axis=1)
    assert favourite.mean() > 0.25
    assert reference(name).value.std() > 0.02


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_float32_differs_by_rounding(name, backend):
    difference = disagreement(name, copied(name, backend, "float32"))
    assert difference.divergence < 1e-7
    assert difference.value < 1e-5
    assert difference.best <= 0.001


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("backend", [pytest.param("torch", marks=pytest.mark.slow), "openvino"])
def test_bfloat16_stays_within_the_bounds_of_its_docstring(name, backend):
    difference = disagreement(name, copied(name, backend, "bfloat16"))
    assert 0 < difference.divergence < 1e-4
    assert difference.value < 0.005
    assert difference.best < 0.015
