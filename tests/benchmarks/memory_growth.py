"""The memory of all processes of a training run over time, with Ray or without.

    python tests/benchmarks/memory_growth.py --ray local|off [--minutes M] [KEY=VALUE ...]

Without Ray, `selfplay.processes=N` plays in N search processes instead of threads.

Trains with the default settings of a game for M minutes (default 20) and reads the memory of every
process of the run every ten seconds: bytes of RAM without the pages of program files, shared pages
divided among the processes that share them. Prints, per process name and for all together, the size
at the end and the growth in MB per minute, the slope of a least-squares line through the readings
of the second half. Processes with the same name are added up. Linux only. The readings are in
runs/memory_growth/readings.jsonl.

The replay window grows with the run, in the driver or in the replay actor: a small
`replay.window_min=` and an exponent near 0 show what grows beside it.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np

from workers.bench import processes
from workers.node.processes import PROC, children

RUN = Path("runs/memory_growth")
PAUSE = 10.0
Reading = tuple[float, Counter]
"""Minutes since the start, and megabytes by the name of a process."""


def main() -> None:
    parser = argparse.ArgumentParser(description="The memory of all processes of a run over time.")
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="overrides")
    parser.add_argument("--ray", choices=("local", "off"), default="local", help="(local)")
    parser.add_argument("--minutes", type=float, default=20, help="(20)")
    parser.add_argument("--game", default="connect_four", help="(connect_four)")
    options = parser.parse_args()
    shutil.rmtree(RUN, ignore_errors=True)
    RUN.mkdir(parents=True)
    config = RUN / "default.yaml"
    config.write_text(f"game: {options.game}\nrecipe: none\n")
    with open(RUN / "output.txt", "w", encoding="utf-8") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "alphazero", "train", str(config), "--ray", options.ray,
             "training.steps=1000000", "evaluation.games=0", "tracking.wandb=off",
             *options.settings,
             "--time-limit", f"{options.minutes}m", "--run-dir", str(RUN / "run")],
            stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        readings = _readings(process)
    if process.returncode or not readings:
        raise SystemExit(f"the run failed: see {RUN / 'output.txt'}")
    _report(readings)


def _readings(process: subprocess.Popen) -> list[Reading]:
    start, readings = time.monotonic(), []
    with open(RUN / "readings.jsonl", "w", encoding="utf-8") as file:
        while process.poll() is None:
            time.sleep(PAUSE)
            if sizes := _megabytes(process.pid):
                readings.append(((time.monotonic() - start) / 60, sizes))
                file.write(json.dumps(readings[-1]) + "\n")
                file.flush()
    return readings[:-3]  # in the last half minute the processes end


def _megabytes(root: int) -> Counter:
    """The memory of ``root`` and all processes below it, by name."""
    pids, sizes = [root], Counter[str]()
    for pid in pids:
        pids += children(pid)
    for pid in pids:
        try:
            words = (PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
            name = processes.kind(pid) or _name(words, pid == root)
            sizes[name] += _bytes(pid) / 1e6  # pyright: ignore
        except (FileNotFoundError, ProcessLookupError, PermissionError, IndexError):
            continue  # it has just ended
    return sizes


def _bytes(pid: int) -> int:
    """The memory of one process that no file holds; Linux counts it in KiB."""
    lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    return 1024 * sum(int(x.split()[1]) for x in lines if x.startswith(("Pss_Anon", "Pss_Shmem")))


def _name(words: list[bytes], driver: bool) -> str:
    """``gcs_server``, ``ray::ReplayStore`` or ``log_monitor.py``; ``driver`` for the command."""
    if driver:
        return "driver"
    scripts = [word for word in words if word.endswith(b".py")]
    first = scripts[0] if b"python" in words[0] and scripts else words[0]
    return Path(first.decode(errors="replace")).name.partition(".run")[0].partition(" ")[0]


def _report(readings: list[Reading]) -> None:
    minutes = np.array([minute for minute, _ in readings])
    late = minutes >= minutes[-1] / 2
    print(f"{'process':40} {'MB at the end':>13} {'MB per minute':>13}")
    totals = [Counter(all=sum(sizes.values())) for _, sizes in readings]
    for name in [*sorted(readings[-1][1]), "all"]:
        series = totals if name == "all" else [sizes for _, sizes in readings]
        sizes = np.array([reading[name] for reading in series])
        slope = np.polyfit(minutes[late], sizes[late], 1)[0]
        print(f"{name:40} {sizes[-1]:13.1f} {slope:13.2f}")
    lines = (RUN / "run" / "metrics.jsonl").read_text().splitlines()
    if lines:
        end = json.loads(lines[-1])
        print(f"{end['games']:,.0f} games, {end['positions']:,.0f} positions, step {end['step']:,}")


if __name__ == "__main__":
    main()
