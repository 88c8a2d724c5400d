"""A training run in the terminal: a live panel, or plain lines where there is no terminal.

It shows those of a run's logged metrics that are listed in ``METRICS``, and leaves out those that a
run does not measure.
"""

import logging
import math
import time
from collections.abc import Mapping
from typing import NamedTuple

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

log = logging.getLogger(__name__)

PLAIN_SECONDS = 10.0
"""Time between two lines where there is no terminal."""


class Metric(NamedTuple):
    """A metric that is shown."""

    name: str
    """Its name in ``metrics.jsonl``."""
    label: str
    """Its name on the screen."""
    form: str
    """The format of its value."""


METRICS = (
    Metric("games", "games", ",.0f"),
    Metric("positions", "positions", ",.0f"),
    Metric("games_per_second", "games/s", ",.1f"),
    Metric("positions_per_second", "positions/s", ",.0f"),
    Metric("evaluations_per_second", "evaluations/s", ",.0f"),
    Metric("samples_per_second", "samples/s", ",.0f"),
    Metric("loss", "loss", ".4f"),
    Metric("policy_loss", "policy loss", ".4f"),
    Metric("value_loss", "value loss", ".4f"),
    Metric("learning_rate", "learning rate", ".2e"),
    Metric("staleness", "staleness", ",.1f"),
    Metric("samples_per_position", "samples/position", ".2f"),
    Metric("batch_fill", "batch fill", ".0%"),
    Metric("workers", "workers alive", ".0f"),
    Metric("restarts", "restarts", ".0f"),
    Metric("cache_hits", "cache hits", ".0%"),
    Metric("policy_mistakes/opening_medium", "mistakes, medium openings", ".1%"),
    Metric("policy_mistakes/opening_hard", "mistakes, hard openings", ".1%"),
    Metric("policy_mistakes/middle_medium", "mistakes, medium middle", ".1%"),
    Metric("elo", "arena Elo", "+.0f"),
)


class Dashboard:
    """A context manager around a run of ``total_steps`` optimizer steps.

    With a ``time_limit`` in seconds the bar shows the larger of two shares, that of the steps and
    that of the time: 0.5 after 10 of 100 steps and 30 of 60 s. A resumed run continues from
    ``step`` and has lasted ``seconds``.
    """

    def __init__(
        self,
        total_steps: int,
        console: Console,
        time_limit: float = math.inf,
        step: int = 0,
        seconds: float = 0.0,
    ):
        self._console = console
        self._total = total_steps
        self._step = step
        self._time_limit = time_limit
        self._next_line = time.monotonic()
        self._started = self._next_line - seconds
        self._values: dict[str, str] = {}
        self._progress = Progress(
            TextColumn("step {task.fields[step]:,} of {task.fields[steps]:,}"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=console,
            expand=True,
        )
        self._task = self._progress.add_task("", total=1.0, step=step, steps=total_steps)
        self._progress.update(self._task, completed=self.fraction())
        self._live: Live | None = None

    def __enter__(self) -> "Dashboard":
        if self._console.is_terminal:
            self._live = Live(self._panel(), console=self._console, refresh_per_second=4)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.update(self._panel())
            self._live.stop()
        elif self._values:
            self._print_line()

    def update(self, step: int, metrics: Mapping[str, float]) -> None:
        """Show ``metrics``; a value is shown until a later call replaces it."""
        self._step = step
        for metric in METRICS:
            if metric.name in metrics:
                self._values[metric.label] = format(metrics[metric.name], metric.form)
        self._progress.update(self._task, completed=self.fraction(), step=step)
        if self._live:
            self._live.update(self._panel())
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + PLAIN_SECONDS
            self._print_line()

    def message(self, text: str) -> None:
        """Print a line that stays above the panel."""
        self._console.print(text, markup=False, highlight=False)
        log.info(text)

    def fraction(self) -> float:
        """The share of the whole run that is done, 0 to 1."""
        done = self._step / self._total
        elapsed = (time.monotonic() - self._started) / max(1.0, self._time_limit)
        return min(1.0, max(done, elapsed))

    def _panel(self) -> Group:
        grid = Table.grid(padding=(0, 2), expand=True)
        columns = 3
        for _ in range(columns):
            grid.add_column(style="dim", no_wrap=True)
            grid.add_column(justify="right", no_wrap=True)
        cells = [text for item in self._values.items() for text in item]
        for start in range(0, len(cells), 2 * columns):
            grid.add_row(*cells[start : start + 2 * columns])
        return Group(self._progress, grid)

    def _print_line(self) -> None:
        values = ", ".join(f"{label} {value}" for label, value in self._values.items())
        text = f"step {self._step:,} of {self._total:,} ({self.fraction():.0%}): {values}"
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
        log.info(text)
