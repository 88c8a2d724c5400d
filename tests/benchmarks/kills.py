"""The losses of a run in one process that is killed, stopped, without disk, or ended by a signal.

    python tests/benchmarks/kills.py [--only KIND ...] [--repetitions N] [--seconds S] [--seed S]
        [KEY=VALUE ...]

Each kind is repeated N times (default 3), each time with a new run of tic-tac-toe that is disturbed
at a random moment after its first optimizer step, and then resumed until it is past the step at
which it was disturbed:

    kill      SIGKILL
    stop      SIGSTOP, and SIGCONT two seconds later
    disk      files may not grow any more (RLIMIT_FSIZE), as on a full disk
    term, hup, int    SIGTERM, SIGHUP, SIGINT
    terminal  the terminal in which it runs is closed

Printed are medians and the largest value of: the seconds until it is noticed, that is, until the
process has ended or (stop) trains again; the games that were counted in metrics.jsonl and are not
in the shards; the seconds of training since the newest checkpoint; and the seconds until the
resumed run is past the step at which it was disturbed. Linux only.
"""

import argparse
import contextlib
import json
import os
import pty
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

import games
from alphazero import checkpoint, sealed, wire

SETTINGS = [
    "training.steps=1000000", "training.time_limit_minutes=null", "training.checkpoint_every=100",
    "evaluation.games=0", "tracking.wandb=off",
]  # fmt: skip
MOMENTS = 15.0
"""A run is disturbed at a random moment of these seconds after its first step."""
PATIENCE = 300.0
"""Seconds after which anything that does not happen is a failure."""


class Figures(NamedTuple):
    """One disturbed run."""

    noticed: float
    games_lost: int
    seconds_lost: float
    back: float


class Process:
    """A run in a process of its own, with a terminal of its own."""

    def __init__(self, folder: Path, settings: list[str], resume: bool = False):
        self.folder = folder
        self.terminal, theirs = pty.openpty()
        words = ["train", "tic_tac_toe", *SETTINGS, *settings, "--ray", "off"]
        take = "import fcntl, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"{take} from workers import cli; sys.exit(cli.main())",
             *words, "--run-dir", str(folder), *["--resume"] * resume],
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        os.set_blocking(self.terminal, False)
        self.shown = b""

    def read(self) -> None:
        """Take what the run has printed, so that it never waits for the terminal."""
        with contextlib.suppress(OSError):
            self.shown += os.read(self.terminal, 2**16)

    def until(self, condition: Callable[[], bool]) -> float:
        """Wait for ``condition``; the seconds that it took."""
        start = time.monotonic()
        while not condition():
            if time.monotonic() > start + PATIENCE:
                raise SystemExit(f"nothing happened for {PATIENCE:.0f} s: see {self.folder}")
            self.read()
            time.sleep(0.01)
        return time.monotonic() - start

    def until_step(self, step: int) -> float:
        """Wait until the run has logged ``step``; ``SystemExit`` if it ends before."""

        def reached() -> bool:
            if self.process.poll() is not None:
                raise SystemExit(f"{self.folder} ended:\n{self.shown.decode(errors='replace')}")
            return last(self.folder)["step"] >= step

        return self.until(reached)

    def until_end(self) -> float:
        return self.until(lambda: self.process.poll() is not None)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        with contextlib.suppress(OSError):
            os.close(self.terminal)


def last(folder: Path) -> dict:
    """The last whole line of a run's metrics; step 0 where there is none."""
    path = folder / "metrics.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    with contextlib.suppress(json.JSONDecodeError):
        return json.loads(lines[-1]) if lines else {"step": 0}
    return {"step": 0}


def stored(folder: Path) -> int:
    """The undamaged games in the shards of a run; ``SystemExit`` for one that is there twice."""
    game, ids = games.make("tic_tac_toe"), []
    for path in sorted((folder / "games").glob("shard_*")):
        ids += [record.game_id for _, record in wire.read_shard(game, path, lambda line: None)]
    if len(set(ids)) < len(ids):
        raise SystemExit(f"{folder} has a game twice")
    return len(ids)


