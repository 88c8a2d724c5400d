"""A run's metrics: ``metrics.jsonl``, which is the record, and Weights & Biases, which mirrors it.

The record is complete whatever happens to the mirror. The mirror is imported lazily, is called from
this process only, shows no prompt, raises no error and does not delay the run: after its first
failure, which is logged as one warning, it is off.
"""

import html
import logging
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from alphazero.config import TrackingSettings
from alphazero.metrics_file import MetricsFile, as_json_number

log = logging.getLogger(__name__)

HOW_TO_TURN_ON = (
    "Weights & Biases is off: no key is stored here. `wandb login` turns it on, "
    "tracking.wandb=offline records a run to be synced later"
)
INIT_SECONDS = 5.0
"""Longest wait for an online run to begin; without a network wandb would wait 90 seconds."""
FINISH_SECONDS = 10.0
"""Longest wait for the last upload; `wandb sync` can send the rest later."""


class Tracker:
    """Writes one line per logged step to ``run_dir/metrics.jsonl``, and to Weights & Biases.

    ``config`` is the resolved configuration, for the mirror. A resumed run keeps its lines and its
    W&B identity; ``step`` is the step it continues from, and lines beyond it are removed, because
    the run is about to write them again.
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
        self._metrics = MetricsFile(run_dir / "metrics.jsonl", resume, step)
        self._texts = run_dir / "examples.txt"
        self._mirror = _Mirror(run_dir, settings, config)
        self.status = self._mirror.status
        """One line for the terminal: the run's address at W&B, or how to turn the mirror on."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write the metrics of one step; a second call for the same step adds to its line.

        Infinities and not-a-number are written as null: JSON cannot express them.
        """
        values = {name: as_json_number(value) for name, value in metrics.items()}
        self._metrics.write(step, values)
        self._mirror.log(step, {name: value for name, value in values.items() if value is not None})

    def text(self, step: int, name: str, text: str) -> None:
        """Write a text that belongs to a step, such as an example game."""
        with self._texts.open("a", encoding="utf-8") as file:
            file.write(f"step {step}, {name}\n{text}\n\n")
        self._mirror.text(step, name, text)

    def close(self) -> None:
        """Close the file and end the mirror's run; further calls do nothing."""
        self._metrics.close()
        self._mirror.close()

    def __enter__(self) -> "Tracker":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Mirror:
    """Weights & Biases, or nothing where it is off or has failed."""

    def __init__(self, run_dir: Path, settings: TrackingSettings, config: dict[str, Any]):
        self._run: Any = None
        self.status = "Weights & Biases: off"
        self._attempt(lambda: self._start(run_dir, settings, config))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._attempt(lambda: self._run and self._run.log(dict(values), step=step))

    def text(self, step: int, name: str, text: str) -> None:
        self._attempt(lambda: self._run and self._run.log({name: _as_html(text)}, step=step))

    def close(self) -> None:
        run, self._run = self._run, None
        self._attempt(lambda: run and run.finish())

    def _start(self, run_dir: Path, settings: TrackingSettings, config: dict[str, Any]) -> None:
        mode = settings.wandb
        if mode == "auto":
            mode = _MODES.get(os.environ.get("WANDB_MODE", ""), "auto")
        if mode == "off":
            return
        # Do not send error reports to the makers of wandb without the user's consent.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        wandb.setup(wandb.Settings(silent=True))
        if mode != "offline" and not wandb.login(prompt=False, verify=False):
            self.status = HOW_TO_TURN_ON
            return
        self._run = wandb.init(
            project=settings.project,
            dir=run_dir,
            id=_identity(run_dir),
            name=run_dir.name,
            config=config,
            mode="offline" if mode == "offline" else "online",
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
        """Make a call to wandb; after any exception the mirror is off and the run continues."""
        try:
            call()
        except Exception as error:
            self._run = None
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            self.status = f"Weights & Biases is off for the rest of the run: {reason}"
            log.warning(self.status)


_MODES = {"online": "online", "offline": "offline", "dryrun": "offline", "disabled": "off"}
"""Values of the environment variable WANDB_MODE, and the setting that each stands for."""


def _as_html(text: str) -> Any:
    import wandb

    return wandb.Html(f"<pre>{html.escape(text)}</pre>")


def _identity(run_dir: Path) -> str:
    """The run's W&B id, drawn once and stored, so that a resumed run continues its own curves."""
    path = run_dir / "wandb_id"
    if not path.exists():
        path.write_text(secrets.token_hex(8), encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()
