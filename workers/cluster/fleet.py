"""RayFleet: self-play on every core of a laptop or of a Ray cluster, behind ``loop.Fleet``.

driver: train() -> publish -> inference servers <-> self-play workers -> replay actor -> collect
"""

import logging
import math
import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import games
from alphazero.config import Config
from alphazero.nn.weights import Weights
from alphazero.types import GameRecord
from workers.cluster.inference import InferenceServer, LoadableEvaluator, network_evaluator
from workers.cluster.replay import RemoteReplay, ReplayStore, stored_games
from workers.cluster.selfplay import SelfPlayWorker, game_groups
from workers.cluster.supervisor import Incarnations, Member, Patience, Watchdog

OBJECT_STORE_BYTES = 512 * 2**20
"""On a laptop: a few versions of the weights, and what is on its way."""
QUANTUM = 0.5
"""Seconds that ``collect`` waits for a finished game at most."""
POLL = 0.1
"""Seconds between two looks for one: each costs the driver and the replay actor a millisecond."""
CONNECTING = 5.0
"""Seconds that a cluster may take to answer at all."""
ANSWER = 60.0
"""Seconds that ``ask`` waits for the last answer at most."""
MOST_GROUPS = 8
"""That a worker is given unasked: where lanes are many, workers should be too."""
MOST_WAITING = 512
"""Questions that a server holds at once; further ones wait with Ray."""
PENDING = 100
"""Calls that one caller may have under way with one actor; only many groups need more."""


