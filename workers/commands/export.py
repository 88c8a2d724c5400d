"""``alphazero export``: a run's agent as a folder of its own."""

import argparse

from workers.terminal.options import path

HELP = "write a run's agent to a folder, to keep or to give away"
EPILOG = """\
example:
  alphazero export runs/MY_RUN --to my_agent
  alphazero play connect_four --player checkpoint:path=my_agent

the folder holds the averaged weights, the configuration, their checksums and a model
card; nothing that only training needs"""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_dir", type=path, metavar="RUN", help="a run directory or a checkpoint")
    parser.add_argument(
        "--to", type=path, required=True, metavar="FOLDER", help="an agent in it is replaced"
    )
    parser.add_argument(
        "--half", action="store_true", help="weights as float16: half the size, almost the same"
    )


def run(options: argparse.Namespace) -> int:
    from workers.runs import export

    card = export.export(options.run_dir, options.to, options.half)
    size = (card.parent / export.WEIGHTS).stat().st_size
    print(f"{options.to} holds the agent ({size / 1e6:.2f} MB) and its model card, {card}")
    return 0
