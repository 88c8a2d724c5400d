"""A Ray cluster of made-up machines and a training run on it, for scripts that disturb them."""

import json
import secrets
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from made_up_machines import Lab, Machine, wait_until

import games
from alphazero import wire

GAME = "tic_tac_toe"
SETTINGS = (
    "search.simulations=8 selfplay.games=8 network.blocks=1 network.channels=8 evaluation.games=0 "
    "replay.min_positions=100 replay.samples_per_position=0.25 training.batch_size=16 "
    "training.steps=1000000 training.time_limit_minutes=null training.checkpoint_every=20 "
    "training.precision=float32 inference.backend=torch inference.precision=float32 "
    "tracking.log_every=1"
)
"""Self-play is never held for long: a step needs 64 positions only."""
PATIENCE = 180.0
"""The longest wait in seconds for anything."""
NEW_GAMES = 200
"""Bytes of newly stored games, about three of them, after which play goes on."""


class Cluster:
    """A head and machines with one core each; all of them have the same token."""

    def __init__(self, lab: Lab, cpus: int = 0, name: str = "head"):
        """``cpus`` and ``name``: those of the head."""
        self.lab = lab
        lab.environment.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        lab.environment["RAY_task_events_report_interval_ms"] = "0"
        self.head, self.address = lab.add(name), f"{name}:6379"
        self.start_head(cpus)

    def start_head(self, cpus: int = 0) -> None:
        """Start Ray on the head's machine."""
        options = f"--port 6379 --include-dashboard false {self._options(cpus)}"
        self.head.run(f"ray start --head {options}")

    @staticmethod
    def _options(cpus: int) -> str:
        return f"--num-cpus {cpus} --object-store-memory 100000000"

    def add(self, name: str, delay: float = 0.0) -> Machine:
        """A machine that joins."""
        machine = self.lab.add(name, delay=delay)
        self.join(machine)
        return machine

    def join(self, machine: Machine) -> None:
        machine.run(f"ray start --address {self.address} {self._options(1)}")


class Run:
    """`alphazero train` on a machine of a cluster; the run directory is seen by all machines."""

    def __init__(
        self,
        machine: Machine,
        folder: Path,
        settings: str = "",
        *,
        address: str = "head:6379",
        place: str = "",
        output: Path | None = None,
    ):
        """``place``: the words behind ``--run-dir`` where they are not the ``folder``."""
        self.folder, self.output = folder, output or folder.with_suffix(".txt")
        self._words = (
            f"exec alphazero train {GAME} {SETTINGS} {settings} --ray {address} "
            f"--run-dir {place or folder}"
        )
        self.start(machine)

    def start(self, machine: Machine, more: str = "") -> None:
        """Start the command, or continue it with ``--resume``."""
        self.machine = machine
        self.process = machine.start(f"{self._words} {more}", self.output)

    def ended(self) -> bool:
        return self.process.poll() is not None

    def wait(self, condition: Callable[[], object], what: str) -> float:
        """Wait until ``condition`` holds; ``SystemExit`` where the command ends before."""
        failed = lambda: self.ended() and not condition()  # noqa: E731
        seconds = wait_until(lambda: condition() or failed(), what, PATIENCE)
        if failed():
            raise SystemExit(f"no {what}, the command has ended:\n{self.text()}")
        return seconds

    def text(self) -> str:
        """The output of the command."""
        return self.output.read_text(errors="replace")

    def metrics(self) -> list[dict]:
        path = self.folder / "metrics.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("}")]

    def nodes(self) -> int:
        """The machines that play, by the last line of the metrics."""
        lines = self.metrics()
        return int(lines[-1].get("nodes", 0)) if lines else 0

    def until_nodes(self, number: int) -> float:
        return self.wait(lambda: self.nodes() == number, f"play on {number} machines")

    def stored(self) -> int:
        """The bytes of all shards."""
        return sum(path.stat().st_size for path in (self.folder / "games").glob("shard_*.bin"))

    def until_games(self) -> float:
        """Wait until more games are stored."""
        before = self.stored()
        return self.wait(lambda: self.stored() >= before + NEW_GAMES, "games")

    def problems(self) -> list[str]:
        """The warnings and errors in log.txt."""
        path = self.folder / "log.txt"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if " WARNING " in line or " ERROR " in line]

    def game_ids(self) -> list[int]:
        return game_ids(self.folder)

    def longest_pause(self, seconds: float) -> float:
        """The longest time without a newly stored game in the next ``seconds``."""
        began = last = time.monotonic()
        stored, longest = self.stored(), 0.0
        while time.monotonic() - began < seconds:
            time.sleep(0.05)
            if (size := self.stored()) != stored:
                stored, last = size, time.monotonic()
            longest = max(longest, time.monotonic() - last)
        return longest


def game_ids(folder: Path) -> list[int]:
    """The ids of all games in a run directory; what is still written is left out."""
    game, ids = games.make(GAME), []
    for path in sorted((folder / "games").glob("shard_*.bin")):
        for _, record in wire.read_shard(game, path, lambda line: None):
            ids += [record.game_id] if record is not None else []
    return ids
