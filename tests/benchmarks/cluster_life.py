"""The life of a run on a cluster: one machine, three, one, none, and another cluster.

    python tests/benchmarks/cluster_life.py

`alphazero train tic_tac_toe` starts on a cluster of one machine, which is its head, with a folder
that all machines share as its storage (``--run-dir file://...``). Two machines join, and both fail.
Then the power of the head fails, and the driver's disk is gone with it. On a head and a machine of
a new cluster the run is resumed from the storage, until it has ended. Printed are the seconds
of each phase; then the games and metrics are checked: the ids of games differ, and metrics.jsonl
has a line for every step. The exit status is 1 where this is not so. Machines are made up.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import made_up_machines
from cluster_runs import PATIENCE, Cluster, Run, game_ids
from made_up_machines import PRIVATE, Lab, Machine, wait_until

from workers.runs import stored_run
from workers.runs.storage import open_storage

STEPS = 150
"""Steps of the resumed run behind those of the stored checkpoint."""


class Life:
    """The phases of one run."""

    def __init__(self, lab: Lab):
        self.lab = lab
        self.url = f"file://{lab.folder / 'storage'}"
        self.began = time.monotonic()

    def report(self, phase: str, run: Run) -> None:
        """Print a row about the phase that ends now."""
        now, line = time.monotonic(), run.metrics()[-1]
        print(
            f"| {phase} | {now - self.began:.1f} | {line['step']} | {line['games']} |", flush=True
        )
        self.began = now

    def start(self, machine: Machine, cluster: Cluster, settings: str = "") -> Run:
        """Start the command on a machine; its working folder is on the machine's own disk."""
        place = f"{self.url} --work-dir {PRIVATE}/work"
        seen = machine.private / "work"
        output = self.lab.folder / f"{machine.name}.txt"
        return Run(machine, seen, settings, address=cluster.address, place=place, output=output)

    def first_cluster(self) -> None:
        """Play on one machine, on three and on one, and lose the last one."""
        cluster = Cluster(self.lab, cpus=1)
        run = self.start(cluster.head, cluster)
        run.until_nodes(1)
        self.report("one machine plays", run)
        others = [cluster.add("second"), cluster.add("third")]
        run.until_nodes(3)
        self.report("two have joined, three play", run)
        for other in others:
            other.cut()
        run.until_nodes(1)
        run.until_games()
        self.report("both have failed, one plays", run)
        before = self.last_stored()
        run.wait(lambda: self.last_stored() > before, "newer checkpoint in the storage")
        self.report("a newer checkpoint is stored, the head fails", run)
        cluster.head.cut()
        wait_until(run.ended, "end of the command", PATIENCE)

    def last_stored(self) -> int:
        """The step of the newest checkpoint in the storage; 0 before the first."""
        return max(stored_run.steps(open_storage(self.url)), default=0)

    def second_cluster(self) -> None:
        """Resume on other machines until the run has ended."""
        cluster = Cluster(self.lab, name="new-head")
        steps = self.last_stored() + STEPS
        settings = f"training.steps={steps} --resume"
        run = self.start(cluster.add("fourth"), cluster, settings)
        wait_until(run.ended, "end of the run", PATIENCE)
        if run.process.returncode:
            raise SystemExit(f"the resumed run failed:\n{run.text()}")
        self.report("resumed on a new cluster until its end", run)
        self.check(run, steps)

    def check(self, run: Run, steps: int) -> None:
        """Print what the run has; ``SystemExit`` where a step or an id is missing or twice."""
        stored = self.lab.folder / "fetched"
        stored.mkdir()
        stored_run.fetch_newest(open_storage(self.url), stored, print)
        ids, again = run.game_ids(), game_ids(stored)
        if [line["step"] for line in run.metrics()] != list(range(1, steps + 1)):
            raise SystemExit("metrics.jsonl has a gap, or a step twice")
        # Games may be stored after the last line of the metrics, while the run ends.
        if len(set(ids)) != len(ids) or ids != again or len(ids) < run.metrics()[-1]["games"]:
            raise SystemExit(f"{len(ids)} games, {len(set(ids))} ids, {len(again)} in the storage")
        print(f"{steps} steps without a gap; {len(ids)} games, all ids differ, all are stored")


def main() -> int:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    if reason := made_up_machines.missing():
        print(f"there can be no made-up machines here: {reason}", file=sys.stderr)
        return 2
    print("| phase | seconds | step | games |\n|---|---|---|---|")
    temporary = tempfile.TemporaryDirectory(prefix="life", ignore_cleanup_errors=True)
    with temporary as folder, Lab(Path(folder)) as lab:
        life = Life(lab)
        life.first_cluster()
        life.second_cluster()
    return 0


if __name__ == "__main__":
    sys.exit(main())
