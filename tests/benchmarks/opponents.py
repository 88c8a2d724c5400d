"""Opponents out of other libraries as programs that speak GTP, and GNU Go with ever new seeds.

    alphazero arena AGENT "gtp:cmd='python tests/benchmarks/opponents.py open_spiel --game \
        gomoku(size=9) --simulations 20000'" --game gomoku:size=9
    python tests/benchmarks/opponents.py rust_reversi --depth 7
    python tests/benchmarks/opponents.py reseeded gnugo --mode gtp --level 10

``open_spiel`` is its MCTS with random games as the evaluator and its solver on; the game is square,
and its cells are numbered row by row, as in ``hex(board_size=7)`` and ``gomoku(size=9)``. (Its
``mnk`` is the same game as ``gomoku``, and ten times slower.) ``rust_reversi`` is alpha-beta.
``reseeded`` passes all on to GNU Go, which by itself plays the same move in the same position, and
gives it another random seed before each move.

Without ``--seed`` each process plays other games.
"""

import argparse
import math
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from typing import Protocol

KNOWN = [
    "protocol_version", "name", "version", "list_commands", "boardsize", "clear_board", "play",
    "genmove", "quit",
]  # fmt: skip


class Board(Protocol):
    """A game on a square board with the program that plays it."""

    name: str
    version: str
    size: int

    def clear(self) -> None: ...

    def play(self, cell: int) -> None:
        """Play a cell, numbered row by row; ``ValueError`` where that is illegal."""
        ...

    def choose(self) -> int: ...


class OpenSpiel:
    """OpenSpiel's MCTS, as its own example sets it: one random game per leaf, c = 2, solver."""

    name = "OpenSpiel-MCTS"

    def __init__(self, options: argparse.Namespace) -> None:
        import pyspiel

        self.version = version("open_spiel")
        self._game = pyspiel.load_game(options.game)
        self.size = math.isqrt(self._game.num_distinct_actions())
        # Seeds of OpenSpiel are of 32 bits with a sign.
        seeds = random.Random(options.seed)
        one, two = (seeds.getrandbits(31) for _ in range(2))
        self._bot = pyspiel.MCTSBot(
            self._game, pyspiel.RandomRolloutEvaluator(1, one), options.uct_c,
            options.simulations, 1000, True, two, False,
        )  # fmt: skip
        self.clear()

    def clear(self) -> None:
        self._state = self._game.new_initial_state()

    def play(self, cell: int) -> None:
        if self._state.is_terminal() or cell not in self._state.legal_actions():
            raise ValueError("illegal move")
        self._state.apply_action(cell)

    def choose(self) -> int:
        return self._bot.step(self._state)


class RustReversi:
    """The alpha-beta search of rust-reversi; of moves that it finds equal it plays the same one."""

    name, size = "rust-reversi-alpha-beta", 8

    def __init__(self, options: argparse.Namespace) -> None:
        import rust_reversi

        self.version = version("rust_reversi")
        kinds = {"pieces": "PieceEvaluator", "moves": "LegalNumEvaluator"}
        evaluator = getattr(rust_reversi, kinds[options.evaluator])()
        self._new = rust_reversi.Board
        self._search = rust_reversi.AlphaBetaSearch(evaluator, options.depth, 10_000)
        self.clear()

    def clear(self) -> None:
        self._board = self._new()

    def _pass(self) -> None:
        """Play a forced pass, which is never sent."""
        if self._board.is_pass() and not self._board.is_game_over():
            self._board.do_pass()

    def play(self, cell: int) -> None:
        self._pass()
        if not self._board.is_legal_move(cell):
            raise ValueError("illegal move")
        self._board.do_move(cell)

    def choose(self) -> int:
        self._pass()
        return self._search.get_move(self._board)


def cell_of(vertex: str, size: int) -> int:
    """``"c2"`` is column 2, row 1, counted from 0; the letter i is one of the columns."""
    column, row = ord(vertex[0].lower()) - ord("a"), int(vertex[1:]) - 1
    if not (0 <= column < size and 0 <= row < size):
        raise ValueError("illegal move")
    return row * size + column


def vertex_of(cell: int, size: int) -> str:
    return f"{chr(ord('A') + cell % size)}{cell // size + 1}"


def answer(board: Board, words: list[str]) -> str:
    """The answer to a command; ``ValueError``: it cannot be executed."""
    match words:
        case ["protocol_version"]:
            return "2"
        case ["name" | "version" as field]:
            return getattr(board, field)
        case ["list_commands"]:
            return "\n".join(KNOWN)
        case ["boardsize", size] if int(size) != board.size:
            raise ValueError("unacceptable size")
        case ["clear_board"]:
            board.clear()
        case ["play", _, vertex]:
            board.play(cell_of(vertex, board.size))
        case ["genmove", _]:
            board.play(cell := board.choose())
            return vertex_of(cell, board.size)
        case [name, *_] if name not in KNOWN:
            raise ValueError("unknown command")
    return ""


def serve(board: Board) -> None:
    for line in sys.stdin:
        if not line.strip():
            continue
        number, *words = line.split()
        try:
            print(f"={number} {answer(board, words)}\n", flush=True)
        except ValueError as error:
            print(f"?{number} {error}\n", flush=True)
        if words == ["quit"]:
            break


def reseed(command: list[str], seeds: random.Random) -> None:
    """Pass commands and answers on; ``set_random_seed`` comes before each request for a move."""
    if not command:
        raise SystemExit("reseeded needs a program: reseeded gnugo --mode gtp")
    path = shutil.which(command[0], path=f"{os.environ.get('PATH', os.defpath)}:/usr/games")
    if path is None:
        raise SystemExit(f"there is no program {command[0]!r}")
    with subprocess.Popen(
        [path, *command[1:]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as program:
        assert program.stdin
        assert program.stdout
        lines = iter(program.stdout)
        for line in sys.stdin:
            if "genmove" in line:
                program.stdin.write(f"set_random_seed {seeds.randrange(2**31)}\n")
                if not (refusal := paragraph(lines)).startswith("="):
                    raise SystemExit(f"the program takes no random seed: {refusal.strip()}")
            program.stdin.write(line)
            print(paragraph(lines), flush=True)


def paragraph(lines: Iterator[str]) -> str:
    """The lines up to the next empty one; ``SystemExit`` where the program has ended."""
    text = ""
    for line in lines:
        if not line.strip():
            return text
        text += line
    raise SystemExit("the program has ended")


def options_of(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="kind", required=True)
    spiel = commands.add_parser("open_spiel")
    spiel.add_argument("--game", required=True)
    spiel.add_argument("--simulations", type=int, required=True)
    spiel.add_argument("--uct-c", type=float, default=2.0)
    reversi = commands.add_parser("rust_reversi")
    reversi.add_argument("--depth", type=int, required=True)
    reversi.add_argument("--evaluator", choices=("pieces", "moves"), default="pieces")
    seeded = commands.add_parser("reseeded")
    for command in (spiel, reversi, seeded):
        command.add_argument("--seed", type=int)
    seeded.add_argument("command", nargs=argparse.REMAINDER)
    return parser.parse_args(words)


def main() -> None:
    options = options_of()
    if options.kind == "reseeded":
        reseed(options.command, random.Random(options.seed))
    else:
        serve({"open_spiel": OpenSpiel, "rust_reversi": RustReversi}[options.kind](options))


if __name__ == "__main__":
    main()
