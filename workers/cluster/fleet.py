"""RayFleet: self-play on the machines of a Ray cluster, as a ``protocols.FleetRole``.

driver: train() -> publish -> a node per machine -> replay actor -> collect

Machines may join and leave while it plays.
"""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from alphazero.config import Config
from alphazero.nn.weights import Weights, shortened
from alphazero.protocols import Collected
from workers.cluster.autoscaler import Demand
from workers.cluster.connection import connect, leave, this_node, versions
from workers.cluster.control_plane import patiently
from workers.cluster.machines import ClusterNode, list_all, list_nodes
from workers.cluster.members import Member, Timeouts
from workers.cluster.node_actor import LIVES, NodeActor
from workers.cluster.node_figures import NodeFigures
from workers.cluster.replay import RemoteReplay, ReplayStore, stored_games
from workers.cluster.supervisor import Supervisor
from workers.node.evaluator import LoadableEvaluator, network_evaluator
from workers.node.fleet import Rates
from workers.node.incarnations import Incarnations
from workers.node.plan import Machine, Plan, make_plan

COLLECT_SECONDS = 0.5
"""The longest time in seconds that ``collect`` waits for a finished game."""
POLL_SECONDS = 0.1
"""Seconds between two polls in ``collect``; a poll costs driver and replay actor a millisecond."""
STATUS_TIMEOUT = 60.0
"""The longest time in seconds that ``fetch_statuses`` waits for all answers."""
PUBLISH_SECONDS = 2.0
"""The least time in seconds between two versions of the weights that are sent."""
MAX_PENDING_CALLS = 100
"""The largest number of pending calls from one caller to one actor."""

MakePlan = Callable[[Machine, bool], Plan]
"""The plan of a machine, and whether the learner runs there, too."""


