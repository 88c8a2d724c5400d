"""Compare this checkout with an earlier revision: the same results bit for bit, and the same speed.

    python tests/benchmarks/against_revision.py results [--revision 1da347d]
    python tests/benchmarks/against_revision.py rates [--revision 1da347d] [--rounds 5]

``results`` trains tic-tac-toe and Connect Four with PUCT and with Gumbel for 200 optimizer steps
from a fixed seed in both trees and compares the weights and all positions of the games, byte by
byte (not the files of games, whose format may have changed). Then this checkout
reads the earlier one's games, checkpoint and exported agent, and plays 100 moves with each of them
that must be those of the earlier revision. Since ties are broken at random (docs/decisions/0028)
searches at temperature 0 draw from their generators: against a revision before that, ``results``
reports differences in the agents' moves and in games that are played at temperature 0. What is
read from old files must still be equal. ``rates`` runs ``alphazero bench`` in turns in both
trees and prints the median of the ratios, new to old. Exit status 1 where a result differs.
"""

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
FIXED = [
    "seed=7", "training.steps=200", "training.checkpoint_every=100", "training.batch_size=128",
    "training.threads=2", "training.precision=float32", "inference.backend=torch",
    "inference.precision=float32", "network.blocks=2", "network.channels=32", "selfplay.games=32",
    "replay.min_positions=1000", "evaluation.games=0", "evaluation.suite_every_minutes=0",
    "tracking.wandb=off", "training.time_limit_minutes=null",
]  # fmt: skip
RUNS = [(game, kind) for game in ("tic_tac_toe", "connect_four") for kind in ("puct", "gumbel")]
RATES = {
    "search": "simulations_per_second",
    "selfplay": "simulations_per_second",
    "train": "samples_per_second",
    "move": "milliseconds",
}
READ = """
import sys
import numpy as np
import games
from alphazero import checkpoint
from alphazero.config import ReplaySettings
from alphazero.replay import Replay
from pathlib import Path
run = Path(sys.argv[1])
config = checkpoint.load(checkpoint.newest(run)).config
replay = Replay(games.make(config.game), run / "games", config.replay)
print(replay.games, replay.positions)
"""
CONTENT = """
import hashlib
import sys
import numpy as np
import games
from alphazero import checkpoint, wire
from pathlib import Path
run = Path(sys.argv[1])
game = games.make(checkpoint.load(checkpoint.newest(run)).config.game)
content = hashlib.sha256()
for path in sorted((run / "games").glob("shard_*.bin")):
    for _, record in wire.read_shard(game, path):
        if hasattr(record, "rows"):
            from alphazero.records import unpack_policy
            rows = record.rows
            policy = unpack_policy(game, rows["policy_action"], rows["policy_weight"])[1]
            columns = [rows["state"], policy, rows["value"], rows["outcome"]]
        else:
            policy = record.policy.astype(np.float32)
            columns = [record.states, policy, record.value, record.outcome + 0.0]
        content.update(np.array([record.game_id, record.version, *record.actions]).tobytes())
        for column in columns:
            content.update(column.tobytes())
print(content.hexdigest())
"""
PLAY = """
import sys
import numpy as np
import games
try:
    from alphazero.judging import players
except ImportError:
    from alphazero import players
game = games.make(sys.argv[1])
player = players.make(f"checkpoint:path={sys.argv[2]},simulations=64", game)
rng = np.random.default_rng(11)
states, moves = game.initial(1), []
for number in range(100):
    decision = player(states, [np.random.default_rng([number, 5])])
    moves.append((int(decision.action[0]), decision.value.tobytes().hex()))
    states = game.step(states, decision.action)
    if not np.isnan(game.outcome(states))[0]:
        states = game.initial(1)
        for _ in range(2):  # random plies, so that this game differs from the others
            legal = np.flatnonzero(game.legal(states)[0])
            states = game.step(states, rng.choice(legal, 1))
print(moves)
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("results", "rates"))
    parser.add_argument("--revision", default="1da347d")
    parser.add_argument("--rounds", type=int, default=5, help="of `rates`; default 5")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        old = Path(folder) / "old"
        subprocess.run(["git", "clone", "--quiet", "--shared", str(ROOT), str(old)], check=True)
        subprocess.run(["git", "checkout", "--quiet", options.revision], cwd=old, check=True)
        if options.what == "rates":
            return rates(old, options.rounds)
        return results(old, Path(folder))


def python(tree: Path, *words: str) -> str:
    """The output of Python where it imports the packages of ``tree``."""
    ended = subprocess.run([sys.executable, *words], cwd=tree, capture_output=True, text=True)
    if ended.returncode:
        raise SystemExit(f"{' '.join(words[:4])} in {tree} failed:\n{ended.stderr[-2000:]}")
    return ended.stdout


def results(old: Path, folder: Path) -> int:
    different = 0
    for game, kind in RUNS:
        runs = [folder / f"{game}-{kind}-{name}" for name in ("old", "new")]
        for tree, run in zip((old, ROOT), runs, strict=True):
            words = ["train", game, f"search={{kind: {kind}, simulations: 16}}", *FIXED]
            python(tree, "-m", "workers.cli", *words, "--ray", "off", "--run-dir", str(run))
        weights = [digest(run / "checkpoints/step_000200/weights.safetensors") for run in runs]
        different += report(f"{game}, {kind}: weights", *weights)
        played = [python(t, "-c", CONTENT, str(r)) for t, r in zip((old, ROOT), runs, strict=True)]
        different += report(f"{game}, {kind}: positions of all games", *played)
        again = python(ROOT, "-c", CONTENT, str(runs[0]))
        different += report(f"{game}, {kind}: positions read from the old run", played[0], again)
        agent = folder / f"{game}-{kind}-agent"
        python(old, "-m", "workers.cli", "export", str(runs[0]), "--to", str(agent))
        read = [python(tree, "-c", READ, str(runs[0])) for tree in (old, ROOT)]
        different += report(f"{game}, {kind}: games and positions read from the old run", *read)
        for name, source in (("checkpoint", runs[0]), ("exported agent", agent)):
            moves = [python(tree, "-c", PLAY, game, str(source)) for tree in (old, ROOT)]
            different += report(f"{game}, {kind}: 100 moves of the old {name}", *moves)
    print("all equal" if not different else f"{different} different")
    return int(different > 0)


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def report(what: str, old: str, new: str) -> bool:
    shown = hashlib.sha256(old.encode()).hexdigest()[:12]
    print(f"{'equal' if old == new else 'DIFFERENT':9} {what} ({shown})", flush=True)
    return old != new


def rates(old: Path, rounds: int) -> int:
    for what, key in RATES.items():
        ratios = []
        for number in range(rounds):
            figures = {}
            # The order alternates, so that a machine that warms up or slows down favours neither.
            for tree in (old, ROOT) if number % 2 == 0 else (ROOT, old):
                printed = python(tree, "-m", "workers.cli", "bench", what, "--json", "-")
                figures[tree] = find(json.loads(printed), key)
            ratio = figures[ROOT] / figures[old]
            ratios.append(1 / ratio if key == "milliseconds" else ratio)
        middle = statistics.median(ratios)
        listed = ", ".join(f"{ratio:.3f}" for ratio in sorted(ratios))
        print(f"bench {what}: new / old {middle:.3f} (of {listed})", flush=True)
    return 0


def find(figures: dict, key: str) -> float:
    """The first figure whose name contains ``key``, in the dictionary or in one below it."""
    for name, value in figures.items():
        if key in name and isinstance(value, int | float):
            return float(value)
        if isinstance(value, dict) and (inner := find(value, key)):
            return inner
    return 0.0


if __name__ == "__main__":
    sys.exit(main())
