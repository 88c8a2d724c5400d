"""``alphazero train``: train an agent by self-play, on this machine or on a Ray cluster."""

import argparse
import re
from pathlib import Path

from workers.terminal.options import add_run, ray, self_play_keys
from workers.terminal.parsing import Parser

HELP = "train an agent"
EPILOG = """\
examples:
  alphazero train connect_four_quick
  alphazero train hex:size=7 --time-limit 30m    # a game, by the default recipe
  alphazero train connect_four network.blocks=10 --ray local --time-limit 2h
  alphazero train connect_four --resume          # continues its newest run

a run directory holds config.yaml, metrics.jsonl, log.txt, games/ and checkpoints/"""


def add_options(parser: Parser) -> None:
    parser.add_argument(
        "config", metavar="CONFIG", help="see `alphazero configs`; a YAML file; or a game"
    )
    add_run(parser, self_play_keys)
    parser.add_argument(
        "--ray",
        type=ray,
        metavar="off|local|ADDRESS",
        help="where self-play runs; default: the configuration's `ray`",
    )


def run(options: argparse.Namespace) -> int:
    from alphazero import config, config_checks
    from workers.runs import matches, run_directory
    from workers.terminal import output

    settings = config.load(options.config, options.overrides)
    matches.check(settings)
    if options.ray is not None:
        config_checks.check_ray(options.ray)
    name, place = _run_name(options.config), options.ray or settings.ray
    with output.tolerated(), run_directory.opened(name, options.run_dir, options.resume) as folder:
        from workers.runs import train  # torch

        if options.resume:  # a recipe of another version changes nothing in the run
            settings = config.load(options.config, options.overrides, folder)
        return train.main(settings, folder, options.resume, place, options.time_limit)


def _run_name(text: str) -> str:
    """The name in the run's folder of a configuration or a game.

    ``my/go_9x9.yaml`` gives ``go_9x9``, ``go:size=7,komi=7.5`` gives ``go_size_7_komi_7.5``.
    """
    from alphazero import config

    return re.sub(r"[^\w.-]+", "_", text) if config.is_game(text) else Path(text).stem
