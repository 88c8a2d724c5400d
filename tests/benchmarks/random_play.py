"""Random play of many games at once: moves per second through ``Game.advance``.

    python tests/benchmarks/random_play.py othello:size=8 breakthrough [--games 256] [--seconds 3]
    python tests/benchmarks/random_play.py othello:size=8 --open-spiel othello
    python tests/benchmarks/random_play.py --pgx othello         # in an environment that has pgx

One core. A finished game is replaced by a new one. Times are CPU seconds: of ``advance`` alone, and
with the choice of a random legal move per game. ``--open-spiel`` measures OpenSpiel's Python
bindings, one game at a time, in turns with ours; the choice of the moves is in its figure.
``--pgx``: JAX on the CPU, the whole loop compiled, on one core.
"""

import argparse
import os
import random
import time

import numpy as np

TURNS = 3


def ours(spec: str, batch: int, seconds: float) -> tuple[float, float]:
    """Moves per second of ``advance``, and of the whole loop."""
    import games

    game, rng = games.make(spec), np.random.default_rng(0)
    first = game.initial(batch)
    first_legal = game.legal(first)
    states, legal = first, first_legal
    game.advance(states, legal.argmax(axis=1))  # compiles
    moves, inside, began = 0, 0.0, time.process_time()
    while time.process_time() - began < seconds:
        actions = (rng.random(legal.shape, dtype=np.float32) * legal).argmax(axis=1)
        before = time.process_time()
        states, legal, outcome, _ = game.advance(states, actions)
        inside += time.process_time() - before
        over = ~np.isnan(outcome)
        states[over], legal[over] = first[over], first_legal[over]
        moves += batch
    return moves / inside, moves / (time.process_time() - began)


def open_spiel(name: str, seconds: float) -> float:
    """Moves per second of OpenSpiel's Python bindings, one game at a time."""
    import pyspiel

    game, draw = pyspiel.load_game(name), random.Random(0)
    moves, began = 0, time.process_time()
    while time.process_time() - began < seconds:
        state = game.new_initial_state()
        while not state.is_terminal():
            state.apply_action(draw.choice(state.legal_actions()))
            moves += 1
    return moves / (time.process_time() - began)


def with_pgx(name: str, batch: int, seconds: float) -> float:
    """Moves per second of pgx: 100 random moves in all games per compiled call."""
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    os.sched_setaffinity(0, {next(iter(os.sched_getaffinity(0)))})
    import jax
    import jax.numpy as jnp
    import pgx

    environment = pgx.make(name)
    begin, step = jax.vmap(environment.init), jax.vmap(environment.step)

    def move(carry, _):
        states, key = carry
        key, choice, fresh = jax.random.split(key, 3)
        logits = jnp.where(states.legal_action_mask, 0.0, -jnp.inf)
        states = step(states, jax.random.categorical(choice, logits))
        over = states.terminated
        new = begin(jax.random.split(fresh, batch))

        def pick(fresh, old):
            return jnp.where(over.reshape(-1, *[1] * (old.ndim - 1)), fresh, old)

        return (jax.tree.map(pick, new, states), key), None

    @jax.jit
    def run(carry):
        return jax.lax.scan(move, carry, None, length=100)[0]

    carry = begin(jax.random.split(jax.random.key(0), batch)), jax.random.key(1)
    carry = jax.block_until_ready(run(carry))
    moves, began = 0, time.process_time()
    while time.process_time() - began < seconds:
        carry = jax.block_until_ready(run(carry))
        moves += 100 * batch
    return moves / (time.process_time() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("specs", nargs="*")
    parser.add_argument("--games", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--open-spiel", metavar="NAME", action="append", default=[])
    parser.add_argument("--pgx", metavar="NAME", action="append", default=[])
    options = parser.parse_args()
    for _ in range(TURNS):
        for spec in options.specs:
            inside, whole = ours(spec, options.games, options.seconds)
            print(f"{spec}: advance {inside:,.0f}, with the choice {whole:,.0f} moves per second")
        for name in options.open_spiel:
            print(f"OpenSpiel {name}: {open_spiel(name, options.seconds):,.0f} moves per second")
        for name in options.pgx:
            rate = with_pgx(name, options.games, options.seconds)
            print(f"pgx {name}: {rate:,.0f} moves per second")


if __name__ == "__main__":
    main()
