"""Optimizer steps shared by threads and by processes, in turns.

    python tests/benchmarks/learner_processes.py [--shares N] [--steps N] [--batch B]

For a 5x64 and a 2x32 network of Connect Four in float32. Each line has the milliseconds per step by
the clock and of CPU time, medians for the clock and means for the CPU, and the median ratio of the
clock's times of two steps that follow each other. Other programs make all of it uncertain by the
clock; CPU time is that of all processes together.
"""

import argparse
import os
import statistics
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import torch

from alphazero.config import load
from alphazero.learner import Learner
from alphazero.learner_processes import ProcessLearner
from alphazero.nn.parallel import keep_memory
from alphazero.parts import game_of
from workers.bench.train import _batch

NETWORKS = {"5x64": "{blocks: 5, channels: 64}", "2x32": "{blocks: 2, channels: 32}"}
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pids: list[int]) -> float:
    """CPU time of this process and of those with these ids."""
    fields = (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids)
    return time.process_time() + sum(int(own[11]) + int(own[12]) for own in fields) / TICKS


def compare(name: str, shares: int, steps: int, size: int) -> str:
    chosen = load("connect_four", [
        "recipe=none", f"network={NETWORKS[name]}",
        f"training={{precision: float32, device: cpu, threads: 1, processes: {shares}}}",
    ])  # fmt: skip
    training = replace(chosen.training, processes=1, threads=shares)
    threads = Learner(game_of(chosen), chosen.network, chosen.optimizer, training, chosen.seed)
    batch = _batch(chosen, size)
    with closing(ProcessLearner(chosen)) as processes:
        for made in (threads, processes):
            made.train_step(batch, 0.0)
        pids = [process.pid for process in processes._others._processes]
        clock, cpu = ([], []), [0.0, 0.0]
        for _ in range(steps):
            for number, made in enumerate((threads, processes)):
                start, spent = time.perf_counter(), cpu_seconds(pids)
                made.train_step(batch, 0.0)
                clock[number].append(1000 * (time.perf_counter() - start))
                cpu[number] += 1000 * (cpu_seconds(pids) - spent) / steps
    ratio = statistics.median(one / other for one, other in zip(*clock, strict=True))
    medians = [statistics.median(times) for times in clock]
    return (
        f"{name} batch {size}, {shares} shares: threads {medians[0]:.1f} ms (CPU {cpu[0]:.1f}), "
        f"processes {medians[1]:.1f} ms (CPU {cpu[1]:.1f}), threads / processes {ratio:.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shares", type=int, default=2)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch", type=int, default=512)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()
    for name in NETWORKS:
        print(compare(name, arguments.shares, arguments.steps, arguments.batch), flush=True)


if __name__ == "__main__":
    main()
