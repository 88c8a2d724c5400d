"""Mistakes of a player: its moves compared with the exact scores of solved positions.

A *mistake* is a move whose result (the sign of its score: win, draw, loss) is worse than the best
move's; an *optimal* move reaches the best score itself. Scores are integers seen by the player
about to move; in Connect Four they count the stones the winner has left.
"""

import csv
import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from alphazero import unpacking
from alphazero.judging.decisions import Player
from alphazero.judging.players import parse
from games import solvers
from games.base import Game, States
from games.solvers import minimax, suite

BATCH = 256
"""Positions per call of a player: enough for a network's batch, and it bounds the trees' memory."""
CONFIDENCE = 1.959963984540054
"""The standard normal quantile of a two-sided 95 % interval."""
SUITE_SIMULATIONS = 600
"""Simulations per move where the player's text gives none, as in the published figures."""
SUITES = Path(__file__).parents[2] / "tests" / "data"
"""The folder of the suites in a checkout, one folder per game; they are not installed."""
SETS = tuple(position_set.name for position_set in suite.SETS)
OF_A_NETWORK = ("path", "backend", "precision", "device")
"""The options of a checkpoint that its policy alone has, too."""
CLASSES = {"win": 1, "draw": 0, "loss": -1}


class Positions(NamedTuple):
    """``B`` unfinished positions and their exact answers."""

    states: States
    """``[B]``."""
    best: NDArray[np.int64]
    """``[B]``, the best move's score."""
    scores: NDArray[np.float32]
    """``[B, A]``, each move's score; NaN where it cannot be played."""

    def head(self, count: int) -> "Positions":
        """The first ``count`` positions."""
        return Positions(self.states[:count], self.best[:count], self.scores[:count])


def wilson(successes: float, trials: float) -> tuple[float, float]:
    """The 95 % score interval of a proportion (Wilson 1927, *JASA* 22, 209-212).

    Sound at 0 and 1, where the textbook interval collapses. ``successes`` may be fractional (a
    draw is half a win), which makes the interval wider than it need be, never too narrow.
    """
    if trials <= 0:
        return 0.0, 1.0
    share, z2 = successes / trials, CONFIDENCE**2
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    spread = math.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2))
    radius = CONFIDENCE * spread / (1 + z2 / trials)
    # At the ends the exact bound is 0 or 1; rounding must not leave it a hair inside.
    low = 0.0 if successes <= 0 else centre - radius
    high = 1.0 if successes >= trials else centre + radius
    return low, high


def evaluate(
    player: Player,
    positions: Positions,
    game: Game,
    seed: int,
    progress: Callable[[int], None] = lambda done: None,
) -> dict:
    """Let ``player`` choose one move in every position, each in a fresh tree, and count mistakes.

    The report is ready for JSON: ``positions``, ``distinct_positions``, ``mistakes``,
    ``mistake_rate`` with its Wilson interval ``low, high``, ``optimal_rate``, ``simulations``, and
    ``classes``, which splits the mistakes by the best result that was possible (win, draw, loss).
    The interval is of as many trials as there are different positions. The same seed gives the same
    report. ``progress`` is called after every batch with the number of its positions.
    ``RuntimeError``: the player chose an illegal move.

    Example: in a position with the scores 5 (win), 0 (draw) and 2 (win) the first move is optimal,
    the second a mistake, the third neither.
    """
    total = len(positions.states)
    rngs = [np.random.default_rng([seed, index]) for index in range(total)]
    chosen = np.zeros(total, np.int64)
    for start in range(0, total, BATCH):
        batch = slice(start, start + BATCH)
        chosen[batch] = player(positions.states[batch], rngs[batch]).action
        progress(len(chosen[batch]))
    reached = positions.scores[np.arange(total), chosen]
    if np.isnan(reached).any():
        index = int(np.flatnonzero(np.isnan(reached))[0])
        raise RuntimeError(f"{player.name} chose an illegal move in {game.name} position {index}")
    mistake = np.sign(reached) < np.sign(positions.best)
    distinct = len({identity.tobytes() for identity in game.identity(positions.states)})
    low, high = wilson(float(mistake.mean()) * distinct, distinct)
    return {
        "positions": total,
        "distinct_positions": distinct,
        "mistakes": int(mistake.sum()),
        "mistake_rate": float(mistake.mean()),
        "low": low,
        "high": high,
        "optimal_rate": float((reached == positions.best).mean()),
        "simulations": player.simulations,
        "classes": _by_class(positions.best, mistake),
    }


def _by_class(best: NDArray[np.int64], mistake: NDArray[np.bool_]) -> dict[str, dict[str, int]]:
    return {
        name: {
            "positions": int((np.sign(best) == sign).sum()),
            "mistakes": int(mistake[np.sign(best) == sign].sum()),
        }
        for name, sign in CLASSES.items()
    }


def positions_from(source: str | Path, game: Game) -> Positions:
    """The positions of a file, or all unfinished ones of the game where ``source`` is ``all``."""
    return every_position(game) if str(source) == "all" else load_positions(Path(source), game)


