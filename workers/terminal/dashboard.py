"""A training run in the terminal: a live panel, or plain lines where there is no terminal.

Reads the figures ``train`` logs anyway and shows those it knows; a figure that is missing is left
out, so the panel needs no change when a run measures more or less.
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
"""Between two lines where there is no terminal."""


class Figure(NamedTuple):
    """A metric's name in ``metrics.jsonl``, its name on the screen and how it is written."""

    metric: str
    label: str
    form: str


FIGURES = (
    Figure("games", "games", ",.0f"),
    Figure("positions", "positions", ",.0f"),
    Figure("games_per_second", "games/s", ",.1f"),
    Figure("positions_per_second", "positions/s", ",.0f"),
    Figure("evaluations_per_second", "evaluations/s", ",.0f"),
    Figure("samples_per_second", "samples/s", ",.0f"),
    Figure("loss", "loss", ".4f"),
    Figure("policy_loss", "policy loss", ".4f"),
    Figure("value_loss", "value loss", ".4f"),
    Figure("learning_rate", "learning rate", ".2e"),
    Figure("staleness", "staleness", ",.1f"),
    Figure("samples_per_position", "samples/position", ".2f"),
    Figure("batch_fill", "batch fill", ".0%"),
    Figure("workers", "workers alive", ".0f"),
    Figure("restarts", "restarts", ".0f"),
    Figure("cache_hits", "cache hits", ".0%"),
    Figure("policy_mistakes/opening_medium", "mistakes, medium openings", ".1%"),
    Figure("policy_mistakes/opening_hard", "mistakes, hard openings", ".1%"),
    Figure("policy_mistakes/middle_medium", "mistakes, medium middle", ".1%"),
    Figure("elo", "arena Elo", "+.0f"),
)


class Dashboard:
    """A context manager around a run of ``total_steps`` optimizer steps.

    With ``time_limit`` (seconds) the bar and the expected end follow whichever of steps and time
    is further on. A resumed run goes on from ``step`` and has lasted ``seconds``.
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
        self._figures: dict[str, str] = {}
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
        elif self._figures:
            self._print_line()

    def update(self, step: int, metrics: Mapping[str, float]) -> None:
        """Show ``metrics``; a figure stays until a later call brings a new one."""
        self._step = step
        known = [figure for figure in FIGURES if figure.metric in metrics]
        for label, value, form in ((f.label, metrics[f.metric], f.form) for f in known):
            self._figures[label] = format(value, form)
        self._progress.update(self._task, completed=self.fraction(), step=step)
        if self._live:
            self._live.update(self._panel())
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + PLAIN_SECONDS
            self._print_line()

    def message(self, text: str) -> None:
        """A line above the panel, which stays."""
        self._console.print(text, markup=False, highlight=False)
        log.info(text)

    def fraction(self) -> float:
        """How much of the whole run is done, 0 to 1."""
        done = self._step / self._total
        elapsed = (time.monotonic() - self._started) / max(1.0, self._time_limit)
        return min(1.0, max(done, elapsed))

    def _panel(self) -> Group:
        grid = Table.grid(padding=(0, 2), expand=True)
        columns = 3
        for _ in range(columns):
            grid.add_column(style="dim", no_wrap=True)
            grid.add_column(justify="right", no_wrap=True)
        cells = [text for figure in self._figures.items() for text in figure]
        for start in range(0, len(cells), 2 * columns):
            grid.add_row(*cells[start : start + 2 * columns])
        return Group(self._progress, grid)

    def _print_line(self) -> None:
        figures = ", ".join(f"{label} {value}" for label, value in self._figures.items())
        text = f"step {self._step:,} of {self._total:,} ({self.fraction():.0%}): {figures}"
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
        log.info(text)
