"""One recorded position as a row of an array: the same from self-play to batches.

A policy is stored for the legal actions only, as an index and a weight each: in a game with 4,160
actions and at most 200 legal ones a row has 800 bytes of policy instead of 8,320.

Example: 5 actions, ``max_legal`` = 3, the actions 1 and 4 are legal with probabilities 0.25 and
0.75. The row has ``policy_action`` = (1, 4, 5) and ``policy_weight`` = (0.25, 0.75, 0): the third
place is not used, which the action number 5 = ``num_actions`` marks.
"""

import functools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from alphazero.types import UNTRAINED, SearchResult
from games.base import Game, States

SURPRISE_STEP = 2.0**-10
"""Surprises are multiples of this. The network's rounding depends on the size of its batches, which
differs where a run is resumed; so small a difference must not show in a record."""


@functools.lru_cache(maxsize=16)
def row(game: Game) -> np.dtype:
    """The dtype of one recorded position of ``game``.

    ``state``: the position. ``policy_action``, ``policy_weight`` ``[max_legal]``: the legal actions
    in increasing order, then ``num_actions``; the search's policy, then 0. ``value``: the search's
    value in [-1, 1]. ``surprise``: the KL divergence of the search's policy from the network's
    prior, in nats, in steps of ``SURPRISE_STEP``. ``outcome``: how the game ended, -1, 0 or +1.
    Value and outcome are from the point of view of the player about to move in ``state``. A
    position that is not trained on has a surprise of ``types.UNTRAINED`` and weights of 0.
    """
    return np.dtype(
        [
            ("state", game.dtype),
            ("policy_action", action_type(game), (game.max_legal,)),
            ("policy_weight", np.float16, (game.max_legal,)),
            ("value", np.float16),
            ("surprise", np.float16),
            ("outcome", np.float32),
        ]
    )


@functools.lru_cache(maxsize=16)
def action_type(game: Game) -> np.dtype:
    """The smallest unsigned integer type that holds 0 to ``num_actions``, the latter as padding."""
    return np.min_scalar_type(game.num_actions)


def states_of(rows: NDArray) -> States:
    """The states of ``rows [T]``, ``[T]`` of the game's dtype, in an array of their own."""
    return np.ascontiguousarray(rows["state"])


def as_items(rows: NDArray) -> NDArray[np.void]:
    """A view of contiguous ``rows`` as items without fields, for copying whole rows.

    NumPy copies rows field by field, items as they are: about eight times as fast.
    """
    return rows.view(f"V{rows.dtype.itemsize}")


def of_search(game: Game, states: States, result: SearchResult) -> NDArray:
    """The rows ``[B]`` of searched positions; ``outcome`` is NaN until the game has ended."""
    batch, legal = len(states), game.legal(states)
    assert result.policy.shape == legal.shape == (batch, game.num_actions)
    rows, places = np.zeros(batch, row(game)), _places(game, legal)
    policy = result.policy.reshape(-1)[places.flat]
    rows["state"] = states
    rows["policy_action"], rows["policy_weight"] = _columns(game, batch, places, policy)
    rows["value"] = result.value
    if result.prior is not None:
        divergence = _divergence(policy, result.prior.reshape(-1)[places.flat])
        surprise = np.maximum(np.bincount(places.position, divergence, batch), 0)
        rows["surprise"] = np.round(surprise / SURPRISE_STEP) * SURPRISE_STEP
    rows["outcome"] = np.nan
    return rows


def leave_untrained(rows: NDArray, chosen: NDArray[np.bool_]) -> None:
    """Mark the ``chosen [T]`` of ``rows [T]`` as positions that are not trained on."""
    rows["policy_weight"][chosen] = 0
    rows["surprise"][chosen] = UNTRAINED


def legal_actions(game: Game, legal: NDArray[np.bool_]) -> NDArray[np.integer]:
    """``[B, max_legal]``: the column ``policy_action`` of positions with ``legal [B, A]``."""
    actions = np.full(len(legal) * game.max_legal, game.num_actions, action_type(game))
    index, place, flat = _places(game, legal)
    actions[place] = flat - index * game.num_actions
    return actions.reshape(len(legal), game.max_legal)


