"""Optimizer steps with torch's layers and with our own ones, in turns.

Our own: fused layers (``nn.fused``), and in bfloat16 also weight gradients on AMX
(``nn.weight_gradients``) where the processor has it.

    python tests/benchmarks/learner_step.py [--steps N] [--batch B] [--precisions P ...]

For a 5x64 network of Connect Four and a 4x32 one of Go on 9x9 with global pooling and the heads
ownership and score. Each line has the samples per second of CPU time, the median ratio of two steps
that follow each other, the share of the rate of a large product of matrices of the same precision,
and the largest difference of the losses and of the gradients in the first step, the latter as a
share of the gradient's length. CPU time, because other programs may run; one core.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch.utils.flop_counter import FlopCounterMode

from alphazero.config import Config, load
from alphazero.learner import Learner
from alphazero.nn.device import PRECISIONS
from alphazero.nn.parallel import keep_memory
from alphazero.parts import game_of
from alphazero.replay import Batch
from workers.bench.train import _batch
from workers.terminal.options import count

NETWORKS = {
    "connect_four 5x64": ("connect_four", ["network={blocks: 5, channels: 64}"]),
    "go_9x9 4x32": (
        "go_9x9",
        [
            "network={blocks: 4, channels: 32, attention: global_pooling, "
            "heads: {ownership: 0.5, score: 0.2}}"
        ],
    ),
}
SIZE = 1024
"""Rows and columns of the large product."""


def seconds(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def peak(dtype: torch.dtype) -> float:
    """FLOP per second of a large product of matrices, the best of five."""
    left, right = (torch.randn(SIZE, SIZE).to(dtype) for _ in range(2))
    return 2 * SIZE**3 / min(seconds(lambda: left @ right) for _ in range(5))


def learner(chosen: Config, precision: str, fused: bool) -> Learner:
    training = replace(chosen.training, precision=precision, threads=1, device="cpu")
    made = Learner(game_of(chosen), chosen.network, chosen.optimizer, training, chosen.seed)
    made._optimization.set_precision(precision, fused, fused and precision == "bfloat16")
    return made


def differences(plain: Learner, fused: Learner, batch: Batch) -> tuple[float, float]:
    """The largest difference of a loss, and that of the gradients, after the first step."""
    rows = [made.train_step(batch, 0.0) for made in (plain, fused)]
    losses = max(abs(rows[0][name] - rows[1][name]) for name in rows[0] if "loss" in name)
    ours, theirs = (made._optimization._flat.gradient for made in (fused, plain))
    return losses, ((ours - theirs).norm() / theirs.norm()).item()


def work(made: Learner, batch: Batch) -> int:
    """FLOP of one step, those of convolutions and products of matrices."""
    with FlopCounterMode(display=False) as counter:
        made.train_step(batch, 0.0)
    return counter.get_total_flops()


def compare(name: str, precision: str, size: int, steps: int) -> str:
    chosen = load(NETWORKS[name][0], NETWORKS[name][1])
    pair = [learner(chosen, precision, fused) for fused in (False, True)]
    batch = _batch(chosen, size)
    losses, gradients = differences(*pair, batch)
    flop = work(pair[0], batch)
    steps_of = [partial(made.train_step, batch, 0.0) for made in pair]
    steps_of[1]()
    times = [[seconds(step) for step in steps_of] for _ in range(steps)]
    best, (plain, fused) = (
        peak(PRECISIONS[precision]),
        map(statistics.median, zip(*times, strict=True)),
    )
    ratio = statistics.median(one / other for one, other in times)
    return (
        f"{name:18} {precision:9} plain {size / plain:6.0f} fused {size / fused:6.0f} samples/s, "
        f"ratio {ratio:.3f}, share of {best / 1e9:.0f} GFLOP/s: {flop / plain / best:.2f} and "
        f"{flop / fused / best:.2f}, losses differ by {losses:.1e}, gradients by {gradients:.1e}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=count, default=15, metavar="N",
                        help="of each learner, in turns; default 15")  # fmt: skip
    parser.add_argument("--batch", type=count, default=256, metavar="N",
                        help="samples per step; default 256")  # fmt: skip
    parser.add_argument("--precisions", nargs="+", default=list(PRECISIONS), choices=PRECISIONS,
                        help="default: all")  # fmt: skip
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()
    for precision in arguments.precisions:
        for name in NETWORKS:
            print(compare(name, precision, arguments.batch, arguments.steps), flush=True)


if __name__ == "__main__":
    main()
