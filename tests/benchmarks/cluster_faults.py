"""Machines that join and leave a run, as several raylets on this machine with one core each.

    python tests/benchmarks/cluster_faults.py [--repetitions 20]

The cluster's head has no core. Printed is a row per event: seconds until its effect, and the games
that were acknowledged before. At the end the stored games are counted: none that was acknowledged
may be missing, none may be stored twice. The network is a hash, so that play is fast; weights are
those of ``node_doubles``.
"""

import argparse
import os
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ |= {  # before Ray is imported, which reads the mode of authentication then
    "PYTHONPATH": os.pathsep.join([sys.path[0], os.environ.get("PYTHONPATH", "")]),
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
}

import node_doubles as doubles
from ray.cluster_utils import Cluster

import games
from alphazero import wire
from alphazero.config import Config, SelfPlaySettings
from alphazero.search.gumbel import Gumbel
from workers.cluster.fleet import RayFleet
from workers.cluster.members import Timeouts
from workers.node.plan import Plan

GAME = "tic_tac_toe"
PLAN = Plan(players=1, evaluators=1, lanes=1, groups=2, on_gpu=False)
LONGEST = 120.0
"""Seconds after which an event counts as one without its effect."""


class Run:
    """A fleet on the cluster; every game that ``collect`` returns was acknowledged."""

    def __init__(self, folder: Path, address: str, membership: float):
        config = Config(
            game=GAME,
            search=Gumbel(simulations=8),
            selfplay=SelfPlaySettings(games=8, groups=2),
        )
        timeouts = Timeouts(membership=membership)
        plan = lambda machine, learns: PLAN  # noqa: E731
        self.folder = folder
        self.fleet = RayFleet(config, folder, address, doubles.hashing, timeouts, plan)
        self.fleet.publish(doubles.weights(0), 0)
        self.games = 0

    def until(self, reached: Callable[[], bool]) -> float:
        """Collect games until ``reached``; the seconds that it took."""
        began = time.monotonic()
        while not reached():
            if time.monotonic() - began > LONGEST:
                raise SystemExit(f"nothing happened for {LONGEST:g} s: {self.fleet.stats()}")
            self.games += self.fleet.collect().games
        return time.monotonic() - began

    def until_games(self) -> float:
        """Collect until 20 more games."""
        enough = self.games + 20
        return self.until(lambda: self.games >= enough)

    def until_nodes(self, number: int) -> float:
        return self.until(lambda: self.fleet.stats()["nodes"] == number)

    def check(self) -> str:
        """Count the stored games."""
        self.fleet.allow(0)
        self.until(lambda: not self.fleet.collect().games)
        shards = sorted((self.folder / "games").glob("shard_*.bin"))
        game = games.make(GAME)
        stored = [r.game_id for path in shards for _, r in wire.read_shard(game, path, print)]
        if len(set(stored)) != len(stored) or len(stored) < self.games:
            raise SystemExit(f"{self.games} games acknowledged, {len(stored)} stored")
        return f"{self.games} games acknowledged, {len(stored)} stored, all of them different"


def events(cluster: Cluster, run: Run, report: Callable[[str, float], None]) -> None:
    """One machine joins, a second one, one is lost, the last one is lost, one joins."""
    first = cluster.add_node(num_cpus=1)
    report("a machine joins an empty cluster: first games", run.until_games())
    second = cluster.add_node(num_cpus=1)
    report("another one joins: it plays", run.until_nodes(2))
    cluster.remove_node(first, allow_graceful=False)
    report("one of two is lost: more games", run.until_games())
    report("one of two is lost: it is known", run.until_nodes(1))
    cluster.remove_node(second, allow_graceful=False)
    report("the last one is lost: it is known", run.until_nodes(0))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=1)
    parser.add_argument("--membership", type=float, default=Timeouts.membership)
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp", ignore_cleanup_errors=True) as folder:
        os.environ["RAY_TMPDIR"] = folder
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        try:
            run = Run(Path(folder) / "run", cluster.address, options.membership)
            for _ in range(options.repetitions):
                events(cluster, run, lambda name, time: seconds.setdefault(name, []).append(time))
            line = run.check()
            run.fleet.close()
        finally:
            cluster.shutdown()
    for name, times in seconds.items():
        print(f"| {name} | {statistics.median(times):.1f} | {max(times):.1f} |")
    print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
