"""Planes made on a device from the bytes of states equal those that the rules make."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import games
from games.base import States, as_bytes

NAMES = [
    "connect_four",
    "tic_tac_toe",
    *(f"othello:size={size}" for size in (4, 6, 8, 10)),
    *(f"hex:size={size},swap={swap}" for size in (3, 11) for swap in ("true", "false")),
    "gomoku:size=3,length=3",
    "gomoku:size=6x9",
]


def all_positions(name: str, batch: int, seed: int) -> States:
    """Every position of ``batch`` random games, finished ones included."""
    game, rng = games.make(name), np.random.default_rng(seed)
    states = game.initial(batch)
    reached = [states]
    while len(states):
        legal = game.legal(states)
        going = legal.any(axis=1)
        states, legal = states[going], legal[going]
        scores = np.where(legal, rng.random(legal.shape), -1.0)
        states = game.step(states, scores.argmax(axis=1))
        reached.append(states)
    return np.concatenate(reached)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), batch=st.integers(1, 8))
def test_a_tensor_of_bytes_gives_the_planes_of_every_position_bit_for_bit(name, seed, batch):
    game = games.make(name)
    observe, states = game.observe_bytes(torch.from_numpy), all_positions(name, batch, seed)
    assert observe is not None
    planes = observe(torch.from_numpy(as_bytes(states).copy())).float().numpy()
    np.testing.assert_array_equal(planes.view(np.uint32), game.observe(states).view(np.uint32))


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_of_no_states_and_one_of_zero_bytes_have_planes(name):
    game = games.make(name)
    observe = game.observe_bytes(torch.from_numpy)
    for rows in (0, 3):  # a batch is padded with zeros
        planes = observe(torch.zeros((rows, game.dtype.itemsize), dtype=torch.uint8))
        assert planes.shape == (rows, *game.observation_shape)