def connect(address: str) -> bool:
    """Join the cluster at ``address``, or start one of this machine for ``local``.

    Whether one was started, which is then to be shut down. ``ValueError`` for a cluster without
    token authentication.
    """
    if ray.is_initialized():
        return False
    if address == "local":
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(
            address="local",
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
        return True
    insist_on_token(address, _authentication())
    _knock(address)
    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    # A cluster that asks for no token lets in whoever brings one: what do its own processes say?
    task = ray.remote(num_cpus=0)(_authentication).remote()
    try:
        insist_on_token(address, ray.get(task, timeout=60.0))
    except BaseException:
        ray.shutdown()
        raise
    return True


def _knock(address: str):
    """``OSError`` where nobody answers at ``address``, host:port: Ray itself would try for ever."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECTING).close()
    except OSError as error:
        raise OSError(f"ray {address}: nobody answers there: {error.strerror or error}") from None


def _authentication() -> str:
    return os.environ.get("RAY_AUTH_MODE", "")


def insist_on_token(address: str, mode: str):
    """Refuse a cluster whose ports would run anybody's code; ``mode`` is ``RAY_AUTH_MODE``."""
    if mode.lower() != "token":
        raise ValueError(
            f"ray {address}: a cluster needs token authentication, for whoever reaches its ports "
            "can run code on it; make a token with `ray get-auth-token --generate`, copy "
            "~/.ray/auth_token to every node, and set RAY_AUTH_MODE=token for `ray start` and here"
        )


class Node(NamedTuple):
    """One machine of the cluster."""

    cpus: float
    gpus: float


@dataclass(frozen=True)
class Plan:
    """How many actors there are, what each reserves, and how much of its work it does at once."""

    workers: int
    servers: int
    cpus: float
    """Of a core, reserved by each server and worker; below 1 where there are more than cores."""
    gpus: float
    """Of a GPU, reserved by each server."""
    lanes: int
    """Batches that a server evaluates at once; a GPU computes one after the other."""
    groups: int
    """Groups of games that a worker keeps in flight."""


def plan(config: Config, nodes: Sequence[Node]) -> Plan:
    """What ``config`` asks for on these machines.

    ``workers: auto`` leaves one core to the driver, which learns, and one to each server, and is 1
    at the least: a machine of two cores plays too. Without a GPU a server evaluates on every core
    of its node: nearly all the time goes there, and workers and driver take theirs as they need
    it. There are groups enough for each lane to have one while every worker has one in hand.
    """
    cpus, gpus = (sum(column) for column in zip(*nodes, strict=True))
    servers, workers = config.inference.servers, config.selfplay.workers
    if workers == "auto":
        workers = max(1, int(cpus) - 1 - servers)
    share = min(1.0, math.floor(100 * cpus / (workers + servers)) / 100)
    on_gpu = gpus >= 1 and config.inference.device != "cpu"
    each = 1 / math.ceil(servers / gpus) if on_gpu else 0.0
    lanes = 1 if on_gpu else _lanes_on_cpu(nodes, servers)
    wanted = min(MOST_GROUPS, math.ceil(servers * lanes / workers) + 1)
    groups = max(config.selfplay.groups, wanted)
    return Plan(workers, servers, share, each, lanes, groups)


def _lanes_on_cpu(nodes: Sequence[Node], servers: int) -> int:
    """A core each of the smallest node, shared among as many servers as may be put there."""
    return max(1, int(min(node.cpus for node in nodes)) // math.ceil(servers / len(nodes)))


class RayFleet:
    """Self-play actors under a watchdog. Call ``publish`` to begin and ``close`` to end."""

    reproducible = False
    version: int | None = None

    def __init__(
        self,
        config: Config,
        directory: Path,
        address: str = "local",
        make_evaluator: Callable[[Config], LoadableEvaluator] = network_evaluator,
        patience: Patience = Patience(),  # noqa: B008 - frozen
        layout: Plan | None = None,
    ):
        """Start the actors; ``directory`` is the run's, its games go to ``games/`` in there.

        ``layout`` is what ``plan`` makes of the cluster unless it is given. ``RunFailed``, one
        line, where the actors do not start.
        """
        directory = Path(directory).absolute()
        directory.mkdir(parents=True, exist_ok=True)
        self._config = config
        self._started_ray = connect(address)
        self._incarnations = Incarnations(directory / "worker_incarnation")
        self.plan = layout or plan(config, nodes())
        members = _start(config, self.plan, directory / "games", make_evaluator)
        self._watchdog = Watchdog(members, self._incarnations, patience)
        self._counted, self._counted_at = dict(self._watchdog.counters), time.monotonic()
        self._rates: dict[str, float] = {}
        try:
            self.replay = RemoteReplay(members[0].actor, self._watchdog.check)
            """What ``train`` samples from."""
        except BaseException:
            self.close()
            raise

    def publish(self, weights: Weights, version: int) -> None:
        """Play with these weights from now on; every server fetches the one copy made here."""
        self._watchdog.check()
        self._watchdog.publish(ray.put(weights), version)
        self.version = version

    def collect(self) -> list[GameRecord]:
        """The games stored since the last call, in ``replay`` already; waits up to ``QUANTUM``.

        ``RunFailed``, one line, once the watchdog has given the run up.
        """
        deadline = time.monotonic() + QUANTUM
        while True:
            records = self.replay.fresh()
            if records or time.monotonic() > deadline:
                return records
            time.sleep(POLL)

    def allow(self, positions: int) -> None:
        """Play on until about this many positions are stored, then wait."""
        self._watchdog.allow(positions)

    def stats(self) -> dict[str, float]:
        """Rates over the last second or more, and who is alive."""
        alive = [m.kind for m in self._watchdog.members if m.alive]
        now, counters = time.monotonic(), dict(self._watchdog.counters)
        if now - self._counted_at >= 1.0:
            grown = {name: counters[name] - self._counted[name] for name in counters}
            self._rates = self._measure(grown, now - self._counted_at)
            self._counted, self._counted_at = counters, now
        return self._rates | {
            "workers": float(alive.count("worker")),
            "servers": float(alive.count("server")),
            "restarts": float(self._watchdog.restarts),
        }

    def ask(self) -> list[tuple[str, dict]]:
        """The kind of every actor and what it says of itself now, as the watchdog asks it."""
        members = self._watchdog.members
        answers = ray.get([member.ask() for member in members], timeout=ANSWER)
        return [(member.kind, answer) for member, answer in zip(members, answers, strict=True)]

    def state(self) -> dict:
        return {"incarnation": self._incarnations.next}

    def restore(self, state: dict) -> None:
        """Games in flight are not restored: they are played anew, under new ids.

        So a run that LocalFleet began goes on here too: its ids are below every incarnation's.
        """
        self._incarnations.next = max(self._incarnations.next, state.get("incarnation", 1))

    def close(self) -> None:
        """End all actors, and Ray where it was started here; what was acknowledged is on disk."""
        self._watchdog.stop()
        if not ray.is_initialized():
            return
        replay, *others = self._watchdog.members
        for member in others:
            ray.kill(member.actor)
        ray.wait([replay.actor.close.remote()], timeout=10.0)
        ray.kill(replay.actor)
        if self._started_ray:
            ray.shutdown()

    def _measure(self, grown: dict[str, float], seconds: float) -> dict[str, float]:
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
) -> list[Member]:
    """The replay actor first, whose games are in ``directory``; then servers; then workers."""
    config = replace(config, selfplay=replace(config.selfplay, groups=layout.groups))
    # The run's directory is the driver's: so is the node.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    replay = _actor(ReplayStore, num_cpus=0, scheduling_strategy=here).remote(
        partial(stored_games, config, directory), directory
    )
    server_class = _actor(
        InferenceServer,
        num_cpus=layout.cpus,
        num_gpus=layout.gpus,
        scheduling_strategy="SPREAD",
        # Every group of every worker may be waiting at the same server; each takes a thread.
        max_concurrency=min(MOST_WAITING, layout.workers * layout.groups),
        max_pending_calls=max(PENDING, 2 * layout.groups),
    )
    settings = config.inference
    if not layout.gpus and settings.device == "auto":
        # Ray hides no GPU from an actor that reserved none.
        settings = replace(settings, device="cpu")
    make = partial(make_evaluator, replace(config, inference=settings))
    dtype = games.make(config.game).dtype
    servers = [
        server_class.remote(make, dtype, settings.batch_size, layout.lanes)
        for _ in range(layout.servers)
    ]
    worker_class = _actor(SelfPlayWorker, num_cpus=layout.cpus, scheduling_strategy="SPREAD")
    bound = 2 * config.selfplay.games * layout.groups
    groups = partial(game_groups, config)
    workers = [worker_class.remote(groups, bound) for _ in range(layout.workers)]
    return [
        Member("the replay actor", "replay", replay),
        *(Member(f"inference server {i}", "server", actor) for i, actor in enumerate(servers)),
        *(Member(f"self-play worker {i}", "worker", actor) for i, actor in enumerate(workers)),
    ]


def nodes() -> list[Node]:
    """The machines that are there; one without a core to lend counts for nothing."""
    resources = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [Node(each["CPU"], each.get("GPU", 0)) for each in resources if each.get("CPU", 0) >= 1]


def _actor(cls: type, **options: Any) -> Any:
    """``cls`` as an actor that Ray restarts, and that answers ``status`` whatever else it does."""
    groups = {"control": 1, "orders": 1}
    actor: Any = ray.remote(concurrency_groups=groups)  # type: ignore[call-overload]
    options = {"max_pending_calls": PENDING} | options
    return actor(cls).options(max_restarts=-1, max_task_retries=0, **options)
