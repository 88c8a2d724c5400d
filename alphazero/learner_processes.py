"""A learner of which several processes of this machine compute each batch.

This process is rank 0: it has the batches and takes every step itself, too. The others are started
as programs, get their rows through shared memory and follow (``learner_rank``).
"""

import json
import math
import os
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from alphazero import config_file, memory_files
from alphazero.config import Config
from alphazero.errors import LearnerLost, one_line, reason, signal_name
from alphazero.learner import Columns, Learner, check, columns_of
from alphazero.learner_rank import OTHER_LOST, Setup, pack
from alphazero.nn.ranks import PATIENCE, SLICE, RankLost, Ranks, check_unused, device_of
from alphazero.nn.training import Reduce
from alphazero.nn.weights import Weights
from alphazero.parts import game_of
from alphazero.replay import Batch
from alphazero.shared_rows import SharedRows

ENDING_SECONDS = 5.0
"""How long a process has to end by itself."""
KEPT_ERRORS = 4000
"""Bytes at the end of a process's error output that are read for a message."""


class ProcessLearner(Learner):
    """A learner whose batches are computed by ``training.processes``; ``close`` ends the others.

    It equals a learner whose threads compute the same shares. ``state`` has all that ``restore``
    needs, and does not depend on the number of processes.
    """

    def __init__(self, config: Config, patience: float = PATIENCE):
        """``patience``: seconds that a process may take for an answer before it counts as lost.

        ValueError where this machine lacks the devices, or torch.distributed is in use.
        """
        check_unused()
        device = device_of(config.training.device, 0, config.training.processes)
        training = replace(config.training, device=str(device))
        super().__init__(game_of(config), config.network, config.optimizer, training, config.seed)
        self._config, self._patience = config, patience
        self._others: Others | None = None
        self._is_shared = False
        """Whether the others have this learner's state."""

    def start(self) -> None:
        """Start the other processes, so that they import what they need before the first step."""
        if self._others is None:
            self._others = Others(self._config, self.device, self._patience)

    def train_step(self, batch: Batch, progress: float) -> dict[str, float]:
        """As of ``Learner``.

        LearnerLost where another process has ended or does not answer: this step is not taken, and
        the state is that of before.
        """
        check(batch, self._heads)
        self.start()
        assert self._others is not None
        buffers = list(self._network.buffers())  # BatchNorm's, which a forward pass changes
        before = [buffer.clone() for buffer in buffers]
        try:
            if not self._is_shared:
                self._others.send_state(self.state())
                self._is_shared = True
            own, reduce = self._others.share(columns_of(batch, self._heads), progress)
            return self.train_on(own, progress, reduce)
        except RankLost as error:
            for buffer, kept in zip(buffers, before, strict=True):
                buffer.copy_(kept)
            raise LearnerLost(self._others.why(error)) from error

    def initialize_from(
        self, weights: Weights, report: Callable[[str], object] = lambda line: None
    ) -> None:
        """As of ``Learner``."""
        super().initialize_from(weights, report)
        self._is_shared = False

    def restore(self, state: dict[str, Any]) -> None:
        """As of ``Learner``."""
        super().restore(state)
        self._is_shared = False

    def close(self) -> None:
        """End the other processes."""
        if self._others is not None:
            self._others.close()
            self._others, self._is_shared = None, False


