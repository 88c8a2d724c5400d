"""The losses of a training run on Ray whose processes are killed or stopped.

    python tests/benchmarks/kills_on_ray.py [--parts kill,actors,control,signals,disk] [--kills N]
        [KEY=VALUE ...]

Each row is a run `alphazero train tic_tac_toe --ray local` to which one thing happens:

* kill: the command is killed with SIGKILL and resumed, N times in one run (default 3);
* actors: a search process, an evaluator, the node's actor (with all of its processes) or the replay
  actor is killed, then stopped by SIGSTOP;
* control: gcs_server or the raylet of Ray itself is killed or stopped;
* signals: the command gets SIGTERM, SIGINT or SIGHUP;
* disk: the disk of the run directory becomes full (a small tmpfs, if that may be mounted).

Columns: *noticed*, seconds until a line in log.txt names it; *pause*, the longest time without a
newly stored game after it, the start of a new process included; *ended*, seconds until the command
ended, and its exit status; *games lost*, games that were on disk before and are missing after;
*twice*, games stored twice; *steps lost*, steps in metrics.jsonl behind the newest checkpoint;
*seconds lost*, since the step of that checkpoint. Linux only. The runs are in runs/kills_on_ray.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import games
from alphazero import checkpoint, wire
from workers.bench import processes
from workers.node.processes import PROC, children

RUNS = Path("runs/kills_on_ray").absolute()
GAME = "tic_tac_toe"
SETTINGS = [
    "training.steps=1000000", "training.checkpoint_every=50", "evaluation.games=0",
    "tracking.wandb=off", "tracking.log_every=1", "replay.min_positions=300",
]  # fmt: skip
PATIENCE = 180.0
"""The longest wait in seconds for anything."""
AFTERWARDS = 40.0
"""Seconds during which a pause in the storing of games is looked for, where the run goes on."""
ACTORS = {"node": b"ray::NodeActor", "replay": b"ray::ReplayStore"}
PROCESSES = ("search process", "evaluator", *ACTORS)
"""The kinds of processes that ``actors`` kills and stops; the first two belong to the node."""
SMALL_DISK = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
MOUNT = "mount -t tmpfs -o size=24m tmpfs"


class Run:
    """One run in its folder, as a process of its own; ``disk``: on a small disk of its own."""

    def __init__(self, name: str, settings: list[str], disk: bool = False):
        self.folder = self.seen = RUNS / name
        self.folder.mkdir(parents=True)
        self._settings, self._disk = settings, disk
        self.output = RUNS / f"{name}.txt"
        self.start()

    def start(self, resume: bool = False) -> None:
        """Start the command, and wait until it has written a step."""
        words = [sys.executable, "-m", "alphazero", "train", GAME, *SETTINGS, *self._settings]
        words += ["--ray", "local", "--run-dir", str(self.folder), *["--resume"][:resume]]
        if self._disk:
            words = [*SMALL_DISK, f'{MOUNT} {self.folder} && exec "$@"', "sh", *words]
        with open(self.output, "a", encoding="utf-8") as output:
            self.process = subprocess.Popen(
                words, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        if self._disk:  # the folder as that process sees it
            self.seen = PROC / str(self.process.pid) / "root" / self.folder.relative_to("/")
        before = self.last_step()
        self.wait(lambda: self.last_step() > before, "a step")
        time.sleep(3.0)

    def wait(self, condition: Callable[[], object], what: str) -> float:
        """Wait until ``condition`` holds; returns the seconds. Ends the benchmark after minutes."""
        began = time.monotonic()
        while not condition():
            if time.monotonic() - began > PATIENCE:
                raise SystemExit(f"{self.folder.name}: no {what} within {PATIENCE:g} s")
            time.sleep(0.05)
        return time.monotonic() - began

    def ended(self) -> bool:
        return self.process.poll() is not None

    def metrics(self) -> list[dict]:
        path = self.seen / "metrics.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("}")]

    def last_step(self) -> int:
        """The last step in metrics.jsonl; 0 before the first."""
        lines = self.metrics()
        return lines[-1]["step"] if lines else 0

    def problems(self) -> list[str]:
        """The warnings and errors in log.txt."""
        path = self.seen / "log.txt"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if " WARNING " in line or " ERROR " in line]

    def game_ids(self) -> list[int]:
        """The ids of all whole games on disk."""
        game, ids = games.make(GAME), []
        for path in sorted((self.seen / "games").glob("shard_*.bin")):
            for _, record in wire.read_shard(game, path, lambda line: None):
                ids += [record.game_id] if record is not None else []
        return ids

    def stored_bytes(self) -> int:
        return sum(path.stat().st_size for path in (self.seen / "games").glob("shard_*.bin"))

    def pid(self, name: str) -> int:
        """A process of the run: one of ``PROCESSES``, or a program of Ray."""
        pids = [self.process.pid]
        for pid in pids:
            pids += children(pid)
        for pid in pids:
            try:
                command = (PROC / str(pid) / "cmdline").read_bytes()
                kind = processes.kind(pid)
            except (FileNotFoundError, ProcessLookupError):
                continue
            program = Path(command.partition(b"\0")[0].decode(errors="replace")).name
            if name in (program, kind) or command.startswith(ACTORS.get(name, b"-")):
                return pid
        raise SystemExit(f"{self.folder.name}: there is no process {name}")

    def lost(self, before: list[int]) -> dict[str, str]:
        """The games and steps that are missing once the command has ended."""
        after = self.game_ids()
        lines, newest = self.metrics(), checkpoint.newest(self.seen, lambda line: None)
        saved = checkpoint.load(newest).step if newest else 0
        minutes = {line["step"]: line["minutes"] for line in lines if "minutes" in line}
        last = max(minutes, default=0)
        seconds = 60 * (minutes.get(last, 0.0) - minutes.get(saved, 0.0)) if last > saved else 0.0
        return {
            "games lost": str(len(set(before) - set(after))),
            "twice": str(len(after) - len(set(after))),
            "steps lost": str(max(0, last - saved)),
            "seconds lost": f"{seconds:.1f}",
        }


@contextmanager
def running(name: str, settings: list[str], disk: bool = False) -> Iterator[Run]:
    """A run that is killed at the end, with everything that it started."""
    run = Run(name, settings, disk)
    try:
        yield run
    finally:
        if not run.ended():
            os.killpg(run.process.pid, signal.SIGKILL)
            run.process.wait()


def kills(settings: list[str], count: int) -> Iterator[dict[str, str]]:
    """SIGKILL of the command and ``--resume``, ``count`` times in one run."""
    with running("kill", settings) as run:
        for number in range(1, count + 1):
            before = run.game_ids()
            os.kill(run.process.pid, signal.SIGKILL)
            run.process.wait()
            figures = run.lost(before)
            began = time.monotonic()
            run.start(resume=True)
            pause = f"{time.monotonic() - began:.1f}"
            yield {"what": f"kill {number}: command", "pause": pause, **figures}


def actors(settings: list[str]) -> Iterator[dict[str, str]]:
    """SIGKILL and SIGSTOP of each kind of process, all in one run."""
    with running("actors", settings) as run:
        for number in (signal.SIGKILL, signal.SIGSTOP):
            for name in PROCESSES:
                before, problems = run.game_ids(), len(run.problems())
                os.kill(run.pid(name), number)
                noticed, pause = _pauses(run, problems)
                yield {
                    "what": f"{number.name}: {name}",
                    "noticed": f"{noticed:.1f}", "pause": f"{pause:.1f}",
                    **dict(list(run.lost(before).items())[:2]),
                }  # fmt: skip


def _pauses(run: Run, problems: int) -> tuple[float, float]:
    """Seconds until a new line in the log, and the longest pause in the storing of games."""
    began = last = time.monotonic()
    stored, pause, noticed = run.stored_bytes(), 0.0, float("nan")
    while time.monotonic() - began < AFTERWARDS:
        time.sleep(0.05)
        now = time.monotonic()
        pause = max(pause, now - last)
        if (size := run.stored_bytes()) != stored:
            stored, last = size, now
        if noticed != noticed and len(run.problems()) > problems:
            noticed = now - began
    return noticed, pause


def control(settings: list[str]) -> Iterator[dict[str, str]]:
    """SIGKILL and SIGSTOP of gcs_server and of the raylet, each in a run of its own."""
    for number in (signal.SIGKILL, signal.SIGSTOP):
        for name in ("gcs_server", "raylet"):
            with running(f"{name}-{number.name}", settings) as run:
                before, problems = run.game_ids(), len(run.problems())
                os.kill(run.pid(name), number)
                began = time.monotonic()
                noticed = run.wait(lambda r=run, p=problems: len(r.problems()) > p, "line")
                yield {
                    "what": f"{number.name}: {name}",
                    "noticed": f"{noticed:.1f}", **_end(run, began), **run.lost(before),
                }  # fmt: skip


def signals(settings: list[str]) -> Iterator[dict[str, str]]:
    """Signals to the command, each in a run of its own."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        with running(number.name, settings) as run:
            before = run.game_ids()
            os.kill(run.process.pid, number)
            ended = _end(run, time.monotonic())
            yield {"what": f"{number.name}: command", **ended, **run.lost(before)}


