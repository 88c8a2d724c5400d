"""NodeFleet: self-play in several processes of this machine, as a ``protocols.FleetRole``."""

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from alphazero import wire
from alphazero.config import Config
from alphazero.errors import FleetLost
from alphazero.nn.weights import Weights
from alphazero.parts import game_of, largest_request, memory_of, packing_of
from alphazero.protocols import Collected, GameStore, summarize
from workers.node.evaluator import LoadableEvaluator, network_evaluator
from workers.node.incarnations import Incarnations
from workers.node.node import Node, NodeTimeouts, Task
from workers.node.plan import Plan, largest_batch, make_plan, this_machine
from workers.node.player import Playing, game_groups
from workers.node.tracebacks import log_traceback

logger = logging.getLogger(__name__)

COLLECT_SECONDS = 0.5
"""The longest time in seconds that ``collect`` waits for ``COLLECT_GAMES`` finished games."""
COLLECT_GAMES = 32
RATE_SECONDS = 1.0
"""The least time over which a rate is measured."""


def task_of(
    config: Config, plan: Plan, make_evaluator: Callable[[Config], LoadableEvaluator]
) -> Task:
    """The task of the processes of one machine with this plan."""
    config = replace(config, selfplay=replace(config.selfplay, groups=plan.groups))
    return Task(
        game_of(config),
        partial(evaluator_on, make_evaluator, config, plan.on_gpu),
        Playing(partial(game_groups, config, plan.players), packing_of(config)),
        largest_request(config),
        largest_batch(config, plan.on_gpu),
    )


def evaluator_on(
    make_evaluator: Callable[[Config], LoadableEvaluator],
    config: Config,
    on_gpu: bool,
    number: int,
) -> LoadableEvaluator:
    """The evaluator ``number`` of a machine, on the GPU of this number or on the CPU."""
    device = config.inference.device
    if on_gpu and device in ("auto", "cuda"):
        device = f"cuda:{number}"
    elif not on_gpu and device == "auto":
        device = "cpu"
    return make_evaluator(replace(config, inference=replace(config.inference, device=device)))


class NodeFleet:
    """The processes of one machine. Call ``publish`` to begin and ``close`` to end.

    ``LocalFleet`` plays on threads of the run's process, of which only one at a time executes
    Python; here search and evaluation have processes of their own.
    """

    reproducible = False
    version: int | None = None

    def __init__(
        self,
        config: Config,
        directory: Path,
        store: GameStore,
        make_evaluator: Callable[[Config], LoadableEvaluator] = network_evaluator,
        plan: Plan | None = None,
        timeouts: NodeTimeouts = NodeTimeouts(),  # noqa: B008 - frozen
    ):
        """Games are added to ``store``; ``directory`` is the run's. ``plan``: by default that of
        ``make_plan`` for this machine."""
        directory.mkdir(parents=True, exist_ok=True)
        self.plan = plan or make_plan(config, this_machine())
        task = task_of(config, self.plan, make_evaluator)
        groups = replace(config.selfplay, groups=self.plan.groups)
        self.memory = memory_of(replace(config, selfplay=groups), self.plan.players)
        """The sizes of one search process."""
        self._store, self._game = store, task.game
        self._incarnations = Incarnations(directory / "worker_incarnation")
        self._node = Node(self.plan, task, self._incarnations, timeouts)
        self._allowance = math.inf
        self._rates = Rates()

    def publish(self, weights: Weights, version: int) -> None:
        """Play with these weights from now on; the first call starts the processes."""
        self._check()
        self._node.publish(weights, version)
        self.version = version

    def collect(self) -> Collected:
        """Store the games that have finished and summarize them; waits up to ``COLLECT_SECONDS``.

        ``FleetLost``, one line, after play was given up.
        """
        finished = self._node.take_games(COLLECT_GAMES, COLLECT_SECONDS)
        self._store.store(finished)
        self._hold()
        if not finished:
            self._check()
        whole = [game for game in finished if not game.problem]
        example = wire.decode(self._game, whole[-1].frame) if whole else None
        return summarize([game.counts for game in whole], example)

    def allow(self, positions: int) -> None:
        """Set the limit: no new move begins while at least this many positions are stored."""
        self._allowance = positions
        self._hold()

    def stats(self) -> dict[str, float]:
        """Rates over the last second or more, and the numbers of live processes and restarts."""
        status = self._node.status()
        names = ("players", "evaluators", "restarts", "waiting_requests")
        counts = {name: float(status[name]) for name in names}
        return self._rates.update(status, self.plan.sharing) | counts

    def status(self) -> dict[str, float]:
        """``Node.status()``."""
        return self._node.status()

    def pids(self, kind: str) -> list[int]:
        """``Node.pids(kind)``."""
        return self._node.pids(kind)

    def state(self) -> dict:
        """The next incarnation of a search process; games in progress are not part of the state."""
        return self._incarnations.state()

    def restore(self, state: dict) -> None:
        """Continue with new game ids; the games in progress when the state was taken are lost."""
        self._incarnations.restore(state)

    def close(self) -> None:
        """End all processes; the games that had finished are stored."""
        self._node.close()
        self._store.store(self._node.take_games(0, 0.0))

    def _hold(self) -> None:
        self._node.allow(max(0, self._allowance - self._store.positions))

    def _check(self) -> None:
        if self._node.failure:
            log_traceback(logger, self._node.failure, self._node.traceback)
            self._node.traceback = ""  # once
            raise FleetLost(self._node.failure)


class Rates:
    """Evaluations per second, batch fill and busy share, over the last second or more.

    ``batch_fill``: the mean batch as a share of the largest one; ``busy``: the share of the time in
    which a lane computes. 2 lanes that were busy for 3 of 4 s in all, two seconds of the clock:
    0.75.
    """

    def __init__(self, others: Sequence[str] = ()):
        """``others``: further counts, for each of which there is a rate NAME_per_second."""
        self._others = others
        counts = ("evaluations", "room", "busy_seconds", *others)
        self._before: dict[str, float] = dict.fromkeys(counts, 0)
        self._at = time.monotonic()
        self._rates: dict[str, float] = dict.fromkeys(self._names, 0.0)

    def update(self, status: dict[str, float], lanes: int) -> dict[str, float]:
        """The rates, computed anew from these counts where the last ones are old enough.

        ``lanes``: those that work now.
        """
        seconds = time.monotonic() - self._at
        if seconds >= RATE_SECONDS:
            # Counts of a process that has ended are missing for a moment.
            grown = {name: max(0, status[name] - old) for name, old in self._before.items()}
            figures = (
                grown["evaluations"] / seconds,
                grown["evaluations"] / max(1, grown["room"]),
                grown["busy_seconds"] / seconds / max(1, lanes),
                *(grown[name] / seconds for name in self._others),
            )
            self._rates = dict(zip(self._names, figures, strict=True))
            self._before = {name: status[name] for name in self._before}
            self._at += seconds
        return dict(self._rates)

    @property
    def _names(self) -> list[str]:
        return [*RATES, *(f"{name}_per_second" for name in self._others)]


RATES = ("evaluations_per_second", "batch_fill", "busy")
