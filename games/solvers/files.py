"""Files of solved positions, written one position at a time; an interrupted file is continued."""

import csv
import gzip
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from pathlib import Path

from games import solvers
from games.base import Game, States
from games.solvers import suite
from games.solvers.connect_four import Solver

Report = Callable[[str, int, int], None]
"""Called with a file's name, the number of its positions, and how many of them are solved."""
TABLE_BITS = 26
"""512 MiB for all sets of a suite together."""


def label(game: Game, source: Path, out: Path, report: Report) -> None:
    """Solve the positions of ``source`` into ``out``, a position file, in their order.

    ``source`` has one game of 1-based moves per line, or is CSV whose first column is ``moves``.
    ``report`` is called after each solved position. ``ValueError`` names the line whose moves
    cannot be played.
    """
    places, moves = _games(source)
    try:
        solvers.unfinished(game, moves)
    except solvers.NotAPosition as error:
        raise ValueError(f"{places[error.row]}: {error}") from None
    solvers.scores(game, game.initial(0))  # raises for a game without a solver
    known = _known(out)
    if known != moves[: len(known)]:
        raise ValueError(f"{_part(out)} holds other positions: remove it or choose another --out")
    rows = (solvers.label(game, [text])[0] for text in moves[len(known) :])
    _write(out, game, rows, len(known), partial(report, out.name, len(moves)))


def make_suite(
    game: Game, folder: Path, seed: int, report: Report, size: int = suite.POSITIONS
) -> None:
    """Draw and solve the six sets of ``size`` positions; files that exist already stay."""
    if game.name != suite.GAME.name:
        raise ValueError(f"--suite: there is one for {suite.GAME.name}, not for {game.name}")
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--suite: {folder} is not a folder")
    folder.mkdir(parents=True, exist_ok=True)
    solver = Solver(TABLE_BITS)

    def solve(_: Game, states: States):
        return solver.solve(states)

    for target in suite.SETS:
        out = folder / f"{target.name}.csv.gz"
        if out.exists():
            continue
        known = _known(out)
        drawn = islice(suite.draw(target, seed, solver, known), len(known), size)
        rows = (solvers.label(game, [text], solve)[0] for text in drawn)
        _write(out, game, rows, len(known), partial(report, out.name, size))


def _games(source: Path) -> tuple[list[str], list[str]]:
    """The place (file and line) and the moves of each game in ``source``."""
    if not source.is_file():
        raise ValueError(f"{source}: there is no such file")
    try:
        with open(source, newline="", encoding="utf-8") as file:
            rows = [(f"{source}:{n}", row[0]) for n, row in enumerate(csv.reader(file), 1) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{source}: cannot be read as text: {error}") from None
    if rows and rows[0][1] == "moves":
        del rows[0]
    if not rows:
        raise ValueError(f"{source}: holds no positions")
    return [place for place, _ in rows], [moves for _, moves in rows]


def _part(out: Path) -> Path:
    return out.with_name(f"{out.name}.part")


def _known(out: Path) -> list[str]:
    """The moves that an interrupted call has solved; a torn last line is cut off."""
    part = _part(out)
    if not part.exists():
        return []
    whole = part.read_text(encoding="utf-8")
    whole = whole[: whole.rfind("\n") + 1]
    part.write_text(whole, encoding="utf-8")
    return [row[0] for row in csv.reader(whole.splitlines()[1:])]


def _write(
    out: Path, game: Game, rows: Iterable[list[str]], known: int, progress: Callable[[int], None]
) -> None:
    """Append ``rows`` to the ``known`` ones of ``out``; it gets its name when all are there."""
    part = _part(out)
    with open(part, "a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        if file.tell() == 0:
            writer.writerow(solvers.header(game))
        for done, row in enumerate(rows, known + 1):
            writer.writerow(row)
            file.flush()
            progress(done)
    content = part.read_bytes()
    # Without a time stamp: the same positions are the same file.
    out.write_bytes(gzip.compress(content, mtime=0) if out.suffix == ".gz" else content)
    part.unlink()
