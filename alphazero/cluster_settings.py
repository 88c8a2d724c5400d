"""The settings of a run on a Ray cluster: meaning, and default with its reason."""

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from alphazero.ranges import STRICT

Machines = Annotated[int, Field(ge=1, le=10_000)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class NodeLimits:
    """Numbers of machines. With either of them the cluster's autoscaler is sent a request for
    machines, which replaces that of any other program and is withdrawn at the end of the run. They
    have no effect without Ray, which a line says at the start."""

    min: Machines | None = None
    """The run starts when so many machines are ready to play, and says how many it waits for. Later
    it goes on with fewer. While play is held for a minute because training is behind, the
    autoscaler is requested no more than these; machines that play stay. None: the run starts with
    any number."""
    max: Machines | None = None
    """At most so many machines play, those with the most GPUs and cores, and so many are requested
    of the autoscaler. None: every machine of the cluster plays, and ``min`` are requested."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ClusterSettings:
    """The machines of a Ray cluster that a run uses."""

    nodes: NodeLimits = NodeLimits()
