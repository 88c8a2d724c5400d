"""Folders crafted to run code, hang or fill memory, given to everything that reads folders.

    python tests/benchmarks/hostile_folders.py [--only TEXT] [--seed N]

Makes some 260 folders from a small run (``tests/made_up_folders.py`` has the ways) and reads each
in a process of its own, forked from one that has imported and compiled everything: as an agent, as
a player, to serve, to export and to resume. A process has 2 GiB of memory beside what it begins
with and 120 s. Prints each folder after which there was a traceback, a message of several lines,
more than 2 s of CPU time, more than 100 MB more memory, or code of the folder that ran; then a
summary.
"""

import argparse
import contextlib
import io
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import made_up_folders as crafts
import numpy as np
import torch

import alphazero
import games
from alphazero import checkpoint
from alphazero.errors import RunFailed
from alphazero.judging import agent, players
from workers import cli
from workers.runs import export, train
from workers.serve import loading
from workers.serve.limits import Limits

SECONDS, MEGABYTES = 2.0, 100
LIMIT_SECONDS, LIMIT_BYTES = 120, 2 * 2**30
SETTINGS = [
    "search.simulations=4", "selfplay.games=8", "network.blocks=1", "network.channels=8",
    "replay.min_positions=50", "training.steps=4", "training.batch_size=16",
    "training.checkpoint_every=2", "training.precision=float32", "inference.backend=torch",
    "inference.precision=float32", "training.time_limit_minutes=null", "evaluation.games=0",
    "tracking.wandb=off", "ray=off", "training.threads=1",
]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", metavar="TEXT", help="folders whose name has TEXT")
    parser.add_argument("--seed", type=int, default=0, help="(0)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        sys.path.append(folder)
        settings = alphazero.load_config("tic_tac_toe", SETTINGS)
        alphazero.train(settings, "original")
        shutil.rmtree("original/checkpoints/step_000004")
        shutil.copytree("original", "stranger")
        _read("stranger", settings)  # everything is compiled now
        if problems := _read("stranger", settings)["problems"]:
            raise SystemExit(f"the folder as it was: {problems}")
        names = [name for name in crafts.CRAFTED if options.only in name]
        rows = []
        for name in names:
            rows.append(_try(name, options.seed, settings))
            if rows[-1]["problems"]:
                print(f"{name}: {'; '.join(rows[-1]['problems'])}", flush=True)
    wrong = sum(bool(row["problems"]) for row in rows)
    refused, calls = (sum(row[key] for row in rows) for key in ("refused", "calls"))
    seconds, megabytes = (max(row[key] for row in rows) for key in ("seconds", "megabytes"))
    print(
        f"{len(rows)} folders, {wrong} with problems; {refused:,} of {calls:,} calls refused; "
        f"at most {seconds:.2f} s of CPU time and {megabytes:.0f} MB more memory"
    )
    sys.exit(bool(wrong))


def _try(name: str, seed: int, settings: Any) -> dict[str, Any]:
    """Craft the folder and read it in a process of its own."""
    shutil.rmtree("stranger")
    shutil.copytree("original", "stranger")
    run = Path("stranger")
    crafts.set_trap(run)
    crafts.CRAFTED[name](run, np.random.default_rng([seed, *name.encode()]))
    row = {"name": name, "problems": [], "seconds": 0.0, "megabytes": 0.0, "refused": 0, "calls": 0}
    context = multiprocessing.get_context("fork")
    reader, writer = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(writer, settings))
    process.start()
    writer.close()
    try:
        answer = reader.recv() if reader.poll(LIMIT_SECONDS) else None
    except EOFError:
        answer = {"problems": [f"the process ended: {process.exitcode}"]}
    row |= answer or {"problems": [f"it takes longer than {LIMIT_SECONDS} s"]}
    process.kill()
    process.join()
    if crafts.ran(run) or Path("ran").exists():
        row["problems"].append("code of the folder ran")
        Path("ran").unlink(missing_ok=True)
    return row


def _child(writer: Any, settings: Any) -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + LIMIT_BYTES,) * 2)
    writer.send(_read("stranger", settings))
    writer.close()


def _read(folder: str, settings: Any) -> dict[str, Any]:
    """Everything that reads a folder, one after another; what went wrong."""
    problems, refused = [], 0
    slowest = most = 0.0
    calls = _calls(folder, settings)
    for name, call in calls.items():
        before, start = _megabytes(), time.process_time()
        error, output = _outcome(call)
        seconds, grown = time.process_time() - start, _megabytes() - before
        slowest, most = max(slowest, seconds), max(most, grown)
        refused += error is not None
        problems += [f"{name}: {problem}" for problem in _problems(error, output)]
        if seconds > SECONDS:
            problems.append(f"{name}: {seconds:.1f} s")
        if grown > MEGABYTES:
            problems.append(f"{name}: {grown:.0f} MB")
    figures = {"refused": refused, "calls": len(calls), "seconds": slowest, "megabytes": most}
    return {"problems": problems} | figures


def _calls(folder: str, settings: Any) -> dict[str, Callable[[], object]]:
    game, path = games.make("tic_tac_toe"), Path(folder)
    step = path / crafts.STEP

    def command(*words: str) -> Callable[[], object]:
        return lambda: cli.main(words)

    return {
        "load_agent": lambda: alphazero.load_agent(path).analyse(),
        "load of a step": lambda: agent.load(step, game, simulations=4),
        "checkpoint": lambda: players.make(f"checkpoint:path={step},simulations=4", game),
        "policy": lambda: players.make(f"policy:path={path}", game),
        "load_state": lambda: checkpoint.load_state(step),
        "serve": lambda: loading.load(folder, Limits()),
        "export": lambda: export.export(path, Path("exported"), half=True),
        "arena": command("arena", f"policy:path={path}", "random", "--game", "tic_tac_toe",
                         "--games", "2"),
        "play": command("play", "tic_tac_toe", "--player", f"checkpoint:path={step},simulations=4"),
        "initial_weights": lambda: alphazero.train(
            alphazero.load_config("tic_tac_toe", [*SETTINGS, f"training.initial_weights={step}"]),
            "begun", stop=lambda: True),
        "resume": lambda: alphazero.train(settings, path, resume=True, stop=lambda: True),
        "--resume": lambda: train.main(settings, path, True, "off", None),
    }  # fmt: skip


def _outcome(call: Callable[[], object]) -> tuple[BaseException | None, str]:
    """The error that a call raised, and what it printed."""
    output = io.StringIO()
    sys.stdin = io.StringIO()
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            call()
    except (Exception, SystemExit) as error:
        return error, output.getvalue()
    finally:
        shutil.rmtree("exported", ignore_errors=True)
        shutil.rmtree("begun", ignore_errors=True)
    return None, output.getvalue()


def _problems(error: BaseException | None, output: str) -> list[str]:
    problems = []
    if error is not None:
        text = str(error)
        if not isinstance(error, ValueError | RunFailed | OSError):
            problems.append(f"{type(error).__name__}: {text[:200]}")
        if "\n" in text or not text.isprintable() or len(text) > 1500:
            problems.append(f"not one short line: {text[:300]!r}")
    if "Traceback" in output or "\x1b[2J" in output or len(output) > 20_000:
        problems.append(f"printed {output[-300:]!r}")
    return problems


def _megabytes() -> float:
    """The most memory that this process has had so far."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


if __name__ == "__main__":
    main()