class RayFleet:
    """The nodes of a cluster under a supervisor. Call ``publish`` to begin and ``close`` to end."""

    reproducible = False
    version: int | None = None

    def __init__(
        self,
        config: Config,
        directory: Path,
        address: str = "local",
        make_evaluator: Callable[[Config], LoadableEvaluator] = network_evaluator,
        timeouts: Timeouts = Timeouts(),  # noqa: B008 - frozen
        plan: MakePlan | None = None,
    ):
        """Start the actors; games are stored in the folder ``games`` of the run's ``directory``.

        ``plan``: by default ``make_plan``. ``RunFailed``, one line, if the actors do not start.
        """
        directory = Path(directory).absolute()
        directory.mkdir(parents=True, exist_ok=True)
        self._incarnations = Incarnations(directory / "worker_incarnation")
        self._config, self._plan = config, plan or partial(make_plan, config)
        self._make_evaluator, self._timeouts = make_evaluator, timeouts
        self._started_ray = connect(address)
        if address == "local":  # nothing else uses that cluster, and it does not come back
            self._timeouts = replace(timeouts, control_elsewhere=timeouts.control)
        self._here = this_node()
        self._newest: Weights | None = None  # published and not sent yet
        self._sent_at = -math.inf
        self._rates = Rates()
        replay = _start_replay(config, directory / "games", self._here)
        self._limits = config.cluster.nodes
        unknown = Machine(1, int(config.inference.device.startswith("cuda")))
        self._demand, self._figures = Demand(self._limits, unknown), NodeFigures()
        try:
            self._supervisor = Supervisor(replay, self._start_node, self._timeouts, self._demand)
        except BaseException:
            leave(self._started_ray)
            raise
        try:
            self.replay = RemoteReplay(replay.actor, self._supervisor.raise_failure)
            """The buffer that ``train`` samples from."""
        except BaseException:
            self.close()
            raise

    def describe(self) -> list[str]:
        """A line per machine that plays: its processes; and one about machines that do not."""
        nodes = list(self._supervisor.nodes.values())
        lines = [
            f"{node.name.removeprefix('node ')}: "
            f"{self._plan(node.machine, node.node == self._here).describe()}"
            for node in nodes
        ]
        most = self._limits.max
        if most is not None and most == len(nodes):
            more = len(list_nodes(list_all())) - most
            lines += [f"cluster.nodes.max={most}: {more} more not used"] * (more > 0)
        return lines

    def await_nodes(self, report: Callable[[str], object]) -> None:
        """Wait until ``cluster.nodes.min`` machines are ready; ``report`` is called with a line for
        each number of them until then. ``FleetLost``, one line, where none can play."""
        least, reported = self._limits.min or 0, -1
        while (count := self._supervisor.ready) < least:
            self._supervisor.raise_failure()
            if count != reported:
                report(f"waiting for machines: {count} of cluster.nodes.min={least} are ready")
            reported = count
            time.sleep(POLL_SECONDS)

    def publish(self, weights: Weights, version: int) -> None:
        """Play with these weights soon; each machine fetches them once.

        The network's kernels are sent in bfloat16 unless ``inference.precision`` is float32. What
        is published more often than every ``PUBLISH_SECONDS`` waits, and the newest is sent.
        """
        self._newest, self.version = weights, version
        self._send_newest()

    def collect(self) -> Collected:
        """Summarize the games stored since the last call; waits up to ``COLLECT_SECONDS`` for one.

        ``FleetLost``, one line, after the supervisor has given up the run.
        """
        deadline = time.monotonic() + COLLECT_SECONDS
        self._send_newest()
        while True:
            collected = self.replay.collect()
            if collected.games or time.monotonic() > deadline:
                return collected
            time.sleep(POLL_SECONDS)

    def allow(self, positions: int) -> None:
        """Set the limit: no new move begins while at least this many positions are stored."""
        self._supervisor.allow(positions)

    def stats(self) -> dict[str, float]:
        """Rates over the last second or more; numbers of nodes, processes and restarts."""
        nodes = [node for node in list(self._supervisor.nodes.values()) if node.alive]
        totals = self._supervisor.totals()
        rates = self._rates.update(totals, sum(node.status["lanes"] for node in nodes))
        return (
            rates
            | self._figures.of(nodes)
            | {
                "nodes": float(len(nodes)),
                "players": float(sum(node.status["players"] for node in nodes)),
                "evaluators": float(sum(node.status["evaluators"] for node in nodes)),
                "restarts": totals["restarts"] + self._supervisor.losses,
                "waiting_requests": float(sum(node.status["waiting_requests"] for node in nodes)),
            }
        )

    def fetch_statuses(self) -> list[tuple[str, dict]]:
        """The kind ("replay" or "node") and the current status of every actor."""
        members = self._supervisor.members
        statuses = ray.get([member.request_status() for member in members], timeout=STATUS_TIMEOUT)
        return [(member.kind, status) for member, status in zip(members, statuses, strict=True)]

    def state(self) -> dict:
        """The next incarnation of a search process; games in progress are not part of the state."""
        return self._incarnations.state()

    def restore(self, state: dict) -> None:
        """Continue with new game ids; the games in progress when the state was taken are lost."""
        self._incarnations.restore(state)

    def close(self) -> None:
        """Stop all actors, and Ray if it was started here; acknowledged games are on disk."""
        self._supervisor.stop()
        if not ray.is_initialized():
            return
        if self._supervisor.lost:
            leave(self._started_ray, self._supervisor.lost)
            return
        self._demand.withdraw()
        for node in self._supervisor.nodes.values():
            ray.kill(node.actor)  # its processes end with it
        replay = self._supervisor.replay.actor
        ray.wait([replay.close.remote()], timeout=10.0)
        ray.kill(replay)
        leave(self._started_ray)

    def _send_newest(self) -> None:
        """Send the weights published last, unless others were sent a moment ago."""
        check = self._supervisor.raise_failure
        check()
        if self._newest is None or time.monotonic() - self._sent_at < PUBLISH_SECONDS:
            return
        in_full = self._config.inference.precision == "float32"
        weights, self._newest = self._newest, None
        sent = weights if in_full else shortened(weights)
        assert self.version is not None
        self._supervisor.publish(patiently(check, partial(ray.put, sent)), self.version)
        self._sent_at = time.monotonic()

    def _start_node(self, node: ClusterNode) -> Member:
        """Start the actor of a machine; it reserves the cores that its processes fill."""
        plan = self._plan(node.machine, node.id == self._here)
        actor = _actor(
            NodeActor,
            num_cpus=min(node.machine.cpus, plan.players + plan.evaluators),
            num_gpus=node.machine.gpus if plan.on_gpu else 0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False),
            max_restarts=0,  # the supervisor starts another one
        ).remote(
            self._config,
            plan,
            self._make_evaluator,
            self._incarnations.draw(LIVES),
            versions(),
            self._timeouts.node,
        )
        return Member(f"node {node.name}", "node", actor, node.id, node.machine)


def _start_replay(config: Config, directory: Path, here: str) -> Member:
    """Start the replay actor, which stores games in ``directory``, on the driver's machine."""
    actor = _actor(
        ReplayStore,
        num_cpus=0,
        scheduling_strategy=NodeAffinitySchedulingStrategy(here, soft=False),
        max_restarts=-1,
    ).remote(partial(stored_games, config, directory), directory, config.selfplay.resign_value)
    return Member("the replay actor", "replay", actor)


def _actor(cls: type, **options: Any) -> Any:
    """``cls`` as an actor class whose ``status`` and settings run on threads of their own.

    The concurrency group ``control`` is for pings (``status``), ``settings`` for new weights.
    """
    groups = {"control": 1, "settings": 1}
    remote: Any = ray.remote  # whose types know no concurrency groups
    options = {"max_pending_calls": MAX_PENDING_CALLS, "max_task_retries": 0} | options
    return remote(concurrency_groups=groups)(cls).options(**options)
