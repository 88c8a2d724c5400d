"""A ladder of opponents with fixed Elo, and the rating of a player against it.

A ladder is a file of this package: the openings, the rungs (opponents) with their Elo, and the
results to which the Elo was fitted. All players rated against the rungs from those openings are on
one scale, whether or not they ever met. ``calibration`` makes ladders.

A rung may be a program, such as GNU Go. It is started only where the package's own ladder of the
game names it by the same text, so that a stranger's file starts nothing.
"""

import dataclasses
import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, TypeAdapter
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from alphazero import plain_files
from alphazero.errors import reason
from alphazero.judging import players
from alphazero.judging.arena import Progress, games_done
from alphazero.judging.decisions import Player
from alphazero.judging.lines import Line, line_of
from alphazero.judging.lock_step import Match, play_match
from alphazero.judging.mistakes import CONFIDENCE, wilson
from alphazero.judging.ratings import count_games, expected_score, root
from alphazero.ranges import STRICT, Count, Natural, NotNegative
from alphazero.types import Stream
from games import solvers
from games.base import Game

FOLDER = Path(__file__).parents[1] / "ladders"
ROUND = 20
"""Games against one rung before the next is chosen."""
SEARCH_MARGIN = 4000.0
"""A rating is searched from this much Elo below the lowest rung to this much above the highest."""
PROCESSES = 2
"""Processes of a rung's program, where the rung's text does not state them."""
Elo = Annotated[float, Field(ge=-1e5, le=1e5)]
Text = Annotated[str, Field(max_length=1000)]
Played = Annotated[int, Field(ge=0, le=10**6)]
Place = Annotated[int, Field(ge=0, lt=1000)]
POINTS = np.array([1.0, 0.5, 0.0])
"""Points for a win, a draw and a loss."""


@dataclass(frozen=True, slots=True, config=STRICT)
class Rung:
    """One opponent of a ladder."""

    player: Text
    """A text for ``players.make``, such as ``minimax:depth=3``."""
    elo: Elo
    """The difference to the first rung, whose Elo is 0."""
    error: NotNegative
    """The standard error of that difference."""
    games: Natural
    """The number of its games in the calibration."""


@dataclass(frozen=True, slots=True, config=STRICT)
class Pairing:
    """The results of one rung against a higher one; both are indices into the ladder's rungs."""

    lower: Place
    higher: Place
    wins: Played
    """Games won by ``lower``."""
    draws: Played
    losses: Played
    """Games lost by ``lower``."""


def _of_row(row: object) -> object:
    """The fields of a pairing by name, of a row of numbers as files have it."""
    names = list(Pairing.__dataclass_fields__)
    if isinstance(row, list) and len(row) == len(names):
        return dict(zip(names, row, strict=True))
    if not isinstance(row, Pairing):
        raise PydanticCustomError("row", "should be a row of five numbers")
    return row


@dataclass(frozen=True, slots=True, config=STRICT)
class Ladder:
    """All that a ladder's file holds."""

    game: Text
    """The game's name."""
    seed: Natural
    """The seed of the openings and of the calibration's games."""
    opening_plies: Natural
    openings: tuple[Text, ...]
    """Moves as in a position file, ``"4453"``."""
    rungs: tuple[Rung, ...]
    """In the order given to the calibration, roughly weakest first."""
    pairings: tuple[Annotated[Pairing, BeforeValidator(_of_row)], ...]
    balanced: bool = True
    """Whether each opening is a draw with perfect play, by the game's solver; else it is random."""
    reach: Count = 3
    """Places above and below a rung of those that it meets in the calibration. Results of farther
    ones are nearly certain in advance and carry little information."""
    pairing_games: Count | None = None
    """Games of each pair in the calibration; None: every opening twice."""


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """A player's results against one rung."""

    name: str
    """The rung's player."""
    elo: float
    """The rung's Elo."""
    wins: int
    draws: int
    losses: int
    score: float
    low: float
    high: float
    """``low`` to ``high`` is the 95 % Wilson interval of the score, of the distinct games."""
    distinct_games: int
    """The number of different sequences of moves among the games."""


@dataclasses.dataclass(frozen=True, slots=True)
class Rating:
    """A player's Elo on the scale of a ladder, with a 95 % interval.

    A bound without any result beyond it is None, such as the upper one after winning every game.
    """

    game: str
    player: str
    elo: float
    elo_low: float | None
    elo_high: float | None
    games: int
    opponents: tuple[Record, ...]
    """Weakest first."""
    distinct_games: int
    """The sum of those of ``opponents``. The interval counts equal games as one."""
    skipped: tuple[str, ...] = ()
    """Why rungs were left out whose program cannot be started, a line for each."""
    forfeits: tuple[str, ...] = ()
    """Games that count although a program gave no legal move in them, a line for each rung."""


def installed() -> dict[str, Path]:
    """The files of the package's ladders by the name of their game."""
    files = sorted(FOLDER.glob("*.json"))
    return {json.loads(path.read_text(encoding="utf-8"))["game"]: path for path in files}


