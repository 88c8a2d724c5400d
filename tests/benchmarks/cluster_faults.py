"""Faults of a cluster: the losses of a run whose machines join, fail, or do not fit.

    python tests/benchmarks/cluster_faults.py [--repetitions 20] [--only NAME ...]

Machines are made up on this one, with one core each; the cluster's head has none and runs nothing
of ours unless it is said. Printed is a row per event: how often it was tried, the median and the
largest number of seconds until play goes on (or, where it ends, until the command has ended), the
games that had been acknowledged and are missing or twice, and the last line that the user reads.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import made_up_machines
from cluster_events import EVENTS, Result


def measure(name: str, repetitions: int) -> list[Result]:
    """Try one event in a lab of its own."""
    temporary = tempfile.TemporaryDirectory(prefix="faults", ignore_cleanup_errors=True)
    with temporary as folder, made_up_machines.Lab(Path(folder)) as lab:
        return list(EVENTS[name](lab, repetitions))


def row(name: str, results: list[Result]) -> str:
    """A line of the table."""
    seconds = [result.seconds for result in results]
    times = f"{statistics.median(seconds):.1f} | {max(seconds):.1f}"
    lost = sum(result.games_lost for result in results)
    return f"| {name} | {len(results)} | {times} | {lost} | {results[-1].line} |"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repetitions", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=EVENTS, default=list(EVENTS), metavar="NAME")
    options = parser.parse_args()
    if reason := made_up_machines.missing():
        print(f"there can be no made-up machines here: {reason}", file=sys.stderr)
        return 2
    print("| event | times | seconds, median | largest | games lost | what the user reads |")
    print("|---|---|---|---|---|---|")
    for name in options.only:
        print(row(name, measure(name, options.repetitions)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
