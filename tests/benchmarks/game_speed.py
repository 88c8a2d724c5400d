"""The speed of the games' rules, in turns with OpenSpiel and pgx, and of the search on them.

    python tests/benchmarks/game_speed.py [GAME ...] [--pgx PYTHON] [--seconds 2] [--turns 5]
    python tests/benchmarks/game_speed.py --search [GAME ...]

One core, random games that begin anew when they end. A move is one step with everything that a
search needs after it: the legal moves, the result, and the player to move. Ours and pgx play 256
games at once, OpenSpiel one; ``rules`` is our time without that of choosing the moves. ``--pgx`` is
a Python interpreter with jax and pgx (``pip install jax pgx``); without it pgx is left out.

``--search`` measures PUCT with 64 simulations per move and an evaluator that takes no time, and the
memory of a game in it.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

GAMES = 256
SIMULATIONS = 64


class Peers(NamedTuple):
    """The names of one game in the other libraries; empty where they do not have it."""

    open_spiel: str = ""
    pgx: str = ""


SHARED = {
    "tic_tac_toe": Peers("tic_tac_toe", "tic_tac_toe"),
    "connect_four": Peers("connect_four", "connect_four"),
    "othello": Peers("othello", "othello"),
    "go:size=9": Peers("go(board_size=9,komi=7.5)", "go_9x9"),
    "go:size=19": Peers("go(board_size=19,komi=7.5)", "go_19x19"),
    "hex": Peers("hex(board_size=11,swap=True)", "hex"),
    "gomoku:size=9": Peers("gomoku(size=9)"),
    "breakthrough": Peers("breakthrough"),
    "dots_and_boxes": Peers("dots_and_boxes(num_rows=3,num_cols=3)"),
    "chess": Peers("chess", "chess"),
}

Play = Callable[[float], dict[str, float]]
"""Plays for some seconds: moves per second by the name of the measurement."""


def ours(spec: str) -> Play:
    import games
    from games.compiling import jit

    @jit
    def choose(legal, drawn, actions):  # ``drawn [B]`` in [0, 1)
        choices = np.empty(legal.shape[1], np.int64)
        for row in range(legal.shape[0]):
            number = 0
            for action in range(legal.shape[1]):
                choices[number] = action
                number += legal[row, action]
            actions[row] = choices[int(drawn[row] * number)]

    game = games.make(spec)
    rng, states, actions = np.random.default_rng(0), game.initial(GAMES), np.zeros(GAMES, np.int64)
    legal, first = game.legal(states), (game.initial(1), game.legal(game.initial(1)))

    def play(seconds: float) -> dict[str, float]:
        nonlocal states, legal
        moves, rules, start = 0, 0.0, time.perf_counter()
        while (now := time.perf_counter()) - start < seconds:
            choose(legal, rng.random(GAMES), actions)
            before = time.perf_counter()
            after = game.advance(states, actions)
            rules += time.perf_counter() - before
            over = ~np.isnan(after.outcome)
            states, legal = after.states, after.legal
            states[over], legal[over] = first[0], first[1]
            moves += GAMES
        return {"ours": moves / (now - start), "rules": moves / rules}

    return play


def open_spiel(name: str) -> Play:
    import random

    import pyspiel

    game = pyspiel.load_game(name)

    def one_game() -> int:
        state = game.new_initial_state()
        while not state.is_terminal():
            state.apply_action(random.choice(state.legal_actions()))
            state.current_player()
        return state.move_number()

    def play(seconds: float) -> dict[str, float]:
        moves, start = 0, time.perf_counter()
        while (now := time.perf_counter()) - start < seconds:
            moves += one_game()
        return {"open_spiel": moves / (now - start)}

    return play


def pgx_game(name: str) -> Play:
    import jax
    import pgx
    from pgx.experimental import auto_reset

    environment = pgx.make(name)
    step = jax.vmap(auto_reset(environment.step, environment.init))

    def move(state, key):
        logits = jax.numpy.log(state.legal_action_mask.astype(jax.numpy.float32))
        actions = jax.random.categorical(key, logits, axis=1)
        after = step(state, actions, jax.random.split(key, GAMES))
        # The observation is not needed here: without it the compiler leaves it out.
        return after.replace(observation=state.observation)

    play_some = jax.jit(
        lambda state, key: jax.lax.scan(
            lambda one, one_key: (move(one, one_key), None), state, jax.random.split(key, 16)
        )[0]
    )
    key = jax.random.PRNGKey(0)
    state = jax.jit(jax.vmap(environment.init))(jax.random.split(key, GAMES))
    state = jax.block_until_ready(play_some(state, key))

    def play(seconds: float) -> dict[str, float]:
        nonlocal state, key
        moves, start = 0, time.perf_counter()
        while (now := time.perf_counter()) - start < seconds:
            key, one = jax.random.split(key)
            state = jax.block_until_ready(play_some(state, one))
            moves += 16 * GAMES
        return {"pgx": moves / (now - start)}

    return play


MAKERS = {"ours": ours, "open_spiel": open_spiel, "pgx": pgx_game}


def serve(kind: str, name: str) -> None:
    """Play whenever a line with a number of seconds arrives, and answer with the rates."""
    play = MAKERS[kind](name)
    print(json.dumps({}), flush=True)
    for line in sys.stdin:
        print(json.dumps(play(float(line))), flush=True)


def runner(python: str, kind: str, name: str) -> subprocess.Popen:
    """A process that serves one of ``MAKERS`` on this process's core, ready to play."""
    settings = {
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    }
    process = subprocess.Popen(
        [python, __file__, "--serve", kind, name],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | settings,
    )  # fmt: skip
    ask(process, "")
    return process


