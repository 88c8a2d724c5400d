"""The monitor of a run: rates, metrics, example games and matches, for tracker and dashboard."""

import math
import time
from pathlib import Path

import games
from alphazero.loop import Run
from alphazero.types import GameRecord
from workers.runs import matches
from workers.runs.tracking import Tracker
from workers.terminal.dashboard import Dashboard


class Monitor:
    """Turns what the loop reports into figures, examples and matches."""

    def __init__(self, run: Run, tracker: Tracker, dashboard: Dashboard, before: float):
        """``before``: how many seconds the run had lasted when it was resumed."""
        self._settings, self._learner = run.config, run.learner
        self._tracker, self._dashboard = tracker, dashboard
        self._window_began = time.monotonic()
        self._began = self._window_began - before
        self._played = self._rows = self._steps = 0
        self._rates: dict[str, float] = {}
        self._matches = run.learner.step // max(1, run.config.evaluation.every)
        self._matched: Path | None = None
        self._example: GameRecord | None = None
        self._sample_due, self._sample = math.inf, None
        if run.config.evaluation.suite_every_minutes:
            try:
                self._sample, self._sample_due = matches.Sample(run.config), 0.0
            except ValueError as error:
                dashboard.message(f"mistakes are not counted: {error}")

    def seconds(self) -> float:
        """How long the run has lasted, its earlier parts included."""
        return time.monotonic() - self._began

    def games(self, records: list[GameRecord]) -> None:
        self._played += len(records)
        self._rows += sum(map(len, records))
        self._example = records[-1] if records else self._example

    def log(self, step: int, metrics: dict[str, float]) -> None:
        self._steps += 1
        seconds = time.monotonic() - self._window_began
        if seconds > 5:
            batch = self._settings.training.batch_size * self._settings.tracking.log_every
            self._rates = {
                "games_per_second": self._played / seconds,
                "positions_per_second": self._rows / seconds,
                "samples_per_second": self._steps * batch / seconds,
            }
            self._window_began, self._played, self._rows, self._steps = time.monotonic(), 0, 0, 0
        spent = {"minutes": self.seconds() / 60, "cpu_minutes": time.process_time() / 60}
        metrics = metrics | self._rates | spent
        if self.seconds() >= self._sample_due:
            metrics |= self._mistakes(step)
        self._tracker.log(step, metrics)
        self._dashboard.update(step, metrics)

    def _mistakes(self, step: int) -> dict[str, float]:
        """The sample of the suite, and when it is time for the next."""
        assert self._sample is not None
        began = self.seconds()
        figures = self._sample.figures(self._learner.weights(), step)
        took = self.seconds() - began
        pause = 60 * self._settings.evaluation.suite_every_minutes
        self._sample_due = began + max(pause, 100 * took)
        return figures

    def saved(self, step: int, path: Path) -> None:
        """A new checkpoint: show a game and, when it is time again, let it play a match."""
        if self._example is not None:
            game = games.make(self._settings.game)
            self._tracker.text(step, "example_game", matches.as_text(game, self._example))
        every = self._settings.evaluation.every
        if every and step // every > self._matches:
            self._matches = step // every
            self.match(step, path)

    def ended(self, step: int, path: Path) -> None:
        """The last figures of a run that has come to its end."""
        if self._sample is not None:
            self._tracker.log(step, self._mistakes(step))
        self.match(step, path)

    def match(self, step: int, path: Path) -> None:
        """Let the checkpoint meet the opponent of the settings, unless it just has."""
        if self._settings.evaluation.games == 0 or path == self._matched:
            return
        self._matched = path
        result = matches.match(path, self._settings)
        self._tracker.log(step, matches.figures(result))
        self._dashboard.message(f"step {step:,}: {matches.sentence(result)}")
