"""Training with auxiliary heads against training without them, at equal CPU time.

    python tests/benchmarks/heads.py [--heads H] [--minutes M] [--seeds S ...] [--games G]

Trains Othello on 6x6 for M minutes (default 10) with the heads H and without them, once per seed
(default: 0 and 1). Each run has one core, and as many runs go on at a time as there are cores, so
that the minutes are CPU minutes. Then each agent with heads plays G games (default 200) against
each agent without them, with the same search, and all of them play against minimax. Run nothing
else meanwhile. Finished runs in runs/heads are not trained again. Linux only: `taskset` gives each
run its core.
"""

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from alphazero.judging.mistakes import wilson
from alphazero.nn.device import cores

RUNS = Path("runs/heads")
HEADS = "{reply: 0.15, ownership: 0.15, score: 0.05}"
SETTINGS = [
    "network={blocks: 4, channels: 32, value_hidden: 32}",
    "search={kind: gumbel, simulations: 16}",
    # Final ownership and score are known only of games that end by the rules.
    "selfplay.stop_when_proven=false",
    "replay.samples_per_position=3",
    "replay.window_min=50000",
    "optimizer.learning_rate=6e-3",
    "training={steps: 100000, batch_size: 512, publish_every: 40, checkpoint_every: 500}",
    "evaluation.games=0",
    "tracking.wandb=off",
]
"""Beside the configuration othello_6x6: sizes at which minutes of one core teach something."""
SIMULATIONS = 100
OPPONENT = "minimax:depth=4"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--heads", default=HEADS, help=f"as for network.heads ({HEADS})")
    parser.add_argument("--minutes", type=float, default=10, help="minutes per run (10)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="(0 1)")
    parser.add_argument("--games", type=int, default=200, help="games per pair (200)")
    options = parser.parse_args()
    runs = [(heads, seed) for seed in options.seeds for heads in (True, False)]
    free = SimpleQueue()
    for core in sorted(os.sched_getaffinity(0)):
        free.put(core)

    def train(run: tuple[bool, int]) -> None:
        core = free.get()
        try:
            _train(core, *run, options)
        finally:
            free.put(core)

    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(train, runs))
    _report(runs, options)


def _folder(heads: bool, seed: int, minutes: float) -> Path:
    return RUNS / f"{'with' if heads else 'without'}_{seed}_{minutes:g}"


def _train(core: int, heads: bool, seed: int, options: argparse.Namespace) -> None:
    """Train one run on one core, unless it is finished already."""
    folder = _folder(heads, seed, options.minutes)
    if (folder / "finished").exists():
        return
    chosen = [f"network.heads={options.heads}"] if heads else []
    resumed = ["--resume"] if folder.exists() else []
    _alphazero(
        core, "train", "othello_6x6", f"seed={seed}", *SETTINGS, *chosen, *resumed,
        "--time-limit", f"{options.minutes}m", "--run-dir", str(folder),
    )  # fmt: skip
    (folder / "finished").touch()


def _report(runs: list[tuple[bool, int]], options: argparse.Namespace) -> None:
    """Print each run's cost and its score against minimax, then the matches between the two."""
    players = {run: f"checkpoint:path={_folder(*run, options.minutes)},simulations={SIMULATIONS}"
               for run in runs}  # fmt: skip
    for run, player in players.items():
        text = (_folder(*run, options.minutes) / "metrics.jsonl").read_text()
        last = json.loads(text.splitlines()[-1])
        cost = {key: round(last[key], 1) for key in ("games", "positions", "cpu_minutes")}
        score = _score(player, OPPONENT, options.games)
        print(json.dumps({"heads": run[0], "seed": run[1], **cost, "against_minimax": score}))
    points = games = 0.0
    for one in (run for run in runs if run[0]):
        for other in (run for run in runs if not run[0]):
            score = _score(players[one], players[other], options.games)
            print(json.dumps({"with": one[1], "without": other[1], "score": score}), flush=True)
            points, games = points + score * options.games, games + options.games
    low, high = wilson(points, games)
    print(f"with heads against without: {points / games:.1%} ({low:.1%} to {high:.1%})")


def _score(one: str, other: str, games: int) -> float:
    """The share of points of the first of two players."""
    report = RUNS / "match.json"
    _alphazero(
        None, "arena", one, other, "--game", "othello:size=6", "--games", str(games),
        "--opening-plies", "6", "--json", str(report),
    )  # fmt: skip
    return json.loads(report.read_text())["players"][0]["score"]


def _alphazero(core: int | None, *arguments: str) -> None:
    prefix = [] if core is None else ["taskset", "-c", str(core)]
    subprocess.run(
        [*prefix, sys.executable, "-m", "workers.cli", *arguments],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip


if __name__ == "__main__":
    main()
