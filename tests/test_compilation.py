"""The first run prints that it compiles; later runs use the cache."""

import os
import subprocess
import sys

GAME = ["arena", "mcts:simulations=2", "random", "--game", "tic_tac_toe", "--games", "1"]


def test_only_the_first_run_prints_that_it_compiles_and_the_folder_of_the_cache(tmp_path):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    errors = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-m", "workers.cli", *GAME],
            env=environment, capture_output=True, text=True, timeout=200, check=True,
        )  # fmt: skip
        errors.append(done.stderr)
    assert errors[0].count("compiling for this machine") == 1
    assert str(tmp_path) in errors[0]
    assert "compiling" not in errors[1]
    assert any(tmp_path.rglob("nodes.attach-*.nbi"))
