"""Sends the files of a run to Weights & Biases: beside the run while it goes on, or afterwards.

``metrics.jsonl`` becomes the history of the run with the id in ``wandb_id``. The step of the run is
a metric of its own, ``training_step``, which all charts have as their axis: the steps of wandb
itself must increase from one call to the next, also where a resumed run repeats some.

    python -m workers.runs.upload RUN --mode online --project NAME --step 0

follows the files until its standard input ends; ``alphazero track RUN`` calls ``send``.
"""

import argparse
import os
import secrets
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from alphazero import file_locks, metrics_file, plain_yaml
from alphazero.errors import RunFailed, reason
from workers.runs.mirror import FINISH_SECONDS, LOG, REPORTED, remedy
from workers.runs.pictures import COLUMNS

INIT_SECONDS = 10.0
"""Longest wait for an online run to begin; without a network wandb would wait 90 seconds."""
POLL_SECONDS = 1.0
"""Time between two looks at the files."""
STEP = "training_step"
"""The name of the run's step among the metrics."""
IDENTITY, AGENT = "wandb_id", "agent"
HOW_TO_TURN_ON = (
    "Weights & Biases is off: no key is stored here. `wandb login` turns it on; "
    "`alphazero track RUN` sends a run afterwards"
)


class NoKey(Exception):
    """No key for Weights & Biases is stored on this machine."""


class Source(NamedTuple):
    """The run to be sent, and how."""

    run_dir: Path
    mode: str
    """``online``, ``offline``, or ``auto``, which follows the settings that `wandb offline` and
    `wandb disabled` store, and is off without a key."""
    project: str
    step: int
    """The last step that is not sent in an offline run. Online the server knows the last one."""
    seconds: float
    """The longest wait for the server at the end."""


def send(source: Source, ended: Callable[[float], bool], report: Callable[[str], object]) -> int:
    """Send the files of a run until ``ended`` returns True; the exit status.

    ``ended(wait)`` waits up to ``wait`` seconds for the end of the run. Prints nothing; ``report``
    gets one line about the state, and one about what is missing at the end.
    """
    run_dir = source.run_dir
    sent = 0
    try:
        with _alone(run_dir, ended):
            mode = _stored_mode(report) if source.mode == "auto" else source.mode
            if mode == "off":
                return 0
            run = _begin(source, mode)
            place = run.url if mode == "online" else f"offline, in {run_dir}/wandb"
            report(f"Weights & Biases: {place}")
            last = int(run.summary.get(STEP, -1)) if mode == "online" else source.step
            metrics, examples = (
                Follower(run_dir / name, last) for name in ("metrics.jsonl", "examples.jsonl")
            )
            over = False
            while not over:
                over = ended(POLL_SECONDS)
                for line in metrics.new():
                    run.log(_row(line))
                    sent += 1
                for line in examples.new():
                    run.log({STEP: line["step"]} | _pictures(line))
            _send_agent(run, run_dir / AGENT)
            run.finish()
    except NoKey:
        report(HOW_TO_TURN_ON)
        return REPORTED
    except Exception as error:  # wandb raises errors of many libraries
        timed_out = isinstance(error, TimeoutError)
        why = (
            f"the server did not confirm all within {source.seconds:g} s"
            if timed_out
            else reason(error)
        )
        report(f"Weights & Biases: {_missing(sent)}: {why}; {remedy(run_dir)}")
        return REPORTED
    return 0


@contextmanager
def _alone(run_dir: Path, ended: Callable[[float], bool]) -> Iterator[None]:
    """Meanwhile, no other process sends the files of this run: both would send the same lines.

    One may still do so that a killed run left behind, or that of a run which goes on.
    """
    while (handle := file_locks.take(run_dir / LOG)) is None:
        if ended(POLL_SECONDS):
            raise RunFailed("another process still sends the files of this run")
    try:
        yield
    finally:
        os.close(handle)


