"""The request of a run for machines, which the autoscaler of a Ray cluster fulfils."""

import logging
from collections.abc import Callable, Sequence

from ray.autoscaler.sdk import request_resources

from alphazero.cluster_settings import NodeLimits
from alphazero.errors import reason
from workers.node.plan import Machine

logger = logging.getLogger(__name__)

HELD_SECONDS = 60.0
"""Seconds for which play has to be held before fewer machines are requested: it is held and goes on
again many times per minute where training is the slower part."""

Bundles = list[dict[str, float]]


def bundles(number: int, playing: Sequence[Machine], missing: Machine) -> Bundles:
    """Resources that ``number`` machines have together: a bundle per machine.

    The autoscaler adds machines until all bundles fit into the whole cluster, and several may fit
    into one machine. So each machine that plays has a bundle of its own size, and those that are
    missing have that of ``missing``: with machines of 16 and 4 cores, four machines are requested
    as 16, 4, 4, 4 where the missing ones are taken to have 4.
    """
    sizes = sorted(playing, reverse=True)[:number]
    sizes += [missing] * (number - len(sizes))
    return [{"CPU": float(cpus)} | ({"GPU": float(gpus)} if gpus else {}) for cpus, gpus in sizes]


class Demand:
    """The machines that the autoscaler is requested to provide; none where no limit is set."""

    def __init__(
        self,
        limits: NodeLimits,
        unknown: Machine = Machine(1, 0),  # noqa: B008 - a tuple
        send: Callable[..., None] = request_resources,
    ):
        """``unknown``: the size of a missing machine before one has joined."""
        self.limits, self._unknown, self._send = limits, unknown, send
        self._sent: Bundles | None = None
        self._held_since: float | None = None

    def update(
        self, now: float, held: bool, playing: Sequence[Machine], joined: Sequence[Machine]
    ) -> None:
        """Send the request if it has changed: ``max`` machines, or ``min`` where that is all or
        where play has been held for ``HELD_SECONDS``.

        ``now``: seconds on any clock; ``playing``: the machines that play; ``joined``: those of
        them that are not the driver's own, which may be larger than any that can be added. A
        missing machine is requested as large as the smallest of these; while none has joined, as
        ``unknown``, the least that is needed.
        """
        least, most = self.limits.min or 0, self.limits.max
        if not least and most is None:
            return
        if not held or self._held_since is None:
            self._held_since = now if held else None
        idle = self._held_since is not None and now - self._held_since >= HELD_SECONDS
        number = least if idle or most is None else most
        wanted = bundles(number, playing, min(joined, default=self._unknown))
        if wanted != self._sent:
            self._request(wanted)

    def withdraw(self) -> None:
        """Request no machines any more, if any were."""
        if self._sent:
            self._request([])

    def _request(self, wanted: Bundles) -> None:
        self._sent = wanted
        try:
            self._send(bundles=wanted)
        except Exception as error:  # Ray names none: it may have no connection any more
            logger.warning(f"the autoscaler was not requested for machines: {reason(error)}")
