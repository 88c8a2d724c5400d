"""Ablations: the strength lost when one setting of a configuration is undone.

    python tests/benchmarks/levers.py POSITIONS [LEVER ...] [--minutes M] [--seeds S ...]

Trains connect_four_quick for M minutes (default 6), once as it is and once without each LEVER
(default: all), with each seed (default: 0 and 1). Each run has one core, and as many runs go on at
a time as there are cores. Then the mistakes in POSITIONS, a file of solved positions, are counted:
those of the network alone and those of a search with 100 simulations. Run nothing else meanwhile,
since the minutes are minutes of the clock. Results are appended to runs/levers/results.jsonl;
results that it already has for these positions and this source are not computed again. Linux only:
`taskset` gives each run its core.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

import numpy as np
from rich.console import Console
from rich.table import Table

from alphazero.nn.device import cores
from workers.runs import run_directory

CONFIG = "connect_four_quick"

BASE = "as it is"
LEVERS = {
    "proofs": ["search.proofs=false", "selfplay.stop_when_proven=false"],
    "games end when proven": ["selfplay.stop_when_proven=false"],
    "Gumbel instead of PUCT": ["search={kind: puct, simulations: 16}"],
    "random openings of 0 to 8 instead of 0 to 2 plies": ["selfplay.random_opening_plies=2"],
    "exploring to ply 30 instead of 8": ["selfplay.temperature_plies=8"],
    "search value in the target": ["replay.value_mixing=0"],
    "3 samples per position instead of 1": ["replay.samples_per_position=1"],
    "3 samples per position instead of 8": ["replay.samples_per_position=8"],
    "batches of 512 instead of 256": ["training.batch_size=256"],
    "growing window": ["replay.window_scale=1e-9"],
    "falling learning rate": ["optimizer.schedule.kind=constant"],
    "averaged weights": ["training.ema=0"],
    "symmetries": ["replay.symmetries=false"],
    "16 simulations instead of 32": ["search.simulations=32"],
    "no global pooling": ["network.attention=global_pooling"],
    "no squeeze-and-excitation": ["network.attention=squeeze_excitation"],
    "32 channels instead of 64": ["network.channels=64"],
}
RUNS = Path("runs/levers")
RESULTS = RUNS / "results.jsonl"
COLUMNS = ("alone", "search")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("positions", type=Path, help="a file that `alphazero evaluate` reads")
    quoted = ", ".join(f"'{name}'" for name in LEVERS)
    parser.add_argument("levers", nargs="*", metavar="LEVER", help=f"in quotes: {quoted}")
    parser.add_argument("--minutes", type=float, default=6, help="minutes per run (6)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="(0 1)")
    options = parser.parse_args()
    if unknown := [name for name in options.levers if name not in LEVERS]:
        parser.error(f"no lever {unknown[0]!r}; there are {', '.join(LEVERS)}")
    if not options.positions.is_file():
        parser.error(f"{options.positions}: there is no such file")
    names, same = [BASE, *(options.levers or LEVERS)], _circumstances(options)
    known = {(row["lever"], row["seed"]) for row in _results(same)}
    wanted = [(name, seed) for name in names for seed in options.seeds]
    free = SimpleQueue()
    for core in sorted(os.sched_getaffinity(0)):
        free.put(core)

    def run(case: tuple[str, int]) -> None:
        core = free.get()
        try:
            _add(same | _measured(*case, core, options))
        finally:
            free.put(core)

    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(run, [case for case in wanted if case not in known]))
    Console().print(_table(names, list(_results(same))))


def _circumstances(options: argparse.Namespace) -> dict:
    """The fields that results must share to be compared."""
    digest = hashlib.sha256(options.positions.read_bytes()).hexdigest()
    source = run_directory.environment()["git"]
    return {"minutes": options.minutes, "positions_sha256": digest, "source": source}


def _measured(lever: str, seed: int, core: int, options: argparse.Namespace) -> dict:
    """Train one run on one core and count its mistakes."""
    folder = RUNS / f"core_{core}"
    shutil.rmtree(folder, ignore_errors=True)
    _alphazero(
        core, "train", CONFIG, f"seed={seed}", *LEVERS.get(lever, []),
        "evaluation.games=0", "evaluation.suite_every_minutes=0", "tracking.wandb=off",
        "--time-limit", f"{options.minutes}m", "--run-dir", str(folder),
    )  # fmt: skip
    alone, search = (
        _mistakes(core, player, options.positions, folder / "mistakes.json")
        for player in (f"policy:path={folder}", f"checkpoint:path={folder},simulations=100")
    )
    last = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    return {
        "lever": lever, "seed": seed, "alone": alone, "search": search,
        **{key: last[key] for key in ("games", "positions", "cpu_minutes")},
    }  # fmt: skip


def _mistakes(core: int, player: str, positions: Path, report: Path) -> float:
    _alphazero(
        core, "evaluate", "connect_four", "--positions", str(positions),
        "--player", player, "--json", str(report),
    )  # fmt: skip
    return json.loads(report.read_text())["mistake_rate"]


def _alphazero(core: int, *arguments: str) -> None:
    subprocess.run(
        ["taskset", "-c", str(core), sys.executable, "-m", "workers.cli", *arguments],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip


def _results(same: dict) -> Iterator[dict]:
    """All results with the ``same`` circumstances, those of earlier runs included."""
    if RESULTS.exists():
        rows = map(json.loads, RESULTS.read_text().splitlines())
        yield from (row for row in rows if same.items() <= row.items())


def _add(row: dict) -> None:
    with open(RESULTS, "a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    print(json.dumps(row), flush=True)


def _table(names: list[str], rows: list[dict]) -> Table:
    """Mistakes in percent per seed; the worth of a lever is the mean increase without it."""
    table = Table(
        "lever", "network alone", "worth", "search of 100", "worth", "positions", "CPU-min"
    )
    base = [row for row in rows if row["lever"] == BASE]

    def mean(of: list[dict], key: str) -> float:
        return float(np.mean([row[key] for row in of]))

    for name in names:
        mine = [row for row in rows if row["lever"] == name]
        cells = []
        for key in COLUMNS:
            rates = ", ".join(f"{100 * row[key]:.1f}" for row in mine)
            cells += [rates, f"{100 * (mean(mine, key) - mean(base, key)):+.1f}"]
        positions = f"{mean(mine, 'positions'):,.0f}"
        table.add_row(name, *cells, positions, f"{mean(mine, 'cpu_minutes'):.1f}")
    return table


if __name__ == "__main__":
    main()
