"""The memory of a training run over time.

    python tests/benchmarks/memory.py [--minutes M] [--game G] [KEY=VALUE ...]

Trains with default settings in one process for M minutes (default 20) and reads the resident memory
every ten seconds. The growth in MB per minute is that of a least-squares line through the second
half of the readings. Linux only. Writes every reading to runs/memory/readings.jsonl.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

RUN = Path("runs/memory")
PAUSE = 10.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="overrides")
    parser.add_argument("--minutes", type=float, default=20, help="(20)")
    parser.add_argument("--game", default="connect_four", help="(connect_four)")
    options = parser.parse_args()
    shutil.rmtree(RUN, ignore_errors=True)
    RUN.mkdir(parents=True)
    config = RUN / "default.yaml"
    config.write_text(f"game: {options.game}\nrecipe: none\n")
    with open(RUN / "output.txt", "w", encoding="utf-8") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "workers.cli", "train", str(config), "--ray", "off",
             "training.steps=1000000", "evaluation.games=0", "tracking.wandb=off",
             *options.settings,
             "--time-limit", f"{options.minutes}m", "--run-dir", str(RUN / "run")],
            stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        readings = _readings(process)
    _report(np.array(readings))
    if process.returncode:
        raise SystemExit(f"the run failed: see {RUN / 'output.txt'}")


def _readings(process: subprocess.Popen) -> list[tuple[float, float]]:
    """Minutes since the start, and megabytes."""
    start, readings = time.monotonic(), []
    with open(RUN / "readings.jsonl", "w", encoding="utf-8") as file:
        while process.poll() is None:
            time.sleep(PAUSE)
            megabytes = _resident(process.pid)
            if megabytes is not None:
                readings.append(((time.monotonic() - start) / 60, megabytes))
                file.write(json.dumps(readings[-1]) + "\n")
                file.flush()
    return readings


def _resident(pid: int) -> float | None:
    """Resident memory in megabytes; None once the process has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except FileNotFoundError:
        return None
    sizes = [line.split()[1] for line in lines if line.startswith("VmRSS:")]
    return int(sizes[0]) * 1024 / 1e6 if sizes else None


def _report(readings: np.ndarray) -> None:
    minutes, megabytes = readings.T
    for at in np.linspace(0, minutes[-1], 11):
        print(f"{at:5.1f} min  {np.interp(at, minutes, megabytes):8.1f} MB")
    late = minutes > minutes[-1] / 2
    slope = np.polyfit(minutes[late], megabytes[late], 1)[0]
    last = json.loads((RUN / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    print(f"growth in the second half: {slope:.2f} MB per minute")
    print(f"{last['games']:,.0f} games, {last['positions']:,.0f} positions, step {last['step']:,}")


if __name__ == "__main__":
    main()
