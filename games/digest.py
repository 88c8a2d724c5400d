"""A digest of the rules of a game: of what happens in a few random games."""

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from games.base import Game

GAMES, PLIES = 16, 512


def digest_of_games(game: "Game") -> str:
    """The SHA-256 of random games: states, legal moves, results and movers of every ply.

    The result of an unfinished position is the one that it would have at ``max_plies``.

    Cut after ``PLIES`` plies, so that a large ``max_plies`` costs no time. ``random_raw``
    gives the same numbers in every version of NumPy, which generators' other methods need not.
    """
    numbers = np.random.PCG64(0)
    digest = hashlib.sha256(f"{game.num_actions} {game.max_plies} {game.dtype.names}".encode())
    states = game.initial(GAMES)
    for _ in range(min(game.max_plies, PLIES) + 1):
        legal, result = game.legal(states), game.result(states, game.max_plies)
        # On every machine the same: numbers of several bytes are little-endian.
        digest.update(states.astype(game.dtype.newbyteorder("<")).tobytes())
        digest.update(np.packbits(legal).tobytes())
        digest.update(result.astype(np.int8).tobytes())
        digest.update(game.to_move(states).tobytes())
        going = legal.any(axis=1)
        if not going.any():
            break
        states, legal = states[going], legal[going]
        # The action is the chosen one of the row's legal ones, counted from 0.
        chosen = numbers.random_raw(len(states)) % legal.sum(axis=1).astype(np.uint64)
        places = legal.cumsum(axis=1) > chosen.astype(np.int64)[:, None]
        states = game.step(states, places.argmax(axis=1))
    return digest.hexdigest()[:12]