def load_suite(game: Game, names: Sequence[str] = SETS) -> dict[str, Positions]:
    """The solved sets of ``games.solvers.suite`` by name, all six unless ``names`` are given.

    They are test sets: nothing may be tuned on them. ``ValueError``: the game has no suite.
    """
    folder = SUITES / game.name
    if not folder.is_dir():
        known = ", ".join(sorted({file.parent.name for file in SUITES.glob("*/opening_easy.csv*")}))
        here = f"there is one for {known}" if known else "only a checkout of the source has them"
        raise ValueError(f"there is no suite for {game.name}; {here}")
    return {name: load_positions(folder / f"{name}.csv.gz", game) for name in names}


def suite_players(spec: str) -> list[str]:
    """The players that a suite measures for ``spec``: of a checkpoint, its policy alone as well."""
    kind, options = parse(spec)
    if kind != "checkpoint":
        return [spec]
    network = {key: value for key, value in options.items() if key in OF_A_NETWORK}
    with_search = {"simulations": str(SUITE_SIMULATIONS)} | options
    return [_spec("policy", network), _spec("checkpoint", with_search)]


def _spec(kind: str, options: dict[str, str]) -> str:
    """The text ``kind:key=value,...``, from which ``players.parse`` gives the same again."""
    return ":".join([kind, *filter(None, [",".join(f"{k}={v}" for k, v in options.items())])])


def every_position(game: Game) -> Positions:
    """Every unfinished position that can be reached, solved exhaustively.

    ``ValueError`` where the game has too many.
    """
    solved = minimax.solve_all(game)
    return Positions(solved.states, solved.value.astype(np.int64), solved.move_values)


def load_positions(path: Path, game: Game) -> Positions:
    """Read solved positions from CSV, plain or compressed (see ``unpacking``).

    The columns are ``moves,best,c1..cA``: ``moves`` are 1-based actions from the start, written as
    digits where ``A < 10`` and separated by spaces elsewhere; ``best`` is the best score, ``c1``
    to ``cA`` are the moves' scores, empty where a move cannot be played. ``ValueError``, one line
    with the file and its line: it cannot be read, or its rows do not fit the rules.
    """
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file")
    rows = _rows(path, game)
    places, moves, best, scores = zip(*map(_parse, rows), strict=True)
    try:
        states = solvers.unfinished(game, moves)
    except solvers.NotAPosition as error:
        raise ValueError(f"{places[error.row]}: {error}") from None
    positions = Positions(states, np.array(best), np.array(scores, dtype=np.float32))
    _check_answers(game, positions, places)
    return positions


def _rows(path: Path, game: Game) -> list[list[str]]:
    """The fields of each data row, the place (file and line) in front; all of the right width."""
    header, actions = solvers.header(game), game.num_actions
    reader = csv.reader(text for _, text in unpacking.read_lines(path))
    try:
        first = next(reader, [])
        rows = [[f"{path}:{reader.line_num}", *row] for row in reader if row]
    except csv.Error as error:
        raise ValueError(f"{path}: cannot be read as CSV: {error}") from None
    if first != header:
        raise ValueError(
            f"{path}:1: the header is {','.join(first)!r}; with {actions} actions it must be "
            f"moves,best,c1..c{actions}"
        )
    for row in rows:
        if len(row) != len(header) + 1:
            raise ValueError(f"{row[0]}: has {len(row) - 1} fields, not {len(header)}")
    if not rows:
        raise ValueError(f"{path}: holds no positions")
    return rows


def _parse(row: list[str]) -> tuple[str, str, int, list[float]]:
    """``(place, moves, best, scores)`` of one row; the empty cells become NaN."""
    place, moves, best, *scores = row
    for score in (best, *filter(None, scores)):
        if not re.fullmatch(r"[+-]?\d{1,6}", score, re.ASCII):
            raise ValueError(f"{place}: {score!r} is not a score; scores are whole numbers")
    return place, moves, int(best), [int(score) if score else math.nan for score in scores]


def _check_answers(game: Game, positions: Positions, places: Sequence[str]) -> None:
    """The answers must fit the rules: scored moves are the legal ones, ``best`` is their best."""
    legal, scored = game.legal(positions.states), ~np.isnan(positions.scores)
    for row in _where((legal ^ scored).any(axis=1)):
        action = int(np.flatnonzero(legal[row] != scored[row])[0])
        verb = "has no score but can" if legal[row, action] else "has a score but cannot"
        raise ValueError(f"{places[row]}: c{action + 1} {verb} be played")
    highest = np.nanmax(positions.scores, axis=1)
    for row in _where(highest != positions.best):
        raise ValueError(
            f"{places[row]}: best is {positions.best[row]}, the best c is {highest[row]:.0f}"
        )


def _where(mask: ArrayLike) -> Iterator[int]:
    return map(int, np.flatnonzero(mask))
