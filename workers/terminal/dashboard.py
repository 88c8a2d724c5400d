"""A training run in the terminal: a live panel, or plain lines where there is no terminal.

It shows those of a run's logged metrics that are listed in ``METRICS``, and leaves out those that a
run does not measure.
"""

import logging
import math
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.constrain import Constrain
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from workers.terminal import node_rows
from workers.terminal.node_rows import Metric, Row
from workers.terminal.redrawing import Redrawn

log = logging.getLogger(__name__)

PLAIN_SECONDS = 10.0
"""Time between two lines where there is no terminal."""
WIDE = 120
"""Columns of a terminal from which three metrics stand beside each other."""
WIDTH = 60
"""Columns of the panel, if its metrics need no more and the terminal has as many."""
ECHO = 4
"""Columns that stay free at the right: a terminal writes ``^C`` there, twice at most."""
GAP = 2
"""Spaces after each label and each value."""


METRICS = (
    Metric("games", "games", ",.0f"),
    Metric("positions", "positions", ",.0f"),
    Metric("plies_per_game", "plies/game", ",.0f"),
    Metric("drawn", "drawn", ".0%"),
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
    Metric("nodes", "nodes", ".0f"),
    Metric("players", "search processes", ".0f"),
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
        self._first = step, seconds
        self._values: dict[str, str] = {}
        self._nodes: list[Row] = []
        self._filling = ""
        self._live: Live | None = None

    def __enter__(self) -> "Dashboard":
        if self._console.is_terminal:
            self._live = Live(Redrawn(self), console=self._console, refresh_per_second=4)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()
        elif self._values:
            self._print_line()

    def filling(
        self, positions: int, needed: int, games_per_second: float, idle: bool = False
    ) -> None:
        """Show that the first step waits until ``needed`` positions are stored.

        ``idle``: no machine of the cluster plays.
        """
        digits = 0 if games_per_second >= 10 else 1
        rate = f", {games_per_second:,.{digits}f} games/s" if games_per_second else ""
        waits = "no machine plays yet; " if idle else ""
        self._filling = f"{waits}filling the replay: {positions:,} of {needed:,} positions{rate}"
        self._print_when_due()

    def update(self, step: int, metrics: Mapping[str, float]) -> None:
        """Show ``metrics``; a value is shown until a later call replaces it."""
        self._step, self._filling = step, ""
        for metric in METRICS:
            if metric.name in metrics:
                self._values[metric.label] = format(metrics[metric.name], metric.form)
        if node_rows.has_figures(metrics):
            self._nodes = node_rows.rows(metrics)
        self._print_when_due()

    def message(self, text: str) -> None:
        """Print a line that stays above the panel."""
        if self._live:
            self._live.refresh()  # after a change of the terminal's size the line would be erased
        self._console.print(text, markup=False, highlight=False)
        log.info(text)

    def fraction(self) -> float:
        """The share of the whole run that is done, 0 to 1."""
        return min(1.0, max(self._step / self._total, self._seconds() / max(1.0, self._time_limit)))

    def seconds_left(self) -> float | None:
        """The time until the run ends at this pace, or at its time limit; None if not known yet."""
        first, before = self._first
        spent, taken = self._seconds() - before, self._step - first
        by_steps = spent * (self._total - self._step) / taken if taken else math.inf
        left = max(0.0, min(by_steps, self._time_limit - self._seconds()))
        return None if math.isinf(left) else left

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The panel: progress, a grid of metrics of one to three columns, and where it is wide
        enough a row per machine.

        It is no wider than it need be: what a terminal that becomes narrower folds may leave the
        screen at its top, where nothing can erase it. Nor does an echoed ``^C`` begin a new row.
        """
        most = max(1, options.max_width - ECHO)
        items = list(self._values.items())
        largest = 3 if options.max_width >= WIDE else 2
        columns = next(n for n in range(largest, 0, -1) if n == 1 or _needed(items, n) <= most)
        waiting = [Text(self._filling, overflow="fold")] if self._filling else []
        wide = _wide(self._nodes)
        nodes = [_table(self._nodes)] if self._nodes and wide <= most else []
        panel = Group(self._progress(), *waiting, _grid(items, columns), *nodes)
        needed = max(_needed(items, columns), wide if nodes else 0)
        yield Constrain(panel, min(most, max(WIDTH, needed)))

    def _progress(self) -> Table:
        left = self.seconds_left()
        row = Table.grid(padding=(0, 1), expand=True)
        for ratio in (None, 1, None):
            row.add_column(ratio=ratio, no_wrap=True)
        times = _clock(self._seconds()) + (f", {_clock(left)} left" if left is not None else "")
        bar = ProgressBar(total=1.0, completed=self.fraction())
        steps = f"step {self._step:,} of {self._total:,}"
        row.add_row(steps, bar, f"{self.fraction():.0%} in {times}".replace("%", " %"))
        return row

    def _seconds(self) -> float:
        return time.monotonic() - self._started

    def _print_when_due(self) -> None:
        if not self._console.is_terminal and time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + PLAIN_SECONDS
            self._print_line()

    def _print_line(self) -> None:
        values = ", ".join(f"{label} {value}" for label, value in self._values.items())
        values = self._filling or values
        timed = self.fraction() > self._step / self._total
        share = f"{self.fraction():.0%}{' of the time' if timed else ''}"
        text = f"step {self._step:,} of {self._total:,} ({share}): {values}"
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
        log.info(text)


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=int(seconds)))


def _grid(items: Sequence[tuple[str, str]], columns: int) -> Table:
    """The labels and values as a table of ``columns`` metrics beside each other."""
    grid = Table.grid(padding=(0, GAP), expand=True)
    for _ in range(columns):
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(justify="right", no_wrap=True)
    for start in range(0, len(items), columns):
        grid.add_row(*(text for item in items[start : start + columns] for text in item))
    return grid


def _table(rows: Sequence[Row]) -> Table:
    """A table of ``rows``, of which the first is the head."""
    table = Table.grid(padding=(0, GAP), expand=True)
    for column in range(len(rows[0])):
        table.add_column(justify="right" if column else "left", no_wrap=True)
    table.add_row(*rows[0], style="dim")
    for row in rows[1:]:
        table.add_row(*row)
    return table


def _wide(rows: Sequence[Row]) -> int:
    """The width of the table of ``rows``."""
    widest = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return sum(widest) + GAP * max(0, len(widest) - 1)


def _needed(items: Sequence[tuple[str, str]], columns: int) -> int:
    """The width of a table of ``columns`` columns, each as wide as its longest label and value."""
    parts = [items[first::columns] for first in range(columns)]
    widest = [max((len(item[i]) for item in part), default=0) for part in parts for i in (0, 1)]
    return sum(widest) + GAP * (2 * columns - 1)
