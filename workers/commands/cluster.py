"""``alphazero cluster check``: what would keep a run from playing on a Ray cluster."""

import argparse
from collections.abc import Iterator
from functools import partial

from workers.terminal.options import add_json

HELP = "test a Ray cluster before a run uses it"
EPILOG = """\
examples:
  alphazero cluster check 10.0.0.1:6379
  alphazero cluster check 10.0.0.1:6379 --game my_game:MyGame

tests in about 20 seconds whether the address is reached, the token is required and
accepted, every machine has the same versions, can import the game, and has memory
for the processes of a run; the exit status is 1 where a test fails"""
FAILED = 1


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", metavar="WHAT", choices=("check",), help="check")
    parser.add_argument("address", metavar="HOST:PORT", help="that of the cluster's first machine")
    parser.add_argument("--game", metavar="GAME", help="a game that every machine must import")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    from rich.console import Group

    from alphazero import config_checks
    from workers.terminal import tables

    config_checks.check_ray(options.address)
    table = tables.make(f"cluster {options.address}", "test", "result", justify="left")
    failed = False
    results: list[dict[str, object]] = []
    for test, passed, text in _tests(options.address, options.game):
        table.add_row(test, text if passed else f"failed: {text}")
        results.append({"test": test, "passed": passed, "result": text})
        failed = failed or not passed
    tables.report(Group(table), {"address": options.address, "tests": results}, options.json)
    return FAILED if failed else 0


def _tests(address: str, game: str | None) -> Iterator[tuple[str, bool, str]]:
    """Name, success and words of each test; after the first one failed there are no others."""
    from alphazero.nn import extras

    try:
        import ray

        from alphazero.errors import reason
        from workers.cluster import machines
        from workers.cluster.connection import connect
    except ImportError:
        raise ValueError(extras.missing("cluster check needs Ray", "cluster")) from None
    try:
        started = connect(address, any_versions=True)
    except (ValueError, OSError, RuntimeError) as error:
        yield "address and token", False, reason(error)
        return
    try:
        yield "address and token", True, "reached; the token is required"
        nodes = machines.list_nodes(ray.nodes())
        line = f"{len(nodes)} with a core" if nodes else "none has a core: a run would wait"
        yield "machines", bool(nodes), line
        results = machines.examine(nodes, partial(_import, game))
        for node, (passed, text) in zip(nodes, results, strict=True):
            yield node.name, passed, text
    finally:
        if started:
            ray.shutdown()


def _import(game: str | None) -> None:
    """Make the game, if one is named; called on each machine."""
    import games

    if game is not None:
        games.make(game)