def load(game: Game, path: Path | None = None) -> Ladder:
    """The ladder of ``game`` in the file ``path``; without ``path`` the one of the package.

    ``ValueError``, one line: there is none, it is for another game, or something in it is wrong.
    """
    if path and not path.is_file():
        raise ValueError(f"{path}: there is no such file")
    path = path or installed().get(game.name)
    if path is None:
        raise ValueError(f"{game.name} has no ladder, only {'; '.join(sorted(installed()))}")
    try:
        fields = json.loads(plain_files.read(path.resolve()))
        _check_numbers(ladder := TypeAdapter(Ladder).validate_python(fields))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no ladder: {reason(error)}") from None
    if ladder.game != game.name:
        raise ValueError(f"{path} is a ladder of {ladder.game}, not of {game.name}")
    _check_openings(game, ladder.openings, path)
    return ladder


def _check_numbers(ladder: Ladder) -> None:
    """``ValueError``: the plan of the calibration has no games, or a pairing has no such rungs."""
    pairs = {(pairing.lower, pairing.higher) for pairing in ladder.pairings}
    if not ladder.rungs or len(pairs) < len(ladder.pairings):
        raise ValueError("it has no rungs, or a pairing twice")
    for pairing in ladder.pairings:
        if not pairing.lower < pairing.higher < len(ladder.rungs):
            raise ValueError(f"rungs {pairing.lower} and {pairing.higher} are no pair of rungs")
    number = ladder.pairing_games
    if number is not None and number > 2 * len(ladder.openings):
        raise ValueError(f"pairing_games are 1 to twice the openings, not {number}")
    if number is not None and number % 2:
        raise ValueError(f"pairing_games is even, as each opening is played twice, not {number}")


def _check_openings(game: Game, openings: Sequence[str], path: Path) -> None:
    """``ValueError``: there are no openings, or one of them is not playable or ends the game."""
    if not openings:
        raise ValueError(f"{path} has no openings")
    try:
        solvers.unfinished(game, openings)
    except solvers.NotAPosition as error:
        raise ValueError(f"{path}: an opening cannot be used: {error}") from None


def save(ladder: Ladder, path: Path) -> None:
    """Write the ladder as JSON with one line per rung and per pairing, so that diffs are short."""
    fields = asdict(ladder)
    rows = {
        "openings": fields.pop("openings"),
        "rungs": fields.pop("rungs"),
        "pairings": [list(pairing.values()) for pairing in fields.pop("pairings")],
    }
    head = [f'  "{key}": {json.dumps(value)}' for key, value in fields.items()]
    body = [
        f'  "{key}": [\n' + ",\n".join(f"    {json.dumps(row)}" for row in listed) + "\n  ]"
        for key, listed in rows.items()
    ]
    path.write_text("{\n" + ",\n".join(head + body) + "\n}\n", encoding="utf-8")


class ProgramMissing(ValueError):
    """A rung's program cannot be started here; the text is one line that says why."""


@contextmanager
def opponent(game: Game, spec: str) -> Iterator[Player]:
    """The player of a rung, whose program ends with the block.

    ``ProgramMissing`` where the program of a rung of the package's own ladder cannot be started;
    ``ValueError``: no player, or a program that this ladder does not name.
    """
    own = spec.partition(":")[0] in players.PROGRAMS and spec in _installed_rungs(game)
    try:
        few = own and "processes" not in players.parse(spec)[1]
        text = f"{spec},processes={PROCESSES}" if few else spec
        player = replace(players.make(text, game, programs=own, downloads=False), name=spec)
    except ValueError as error:
        raise ProgramMissing(str(error)) if own else error from None
    try:
        yield player
    finally:
        player.close()


def _installed_rungs(game: Game) -> list[str]:
    """The players of the package's ladder of ``game``; none where it has no ladder."""
    path = installed().get(game.name)
    rungs = json.loads(path.read_text(encoding="utf-8"))["rungs"] if path else []
    return [rung["player"] for rung in rungs]


def forfeited(match: Match, one: Player, two: Player) -> Counter[str]:
    """How often a program gave no legal move, by a line that names the player and the reason."""
    return Counter(f"{(one, two)[loser].name}: it {reason}" for loser, reason in match.forfeited())


