"""Nodes whose machines are about to be taken away: what they have finished is delivered first."""

import logging
import time
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import RayError

from workers.cluster.answers import ready
from workers.cluster.machines import draining
from workers.cluster.members import Member, add_up

logger = logging.getLogger(__name__)

LEAVING_SECONDS = 60.0
"""Seconds after which a node that has not delivered its games is ended."""


class Leaving:
    """The nodes on machines that are being drained.

    Such a node begins no move any more; its games in progress are dropped, and those that are
    finished are delivered. Then it is ended. This is no failure: a spot instance that is taken away
    is replaced by the cluster, not by this program.
    """

    def __init__(self) -> None:
        self._nodes: dict[str, tuple[Member, Any, float]] = {}
        """By the ids of their machines: the node, its pending call, and when that began."""

    @property
    def members(self) -> list[Member]:
        return [member for member, _, _ in list(self._nodes.values())]

    @property
    def statuses(self) -> list[dict]:
        """The last status of each node."""
        return [member.status for member in self.members]

    def update(self, nodes: dict[str, Member], listed: list[dict], now: float) -> dict[str, float]:
        """Take the nodes on machines that are being drained out of ``nodes``, and end those that
        have delivered everything; returns the counts of the latter, added up.

        ``listed``: of ``list_all``; ``now``: on the supervisor's clock.
        """
        for machine, seconds in draining(listed, time.time()).items():
            if machine in nodes:
                self._begin(nodes[machine], seconds, now)
                del nodes[machine]
        return self._end_finished(now)

    def _begin(self, node: Member, seconds: float | None, now: float) -> None:
        left = "" if seconds is None else f" and ends in {seconds:.0f} s"
        logger.warning(f"{node.name} is being drained{left}: no new moves begin there")
        call = node.actor.drain.options(concurrency_group="settings").remote()
        self._nodes[node.node] = node, call, now

    def _end_finished(self, now: float) -> dict[str, float]:
        """One that has died is dropped. An idle machine that is being drained leaves the cluster by
        itself."""
        counts = []
        for machine, (node, call, began) in list(self._nodes.items()):
            if not ready(call) and now - began <= LEAVING_SECONDS:
                continue
            with suppress(RayError):  # it has died, or hangs
                node.status |= ray.get(call, timeout=0)
            with suppress(RayError):
                ray.kill(node.actor)
            del self._nodes[machine]
            counts.append(node.status)
        return add_up(counts)
