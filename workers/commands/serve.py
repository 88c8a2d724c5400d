"""``alphazero serve``: the options, and their translation into limits."""

import argparse

from workers.serve.limits import Address, Limits
from workers.terminal.options import add_allow, count, natural, ray

HELP = "answer over HTTP with a trained agent or network"
EPILOG = """\
examples:
  alphazero serve connect_four                  # the bundled agent
  alphazero serve runs/MY_RUN --port 9000
  curl localhost:8000/move -H 'content-type: application/json' \\
      -d '{"moves": "4453"}'
  curl localhost:8000/predict -H 'content-type: application/json' \\
      -d '{"text": "a good one"}'
  curl -F image=@digit.png localhost:8000/predict

The paths are /predict for images and texts, /move for games, /health, /metrics (Prometheus)
and /openapi.json; the page /docs loads JavaScript from the internet. Each request is logged as
a line of JSON on stderr. The server has neither encryption nor passwords: to make it reachable
from other machines, put a web server that has them in front of it"""

DEFAULT = Limits()
LIMITS = (
    ("batch", DEFAULT.batch, "largest number of inputs in a batch, and in a request"),
    ("queue", DEFAULT.queue, "largest number of inputs that wait; with more the answer is 503"),
    ("body-kib", DEFAULT.body_bytes // 1024, "largest size of a request's body in KiB"),
    ("connections", DEFAULT.connections, "largest number of clients; with more the answer is 503"),
    ("simulations", DEFAULT.simulations, "simulations of a search whose request names no number"),
    ("most-simulations", DEFAULT.max_simulations, "largest number that a request may name"),
)
"""Options that are whole numbers: name, default, meaning."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``alphazero serve``."""
    parser.add_argument(
        "checkpoint", metavar="CHECKPOINT",
        help="a run, one of its checkpoints, an exported agent, or a game with a bundled agent",
    )  # fmt: skip
    parser.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS",
        help="address to listen on; default 127.0.0.1, reachable from this machine only; "
        "0.0.0.0: from every network",
    )  # fmt: skip
    parser.add_argument("--port", type=port, default=8000, help="default 8000; 0: any free one")
    for name, default, meaning in LIMITS:
        parser.add_argument(
            f"--{name}", type=count, default=default, metavar="N",
            help=f"{meaning}; default {default}",
        )  # fmt: skip
    parser.add_argument(
        "--kept-trees", type=natural, default=DEFAULT.kept_trees, metavar="N",
        help="search trees that are kept for requests with seconds which continue earlier ones; "
        f"0: none; default {DEFAULT.kept_trees}",
    )  # fmt: skip
    parser.add_argument(
        "--seconds", type=seconds, default=DEFAULT.seconds, metavar="S",
        help="longest time from a request to its answer; after it the answer is 503; "
        f"default {DEFAULT.seconds:g}",
    )  # fmt: skip
    parser.add_argument(
        "--game", metavar="GAME",
        help="the game that CHECKPOINT plays; needed for a game of your own, module:Class",
    )  # fmt: skip
    add_allow(parser)
    parser.add_argument(
        "--ray", type=ray, metavar="local|ADDRESS",
        help="serve with Ray Serve, here or on a cluster whose nodes all have CHECKPOINT",
    )  # fmt: skip
    parser.add_argument(
        "--replicas", type=count, metavar="N",
        help="processes that hold the model, with --ray; default 2",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Serve until the process is stopped; ``ValueError`` or ``OSError`` with one line otherwise."""
    if options.replicas and not options.ray:
        raise ValueError("--replicas: only with --ray")
    from workers.serve import main
    from workers.serve.loading import Allowed

    address = Address(options.host, options.port)
    allowed = Allowed(options.game, tuple(options.allow))
    cluster = options.ray, options.replicas
    return main.run(options.checkpoint, address, limits(options), *cluster, allowed)


def limits(options: argparse.Namespace) -> Limits:
    """The limits that the options set; ``ValueError`` where two of them contradict each other."""
    if options.queue < options.batch:
        raise ValueError(f"--queue {options.queue}: at least as many as --batch, {options.batch}")
    if not 2 <= options.simulations <= options.most_simulations:
        raise ValueError("--simulations: from 2 to --most-simulations")
    return Limits(
        batch=options.batch,
        queue=options.queue,
        seconds=options.seconds,
        connections=options.connections,
        body_bytes=options.body_kib * 1024,
        simulations=options.simulations,
        max_simulations=options.most_simulations,
        kept_trees=options.kept_trees,
    )


def port(text: str) -> int:
    """Parse a port number, 0 to 65535."""
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, 0 to 65535")
    return int(text)


def seconds(text: str) -> float:
    """Parse a number of seconds, above 0 and up to 3600."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds up to 3600")
    return value