def disk(settings: list[str]) -> Iterator[dict[str, str]]:
    """The disk of the run directory becomes full."""
    RUNS.mkdir(parents=True, exist_ok=True)
    if subprocess.run([*SMALL_DISK, f"{MOUNT} {RUNS}"], check=False).returncode:
        print("disk: skipped, this system does not let a script mount a small disk")
        return
    with running("disk", settings, disk=True) as run:
        before, problems = run.game_ids(), len(run.problems())
        fill(run.seen / "filler")
        began = time.monotonic()
        noticed = run.wait(lambda: run.ended() or len(run.problems()) > problems, "line")
        figures = run.lost(before)  # the disk is gone with the last process on it
        ended = _end(run, began)
        yield {"what": "full disk", "noticed": f"{noticed:.1f}", **ended, **figures}


def fill(path: Path) -> None:
    """Write until the disk is full."""
    with open(path, "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            return


def _end(run: Run, began: float) -> dict[str, str]:
    run.wait(run.ended, "end of the command")
    return {"ended": f"{time.monotonic() - began:.1f} ({run.process.returncode})"}


COLUMNS = (
    "what", "noticed", "pause", "ended", "games lost", "twice", "steps lost", "seconds lost",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description="What a run on Ray loses to kills and stops.")
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="overrides")
    parser.add_argument("--parts", default="kill,actors,control,signals,disk")
    parser.add_argument("--kills", type=int, default=3, help="repetitions of the kill (3)")
    options = parser.parse_args()
    shutil.rmtree(RUNS, ignore_errors=True)
    parts: dict[str, Callable[[], Iterator[dict[str, str]]]] = {
        "kill": lambda: kills(options.settings, options.kills),
        "actors": lambda: actors(options.settings),
        "control": lambda: control(options.settings),
        "signals": lambda: signals(options.settings),
        "disk": lambda: disk(options.settings),
    }
    print("  ".join(f"{column:>12}" if column != "what" else f"{column:24}" for column in COLUMNS))
    for part in options.parts.split(","):
        for row in parts[part]():
            cells = [f"{row.get(column, ''):>12}" for column in COLUMNS[1:]]
            print("  ".join([f"{row['what']:24}", *cells]), flush=True)


if __name__ == "__main__":
    main()
