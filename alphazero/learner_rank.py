"""One of the processes that share a learner's batches: a program that rank 0 starts.

``python -m alphazero.learner_rank`` reads lines of JSON from its standard input, first a ``Setup``,
then one message per step, and ends with its input. It prints a line when it is ready to meet the
other ranks. Everything but ``main`` is the same wherever messages and rows come from.
"""

import ctypes
import io
import json
import os
import signal
import sys
import traceback
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from alphazero import config_file
from alphazero.config import Config
from alphazero.errors import reason
from alphazero.learner import Learner
from alphazero.nn.divergence import Diverged
from alphazero.nn.parallel import keep_memory
from alphazero.nn.ranks import DAY, RankLost, Ranks, device_of
from alphazero.parts import game_of
from alphazero.shared_rows import Place, SharedRows

READY = "ready\n"
FAILED, OTHER_LOST = 1, 3
"""Exit statuses: of a failure of this process, and of one of another process."""
PR_SET_PDEATHSIG = 1  # as in linux/prctl.h


class Setup(NamedTuple):
    """The first line that a rank reads."""

    settings: str
    """The configuration of the run, as YAML."""
    rank: int
    address: str
    """Where the ranks meet, as of ``Ranks``."""
    descriptor: int
    """The open file of ``SharedRows``."""
    parent: int
    """The id of the process that has started this one."""


def follow(
    learner: Learner, ranks: Ranks, rows: SharedRows, messages: Iterable[dict[str, Any]]
) -> None:
    """Take the steps that rank 0 takes, until the messages end or the training has diverged.

    A message has the number of bytes of a ``state``, which rank 0 sends to all then, or what
    belongs to a step: the ``places`` of the columns, this rank's ``rows``, their share of the batch
    as its ``weight``, and the ``progress``.
    """
    with suppress(Diverged):  # rank 0 has found the same
        for message in messages:
            if "state" in message:
                packed = torch.empty(message["state"], dtype=torch.uint8, device=learner.device)
                ranks.broadcast(packed)
                learner.restore(unpack(packed))
                continue
            places = {name: Place(*place) for name, place in message["places"].items()}
            columns = rows.read(places, slice(*message["rows"]))
            learner.train_on(columns, message["progress"], partial(ranks.mean, message["weight"]))


def pack(state: dict[str, Any], device: torch.device) -> Tensor:
    """A learner's ``state`` as bytes, uint8 ``[n]``."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return torch.frombuffer(bytearray(buffer.getbuffer()), dtype=torch.uint8).to(device)


def unpack(packed: Tensor) -> dict[str, Any]:
    """The ``state`` that ``pack`` was given."""
    buffer = io.BytesIO(packed.cpu().numpy().tobytes())
    return torch.load(buffer, map_location="cpu", weights_only=True)


def end_with(parent: int) -> None:
    """Let this process end when ``parent``, which has started it, ends in whatever way, and only
    then: a signal to stop may reach all processes, and rank 0 still saves a checkpoint.

    By Linux; elsewhere the end of its input and of the ranks' connections ends it.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(OTHER_LOST)


def make_learner(config: Config, rank: int) -> Learner:
    """The learner of this rank; the state of rank 0 has to follow."""
    torch.set_num_threads(1)
    keep_memory()
    device = device_of(config.training.device, rank, config.training.processes)
    training = replace(config.training, device=str(device))
    game = game_of(config)
    return Learner(game, config.network, config.optimizer, training, config.seed, timed=False)


def main() -> int:
    """The process's exit status; a failure's last line on the error output says why."""
    setup = Setup(**json.loads(sys.stdin.readline()))
    end_with(setup.parent)
    try:
        config = config_file.parse(Config, setup.settings, "the run's settings")
        learner = make_learner(config, setup.rank)
        sys.stdout.write(READY)
        sys.stdout.flush()
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a network may print is not read
        ranks = Ranks(
            setup.address,
            setup.rank,
            config.training.processes,
            learner.device,
            DAY.total_seconds(),
        )
        follow(learner, ranks, SharedRows(setup.descriptor), map(json.loads, sys.stdin))
        ranks.close()
    except RankLost:
        return OTHER_LOST
    except Exception as error:
        traceback.print_exc()
        print(reason(error), file=sys.stderr)
        return FAILED
    return 0


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    os._exit(status)  # the usual end takes apart all of torch, for a second
