"""Matches of a run's checkpoints, mistakes of its network, and its games as text."""

import math
import time
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

import games
from alphazero.judging import arena, mistakes, players
from alphazero.judging.arena import ArenaResult
from alphazero.config import Config
from alphazero.loop import Run
from alphazero.nn.weights import Weights
from alphazero.types import GameRecord
from games.base import Game
from workers.runs.tracking import Tracker
from workers.terminal.dashboard import Dashboard

OPENING_PLIES = 2
"""Random moves before a match's games begin, so that they differ."""
SAMPLED = ("opening_medium", "opening_hard", "middle_medium")
"""The sets of the suite that tell most while a run lasts."""
SAMPLE = 200
"""Positions of each."""


def check(settings: Config) -> None:
    """``ValueError``, one line, for what would otherwise come up at the first match."""
    try:
        players.check(settings.evaluation.opponent, games.make(settings.game))
    except ValueError as error:
        raise ValueError(f"evaluation.opponent: {error}") from None
    try:
        settings.search.for_play(settings.evaluation.simulations)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise ValueError(f"evaluation.simulations: {reason} for {settings.search.kind}") from None


def match(path: Path, settings: Config) -> ArenaResult:
    """The checkpoint at ``path`` against ``settings.evaluation.opponent``."""
    game, asked = games.make(settings.game), settings.evaluation
    name = f"{path.name} with {asked.simulations} simulations"
    agent = players.from_checkpoint(game, name, path=path, simulations=asked.simulations)
    pair = [agent, players.make(asked.opponent, game)]
    return arena.play(game, pair, asked.games, settings.seed, OPENING_PLIES)


class Sample:
    """Counts a network's mistakes, without search, in a part of the game's suite."""

    def __init__(self, settings: Config):
        """``ValueError`` where there is no suite of the game."""
        from alphazero.inference import NetworkEvaluator  # torch, which takes seconds to import

        self._game = games.make(settings.game)
        sets = mistakes.load_suite(self._game, SAMPLED)
        self._sets = {name: positions.head(SAMPLE) for name, positions in sets.items()}
        # Other backends take longer to build, for each new weights, than they save.
        inference = replace(settings.inference, backend="torch", precision="float32")
        self._network = NetworkEvaluator(self._game, settings.network, inference)
        self._player = players.policy_player("network", self._network, self._game)

    def figures(self, weights: Weights, step: int) -> dict[str, float]:
        """For the metrics: the share of mistakes in each set, with the weights of ``step``."""
        self._network.load(weights, step)
        return {
            f"policy_mistakes/{name}": mistakes.evaluate(
                self._player, positions, self._game, seed=0
            )["mistake_rate"]
            for name, positions in self._sets.items()
        }


def figures(result: ArenaResult) -> dict[str, float]:
    """For the metrics: the agent's share of points and its Elo above the opponent."""
    agent = result.players[0]
    return {"arena_score": agent.score, "elo": agent.elo}


def sentence(result: ArenaResult) -> str:
    agent, opponent = result.players
    return (
        f"{agent.wins} wins, {agent.draws} draws and {agent.losses} losses against {opponent.name} "
        f"({agent.score:.0%} of the points, {agent.elo:+.0f} Elo)"
    )


def as_text(game: Game, record: GameRecord) -> str:
    """One game: its moves, result and last recorded position."""
    moves = " ".join(game.action_to_text(int(action)) for action in record.actions)
    result = {1: "won", 0: "drew", -1: "lost"}[int(record.outcome[0])]
    first = "XO"[int(game.to_move(record.states[:1])[0])]
    return f"{moves}\n{first} {result}; before the last move:\n{game.render(record.states[-1])}"


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
                self._sample, self._sample_due = Sample(run.config), 0.0
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
            self._tracker.text(step, "example_game", as_text(game, self._example))
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
        result = match(path, self._settings)
        self._tracker.log(step, figures(result))
        self._dashboard.message(f"step {step:,}: {sentence(result)}")
