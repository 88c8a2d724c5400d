"""``alphazero train``: train an agent by self-play, on this machine or on a Ray cluster."""

import argparse
import re
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from workers.terminal.options import add_run, local_path, ray, self_play_keys
from workers.terminal.parsing import Parser

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from workers.runs.run_copy import RunCopy

NOT_STORED = 1
"""The exit status of a run of which something is not in its storage at the end."""

HELP = "train an agent"
EPILOG = """\
examples:
  alphazero train connect_four_quick
  alphazero train hex:size=7 --time-limit 30m    # a game, by the default recipe
  alphazero train connect_four network.blocks=10 --ray local --time-limit 2h
  alphazero train connect_four --resume          # continues its newest run
  alphazero train connect_four --run-dir s3://bucket/run

a run directory holds config.yaml, metrics.jsonl, log.txt, games/ and checkpoints/"""


def add_options(parser: Parser) -> None:
    parser.add_argument(
        "config", metavar="CONFIG", help="see `alphazero configs`; a YAML file; or a game"
    )
    add_run(parser, self_play_keys, urls=True)
    parser.add_argument(
        "--work-dir",
        type=local_path,
        metavar="DIR",
        help="where a run with a URL works on this machine; default: a folder in the user's cache",
    )
    parser.add_argument(
        "--ray",
        type=ray,
        metavar="off|local|auto|ADDRESS",
        help="where self-play runs; auto: the cluster that RAY_ADDRESS names, else off; default: "
        "the configuration's `ray`",
    )


def run(options: argparse.Namespace) -> int:
    from alphazero import config, config_checks
    from workers.runs import matches, run_directory
    from workers.terminal import output

    settings = config.load(options.config, options.overrides)
    matches.check(settings)
    given: Path | str | None = options.run_dir
    url, local = (given, None) if isinstance(given, str) else (None, given)
    if options.work_dir is not None and url is None:
        raise ValueError("--work-dir needs a --run-dir that is a URL, such as s3://bucket/run")
    if options.ray is not None:
        config_checks.check_ray(options.ray)
    name = _run_name(options.config)
    with output.tolerated(), ExitStack() as stack:
        copy = stack.enter_context(_copied(url, options)) if url is not None else None
        local = local if copy is None else copy.folder
        folder = stack.enter_context(run_directory.opened(name, local, options.resume))
        from workers.runs import train  # torch

        if options.resume:  # a recipe of another version changes nothing in the run
            settings = config.load(options.config, options.overrides, folder)
        # What the command line says holds for a resumed run, too.
        said = train.choose_ray() if options.ray == "auto" else options.ray
        place = said or settings.ray
        status = train.main(settings, folder, options.resume, place, options.time_limit, copy)
        return status if copy is None or copy.close() else status or NOT_STORED


def _copied(url: str, options: argparse.Namespace) -> "AbstractContextManager[RunCopy]":
    """The run's copy at ``url``, with the local folder."""
    from workers.runs import work_folder

    return work_folder.opened(url, options.work_dir, options.resume)


def _run_name(text: str) -> str:
    """The name in the run's folder of a configuration or a game.

    ``my/go_9x9.yaml`` gives ``go_9x9``, ``go:size=7,komi=7.5`` gives ``go_size_7_komi_7.5``.
    """
    from alphazero import config

    return re.sub(r"[^\w.-]+", "_", text) if config.is_game(text) else Path(text).stem
