"""The process that sends a run's files to Weights & Biases, as the run sees it.

``workers.runs.upload`` is the program of that process. It follows the files in the run's directory,
so that the run never waits for it. Its errors are in ``wandb.log``; its lines for people are passed
on. It ends when its standard input ends: also where the run is killed, and then what the run had
written is still sent.
"""

import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

from alphazero.config import TrackingSettings
from alphazero.errors import reason

LOG = "wandb.log"
FINISH_SECONDS = 10.0
"""Longest wait at the end of a run for what has not been sent yet."""
MARGIN_SECONDS = 20.0
"""Time beside ``FINISH_SECONDS`` in which the process begins, gives up and ends."""
REPORTED = 3
"""Its exit status where it has reported what is missing."""
_MODES = {
    "online": "online",
    "run": "online",
    "offline": "offline",
    "dryrun": "offline",
    "disabled": "off",
}
"""Values of the environment variable WANDB_MODE, and the setting that each stands for."""
_TRUE = ("1", "true", "yes", "on", "y", "t")


class Choice(NamedTuple):
    """Whether and how metrics are sent."""

    mode: str
    """``auto``, ``online``, ``offline`` or ``off``."""
    line: str | None
    """A line that names what decided, where the user may wonder."""


class Mirror:
    """The process that follows one run; none where Weights & Biases is off.

    ``report`` is called with its lines, from a thread. ``step``: the step from which the run
    continues, 0 for a new one. ``seconds``: the longest wait for the server at the end.
    """

    def __init__(
        self,
        run_dir: Path,
        settings: TrackingSettings,
        report: Callable[[str], object],
        step: int = 0,
        seconds: float = FINISH_SECONDS,
    ):
        self._run_dir, self._report, self._seconds = run_dir, report, seconds
        self._process: subprocess.Popen[str] | None = None
        choice = choose(settings.wandb, os.environ)
        if choice.line:
            report(choice.line)
        if choice.mode == "off":
            return
        try:
            self._start(choice.mode, settings.project, step)
        except OSError as error:  # no room for its log, or for another process
            why = f"its process did not start: {reason(error)}"
            report(f"Weights & Biases: nothing is sent, {why}; {remedy(run_dir)}")

    @property
    def is_on(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def close(self) -> int:
        """Let the process send the rest; 0, or 1 where anything is missing, which is reported.

        Further calls do nothing.
        """
        process, self._process = self._process, None
        if process is None:
            return 0
        assert process.stdin
        with suppress(OSError):  # it has ended already
            process.stdin.close()
        try:
            status = process.wait(self._seconds + MARGIN_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
        self._reader.join(timeout=1.0)
        assert process.stdout
        process.stdout.close()
        if status not in (0, REPORTED):
            self._report(
                f"Weights & Biases: its process ended with status {status}, see "
                f"{self._run_dir / LOG}; {remedy(self._run_dir)}"
            )
        return min(status, 1) if status >= 0 else 1

    def _start(self, mode: str, project: str, step: int) -> None:
        command = [sys.executable, "-P", "-m", "workers.runs.upload", str(self._run_dir)]
        command += ["--mode", mode, "--project", project]
        command += ["--step", str(step), "--seconds", str(self._seconds)]
        with (self._run_dir / LOG).open("ab") as errors:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                encoding="utf-8",
                env=environment(os.environ),
                start_new_session=True,  # Ctrl-C reaches the run, which closes its standard input
            )
        assert self._process.stdout
        arguments = self._process.stdout, self._report
        self._reader = threading.Thread(target=_pass_on, args=arguments, daemon=True)
        self._reader.start()


def choose(setting: str, environ: Mapping[str, str]) -> Choice:
    """The joint decision of ``tracking.wandb`` and of wandb's environment variables.

    Any other setting than ``auto`` is followed, whatever the environment says.
    """
    mode, disabled = environ.get("WANDB_MODE", ""), environ.get("WANDB_DISABLED", "")
    wanted = "off" if disabled.lower() in _TRUE else _MODES.get(mode.lower(), "")
    variable = "WANDB_DISABLED" if wanted == "off" and disabled else "WANDB_MODE"
    given = f"{variable}={environ.get(variable, '')}"
    if setting != "auto":
        if setting == "off":
            return Choice("off", "Weights & Biases: off")
        overruled = wanted not in ("", setting)
        line = f"Weights & Biases: tracking.wandb={setting} is followed, not {given}"
        return Choice(setting, line if overruled else None)
    if wanted == "off":
        return Choice("off", f"Weights & Biases: off ({given})")
    if mode and not wanted:
        known = "online, offline or disabled"
        return Choice("off", f"Weights & Biases: off, for {given} is not one of {known}")
    return Choice(wanted or "auto", None)


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of the process: without the variables that ``choose`` has decided about.

    Its Python finds the same modules as this one, and writes the text that this one reads.
    """
    left_out = ("WANDB_MODE", "WANDB_DISABLED", "WANDB_SILENT")
    kept = {name: value for name, value in environ.items() if name not in left_out}
    folders = os.pathsep.join(path for path in sys.path if path)
    # No error reports to the makers of wandb without the user's consent.
    ours = {"PYTHONPATH": folders, "PYTHONIOENCODING": "utf-8:replace"}
    return {"WANDB_ERROR_REPORTING": "false"} | kept | ours


def remedy(run_dir: Path) -> str:
    """The end of a line that says that something is missing."""
    return f"`alphazero track {shlex.quote(str(run_dir))}` sends what is missing"


def _pass_on(lines: IO[str], report: Callable[[str], object]) -> None:
    for line in lines:
        report(line.rstrip("\n"))
