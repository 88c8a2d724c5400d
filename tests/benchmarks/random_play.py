"""Random play of one game here, in OpenSpiel and in pgx: moves per second of CPU, on one core.

    python tests/benchmarks/random_play.py hex:size=11 --open-spiel "hex(board_size=11,swap=True)"
    python tests/benchmarks/random_play.py hex:size=11 --pgx hex --pgx-python pgx/bin/python

Here ``--games`` games are played at once; OpenSpiel plays one after another from Python; pgx, in an
environment of its own (``python -m venv pgx; pgx/bin/pip install pgx``), plays as many as here in
one compiled loop, finished games starting again. They are measured in turns, and the medians are
printed. "advance" leaves the choice of moves out, which takes about as long as the rules.
"""

import argparse
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
from numba import njit

import games

TURNS = 3

PGX = """
import os, sys, time
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ["JAX_PLATFORMS"] = "cpu"
import jax, jax.numpy as jnp, pgx
from pgx.experimental import auto_reset
name, number, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
env, steps = pgx.make(name), 100
move = jax.vmap(auto_reset(env.step, env.init))

def ply(_, carry):
    key, state = carry
    key, chosen, resets = jax.random.split(key, 3)
    logits = jnp.where(state.legal_action_mask, 0.0, -jnp.inf)
    actions = jax.random.categorical(chosen, logits)
    return key, move(state, actions, jax.random.split(resets, number))

play = jax.jit(lambda carry: jax.lax.fori_loop(0, steps, ply, carry))
start = jax.vmap(env.init)(jax.random.split(jax.random.PRNGKey(0), number))
carry = jax.block_until_ready(play((jax.random.PRNGKey(1), start)))
moves, begun = 0, time.process_time()
while time.process_time() < begun + seconds:
    carry = jax.block_until_ready(play(carry))
    moves += steps * number
print(moves / (time.process_time() - begun))
"""


@njit(nogil=True)
def choose(legal, numbers, actions):
    """One legal action per row: the one whose place among them ``numbers [B]`` in [0, 1) gives."""
    for i in range(legal.shape[0]):
        count = 0
        for action in range(legal.shape[1]):
            count += legal[i, action]
        left = int(numbers[i] * count)
        for action in range(legal.shape[1]):
            left -= legal[i, action]
            if left < 0:
                actions[i] = action
                break


def play_here(spec: str, number: int, seconds: float) -> dict[str, float]:
    """Moves per second of ``advance`` and of whole games, with the choice of moves."""
    game, rng = games.make(spec), np.random.default_rng(0)
    moves, advancing, begun = 0, 0.0, time.thread_time()
    while time.thread_time() < begun + seconds:
        states = game.initial(number)
        legal = game.legal(states)
        while len(states):
            actions = np.empty(len(states), np.int64)
            choose(legal, rng.random(len(states)), actions)
            start = time.thread_time()
            states, legal, outcome, _ = game.advance(states, actions)
            advancing += time.thread_time() - start
            moves += len(states)
            going = np.isnan(outcome)
            if not going.all():
                states, legal = states[going], legal[going]
    return {"advance": moves / advancing, "games": moves / (time.thread_time() - begun)}


def play_open_spiel(name: str, seconds: float) -> dict[str, float]:
    import pyspiel

    rules, moves, begun = pyspiel.load_game(name), 0, time.thread_time()
    while time.thread_time() < begun + seconds:
        state = rules.new_initial_state()
        while not state.is_terminal():
            state.apply_action(random.choice(state.legal_actions()))
            moves += 1
    return {"OpenSpiel": moves / (time.thread_time() - begun)}


def play_pgx(options: argparse.Namespace) -> dict[str, float]:
    words = [options.pgx_python, "-c", PGX, options.pgx, str(options.games), str(options.seconds)]
    ended = subprocess.run(words, capture_output=True, text=True)
    if ended.returncode:
        raise SystemExit(f"pgx failed:\n{ended.stderr[-2000:]}")
    return {"pgx": float(ended.stdout)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("game", help="as hex:size=11")
    parser.add_argument("--open-spiel", metavar="NAME", help="the same game in OpenSpiel")
    parser.add_argument("--pgx", metavar="NAME", help="the same game in pgx")
    parser.add_argument("--pgx-python", default=sys.executable, help="a Python that has pgx")
    parser.add_argument("--games", type=int, default=256, help="played at once; default 256")
    parser.add_argument("--seconds", type=float, default=2.0, help="per measurement; default 2")
    options = parser.parse_args()
    play_here(options.game, options.games, 0.1)  # compiles
    measured: list[Callable[[], dict[str, float]]] = [
        lambda: play_here(options.game, options.games, options.seconds)
    ]
    if options.open_spiel:
        measured.append(lambda: play_open_spiel(options.open_spiel, options.seconds))
    if options.pgx:
        measured.append(lambda: play_pgx(options))
    turns = [
        {key: figure for run in measured for key, figure in run().items()} for _ in range(TURNS)
    ]
    medians = {key: round(float(np.median([turn[key] for turn in turns]))) for key in turns[0]}
    print(json.dumps({"game": options.game, **medians}))


if __name__ == "__main__":
    main()
