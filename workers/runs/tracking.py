"""A run's metrics: ``metrics.jsonl``, which is the record, and Weights & Biases, which mirrors it.

The record is complete whatever happens to the mirror. The mirror is imported lazily, is called from
this process only, never asks a question, never raises and never holds the run up: its first failure
is one warning line and its last act.
"""

import html
import json
import logging
import math
import os
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from alphazero.config import TrackingSettings

log = logging.getLogger(__name__)

HOW_TO_TURN_ON = (
    "Weights & Biases is off: no key is stored here. `wandb login` turns it on, "
    "tracking.wandb=offline records a run to be synced later"
)
INIT_SECONDS = 5.0
"""Longest wait for an online run to begin; without a network wandb would wait 90 seconds."""
FINISH_SECONDS = 10.0
"""Longest wait for the last upload; what is not sent by then can be sent by `wandb sync`."""


class Tracker:
    """Writes one line of ``run_dir/metrics.jsonl`` a step and mirrors it to Weights & Biases.

    ``config`` is the resolved configuration, for the mirror. A resumed run keeps its lines and its
    W&B identity; ``step`` is the one it goes on from, and lines beyond it are dropped, because the
    run is about to write them again.
    """

    def __init__(
        self,
        run_dir: Path | str,
        settings: TrackingSettings,
        config: dict[str, Any],
        resume: bool = False,
        step: int | None = None,
    ):
        run_dir = Path(run_dir)
        run_dir.mkdir(parents=True, exist_ok=True)
        self._metrics = _MetricsFile(run_dir / "metrics.jsonl", resume, step)
        self._texts = run_dir / "examples.txt"
        self._mirror = _Mirror(run_dir, settings, config)
        self.status = self._mirror.status
        """One line for the terminal: where the run can be watched, or how that is turned on."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """One step's figures; a second call for the same step adds to its line.

        Not-a-number and infinities are written as null: JSON has no other word for them.
        """
        values = {name: _number(value) for name, value in metrics.items()}
        self._metrics.write(step, values)
        self._mirror.log(step, {name: value for name, value in values.items() if value is not None})

    def text(self, step: int, name: str, text: str) -> None:
        """A text that shows what the figures do not, such as an example game."""
        with self._texts.open("a", encoding="utf-8") as file:
            file.write(f"step {step}, {name}\n{text}\n\n")
        self._mirror.text(step, name, text)

    def close(self) -> None:
        """Close the file and end the mirror's run; more calls do nothing."""
        self._metrics.close()
        self._mirror.close()

    def __enter__(self) -> "Tracker":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _MetricsFile:
    """JSON lines with strictly increasing steps, each line handed over before ``write`` returns."""

    def __init__(self, path: Path, resume: bool, step: int | None):
        self._path = path
        self._keep(read(path, step) if resume and path.exists() else [])

    def write(self, step: int, values: dict[str, float | None]) -> None:
        if step < self._last["step"]:
            self._file.close()
            self._keep(read(self._path, step - 1))
        if step == self._last["step"]:
            self._file.seek(self._last_start)
            self._file.truncate()
            self._last = self._last | values
        else:
            self._last_start = self._file.tell()
            self._last = {"step": step, "time": round(time.time(), 3), **values}
        self._file.write(_as_line(self._last))
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def _keep(self, lines: list[dict[str, Any]]) -> None:
        """Replace the file by ``lines``, in one step, and go on after them."""
        temporary = self._path.with_suffix(".tmp")
        temporary.write_bytes(b"".join(map(_as_line, lines)))
        temporary.replace(self._path)
        self._file = self._path.open("r+b")
        self._last: dict[str, Any] = lines[-1] if lines else {"step": -1}
        self._last_start = self._file.seek(0, os.SEEK_END) - len(_as_line(self._last))


def _as_line(values: dict[str, Any]) -> bytes:
    return json.dumps(values, allow_nan=False).encode() + b"\n"


def read(path: Path, step: int | None = None) -> list[dict[str, Any]]:
    """The valid lines of a ``metrics.jsonl`` up to ``step``; one that a crash cut short is not."""
    lines: list[dict[str, Any]] = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            continue
        if isinstance(line, dict) and (step is None or line["step"] <= step):
            lines.append(line)
    return lines


def _number(value: float) -> float | None:
    if isinstance(value, int):
        return value
    return float(value) if math.isfinite(value) else None


class _Mirror:
    """Weights & Biases, or nothing."""

    def __init__(self, run_dir: Path, settings: TrackingSettings, config: dict[str, Any]):
        self._run: Any = None
        self.status = "Weights & Biases: off"
        self._attempt(lambda: self._begin(run_dir, settings, config))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._attempt(lambda: self._run and self._run.log(dict(values), step=step))

    def text(self, step: int, name: str, text: str) -> None:
        self._attempt(lambda: self._run and self._run.log({name: _as_html(text)}, step=step))

    def close(self) -> None:
        run, self._run = self._run, None
        self._attempt(lambda: run and run.finish())

    def _begin(self, run_dir: Path, settings: TrackingSettings, config: dict[str, Any]) -> None:
        asked = settings.wandb
        if asked == "auto":
            asked = _MODES.get(os.environ.get("WANDB_MODE", ""), "auto")
        if asked == "off":
            return
        # Error reports to wandb's makers are not ours to send.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        wandb.setup(wandb.Settings(silent=True))
        if asked != "offline" and not wandb.login(prompt=False, verify=False):
            self.status = HOW_TO_TURN_ON
            return
        self._run = wandb.init(
            project=settings.project,
            dir=run_dir,
            id=_identity(run_dir),
            name=run_dir.name,
            config=config,
            mode="offline" if asked == "offline" else "online",
            resume="allow",
            settings=wandb.Settings(
                silent=True,
                console="off",
                disable_code=True,
                init_timeout=INIT_SECONDS,
                finish_timeout=FINISH_SECONDS,
            ),
        )
        self._run.define_metric("loss", summary="min")
        self._run.define_metric("elo", summary="max")
        self.status = f"Weights & Biases: {self._run.url or f'offline, in {run_dir}/wandb'}"

    def _attempt(self, call: Callable[[], object]) -> None:
        """Make a call that may fail in any way a library and a network can."""
        try:
            call()
        except Exception as error:
            self._run = None
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            self.status = f"Weights & Biases is off for the rest of the run: {reason}"
            log.warning(self.status)


_MODES = {"online": "online", "offline": "offline", "dryrun": "offline", "disabled": "off"}
"""What the values of the WANDB_MODE variable mean here."""


def _as_html(text: str) -> Any:
    import wandb

    return wandb.Html(f"<pre>{html.escape(text)}</pre>")


def _identity(run_dir: Path) -> str:
    """The run's W&B id, drawn once and kept, so that a resumed run continues its own curves."""
    path = run_dir / "wandb_id"
    if not path.exists():
        path.write_text(secrets.token_hex(8), encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()
