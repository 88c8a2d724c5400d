"""``alphazero arena``: matches between players, and their Elo."""

import argparse
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workers.terminal.options import (
    PLAYERS,
    add_allow,
    add_json,
    add_seed,
    game,
    new_file,
    player,
    sequential_test,
)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from alphazero.judging.arena import ArenaResult
    from alphazero.judging.decisions import Player
    from alphazero.judging.sprt import Test, Verdict
    from games.base import Game

    Record = Callable[[dict[str, Any]], object]

GAMES = 100
MOST_GAMES = 10_000
"""Games after which a sequential test ends undecided."""
PAIRS = (
    "The test counts pairs of games; the interval of the table counts single games and may be "
    "wider than need be. Where the two differ, trust the test."
)
"""Printed below a test, whose verdict may seem to contradict the interval of the table."""
HELP = "play matches between players and rate them"
EPILOG = f"""\
example:
  alphazero arena mcts:simulations=200 minimax:depth=5 --game connect_four
  alphazero arena NEW OLD --game go --sprt elo0=0,elo1=20

{PLAYERS}"""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("players", metavar="PLAYER", type=player, nargs="+", help="two or more")
    parser.add_argument(
        "--game", type=game, required=True, metavar="GAME", help="see `alphazero games`"
    )
    parser.add_argument(
        "--games",
        type=int,
        metavar="N",
        help=f"games per pairing, sides swapped; default {GAMES}, or with --sprt at most "
        f"{MOST_GAMES:,}",
    )
    add_sprt(parser)
    add_opening_plies(parser)
    parser.add_argument(
        "--fixed-seats",
        action="store_true",
        help="the player named first begins every game of a pair; default: each begins half",
    )
    add_allow(parser)
    parser.add_argument(
        "--games-out",
        type=new_file,
        metavar="FILE",
        help="write each game: as SGF or PGN where FILE ends in .sgf or .pgn, else as a line of "
        "JSON with its players, moves and result",
    )
    add_seed(parser)
    add_json(parser)


def add_opening_plies(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--opening-plies",
        type=int,
        metavar="N",
        help="random moves at the start of each game; more where there are too few such "
        "openings; default 2, fewer in a shorter game",
    )


