"""RayFleet: self-play on every core of a laptop or of a Ray cluster, as a ``protocols.FleetRole``.

driver: train() -> publish -> inference servers <-> self-play workers -> replay actor -> collect
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
from alphazero.nn.weights import Weights
from alphazero.parts import game_of, memory_of
from alphazero.protocols import Collected
from workers.cluster.connection import connect, leave
from workers.cluster.control_plane import patiently
from workers.cluster.inference import InferenceServer, LoadableEvaluator, network_evaluator
from workers.cluster.members import Incarnations, Member, Timeouts
from workers.cluster.plan import Plan, list_nodes, make_plan
from workers.cluster.replay import RemoteReplay, ReplayStore, stored_games
from workers.cluster.selfplay import MakeGroups, SelfPlayWorker, game_groups
from workers.cluster.supervisor import Supervisor

COLLECT_SECONDS = 0.5
"""The longest time in seconds that ``collect`` waits for a finished game."""
POLL_SECONDS = 0.1
"""Seconds between two polls in ``collect``; a poll costs driver and replay actor a millisecond."""
STATUS_TIMEOUT = 60.0
"""The longest time in seconds that ``fetch_statuses`` waits for all answers."""
MAX_CONCURRENT_REQUESTS = 512
"""The largest number of requests in progress in one server, each on a thread; Ray queues others."""
MAX_PENDING_CALLS = 100
"""The largest number of pending calls from one caller to one actor; servers allow more calls if a
worker has many groups."""


class RayFleet:
    """Self-play actors under a supervisor. Call ``publish`` to begin and ``close`` to end."""

    reproducible = False
    version: int | None = None

    def __init__(
        self,
        config: Config,
        directory: Path,
        address: str = "local",
        make_evaluator: Callable[[Config], LoadableEvaluator] = network_evaluator,
        timeouts: Timeouts = Timeouts(),  # noqa: B008 - frozen
        layout: Plan | None = None,
    ):
        """Start the actors; games are stored in the folder ``games`` of the run's ``directory``.

        ``layout``: by default the result of ``make_plan`` for the cluster. ``RunFailed``, one line,
        if the actors do not start.
        """
        directory = Path(directory).absolute()
        directory.mkdir(parents=True, exist_ok=True)
        self._config = config
        self._started_ray = connect(address)
        if address == "local":  # nothing else uses that cluster, and it does not come back
            timeouts = replace(timeouts, control_elsewhere=timeouts.control)
        self._incarnations = Incarnations(directory / "worker_incarnation")
        nodes = list_nodes()
        self.plan = layout or make_plan(config, nodes)
        config = replace(config, selfplay=replace(config.selfplay, groups=self.plan.groups))
        processes = math.ceil(self.plan.workers / max(1, len(nodes)))
        self.memory = memory_of(config, processes)
        """The sizes of one worker, on a machine like this one."""
        make_groups = partial(game_groups, config, processes=processes)
        members = _start(config, self.plan, directory / "games", make_evaluator, make_groups)
        self._supervisor = Supervisor(members, self._incarnations, timeouts)
        self._counted, self._counted_at = dict(self._supervisor.counters), time.monotonic()
        self._rates: dict[str, float] = {}
        try:
            self.replay = RemoteReplay(members[0].actor, self._supervisor.raise_failure)
            """The buffer that ``train`` samples from."""
        except BaseException:
            self.close()
            raise

    def publish(self, weights: Weights, version: int) -> None:
        """Play with these weights from now on; all servers fetch the same object from Ray."""
        check = self._supervisor.raise_failure
        check()
        self._supervisor.publish(patiently(check, partial(ray.put, weights)), version)
        self.version = version

    def collect(self) -> Collected:
        """Summarize the games stored since the last call; waits up to ``COLLECT_SECONDS`` for one.

        ``FleetLost``, one line, after the supervisor has given up the run.
        """
        deadline = time.monotonic() + COLLECT_SECONDS
        while True:
            collected = self.replay.collect()
            if collected.games or time.monotonic() > deadline:
                return collected
            time.sleep(POLL_SECONDS)

    def allow(self, positions: int) -> None:
        """Set the limit: no new move begins while at least this many positions are stored."""
        self._supervisor.allow(positions)

    def stats(self) -> dict[str, float]:
        """Rates over the last second or more, and the numbers of live actors and restarts."""
        alive = [m.kind for m in self._supervisor.members if m.alive]
        now, counters = time.monotonic(), dict(self._supervisor.counters)
        if now - self._counted_at >= 1.0:
            grown = {name: counters[name] - self._counted[name] for name in counters}
            self._rates = self._compute_rates(grown, now - self._counted_at)
            self._counted, self._counted_at = counters, now
        return self._rates | {
            "workers": float(alive.count("worker")),
            "servers": float(alive.count("server")),
            "restarts": float(self._supervisor.restarts),
        }

    def fetch_statuses(self) -> list[tuple[str, dict]]:
        """The kind ("replay", "server", "worker") and the current status of every actor."""
        members = self._supervisor.members
        statuses = ray.get([member.request_status() for member in members], timeout=STATUS_TIMEOUT)
        return [(member.kind, status) for member, status in zip(members, statuses, strict=True)]

    def state(self) -> dict:
        """The next incarnation number of a worker; games in progress are not part of the state."""
        return {"incarnation": self._incarnations.next}

    def restore(self, state: dict) -> None:
        """Continue with new game ids; the games in progress when the state was taken are lost.

        A run that LocalFleet began can therefore continue here: its game ids are below those of any
        incarnation.
        """
        self._incarnations.next = max(self._incarnations.next, state.get("incarnation", 1))

    def close(self) -> None:
        """Stop all actors, and Ray if it was started here; acknowledged games are on disk."""
        self._supervisor.stop()
        if not ray.is_initialized():
            return
        if self._supervisor.lost:
            leave(self._started_ray, self._supervisor.lost)
            return
        replay, *others = self._supervisor.members
        for member in others:
            ray.kill(member.actor)
        ray.wait([replay.actor.close.remote()], timeout=10.0)
        ray.kill(replay.actor)
        leave(self._started_ray)

    def _compute_rates(self, grown: dict[str, float], seconds: float) -> dict[str, float]:
        mean_batch = grown["evaluations"] / max(1, grown["batches"])
        lanes = self.plan.servers * self.plan.lanes
        return {
            "evaluations_per_second": grown["evaluations"] / seconds,
            "batch_fill": mean_batch / self._config.inference.batch_size,
            "busy": grown["busy_seconds"] / seconds / lanes,
        }


def _start(
    config: Config,
    layout: Plan,
    directory: Path,
    make_evaluator: Callable[[Config], LoadableEvaluator],
    make_groups: MakeGroups,
) -> list[Member]:
    """Start the replay actor, which stores games in ``directory``, the servers and the workers."""
    # The replay actor runs on the node of the driver, where the run's directory is.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    replay = _actor(ReplayStore, num_cpus=0, scheduling_strategy=here).remote(
        partial(stored_games, config, directory), directory, config.selfplay.resign_value
    )
    server_class = _actor(
        InferenceServer,
        num_cpus=layout.cpus,
        num_gpus=layout.gpus,
        scheduling_strategy="SPREAD",
        # All groups of all workers may have a request at the same server, each on a thread.
        max_concurrency=min(MAX_CONCURRENT_REQUESTS, layout.workers * layout.groups),
        max_pending_calls=max(MAX_PENDING_CALLS, 2 * layout.groups),
    )
    settings = config.inference
    if not layout.gpus and settings.device == "auto":
        # Ray does not hide the GPUs from an actor that reserved none, so auto would use one.
        settings = replace(settings, device="cpu")
    make = partial(make_evaluator, replace(config, inference=settings))
    dtype = game_of(config).dtype
    servers = [
        server_class.remote(make, dtype, settings.batch_size, layout.lanes)
        for _ in range(layout.servers)
    ]
    worker_class = _actor(SelfPlayWorker, num_cpus=layout.cpus, scheduling_strategy="SPREAD")
    bound = 2 * config.selfplay.games * layout.groups
    workers = [worker_class.remote(make_groups, bound) for _ in range(layout.workers)]
    return [
        Member("the replay actor", "replay", replay),
        *(Member(f"inference server {i}", "server", actor) for i, actor in enumerate(servers)),
        *(Member(f"self-play worker {i}", "worker", actor) for i, actor in enumerate(workers)),
    ]


def _actor(cls: type, **options: Any) -> Any:
    """``cls`` as an actor class that Ray restarts; ``status`` and ``load`` run on other threads.

    The concurrency group ``control`` is for pings (``status``), ``settings`` for new weights.
    """
    groups = {"control": 1, "settings": 1}
    remote: Any = ray.remote  # whose types know no concurrency groups
    options = {"max_pending_calls": MAX_PENDING_CALLS} | options
    actor = remote(concurrency_groups=groups)(cls)
    return actor.options(max_restarts=-1, max_task_retries=0, **options)
