"""A run's metrics: its own files, which are the record, and Weights & Biases, which mirrors them.

``metrics.jsonl`` and ``examples.jsonl`` are complete whatever happens to the mirror, which is a
process of its own (``workers.runs.mirror``) that reads them: it cannot delay the run, end it or
write into its terminal.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from alphazero.config import TrackingSettings
from alphazero.metrics_file import MetricsFile, as_json_number
from workers.runs import upload
from workers.runs.mirror import Mirror
from workers.runs.pictures import Pictures

METRICS, EXAMPLES, TEXTS = "metrics.jsonl", "examples.jsonl", "examples.txt"
TRACK_SECONDS = 600.0
"""Longest wait for the server where a whole run is sent afterwards."""


class Tracker:
    """Writes one line per logged step to ``run_dir/metrics.jsonl``; Weights & Biases follows.

    A resumed run keeps its lines and its identity at Weights & Biases; ``step`` is the step that it
    continues from, and lines beyond it are removed, because the run is about to write them again.
    ``report`` is called with the mirror's lines for people, from another thread.
    """

    def __init__(
        self,
        run_dir: Path | str,
        settings: TrackingSettings,
        report: Callable[[str], object] = print,
        resume: bool = False,
        step: int | None = None,
    ):
        self._folder = Path(run_dir)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._resume, self._step = resume, step
        self._metrics = MetricsFile(self._folder / METRICS, resume, step)
        self._examples: MetricsFile | None = None  # made with the first example
        self._mirror = Mirror(self._folder, settings, report, step or 0)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write the metrics of one step; a second call for the same step adds to its line.

        Infinities and not-a-number are written as null: JSON cannot express them.
        """
        values = {name: as_json_number(value) for name, value in metrics.items()}
        self._metrics.write(step, values)

    def example(self, step: int, text: str, pictures: Pictures) -> None:
        """Write an example game of a step: as text, as pictures, and as a table of positions."""
        with (self._folder / TEXTS).open("a", encoding="utf-8") as file:
            file.write(f"step {step}, example_game\n{text}\n\n")
        if self._examples is None:
            self._examples = MetricsFile(self._folder / EXAMPLES, self._resume, self._step)
        self._examples.write(step, {"page": pictures.page, "positions": pictures.positions})

    @property
    def is_mirrored(self) -> bool:
        """Whether the metrics are sent to Weights & Biases, as far as is known by now."""
        return self._mirror.is_on

    def close(self) -> None:
        """Close the files, and wait some seconds for the mirror; further calls do nothing."""
        self._metrics.close()
        if self._examples is not None:
            self._examples.close()
        self._mirror.close()

    def __enter__(self) -> "Tracker":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def track(run_dir: Path, project: str | None = None) -> int:
    """Send what Weights & Biases does not have of a run yet; the exit status.

    ``project`` replaces that of the run's settings. ``ValueError``, one line, where ``run_dir`` is
    no run's directory.
    """
    if not (run_dir / METRICS).is_file():
        raise ValueError(f"{run_dir} is no run's directory: there is no {METRICS} in it")
    match upload.settings_of(run_dir):
        case {"tracking": {"project": str(stored)}}:
            pass
        case _:
            stored = TrackingSettings().project
    settings = TrackingSettings(wandb="online", project=project or stored)
    return Mirror(run_dir, settings, print, seconds=TRACK_SECONDS).close()
