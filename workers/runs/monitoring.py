"""The monitor of a run: rates, metrics, example games and matches, for tracker and dashboard."""

import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from alphazero.limiter import Limiter
from alphazero.loop import Hooks, Run
from alphazero.parts import game_of
from alphazero.protocols import Collected
from alphazero.types import Ending, GameRecord
from workers.runs import matches, pictures
from workers.runs.tracking import Tracker
from workers.terminal.dashboard import Dashboard
from workers.terminal.output import counted

RATE_SECONDS = 5.0
"""Rates such as games per second are measured over at least this time."""
SUITE_SHARE = 0.01
"""Largest share of a run's time that counting mistakes may take."""


class Monitor:
    """Passes the loop's metrics on, and adds rates, example games, mistakes and matches."""

    def __init__(self, run: Run, tracker: Tracker, dashboard: Dashboard, before: float):
        """``before``: the seconds that the run had lasted when it was resumed."""
        self._settings, self._learner, self._replay = run.config, run.learner, run.replay
        self._fleet = run.fleet
        self._tracker, self._dashboard = tracker, dashboard
        self._window_start = time.monotonic()
        self._run_start = self._window_start - before
        self._games = self._positions = self._steps = 0
        self._has_learned = False  # in this part of the run
        self._rates: dict[str, float] = {}
        self._endings = np.zeros(len(Ending), np.int64)
        self._matches = run.learner.step // max(1, run.config.evaluation.every)
        self._last_match: Path | None = None
        self._example: GameRecord | None = None
        self._sample_due, self._sample = math.inf, None
        if run.config.evaluation.suite_every_minutes:
            try:
                self._sample, self._sample_due = matches.SuiteSample(run.config), 0.0
            except ValueError as error:
                dashboard.message(f"mistakes are not counted: {error}")

    def hooks(self, stop: Callable[[], bool]) -> Hooks:
        """The functions that the loop calls; the run ends once ``stop`` returns True."""
        return Hooks(
            log=self.log, games=self.games, saved=self.saved, seconds=self.seconds, stop=stop
        )

    def seconds(self) -> float:
        """The time that the run has lasted, its earlier parts included."""
        return time.monotonic() - self._run_start

    def games(self, collected: Collected) -> None:
        """Count games that were played; print a line at the first that was too long."""
        self._games += collected.games
        self._positions += collected.positions
        self._example = collected.example or self._example
        first = not self._endings[Ending.LENGTH]
        self._endings += collected.endings
        if first and (cut := self._endings[Ending.LENGTH]):
            self._dashboard.message(
                f"{cut:,} of {self._endings.sum():,} games reached max_plies = "
                f"{game_of(self._settings).max_plies:,} and ended by adjudication"
            )

        if not self._has_learned:
            self.fill()

    def fill(self) -> None:
        """Show how many of the positions that the first step needs are stored."""
        limiter = Limiter(self._settings.replay, self._settings.training.batch_size)
        stored, needed = self._replay.positions, limiter.needed(self._learner.step)
        if stored < needed and not self._learner.step:
            self._update_rates()
            seconds = time.monotonic() - self._window_start
            rate = self._games / seconds if seconds else 0.0
            shown = self._rates.get("games_per_second", rate)
            idle = self._fleet.stats().get("nodes") == 0
            self._dashboard.filling(stored, needed, shown, idle)

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Write ``metrics`` with rates, times and, when it is due, the share of mistakes."""
        if not self._has_learned:
            self._has_learned = True
            self._rates.pop("samples_per_second", None)  # 0, while the replay was being filled
        self._steps += 1
        self._update_rates()
        spent = {"minutes": self.seconds() / 60, "cpu_minutes": time.process_time() / 60}
        metrics = metrics | self._rates | spent
        if self.seconds() >= self._sample_due:
            metrics |= self._mistakes(step)
        self._tracker.log(step, metrics)
        self._dashboard.update(step, metrics)

    def saved(self, step: int, path: Path) -> None:
        """Write an example game, and play a match with the new checkpoint if one is due."""
        if self._example is not None:
            game = game_of(self._settings)
            text = matches.game_as_text(game, self._example)
            self._tracker.example(step, text, pictures.of_game(game, self._example))
        every = self._settings.evaluation.every
        # A match is due at the first checkpoint at or after each multiple of ``every``. With 15 and
        # checkpoints at 10, 20, 30 and 40 it is at 20 (20 // 15 = 1) and at 30 (30 // 15 = 2).
        if every and step // every > self._matches:
            self._matches = step // every
            self.play_match(step, path)

    def ended(self, step: int, path: Path) -> None:
        """Write the last metrics of a run that has reached its end."""
        if self._sample is not None:
            self._tracker.log(step, self._mistakes(step))
        if step:
            self.play_match(step, path)

    def play_match(self, step: int, path: Path) -> None:
        """Play the checkpoint against the opponent of the settings, unless it has just played."""
        if self._settings.evaluation.games == 0 or path == self._last_match:
            return
        self._last_match = path
        evaluation = self._settings.evaluation
        self._dashboard.message(
            f"step {step:,}: playing {counted(evaluation.games, 'game')} against "
            f"{evaluation.opponent}"
        )
        result = matches.play_match(path, self._settings)
        self._tracker.log(step, matches.as_metrics(result))
        self._dashboard.message(f"step {step:,}: {matches.summary(result)}")

    def _update_rates(self) -> None:
        seconds = time.monotonic() - self._window_start
        if seconds <= RATE_SECONDS:
            return
        batch = self._settings.training.batch_size * self._settings.tracking.log_every
        self._rates = {
            "games_per_second": self._games / seconds,
            "positions_per_second": self._positions / seconds,
            "samples_per_second": self._steps * batch / seconds,
        }
        self._window_start, self._games, self._positions, self._steps = time.monotonic(), 0, 0, 0

    def _mistakes(self, step: int) -> dict[str, float]:
        """The share of mistakes in the sample; also sets the time of the next measurement.

        A measurement of 10 s is followed by at least 1,000 s without one, however short
        ``suite_every_minutes`` is.
        """
        assert self._sample is not None
        start = self.seconds()
        shares = self._sample.measure(self._learner.weights(), step)
        duration = self.seconds() - start
        pause = 60 * self._settings.evaluation.suite_every_minutes
        self._sample_due = start + max(pause, duration / SUITE_SHARE)
        return shares