class Follower:
    """The lines that are added to a file of JSON lines, one per step, as they are added.

    Those up to ``step`` are left out. Where values are added to the last line, ``new`` yields the
    step with these values alone.

    Example: after {"step": 20, "loss": 1} was yielded, the run adds a match to its step 20, and the
    line becomes {"step": 20, "loss": 1, "elo": 50}. The next call yields {"step": 20, "elo": 50}.
    """

    def __init__(self, path: Path, step: int) -> None:
        self._path, self._step, self._offset = path, step, 0
        self._last: dict[str, Any] = {"step": -1}

    def new(self) -> Iterator[dict[str, Any]]:
        """The lines that were added since the last call."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            if self._path.stat().st_size < self._offset:  # the file was written anew
                self._offset = 0
            file.seek(self._offset)
            while (text := file.readline()).endswith(b"\n"):
                self._offset = file.tell() - len(text)  # the last whole line is read again
                line = metrics_file.parse(text)
                if line is not None and line["step"] >= self._last["step"]:
                    values = self._added(line)
                    self._last = line
                    if values and line["step"] > self._step:
                        yield {"step": line["step"], "time": line.get("time")} | values

    def _added(self, line: dict[str, Any]) -> dict[str, Any]:
        """The values of ``line`` that are new, if it is the last line again; else all."""
        if line["step"] > self._last["step"]:
            return line
        return {name: value for name, value in line.items() if self._last.get(name) != value}


def _stored_mode(report: Callable[[str], object]) -> str:
    """The mode that `wandb offline` or `wandb disabled` stored; online by default.

    ``NoKey`` where there is no key for it.
    """
    import wandb

    stored = wandb.setup(wandb.Settings(silent=True)).settings.mode
    if stored in ("disabled", "offline", "dryrun"):
        mode, command = ("off", "disabled") if stored == "disabled" else ("offline", "offline")
        off = "Weights & Biases: off (" if mode == "off" else "Weights & Biases: offline ("
        report(f"{off}`wandb {command}` was called here; `wandb online` undoes it)")
        return mode
    return "online"


def _begin(source: Source, mode: str) -> Any:
    """The run at Weights & Biases, begun or continued."""
    import wandb

    run_dir = source.run_dir
    wandb.setup(wandb.Settings(silent=True))
    if mode == "online" and not wandb.login(prompt=False, verify=False):
        raise NoKey
    in_sweep = "WANDB_SWEEP_ID" in os.environ  # then the sweep gives the run its id
    run = wandb.init(
        project=source.project,
        dir=run_dir,
        id=None if in_sweep else _identity(run_dir),
        name=run_dir.resolve().name,
        config=settings_of(run_dir),
        mode="offline" if mode == "offline" else "online",
        resume=None if in_sweep else "allow",
        settings=wandb.Settings(
            silent=True,
            console="off",
            disable_code=True,
            disable_git=True,
            init_timeout=INIT_SECONDS,
            finish_timeout=source.seconds,
            finish_timeout_raises=True,
        ),
    )
    run.define_metric(STEP)
    run.define_metric("*", step_metric=STEP)
    run.define_metric("loss", summary="min", step_metric=STEP)
    run.define_metric("elo", summary="max", step_metric=STEP)
    (run_dir / IDENTITY).write_text(run.id, encoding="utf-8")
    return run


def _row(line: dict[str, Any]) -> dict[str, Any]:
    """The line of a step as a row of the history, at the time at which it was written."""
    values = {name: value for name, value in line.items() if value is not None}
    moment = values.pop("time", None)
    row = {STEP: values.pop("step")} | values
    return row if moment is None else row | {"_timestamp": moment}


def _pictures(line: dict[str, Any]) -> dict[str, Any]:
    """An example game as W&B shows it: boards, and a table of positions."""
    import wandb

    table = wandb.Table(columns=list(COLUMNS), data=line["positions"])
    return {"example_game": wandb.Html(line["page"], inject=False), "positions": table}


def _send_agent(run: Any, folder: Path) -> None:
    """Send the exported agent with its card, where there is one, as an artifact."""
    import wandb

    if (folder / "MODEL_CARD.md").is_file():
        artifact = wandb.Artifact(f"agent-{run.id}", type="model")
        artifact.add_dir(str(folder))
        run.log_artifact(artifact)


def _missing(sent: int) -> str:
    if not sent:
        return "nothing was sent"
    return f"of the {sent} lines since it began some may not have arrived"


def _identity(run_dir: Path) -> str:
    """The run's W&B id, drawn once and stored, so that a resumed run continues its own curves."""
    path = run_dir / IDENTITY
    if not path.exists():
        path.write_text(secrets.token_hex(8), encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()


def settings_of(run_dir: Path) -> dict[str, Any]:
    """The run's settings as plain values; empty where it has none. ``ValueError``, one line."""
    path = run_dir / "config.yaml"
    settings = plain_yaml.load(plain_yaml.read_text(path)) if path.exists() else {}
    if not isinstance(settings, dict):
        raise ValueError(f"{path} has no settings: they are lines of the form `key: value`")
    return settings


def _print(line: str) -> None:
    with suppress(OSError):  # the run may have been killed: its metrics are sent all the same
        print(line, flush=True)


def main(arguments: list[str]) -> int:
    """Follow a run until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--mode", default="auto")
    parser.add_argument("--project", default="alphazero")
    parser.add_argument("--step", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=FINISH_SECONDS)
    options = parser.parse_args(arguments)
    over = threading.Event()

    def wait_for_end() -> None:
        sys.stdin.read()
        over.set()

    threading.Thread(target=wait_for_end, daemon=True).start()
    source = Source(options.run_dir, options.mode, options.project, options.step, options.seconds)
    return send(source, over.wait, _print)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