def pack_policy(
    game: Game, legal: NDArray[np.bool_], policy: NDArray[np.floating]
) -> tuple[NDArray[np.integer], NDArray[np.float16]]:
    """The columns ``policy_action`` and ``policy_weight``, each ``[B, max_legal]``.

    ``policy [B, A]`` is read at the actions of ``legal [B, A]`` only. ``ValueError`` if a position
    has more than ``game.max_legal`` legal actions.
    """
    assert policy.shape == legal.shape == (len(legal), game.num_actions)
    places = _places(game, legal)
    return _columns(game, len(legal), places, policy.reshape(-1)[places.flat])


def unpack_policy(
    game: Game, actions: NDArray[np.integer], weights: NDArray[np.floating]
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """``legal`` and ``policy``, both ``[B, A]``: the inverse of ``pack_policy``, in float32."""
    batch, width = actions.shape
    assert weights.shape == (batch, width)
    legal = np.zeros((batch, game.num_actions), np.bool_)
    policy = np.zeros((batch, game.num_actions), np.float32)
    used = np.flatnonzero(actions < game.num_actions)
    place = used // width * game.num_actions + actions.reshape(-1)[used]
    legal.reshape(-1)[place] = True
    policy.reshape(-1)[place] = weights.reshape(-1)[used]
    return legal, policy


def _divergence(policy: NDArray[np.float32], prior: NDArray[np.float32]) -> NDArray[np.float32]:
    """``policy(a) * log(policy(a) / prior(a))`` of each action; 0 where the policy is 0.

    Their sum over the actions is the KL divergence. A policy of (0.5, 0.5) over a prior of (0.9,
    0.1): 0.5 * log(0.5 / 0.9) + 0.5 * log(0.5 / 0.1) = -0.294 + 0.805 = 0.511.
    """
    # A prior may be 0 in float32 where the search has found a good move: log(1e-30) is -69.
    tiny = np.float32(1e-30)
    return policy * (np.log(np.maximum(policy, tiny)) - np.log(np.maximum(prior, tiny)))


class _Places(NamedTuple):
    """The legal actions of all positions, row by row."""

    position: NDArray[np.intp]
    """The position, 0 to B - 1."""
    place: NDArray[np.intp]
    """The place in a flat ``[B * max_legal]``."""
    flat: NDArray[np.intp]
    """The place in a flat ``[B * A]``."""


def _places(game: Game, legal: NDArray[np.bool_]) -> _Places:
    """With 5 actions, ``max_legal`` = 3, the legal actions 1 and 4 in row 0 and 2 in row 1:
    position (0, 0, 1), place (0, 1, 3), flat (1, 4, 7).
    """
    flat = np.flatnonzero(legal)
    index = flat // game.num_actions
    counts = np.bincount(index, minlength=len(legal))
    if len(counts) and counts.max() > game.max_legal:
        raise ValueError(
            f"{game.name} has a position with {counts.max()} legal actions; its max_legal says "
            f"at most {game.max_legal}"
        )
    skipped = np.arange(len(legal)) * game.max_legal - (np.cumsum(counts) - counts)
    return _Places(index, np.arange(len(flat)) + skipped[index], flat)


def _columns(
    game: Game, batch: int, places: _Places, policy: NDArray[np.floating]
) -> tuple[NDArray[np.integer], NDArray[np.float16]]:
    """``policy_action`` and ``policy_weight`` ``[batch, max_legal]`` out of their used places."""
    actions = np.full(batch * game.max_legal, game.num_actions, action_type(game))
    weights = np.zeros(batch * game.max_legal, np.float16)
    actions[places.place] = places.flat - places.position * game.num_actions
    weights[places.place] = policy
    return actions.reshape(batch, game.max_legal), weights.reshape(batch, game.max_legal)
