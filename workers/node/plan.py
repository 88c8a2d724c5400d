"""The plan of a node: the numbers of its processes, for its cores and GPUs."""

import math
from typing import NamedTuple

from alphazero.config import Config
from alphazero.nn.device import cores
from workers.terminal.output import counted

MAX_GROUPS = 8
"""Groups of a search process that ``make_plan`` adds at most."""
LARGEST_BATCH = {"cpu": 1024, "gpu": 4096}
"""Positions per batch of an evaluator where ``inference.batch_size`` is auto, at most."""
GPU_LANES = 2
"""Batches in progress per GPU: while one is computed, the next one is copied."""


class Machine(NamedTuple):
    """The cores and GPUs that a machine offers to self-play."""

    cpus: int
    gpus: int

    def describe(self) -> str:
        """The numbers in words: "16 cores, 1 GPU"."""
        return f"{counted(self.cpus, 'core')}, {counted(self.gpus, 'GPU')}"


class Plan(NamedTuple):
    """The processes of one node."""

    players: int
    """Search processes."""
    evaluators: int
    lanes: int
    """Batches that an evaluator works on at the same time."""
    groups: int
    """Groups of games per search process."""
    on_gpu: bool

    @property
    def sharing(self) -> int:
        """Lanes of all evaluators together."""
        return self.evaluators * self.lanes

    def describe(self) -> str:
        """The processes in words."""
        lanes = f" with {self.lanes} lanes each" if self.lanes > 1 else ""
        where = "on the GPU" if self.on_gpu else "on the CPU"
        return (
            f"self-play in {counted(self.players, 'search process', 'es')} with "
            f"{counted(self.groups, 'group')} of games each and "
            f"{counted(self.evaluators, 'evaluator')} {where}{lanes}"
        )


def this_machine() -> Machine:
    """The cores and GPUs that this process may use."""
    import torch  # which takes seconds

    return Machine(cores(), torch.cuda.device_count())


def largest_batch(config: Config, on_gpu: bool) -> int:
    """Positions per batch of an evaluator, at most; on a GPU it may choose a smaller number."""
    size = config.inference.batch_size
    return LARGEST_BATCH["gpu" if on_gpu else "cpu"] if size == "auto" else size


def make_plan(config: Config, machine: Machine, learns: bool = True) -> Plan:
    """The plan for ``config`` on ``machine``; ``learns``: whether the learner runs there, too.

    With GPUs there is an evaluator per GPU, with two lanes, and a search process per remaining
    core. Without, each core has an evaluator, because evaluation takes nearly all of the time; one
    search process for two of them shares the cores with them, as the learner does.
    ``selfplay.processes`` replaces the number of search processes. The number of groups is such
    that every lane can evaluate one group while every search process still has one to advance.

    Examples: 16 cores without a GPU: 8 search processes, 16 evaluators, ceil(16 / 8) + 1 = 3 groups
    per search process. 16 cores and a GPU with the learner: 14 search processes, 1 evaluator with 2
    lanes, 2 groups.
    """
    cpus, gpus = machine
    on_gpu = gpus >= 1 and config.inference.device != "cpu"
    lanes = GPU_LANES if on_gpu else 1
    if on_gpu:
        evaluators = gpus if config.inference.device in ("auto", "cuda") else 1
        players = max(1, cpus - evaluators - learns)
    else:
        evaluators, players = max(1, cpus), max(1, math.ceil(cpus / 2))
    if config.selfplay.processes not in ("auto", 0):
        players = config.selfplay.processes
    needed = min(MAX_GROUPS, math.ceil(evaluators * lanes / players) + 1)
    return Plan(players, evaluators, lanes, max(config.selfplay.groups, needed), on_gpu)
