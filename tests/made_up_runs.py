"""A run's folder that no training has made."""

import json
import shutil

from alphazero import agents


def make_run(run, lines):
    """Make ``run`` a run of Connect Four with a checkpoint, the bundled agent, at step 7, and so
    many lines of metrics."""
    checkpoint = run / "checkpoints" / "step_000007"
    checkpoint.parent.mkdir(parents=True)
    shutil.copytree(agents.find("connect_four"), checkpoint)
    shutil.copy(checkpoint / "config.yaml", run / "config.yaml")
    rows = [{"step": n, "time": 1.0, "loss": 1 / (n + 1), "minutes": n / 2} for n in range(lines)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