def ask(process: subprocess.Popen, question: str) -> dict[str, float]:
    """The next line of the process, after ``question`` has been sent unless it is empty."""
    assert process.stdin
    assert process.stdout
    if question:
        process.stdin.write(question + "\n")
        process.stdin.flush()
    return json.loads(process.stdout.readline() or "{}")


def compare(spec: str, options: argparse.Namespace) -> dict[str, Any]:
    """The medians of one game in all libraries, measured in turns."""
    peers = SHARED.get(spec, Peers())
    runners = [runner(sys.executable, "ours", spec)]
    if peers.open_spiel:
        runners.append(runner(sys.executable, "open_spiel", peers.open_spiel))
    if peers.pgx and options.pgx:
        runners.append(runner(options.pgx, "pgx", peers.pgx))
    rates: dict[str, list[float]] = {}
    for _ in range(options.turns):
        for process in runners:
            for name, rate in ask(process, str(options.seconds)).items():
                rates.setdefault(name, []).append(rate)
    for process in runners:
        process.kill()
        process.wait()
    return {"game": spec, **{name: round(median(values)) for name, values in rates.items()}}


def search(spec: str, options: argparse.Namespace) -> dict[str, Any]:
    """Simulations per second of PUCT, and the bytes of one game in it."""
    import games
    from alphazero import evaluators, memory
    from alphazero.search import run
    from alphazero.search.puct import PUCT
    from workers.bench.measuring import midgame

    game, algorithm = games.make(spec), PUCT(simulations=SIMULATIONS)
    states, evaluate = midgame(game, GAMES), evaluators.uniform(game)
    rngs = [np.random.default_rng(row) for row in range(GAMES)]
    rates: list[float] = []
    for _ in range(options.turns + 1):  # the first one compiles
        count, start = 0, time.perf_counter()
        while (now := time.perf_counter()) - start < options.seconds:
            run(algorithm(game, states, rngs, np.ones(GAMES, np.float32)), evaluate)
            count += GAMES * SIMULATIONS
        rates.append(count / (now - start))
    legal, _ = memory.survey(game)
    return {
        "game": spec,
        "simulations per second": round(median(rates[1:])),
        "bytes per tree": memory.tree_bytes(game, 1, SIMULATIONS, legal),
        "bytes per state": game.dtype.itemsize,
        "legal moves": round(legal, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("games", nargs="*", default=list(SHARED), metavar="GAME")
    parser.add_argument("--pgx", metavar="PYTHON", help="an interpreter with jax and pgx")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--search", action="store_true")
    parser.add_argument("--serve", nargs=2, metavar=("KIND", "NAME"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(*options.serve)
        return
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    for spec in options.games:
        print(json.dumps(search(spec, options) if options.search else compare(spec, options)))


if __name__ == "__main__":
    main()
