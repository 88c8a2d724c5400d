"""``alphazero train``: train an agent by self-play, on this machine or on a Ray cluster."""

import argparse
from pathlib import Path

from workers.terminal.options import add_run, ray, self_play_keys
from workers.terminal.parsing import Parser

HELP = "train an agent"
EPILOG = """\
examples:
  alphazero train connect_four_quick
  alphazero train connect_four network.blocks=10 --ray local --time-limit 2h
  alphazero train connect_four --resume          # continues its newest run

a run directory holds config.yaml, metrics.jsonl, log.txt, games/ and checkpoints/"""


def add_options(parser: Parser) -> None:
    parser.add_argument("config", metavar="CONFIG", help="see `alphazero configs`; or a YAML file")
    add_run(parser, self_play_keys)
    parser.add_argument(
        "--ray",
        type=ray,
        metavar="off|local|ADDRESS",
        help="where self-play runs; default: the configuration's `ray`",
    )


def run(options: argparse.Namespace) -> int:
    from alphazero import config
    from workers.runs import matches, run_directory
    from workers.terminal import output

    settings = config.load(options.config, options.overrides)
    matches.check(settings)
    if options.ray is not None:
        config.check_ray(options.ray)
    name, place = Path(options.config).stem, options.ray or settings.ray
    with output.tolerated(), run_directory.opened(name, options.run_dir, options.resume) as folder:
        from workers.runs import train  # torch

        return train.main(settings, folder, options.resume, place, options.time_limit)
