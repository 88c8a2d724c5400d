"""Figures of one game's rules: rates, memory, and the method that costs a search the most."""

import copy
import time
from typing import Any

import numpy as np

from alphazero import evaluators, game_time, memory, records
from alphazero import search as searches
from alphazero.game_time import GameTime
from alphazero.search.puct import PUCT
from alphazero.search.tree import EDGE, NODE
from alphazero.types import Evaluation
from games.base import Game, States
from workers.bench.measuring import Figures, Work, measure

METHODS = ("legal", "step", "outcome", "to_move", "observe")
BATCHES = (1, 256)
SEARCHED, SIMULATIONS = 64, 32
"""Games of the search whose time is divided, and its simulations per move."""
PLANNED = 200
"""Simulations per move for which the memory of a game in progress is stated."""


def bench(game: Game, seconds: float, seed: int = 0) -> Figures:
    """Rates of the methods, memory, and shares of a search, each measured for half of ``seconds``.

    Rates are in positions per second and on one core, ``shares`` in [0, 1] of a search without a
    network; observations are part of it. Memory is in bytes.
    """
    rng = np.random.default_rng(seed)
    states = unfinished(game, max(BATCHES), rng)
    return {
        "positions_per_second": _rates(game, states, rng, seconds / 2),
        "memory": sizes(game),
        **shares(game, states[:SEARCHED], seconds / 2),
    }


def unfinished(game: Game, batch: int, rng: np.random.Generator) -> States:
    """``[batch]``: the last unfinished positions of random games, each cut at a random ply."""
    _, longest = memory.survey(game)
    states, ends = game.initial(batch), rng.integers(longest, size=batch)
    for ply in range(longest - 1):
        after = game.step(states, evaluators.random_actions(game.legal(states), rng))
        goes_on = game.legal(after).any(axis=1) & (ply < ends)
        states = np.where(goes_on, after, states)
    return states


def _rates(
    game: Game, states: States, rng: np.random.Generator, seconds: float
) -> dict[str, dict[str, float]]:
    """Positions per second of each method by the size of the batch, as a text."""
    actions = evaluators.random_actions(game.legal(states), rng)
    works = {
        (name, batch): _work(game, name, states[:batch], actions[:batch])
        for name in (*METHODS, "advance")
        for batch in BATCHES
    }
    tallies = dict(zip(works, measure(list(works.values()), seconds), strict=True))
    return {
        name: {str(batch): tallies[name, batch].rate for batch in BATCHES}
        for name in (*METHODS, "advance")
    }


def _work(game: Game, name: str, states: States, actions: np.ndarray) -> Work:
    method = getattr(game, name)
    arguments = (states, actions) if name in ("step", "advance") else (states,)

    def repeat(thread: int) -> int:
        method(*arguments)
        return len(states)

    return Work(repeat, threads=1)


def sizes(game: Game) -> dict[str, Any]:
    """Bytes of a state, of a node of a search tree with its edges, and of a game in progress."""
    legal, plies = memory.survey(game)
    return {
        "state": game.dtype.itemsize,
        "observation": 4 * int(np.prod(game.observation_shape)),
        "node": round(NODE.itemsize + game.dtype.itemsize + EDGE.itemsize * legal),
        "tree": memory.tree_bytes(game, 1, PLANNED, legal),
        "tree_simulations": PLANNED,
        "recorded_position": records.row(game).itemsize,
        "legal_moves": legal,
        "longest_game": plies,
    }


def shares(game: Game, states: States, seconds: float) -> Figures:
    """The share of a search that each method takes, and the game's microseconds per simulation."""
    watched, spent = copy.copy(game), GameTime()  # the game itself stays as it is
    _search(watched, states[:1])  # compiles, or loads what is compiled
    spent.watch(watched, _counted(game))
    simulations, start = 0, time.perf_counter()
    while not simulations or time.perf_counter() < start + seconds:
        with spent.measured():
            _search(watched, states)
        simulations += len(states) * SIMULATIONS
    used = time.perf_counter() - start
    return {
        "shares": dict(sorted(spent.shares.items(), key=lambda item: -item[1])),
        "game_share": spent.share,
        "microseconds_per_simulation": 1e6 * used * spent.share / simulations,
    }


def _counted(game: Game) -> list[str]:
    """The methods whose time is counted: an inherited one counts as those that it calls."""
    calls_others = {"advance", "result"}
    own = {name for name in calls_others if getattr(type(game), name) is not getattr(Game, name)}
    return [name for name in game_time.METHODS if name in own or name not in calls_others]


def _search(game: Game, states: States) -> None:
    """Search ``states`` once, with root noise as in self-play, and with observations."""
    uniform = evaluators.uniform(game)

    def evaluate(leaves: States) -> Evaluation:
        game.observe(leaves)
        return uniform(leaves)

    rngs = [np.random.default_rng(index) for index in range(len(states))]
    temperature = np.ones(len(states), np.float32)
    searches.run(PUCT(simulations=SIMULATIONS)(game, states, rngs, temperature), evaluate)
