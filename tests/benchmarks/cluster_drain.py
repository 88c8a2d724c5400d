"""A machine that is drained while it plays, as a raylet on this machine with one core.

    python tests/benchmarks/cluster_drain.py

The cluster has a head without a core and two machines, of which `cluster.nodes.max: 1` may play.
The one that plays is drained, as after the notice for a spot instance. Printed are the seconds
until the other one plays and until the drained one has left the cluster; no acknowledged game may
be missing, and nothing may count as a failure.
"""

import argparse
import os
import secrets
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
import ray
from ray.cluster_utils import Cluster

import games
from alphazero import wire
from alphazero.cluster_settings import ClusterSettings, NodeLimits
from alphazero.config import Config, SelfPlaySettings
from alphazero.search.gumbel import Gumbel
from workers.cluster.fleet import RayFleet
from workers.node.plan import Plan

GAME = games.make("tic_tac_toe")
CONFIG = Config(
    game=GAME.name,
    search=Gumbel(simulations=8),
    selfplay=SelfPlaySettings(games=8, groups=2),
    cluster=ClusterSettings(nodes=NodeLimits(min=1, max=1)),
)
PLAN = Plan(players=1, evaluators=1, lanes=1, groups=2, on_gpu=False)
PREEMPTION = 2
"""Ray's number of the reason to drain a machine that is taken away whatever it does."""
NOTICE = 60.0
LONGEST = 180.0


def until(reached: Callable[[], object]) -> float:
    """The seconds until ``reached``."""
    began = time.monotonic()
    while not reached():
        if time.monotonic() - began > LONGEST:
            raise SystemExit(f"nothing happened for {LONGEST:g} s")
        time.sleep(0.05)
    return time.monotonic() - began


def main() -> int:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp", ignore_cleanup_errors=True) as folder:
        os.environ["RAY_TMPDIR"] = folder
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        try:
            for _ in range(2):
                cluster.add_node(num_cpus=1)
            _drain(cluster, Path(folder) / "run")
        finally:
            cluster.shutdown()
    return 0


def _drain(cluster: Cluster, folder: Path) -> None:
    make_plan = lambda machine, learns: PLAN  # noqa: E731
    fleet = RayFleet(CONFIG, folder, cluster.address, doubles.hashing, plan=make_plan)
    fleet.await_nodes(print)
    print(*fleet.describe(), sep="\n")
    fleet.publish(doubles.weights(0), 0)
    played = [0]

    def more(number: int) -> Callable[[], bool]:
        enough = played[0] + number

        def reached() -> bool:
            played[0] += fleet.collect().games
            return played[0] >= enough

        return reached

    until(more(30))
    (machine,) = fleet._supervisor.nodes
    client = ray._private.worker.global_worker.gcs_client
    end = int(1000 * (time.time() + NOTICE))
    print(client.drain_node(machine, PREEMPTION, "a notice", end))
    seconds = until(lambda: machine not in fleet._supervisor.nodes)
    print(f"the notice is known after {seconds:.1f} s")
    alive = lambda: {node["NodeID"] for node in ray.nodes() if node["Alive"]}  # noqa: E731
    print(f"the machine has left the cluster {until(lambda: machine not in alive()):.1f} s later")
    until(more(0))  # those that it has delivered
    print(f"20 games of the other machine came {until(more(20)):.1f} s later")
    assert machine not in fleet._supervisor.nodes
    assert fleet._supervisor.losses == 0
    fleet.allow(0)
    until(lambda: not more(1)())
    shards = sorted((folder / "games").glob("shard_*.bin"))
    stored = [r.game_id for path in shards for _, r in wire.read_shard(GAME, path, print)]
    assert len(set(stored)) == len(stored) >= played[0]
    print(f"{played[0]} games acknowledged, {len(stored)} stored, all of them different")
    fleet.close()


if __name__ == "__main__":
    sys.exit(main())