def add_sprt(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    parser.add_argument(
        "--sprt",
        type=sequential_test,
        default=default,
        metavar="elo0=0,elo1=20",
        help="play until a sequential test is certain which is true: that the first of two players "
        "is elo0 or elo1 points stronger; also alpha=0.05,beta=0.05, the shares of mistakes. Pairs "
        "of games that repeat an earlier pair are left out; 0 against 20 needs 100 games or more"
        f"{'; default: ' + default if default else ''}",
    )


def run(options: argparse.Namespace) -> int:
    from rich.console import Console, Group

    import games
    from alphazero.judging import arena
    from workers.terminal import tables

    if options.sprt and len(options.players) != 2:
        raise ValueError(f"--sprt compares two players, not {len(options.players)}")
    if options.sprt and options.games is not None and (options.games < 2 or options.games % 2):
        raise ValueError(f"--games with --sprt: an even number, 2 or more, not {options.games}")
    if options.sprt and options.fixed_seats:
        raise ValueError("--sprt counts pairs of games with seats swapped: leave --fixed-seats out")
    rules = games.make(options.game)
    screen = Console(stderr=True)
    warn_of_one_player(rules, screen)
    with entrants(options.players, rules, options.allow) as chosen:
        for name, entrant in zip(arena.different_names(chosen), chosen, strict=True):
            if shown := entrant.inference or entrant.program:
                text = f"{name}: {shown}"
                screen.print(text, markup=False, highlight=False, soft_wrap=True)
        with _writer(rules, options.games_out) as record:
            if options.sprt:
                played = _test(rules, chosen, options, record)
            else:
                played = _play(rules, chosen, options, record)
    advice = "more --opening-plies make games differ"
    if options.opening_plies is not None:
        tables.warn_of_longer_openings(screen, played.opening_plies)
    tables.warn_of_repeats(screen, played.games, played.distinct_games, advice)
    shown = [standings(played)]
    shown += [_cross_table(played)] if len(chosen) > 2 else []
    shown += [*_reasons(played), *conclusions(played, options.games or MOST_GAMES)]
    return tables.report(Group(*shown), asdict(played), options.json)


def warn_of_one_player(game: "Game", screen: "Console") -> None:
    """Say in one line that a match means nothing where player 0 makes all moves."""
    if getattr(game, "one_player", False):
        text = f"warning: {game.name} has one player: who begins makes all moves of a match"
        screen.print(f"{text}, so its result means nothing", markup=False, soft_wrap=True)


def _play(
    game: "Game", players: list["Player"], options: argparse.Namespace, record: "Record | None"
) -> "ArenaResult":
    """A number of games between every pair of players."""
    from alphazero.judging import arena
    from workers.terminal import progress

    games = GAMES if options.games is None else options.games
    with progress.games() as report:
        return arena.play(
            game, players, games, options.seed, options.opening_plies, report,
            swap=not options.fixed_seats, record=record,
        )  # fmt: skip


def _test(
    game: "Game", players: list["Player"], options: argparse.Namespace, record: "Record | None"
) -> "ArenaResult":
    """Games between two players until the sequential test ends."""
    one, two = players
    most = MOST_GAMES if options.games is None else options.games
    return until_certain(
        game, (one, two), options.sprt, most, options.seed, options.opening_plies, record
    )


def until_certain(
    game: "Game",
    players: tuple["Player", "Player"],
    test: "Test",
    most_games: int,
    seed: int,
    opening_plies: int | None = None,
    record: "Record | None" = None,
) -> "ArenaResult":
    """``arena.play_until_certain`` with a line on standard error for each look at the test."""
    from rich.console import Console

    from alphazero.judging import arena

    screen = Console(stderr=True)

    def report(verdict: "Verdict") -> None:
        screen.print(_progress(verdict), markup=False, highlight=False, soft_wrap=True)

    return arena.play_until_certain(
        game, players, test, most_games, seed, opening_plies, report, record
    )


def _progress(verdict: "Verdict") -> str:
    from workers.terminal.output import counted

    ratio = f"log-likelihood ratio {verdict.ratio:+.2f}"
    ends = f"the test ends at {verdict.low:+.2f} or {verdict.high:+.2f}"
    return f"{counted(sum(verdict.pairs), 'different pair')} of games: {ratio}; {ends}"


def conclusions(played: "ArenaResult", most_games: int) -> list[str]:
    """The lines below the table of a match that a sequential test has ended; none without one.

    ``most_games``: as the test was given.
    """
    if played.sprt is None:
        return []
    open_end = [_advice(played, most_games)] if played.sprt.accepted is None else []
    return [_conclusion(played), *open_end, PAIRS]


def _advice(played: "ArenaResult", most_games: int) -> str:
    """A sentence about options that may decide a test which has ended undecided."""
    if played.games < most_games:
        return "No new games came, as equal ones count once: more --opening-plies may decide it."
    return "More --games may decide it or, where games repeat, more --opening-plies."


def _conclusion(played: "ArenaResult") -> str:
    """The end of a sequential test in a sentence."""
    from rich.markup import escape

    from workers.terminal.output import counted

    verdict, name = played.sprt, played.players[0].name
    assert verdict
    test, pairs = verdict.test, ", ".join(f"{count:,}" for count in verdict.pairs)
    ratio = f"log-likelihood ratio {verdict.ratio:+.2f}"
    if verdict.accepted is None:
        shown = f"undecided between a lead of {test.elo0:+g} and {test.elo1:+g} Elo for {name}"
    else:
        less, more = f"{test.elo0:+g} Elo or less", f"{test.elo1:+g} Elo or more"
        yes, no = (more, less) if verdict.accepted == test.elo1 else (less, more)
        shown = f"a lead of {yes} for {name} is accepted, of {no} rejected"
    repeats = played.games // 2 - sum(verdict.pairs)
    left_out = f"; {counted(repeats, 'pair')} left out as played before" if repeats else ""
    counts = f"pairs with 0, ½, 1, 1½, 2 points: {pairs}{left_out}"
    return escape(f"sequential test: {shown} ({ratio}; {counts})")


@contextmanager
def entrants(
    specs: Sequence[str],
    game: "Game",
    allow: Collection[str],
    leaves: str = "1",
    fitting: bool = False,
) -> Iterator[list["Player"]]:
    """The players of texts that the user has typed; their programs end with the block.

    Also where SIGTERM or SIGHUP ends it, and while they are started. ``leaves``, ``fitting`` and
    errors as in ``players.make``.
    """
    from alphazero.judging import players
    from workers.terminal import signals

    with signals.handled(signals.interrupt, ("SIGTERM", "SIGHUP")), ExitStack() as stack:
        chosen = []
        for spec in specs:
            made = players.make(
                spec, game, leaves=leaves, allow=allow, programs=True, fitting=fitting
            )
            chosen.append(made)
            stack.callback(chosen[-1].close)
        yield chosen


@contextmanager
def _writer(game: "Game", path: Path | None) -> Iterator["Record | None"]:
    """A function that writes a game to ``path``; None without a path."""
    from alphazero.judging import saved_games

    if path is None:
        yield None
        return
    text = saved_games.writer(game, path)
    with path.open("x", encoding="utf-8") as file:
        yield lambda played: file.write(text(played))


def standings(played: "ArenaResult") -> "Table":
    """The table of a match: a row per player."""
    from rich.markup import escape

    from workers.terminal import tables

    cut = f", {played.adjudicated:,} ended by the limit on moves"
    table = tables.make(
        f"{played.game}, {played.counted()}{cut if played.adjudicated else ''}",
        "player", "wins", "draws", "losses", "score", "Elo", "95 %",
        *(["forfeits"] if played.forfeits else []),
    )  # fmt: skip
    for number, one in enumerate(played.players):
        elo, low, high = map(tables.signed, (one.elo, one.elo_low, one.elo_high))
        counts = map(str, (one.wins, one.draws, one.losses))
        lost = sum(forfeit.games for forfeit in played.forfeits if forfeit.player == number)
        more = [str(lost)] if played.forfeits else []
        row = escape(one.name), *counts, f"{one.score:.1%}", elo, f"{low} to {high}", *more
        table.add_row(*row)
    return table


def _reasons(played: "ArenaResult") -> list[str]:
    """How games were lost without a legal move, a line for each player and reason."""
    from rich.markup import escape

    from workers.terminal.output import counted

    names = [player.name for player in played.players]
    return [
        escape(f"{names[one.player]} lost {counted(one.games, 'game')}: it {one.reason}")
        for one in played.forfeits
    ]


def _cross_table(played: "ArenaResult") -> "Table":
    """The points of each player, a row, against each other one, a column."""
    from rich.markup import escape

    from workers.terminal import tables

    names = [f"{number} {player.name}" for number, player in enumerate(played.players, 1)]
    size = len(names)
    table = tables.make("points against each other", "player", *map(str, range(1, size + 1)))
    cells = [["-"] * size for _ in names]
    for pairing in played.pairings:
        one, two = pairing.first, pairing.second
        games = pairing.wins + pairing.draws + pairing.losses
        points = pairing.wins + pairing.draws / 2
        cells[one][two], cells[two][one] = f"{points:g}/{games}", f"{games - points:g}/{games}"
    for name, row in zip(names, cells, strict=True):
        table.add_row(escape(name), *row)
    return table