def seconds_lost(folder: Path, metrics: dict) -> float:
    """The seconds of training between the newest checkpoint and the last line of the metrics."""
    newest = checkpoint.newest(folder)
    saved = checkpoint.load_state(newest)["seconds"] if newest else 0.0
    return max(0.0, 60 * metrics["minutes"] - saved)


def send(number: signal.Signals) -> Callable[[Process], float]:
    """A disturbance: send the signal, and wait until the process has ended."""

    def disturb(run: Process) -> float:
        run.process.send_signal(number)
        return run.until_end()

    return disturb


def stop(run: Process) -> float:
    """Stop and continue; the seconds after that until the next step."""
    run.process.send_signal(signal.SIGSTOP)
    time.sleep(2.0)
    step = last(run.folder)["step"]
    run.process.send_signal(signal.SIGCONT)
    return run.until_step(step + 1)


def fill_disk(run: Process) -> float:
    """No file grows beyond the size that the newest shard has now."""
    size = max(path.stat().st_size for path in (run.folder / "games").glob("shard_*"))
    resource.prlimit(run.process.pid, resource.RLIMIT_FSIZE, (size, size))
    seconds = run.until_end()
    text = run.shown.decode(errors="replace")
    if "Traceback" in text or "alphazero: error:" not in text:
        raise SystemExit(f"{run.folder}: no single line:\n{text}")
    return seconds


def close_terminal(run: Process) -> float:
    os.close(run.terminal)
    return run.until(lambda: run.process.poll() is not None)


KINDS = {
    "kill": send(signal.SIGKILL), "stop": stop, "disk": fill_disk, "term": send(signal.SIGTERM),
    "hup": send(signal.SIGHUP), "int": send(signal.SIGINT), "terminal": close_terminal,
}  # fmt: skip


@contextlib.contextmanager
def started(*arguments: object, **named: bool) -> Iterator[Process]:
    run = Process(*arguments, **named)  # type: ignore[arg-type]
    try:
        yield run
    finally:
        run.close()


def measure(folder: Path, kind: str, moment: float, settings: list[str]) -> Figures:
    """Disturb one run ``moment`` seconds after its first step, and resume it."""
    with started(folder, settings) as run:
        run.until_step(1)
        end = time.monotonic() + moment
        run.until(lambda: time.monotonic() >= end)
        noticed = KINDS[kind](run)
        ended = run.process.poll() is not None
        if not ended:
            run.process.kill()
            run.until_end()
    metrics = last(folder)
    lost = max(0, int(metrics["games"]) - stored(folder))
    seconds = seconds_lost(folder, metrics) if ended else 0.0
    with started(folder, settings, resume=True) as run:
        back = run.until_step(metrics["step"] + 1)
        run.process.terminate()
        run.until_end()
    check(folder)
    return Figures(noticed, lost, seconds, back)


def check(folder: Path) -> None:
    """Every step is logged once, in order, and every checkpoint is whole."""
    steps = [json.loads(line)["step"] for line in (folder / "metrics.jsonl").open()]
    if steps != list(range(1, len(steps) + 1)):
        raise SystemExit(f"{folder}: steps are missing, or there twice")
    for path in sealed.steps(folder / "checkpoints"):
        if problem := sealed.find_damage(path):
            raise SystemExit(f"{path}: {problem}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="overrides")
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS), metavar="KIND")
    parser.add_argument("--repetitions", type=int, default=3, metavar="N", help="(3)")
    parser.add_argument("--seconds", type=float, default=MOMENTS, metavar="S", help="(15)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the moments (0)")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    print(f"{'':10}{'n':>4}{'noticed, s':>18}{'games lost':>14}{'seconds lost':>18}{'back, s':>18}")
    with tempfile.TemporaryDirectory(prefix="kills") as directory:
        for kind in options.only:
            rows = [
                measure(Path(directory) / f"{kind}{n}", kind, rng.uniform(0, options.seconds),
                        options.settings)
                for n in range(options.repetitions)
            ]  # fmt: skip
            noticed, lost, seconds, back = zip(*rows, strict=True)
            cells = [
                f"{statistics.median(cell):.2f} (max {max(cell):.2f})"
                for cell in (noticed, seconds, back)
            ]
            print(f"{kind:10}{len(rows):4}{cells[0]:>18}{sum(lost):14}{cells[1]:>18}{cells[2]:>18}",
                  flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
