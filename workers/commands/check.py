"""``alphazero check``: whether a game keeps the contract, how fast it is and how much it stores."""

import argparse
import inspect
import os
import sys
import traceback
from typing import TYPE_CHECKING, Any

from workers.terminal.options import add_game, add_json, add_seed, count

if TYPE_CHECKING:
    from games.base import Game

HELP = "test a game of your own, and measure it"
EPILOG = """\
examples:
  alphazero check my_game:MyGame
  alphazero check othello:size=6 --games 1000 --json -

plays random games and tests every promise of the contract, the docstring of
`games.base`; a broken promise is one line, and the exit status 1. Then it times the
methods, one position at a time and 256 at once, and says what a search stores and
which method costs it most. Who wins is for a test of your own: see `alphazero new`"""

SECONDS = 4.0
LITTLE = 0.3
"""A share of a search without a network below which a faster game would change little."""
FAILED = 1


def add_options(parser: argparse.ArgumentParser) -> None:
    add_game(parser)
    parser.add_argument(
        "--games", type=count, default=200, metavar="N", help="random games; default 200"
    )
    add_seed(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    from rich.console import Console, Group

    import games
    from workers.terminal import tables

    game = games.make(options.game)
    broken = _broken_promise(game, options.games, options.seed)
    result: dict[str, Any] = {
        "game": game.name, "games": options.games, "seed": options.seed, "broken_promise": broken,
    }  # fmt: skip
    if broken:
        print(f"{game.name} breaks a promise: {broken}", file=sys.stderr)
        tables.report(Group(), result, options.json)
        return FAILED
    from workers.bench import rules  # torch, which takes seconds to import

    with Console(stderr=True).status("measuring", spinner="line"):
        result |= rules.bench(game, SECONDS, options.seed)
    return tables.report(_report(result), result, options.json)


def _broken_promise(game: "Game", number: int, seed: int) -> str | None:
    """The first promise that the game breaks, in one line; None if it keeps all of them."""
    from alphazero.errors import one_line
    from games import conformance
    from workers.terminal import progress

    try:
        with progress.bars() as report:
            conformance.check(
                game, number, seed, lambda done, total: report("promises", total, done)
            )
    except AssertionError as error:
        return one_line(str(error), 2000)
    except Exception as error:  # a game's own code may raise anything
        place = _place(traceback.extract_tb(error.__traceback__), type(game))
        where = f"{place.name} ({place.filename}, line {place.lineno})"
        return one_line(f"{where} raised {type(error).__name__}: {error}", 2000)
    return None


def _place(frames: traceback.StackSummary, kind: type["Game"]) -> traceback.FrameSummary:
    """The last line in the folder of the game's class, which may have called NumPy; else the last.

    A class may inherit its method: the folders of all its classes count.
    """
    files = (inspect.getsourcefile(one) for one in kind.__mro__ if one is not object)
    folders = {os.path.dirname(file) for file in files if file}
    own = [frame for frame in frames if os.path.dirname(frame.filename) in folders]
    return (own or frames)[-1]


def _report(result: dict[str, Any]) -> Any:
    """The table of rates and shares, and the lines about memory and speed."""
    from rich.console import Group

    from workers.bench.rules import BATCHES
    from workers.terminal import tables

    headings = ["one at a time" if batch == 1 else f"{batch} at once" for batch in BATCHES]
    table = tables.make("positions per second", "method", *headings, "share of a search")
    for name, rates in result["positions_per_second"].items():
        share = result["shares"].get(name)
        shown = f"{share:.0%}".replace("%", " %") if share is not None else ""
        table.add_row(name, *(f"{rates[str(batch)]:,.0f}" for batch in BATCHES), shown)
    kept = f"{result['game']} keeps the contract ({result['games']:,} random games)"
    return Group(kept, table, *_memory(result["memory"]), _advice(result))


def _memory(sizes: dict[str, Any]) -> list[str]:
    from alphazero.memory import in_words

    return [
        f"a state has {in_words(sizes['state'])}, an observation {in_words(sizes['observation'])}, "
        f"a node of a search {in_words(sizes['node'])} with its edges (about "
        f"{sizes['legal_moves']:.1f} legal moves)",
        f"a game in progress needs {in_words(sizes['tree'])} for the tree of "
        f"{sizes['tree_simulations']} simulations, and {in_words(sizes['recorded_position'])} per "
        f"recorded position (random games have up to {sizes['longest_game']} plies)",
    ]


def _advice(result: dict[str, Any]) -> str:
    share, shares = result["game_share"], result["shares"]
    cost = (
        f"the game takes {share:.0%} of a search without a network, "
        f"{result['microseconds_per_simulation']:.1f} microseconds per simulation"
    ).replace("%", " %")
    if not shares or share < LITTLE:
        return f"{cost}: to make it faster would gain little"
    first = max(shares, key=lambda name: shares[name])
    part = f"{shares[first] / share:.0%} of that".replace("%", " %")
    return f"{cost}; speed up first: {first}, {part}"
