"""``alphazero track``: a run's metrics to Weights & Biases, afterwards."""

import argparse

from workers.terminal.options import path

HELP = "send a run's metrics to Weights & Biases, what is missing there"
EPILOG = """\
example:
  alphazero track runs/MY_RUN

a run sends its metrics by itself where a key is stored (`wandb login`). This command
is for a run that was offline, was killed, or had no network. It sends the lines of
metrics.jsonl behind the last step that arrived, to the same run, the example games,
and the agent in RUN/agent, if there is one (alphazero export RUN --to RUN/agent)"""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_dir", type=path, metavar="RUN", help="a run directory")
    parser.add_argument(
        "--project", metavar="NAME", help="the project; by default that of the run's settings"
    )


def run(options: argparse.Namespace) -> int:
    from workers.runs import tracking

    return tracking.track(options.run_dir, options.project)