def rate(
    game: Game,
    player: Player,
    ladder: Ladder,
    games: int,
    seed: int = 0,
    progress: Progress | None = None,
) -> Rating:
    """Let ``player`` play ``games`` games against the most informative rungs, and rate it.

    Games come in rounds of ``ROUND`` against one rung, which ``_next_rung`` chooses, from the
    ladder's openings, each played twice with seats swapped. The same seed gives the same rating.
    Rungs whose program cannot be started are left out; where no other is left, the games played
    until then are rated. ``ValueError``: no game, or a rung that is no player.
    """
    if games < 1:
        raise ValueError(f"the number of games must be at least 1, not {games}")
    openings = [line_of(game, text) for text in ladder.openings]
    rung_elos = np.array([rung.elo for rung in ladder.rungs])
    results = np.zeros((len(rung_elos), len(POINTS)), np.int64)
    lines: list[set[Line]] = [set() for _ in rung_elos]
    skipped: dict[int, str] = {}
    forfeits: Counter[str] = Counter()
    while (played := int(results.sum())) < games:
        index = _next_rung(rung_elos, results, skipped)
        first, size = int(results[index].sum()), min(ROUND, games - played)
        numbers = range(first, first + size)
        starts = [openings[number // 2 % len(openings)] for number in numbers]
        seeds = [[seed, Stream.MATCH, index, number] for number in numbers]
        try:
            with opponent(game, ladder.rungs[index].player) as other:
                report = games_done(progress, played, games)
                match = play_match(game, (player, other), starts, seeds, report)
        except ProgramMissing as missing:
            skipped[index] = str(missing)
            if len(skipped) < len(ladder.rungs):
                continue
            if not results.any():
                raise
            break
        results[index] += np.array(match.tally())
        lines[index].update(match.lines)
        forfeits.update(forfeited(match, player, other))
    distinct = np.array([len(different) for different in lines])
    records = tuple(
        _record(ladder.rungs[index], results[index], int(distinct[index]))
        for index in np.argsort(rung_elos, kind="stable")
        if results[index].any()
    )
    bounds = estimate(rung_elos, results, distinct)
    return Rating(
        game.name, player.name, *bounds, int(results.sum()), records, int(distinct.sum()),
        skipped=tuple(skipped.values()),
        forfeits=tuple(f"{count_games(n, n)}, {text}" for text, n in forfeits.items()),
    )  # fmt: skip


def _record(rung: Rung, results: NDArray[np.int64], distinct: int) -> Record:
    wins, draws, losses = results.tolist()
    score = (wins + draws / 2) / (wins + draws + losses)
    low, high = wilson(score * distinct, distinct)
    return Record(rung.player, rung.elo, wins, draws, losses, score, low, high, distinct)


def _next_rung(
    rung_elos: NDArray[np.float64], results: NDArray[np.int64], skipped: Collection[int] = ()
) -> int:
    """The index of the rung, none of ``skipped``, whose next round is the most informative.

    A game with the expected score p carries the information p (1 - p), most at p = 1/2; it counts
    less for a rung that was met often, so that the rounds are spread over the near rungs. The
    player's Elo is taken from the results so far, at first from the middle of the ladder. Example:
    a rung with p = 0.5 after 40 games has 0.25 / 60 = 0.0042, one with p = 0.36 after 20 games
    0.23 / 40 = 0.0058: the second is next.
    """
    elo = estimate(rung_elos, results)[0] if results.any() else float(np.median(rung_elos))
    share = expected_score(elo - rung_elos)
    information = share * (1 - share) / (results.sum(axis=1) + ROUND)
    information[list(skipped)] = -1
    return int(information.argmax())


def estimate(
    rung_elos: NDArray[np.float64],
    results: NDArray[np.int64],
    distinct: NDArray[np.int64] | None = None,
) -> tuple[float, float | None, float | None]:
    """A player's most likely Elo and its 95 % bounds.

    ``results[r]`` are its wins, draws and losses against rung ``r``, whose Elo ``rung_elos[r]`` is
    taken as exact; ``distinct[r]`` is the number of different games among these, by default all of
    them. The bounds are of so many games with the same score: the two Elos at which the points
    scored lie 1.96 standard deviations from those expected, with one rung Wilson's interval of the
    score. A player that won, or lost, every game has one bound only, and is rated as if it had one
    more draw with each rung that it met: 40 wins of 40 against a rung of 300 give
    300 + 400 log10(40.5 / 0.5) = 1063.
    """
    games, points = results.sum(axis=1), results @ POINTS
    bounded_below, bounded_above = points.sum() > 0, points.sum() < games.sum()
    drawn = 0.0 if bounded_below and bounded_above else 1.0 * (games > 0)
    # Of 100 games that are 2 different ones, each counts 50 times in the points.
    repeated = games / np.maximum(games if distinct is None else distinct, 1)

    def excess(elo: float, deviations: float) -> float:
        """Points scored less those expected of ``elo``, less so many standard deviations."""
        share = expected_score(elo - rung_elos)
        spread = np.sqrt((repeated * games * share * (1 - share)).sum())
        return float((points - games * share).sum() - deviations * spread)

    def likelihood_slope(elo: float) -> float:
        """Proportional to the log-likelihood's derivative: points scored less points expected."""
        share = expected_score(elo - rung_elos)
        return float((points + drawn / 2 - (games + drawn) * share).sum())

    ends = float(rung_elos.min()) - SEARCH_MARGIN, float(rung_elos.max()) + SEARCH_MARGIN
    return (
        root(likelihood_slope, *ends),
        root(lambda elo: excess(elo, CONFIDENCE), *ends) if bounded_below else None,
        root(lambda elo: excess(elo, -CONFIDENCE), *ends) if bounded_above else None,
    )
