"""Figures of each node: as metrics of the run, and as gauges of Ray."""

import re
import time
from collections.abc import Sequence

from ray.util.metrics import Gauge

from workers.cluster.members import Member

SECONDS = 10.0
"""The least time between two reports: with a hundred nodes one has 600 figures."""
FIGURES = {
    "games_per_second": "Finished games per second",
    "evaluations_per_second": "Evaluations of the network per second",
    "busy": "Share of the time in which a lane of an evaluator is busy, 0 to 1",
    "batch_fill": "Mean batch as a share of the largest one, 0 to 1",
    "waiting_requests": "Requests that wait for an evaluator",
    "restarts": "Search processes and evaluators that were replaced",
}
"""The figures of a node, with the descriptions of their gauges."""
SHORT_ID = 6
"""Characters of a machine's id that distinguish it from others of the same name."""


class NodeFigures:
    """Metrics ``node/NAME/FIGURE``, and gauges ``alphazero_node_FIGURE`` with the tag ``node``."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}  # by the ids of the machines
        self._gauges: dict[str, Gauge] = {}
        self._due = time.monotonic()

    def of(self, nodes: Sequence[Member]) -> dict[str, float]:
        """The metrics of live nodes, and sets the gauges; empty until ``SECONDS`` after the last
        time. The gauges of a node that has gone become 0."""
        if time.monotonic() < self._due:
            return {}
        self._due = time.monotonic() + SECONDS
        before, self._names = self._names, self._named(nodes)
        metrics = {}
        for node in nodes:
            name, rates = self._names[node.node], node.status["rates"]
            for figure in FIGURES:
                value = float(rates.get(figure, node.status.get(figure, 0.0)))
                metrics[f"node/{name}/{figure}"] = value
                self._set(figure, name, value)
        for name in set(before.values()) - set(self._names.values()):
            for figure in FIGURES:
                self._set(figure, name, 0.0)
        return metrics

    def _named(self, nodes: Sequence[Member]) -> dict[str, str]:
        """A name of letters, digits, ``_`` and ``-`` for each node.

        It is the machine's, which stays the same where the machine leaves and comes back; of two
        machines with one name the later one has a part of its id, too. Earlier names are kept.
        """
        names = {node.node: self._names[node.node] for node in nodes if node.node in self._names}
        for node in nodes:
            if node.node in names:
                continue
            host = node.name.removeprefix("node ").partition(" (")[0]
            name = re.sub(r"[^\w-]", "-", host, flags=re.ASCII)
            names[node.node] = f"{name}-{node.node[:SHORT_ID]}" if name in names.values() else name
        return names

    def _set(self, figure: str, name: str, value: float) -> None:
        if figure not in self._gauges:
            gauge = Gauge(f"alphazero_node_{figure}", FIGURES[figure], ("node",))
            self._gauges[figure] = gauge
        self._gauges[figure].set(value, {"node": name})