class Others:
    """The ranks from 1 on, as processes of this machine."""

    def __init__(self, config: Config, device: torch.device, patience: float):
        """Start them; they are met at the first ``send_state``."""
        self._device, self._patience = device, patience
        self._folder = Path(tempfile.mkdtemp(prefix="alphazero-learner-"))
        self._rows = SharedRows(memory_files.create())
        self._ranks: Ranks | None = None
        self._processes: list[subprocess.Popen[str]] = []
        try:
            for rank in range(1, config.training.processes):
                self._start(config_file.as_yaml(config), rank)
        except BaseException:
            self.close()
            raise

    @property
    def _address(self) -> str:
        return f"file://{self._folder / 'meeting'}"

    def _errors_of(self, rank: int) -> Path:
        """The file with the error output of a process."""
        return self._folder / f"errors_{rank}"

    def send_state(self, state: dict[str, Any]) -> None:
        """Make ``state`` that of all ranks."""
        if self._ranks is None:
            for process in self._processes:
                _await_line(process, self._patience)
            count = 1 + len(self._processes)
            with _on_loopback():
                self._ranks = Ranks(self._address, 0, count, self._device, self._patience)
        packed = pack(state, self._device)
        for process in self._processes:
            _send(process, {"state": len(packed)})
        self._ranks.broadcast(packed)

    def share(self, columns: Columns, progress: float) -> tuple[Columns, Reduce]:
        """Give every process its rows of a batch; this process's rows, and the reduction.

        Rows are divided evenly; the first ranks get one more where there is a remainder.
        """
        assert self._ranks is not None
        rows, count = len(next(iter(columns.values()))), 1 + len(self._processes)
        ends = [(rank + 1) * (rows // count) + min(rank + 1, rows % count) for rank in range(count)]
        own = ends[0]
        # The earlier rows are not read any more: their step has ended in all ranks.
        places = self._rows.write({name: array[own:] for name, array in columns.items()})
        for process, first, last in zip(self._processes, ends, ends[1:], strict=False):
            weight, part = (last - first) / rows, (first - own, last - own)
            message = {"places": places, "rows": part, "weight": weight, "progress": progress}
            _send(process, message)
        share = {name: array[:own] for name, array in columns.items()}
        return share, partial(self._ranks.mean, own / rows)

    def why(self, error: RankLost) -> str:
        """One line about the process that has ended, or ``error`` where none has."""
        for process in self._processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(1.0)
        for rank, process in enumerate(self._processes, 1):
            status = process.returncode
            if status not in (None, 0, OTHER_LOST):
                name = f"process {rank + 1} of {1 + len(self._processes)} of the learner"
                if status < 0:
                    return f"{name} was ended by {signal_name(-status)}"
                return f"{name} failed: {_last_line(self._errors_of(rank))}"
        return one_line(str(error))

    def close(self) -> None:
        """End the processes, those that do not end by themselves after some seconds by force."""
        for process in self._processes:
            assert process.stdin
            assert process.stdout
            with suppress(OSError):
                process.stdin.close()
            process.stdout.close()
        for process in self._processes:
            try:
                process.wait(ENDING_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._ranks is not None:  # not earlier: it waits for operations that are not done
            self._ranks.close()
        self._rows.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self, settings: str, rank: int) -> None:
        descriptor = self._rows.descriptor
        with self._errors_of(rank).open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "alphazero.learner_rank"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                encoding="utf-8",
                env=_environment(),
                pass_fds=[descriptor],
                process_group=0,  # Ctrl-C reaches this process, which saves a checkpoint first
            )
        self._processes.append(process)
        setup = Setup(settings, rank, self._address, descriptor, os.getpid())
        with suppress(RankLost):  # ``send_state`` will find it
            _send(process, setup._asdict())


def _send(process: subprocess.Popen[str], message: dict[str, Any]) -> None:
    assert process.stdin
    try:
        process.stdin.write(f"{json.dumps(message)}\n")
        process.stdin.flush()
    except OSError as error:
        raise RankLost(f"a process of the learner is gone: {reason(error)}") from error


def _await_line(process: subprocess.Popen[str], patience: float) -> None:
    """Wait for the line that a process prints when it is ready; RankLost where none comes."""
    assert process.stdout
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        for _ in range(math.ceil(patience / SLICE)):
            if selector.select(SLICE):
                if process.stdout.readline():
                    return
                raise RankLost("a process of the learner ended before its first step")
    raise RankLost(f"a process of the learner was not ready after {patience:g} s")


def _environment() -> dict[str, str]:
    """The environment of a process that finds the same modules as this one."""
    folders = os.pathsep.join(path or os.getcwd() for path in sys.path)
    return {**os.environ, "PYTHONPATH": folders, **_loopback()}


def _loopback() -> dict[str, str]:
    """The variable that makes gloo listen where only this machine can connect."""
    names = [name for _, name in socket.if_nameindex() if name.startswith("lo")]
    return {"GLOO_SOCKET_IFNAME": names[0]} if names else {}


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Set the variable of ``_loopback`` in this process for a moment."""
    before = {name: os.environ.get(name) for name in _loopback()}
    os.environ.update(_loopback())
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _last_line(path: Path) -> str:
    """The last line of a file that is not empty."""
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - KEPT_ERRORS))
        lines = file.read().decode(errors="replace").splitlines()
    return one_line(next((line for line in reversed(lines) if line.strip()), "without a message"))
