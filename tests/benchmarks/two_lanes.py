"""How busy one lane and two lanes of an evaluator keep a device.

The device is simulated: it takes a fixed time per batch, 0.3 to 0.6 ms. A stub player submits a
slot again as soon as it is answered, so that requests always wait, and nothing but the evaluator's
process can leave the device idle. Two processes, so that two cores suffice:

    python tests/benchmarks/two_lanes.py [SECONDS per row]

``busy`` is the number of batches times the time per batch, as a share of the time. The evaluator's
CPU time per batch is the time that a device must take at least to be kept busy by one core.
"""

import argparse
from contextlib import closing

import torch

from alphazero import config
from workers.bench.measuring import TURNS, BenchSettings
from workers.bench.transport import SlotCalls

LATENCIES_MS = (0.3, 0.45, 0.6)
LANES = (1, 2)
SETTINGS = BenchSettings(batch=256, callers=1, in_flight=16)


def main(seconds: float) -> None:
    torch.set_num_threads(1)
    chosen = config.load("connect_four_large", [])
    print("| ms per batch | lanes | busy | batches/s | CPU us per batch of the evaluator |")
    print("|---|---|---|---|---|")
    for latency in LATENCIES_MS:
        ways = [SlotCalls(chosen, SETTINGS, lanes, latency / 1000) for lanes in LANES]
        with closing(ways[0]), closing(ways[1]):
            for way in ways:
                way.start()
            rows = [[0.0, 0.0, 0.0] for _ in LANES]  # seconds, batches, CPU seconds
            for _ in range(TURNS):
                for way, row in zip(ways, rows, strict=True):
                    take_turn(way, row, seconds / TURNS)
        for lanes, (taken, batches, cpu) in zip(LANES, rows, strict=True):
            busy, rate = batches * latency / 1000 / taken, batches / taken
            print(f"| {latency} | {lanes} | {busy:.0%} | {rate:,.0f} | {1e6 * cpu / batches:.0f} |")


def take_turn(way: SlotCalls, row: list[float], seconds: float) -> None:
    """Call for ``seconds`` and add up seconds, batches and CPU seconds in ``row``."""
    before = way.batches()
    calls, cpu = way.turn(seconds)
    for place, grown in enumerate((calls[0].seconds, way.batches() - before, cpu)):
        row[place] += grown


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("seconds", type=float, nargs="?", default=4.0, help="per row (4)")
    main(parser.parse_args().seconds)
