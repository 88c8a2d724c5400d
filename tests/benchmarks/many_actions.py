"""The search's speed and memory in games with many actions of which few are legal.

    python tests/benchmarks/many_actions.py [--revision 1da347d] [--seconds 2] [--games 64]
    python tests/benchmarks/many_actions.py --also amazons:Amazons=FOLDER

One core, an evaluator that takes no time. ``wide`` is a made-up game of 4,160 actions, about 34 of
them legal, whose rules are compiled; ``--also`` measures a game of your own in that folder, too.
``--revision`` measures an earlier revision in turns with this one and prints the ratios.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from numba import njit

import games
from alphazero.evaluators import uniform
from alphazero.search import puct, run
from alphazero.search.gumbel import Gumbel
from alphazero.search.puct import PUCT
from games.base import Game, Transition

ROOT = Path(__file__).parents[2]
TURNS = 3


@njit(nogil=True)
def mix(key, number):
    """64 pseudo-random bits (SplitMix64's finalizer)."""
    value = key + np.uint64(number + 1) * np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@njit(nogil=True)
def legal_moves(keys, plies, longest, legal):
    for i in range(len(keys)):
        if plies[i] < longest:
            for k in range(30 + mix(keys[i], 99) % np.uint64(9)):
                legal[i, mix(keys[i], k) % np.uint64(legal.shape[1])] = True


@njit(nogil=True)
def play(keys, plies, actions, after, played):
    for i in range(len(keys)):
        after[i] = mix(keys[i], actions[i] + 1000)
        played[i] = plies[i] + 1


class Wide(Game):
    """A made-up game of 60 plies: 30 to 38 legal moves out of 4,160, drawn by a hash."""

    name, num_actions, max_plies = "wide", 4160, 60
    observation_shape = (1, 8, 8)
    dtype = np.dtype([("key", "u8"), ("ply", "i8")])

    def initial(self, batch):
        states = np.zeros(batch, self.dtype)
        states["key"] = 1
        return states

    def legal(self, states):
        legal = np.zeros((len(states), self.num_actions), np.bool_)
        legal_moves(states["key"], states["ply"], self.max_plies, legal)
        return legal

    def step(self, states, actions):
        after = np.empty(len(states), self.dtype)
        play(states["key"], states["ply"], np.asarray(actions), after["key"], after["ply"])
        return after

    def outcome(self, states):
        return np.where(states["ply"] < self.max_plies, np.nan, -1).astype(np.float32)

    def to_move(self, states):
        return (states["ply"] % 2).astype(np.int8)

    def advance(self, states, actions):
        after = self.step(states, actions)
        return Transition(after, self.legal(after), self.outcome(after), self.to_move(after))

    def observe(self, states):
        return np.zeros((len(states), *self.observation_shape), np.float32)

    def render(self, state):
        return str(state)


def positions(game: Game, number: int, plies: int = 6):
    """Positions after random moves."""
    rng, states = np.random.default_rng(0), game.initial(number)
    for _ in range(plies):
        chances = rng.random((number, game.num_actions)) * game.legal(states)
        states = game.step(states, chances.argmax(axis=1))
    return states


def tree_bytes(game: Game, search, states, rngs) -> int:
    """Bytes of the trees' arrays after a search."""
    warm, trees = np.ones(len(states), np.float32), []
    if hasattr(puct, "root_statistics"):  # of revisions whose results have no tree
        read = puct.root_statistics
        puct.root_statistics = lambda tree: trees.append(tree) or read(tree)
    result = run(search(game, states, rngs, warm), uniform(game))
    tree = trees[0] if trees else result.tree
    return tree.nodes.nbytes + tree.edges.nbytes + tree.states.nbytes


def measure(game: Game, number: int, seconds: float) -> dict[str, float]:
    """Simulations per second of both algorithms, and megabytes of PUCT's trees."""
    states, evaluate = positions(game, number), uniform(game)
    rngs = [np.random.default_rng(i) for i in range(number)]
    warm, figures = np.ones(number, np.float32), {}
    for search in (PUCT(simulations=64), Gumbel(simulations=64)):
        run(search(game, states, rngs, warm), evaluate)  # compiles
        done, start = 0, time.perf_counter()
        while time.perf_counter() < start + seconds:
            run(search(game, states, rngs, warm), evaluate)
            done += number * search.simulations
        figures[f"{search.kind}, simulations/s"] = done / (time.perf_counter() - start)
    figures["PUCT's trees, MB"] = tree_bytes(game, PUCT(simulations=64), states, rngs) / 1e6
    return figures


def make(spec: str) -> Game:
    if spec == "wide":
        return Wide()
    address, _, folder = spec.partition("=")
    sys.path.append(folder)
    return games.make(address)


def figures_of(tree: Path, spec: str, options: argparse.Namespace) -> dict[str, float]:
    """The figures that another process measures with the packages of ``tree``."""
    words = [sys.executable, __file__, "--measure", spec]
    words += ["--games", str(options.games), "--seconds", str(options.seconds)]
    ended = subprocess.run(
        words, cwd=tree, env={"PYTHONPATH": str(tree)}, capture_output=True, text=True
    )
    if ended.returncode:
        raise SystemExit(f"measuring {spec} in {tree} failed:\n{ended.stderr[-2000:]}")
    return json.loads(ended.stdout)


def compare(options: argparse.Namespace, trees: dict[str, Path]) -> None:
    for spec in ["wide", *options.also]:
        figures: dict[str, list[dict[str, float]]] = {name: [] for name in trees}
        for turn in range(TURNS):
            for name in list(trees)[:: 1 if turn % 2 == 0 else -1]:
                figures[name].append(figures_of(trees[name], spec, options))
        print(f"{spec}, {options.games} games, 64 simulations, one core")
        for key in figures["here"][0]:
            middle = {name: np.median([f[key] for f in rows]) for name, rows in figures.items()}
            columns = "  ".join(f"{name} {value:12,.1f}" for name, value in middle.items())
            ratios = middle["here"] / middle.get("revision", middle["here"])
            print(f"  {key:24} {columns}  ratio {ratios:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--revision", help="an earlier revision to compare with")
    parser.add_argument("--seconds", type=float, default=2.0, help="per measurement; default 2")
    parser.add_argument("--games", type=int, default=64, help="searched at once; default 64")
    parser.add_argument(
        "--also", nargs="*", default=[], metavar="MODULE:CLASS=FOLDER",
        help="a game of your own and the folder of its module",
    )  # fmt: skip
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(make(options.measure), options.games, options.seconds)))
        return
    with tempfile.TemporaryDirectory() as folder:
        trees = {"here": ROOT}
        if options.revision:
            trees["revision"] = old = Path(folder) / "old"
            subprocess.run(["git", "clone", "--quiet", "--shared", str(ROOT), str(old)], check=True)
            subprocess.run(["git", "checkout", "--quiet", options.revision], cwd=old, check=True)
        compare(options, trees)


if __name__ == "__main__":
    main()
