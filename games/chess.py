"""Chess by the laws of FIDE, in which the draws that a player may claim come by themselves.

The game ends by checkmate and stalemate; in a draw when a position is there for the third time,
after 100 plies without a pawn move or a capture, and where no series of moves can mate by material
alone: kings, with one minor piece, or with bishops on squares of one colour. Mate comes first.

A state is four bitboards seen from the mover's side, what the next moves depend on besides, and
the moves since the last one that cannot be taken back, of two bytes each: taking them back gives
the earlier positions exactly, where a list of 64-bit keys would need four times the memory.

The file is long because it has two notations, a drawing and planes of history. Kernels are in
``games/chess_kernels.py``, texts in ``games/chess_notation.py``.
"""

import functools

import numpy as np
from numpy.typing import NDArray

from games import chess_kernels as kernels
from games import chess_notation as notation
from games.base import Game, States, Transition
from games.drawing import Cell, Drawing, Label

_BEHIND = {kernels.KNIGHT: 1, kernels.ROOK: 2, kernels.BISHOP: 3}
"""Squares behind that of promotion on which the new piece is chosen in a drawing."""


class Chess(Game):
    """Chess; a move is written e4, Nf3, O-O, exd5 or e8=Q, or as two squares: e2e4, e7e8q."""

    name = "chess"
    num_actions = kernels.NUM_ACTIONS
    observation_shape = (20, 8, 8)
    max_plies = 512
    max_legal = 218
    """Proven for positions that games lead to, and reached by some (Petrovic 1964)."""
    dtype = kernels.STATE

    def initial(self, batch: int) -> States:
        return np.repeat(_start(), batch)

    def legal(self, states: States) -> NDArray[np.bool_]:
        allowed, _ = self._legal(states, self.num_actions)
        return allowed

    def step(self, states: States, actions: NDArray[np.integer]) -> States:
        after = np.empty(len(states), self.dtype)
        kernels.step(states, actions, after)
        return after

    def outcome(self, states: States) -> NDArray[np.float32]:
        _, outcome = self._legal(states, 0)
        return outcome

    def to_move(self, states: States) -> NDArray[np.int8]:
        return states["player"].copy()

    def advance(self, states: States, actions: NDArray[np.integer]) -> Transition:
        after = self.step(states, actions)
        return Transition(after, *self._legal(after, self.num_actions), self.to_move(after))

    def _legal(self, states: States, actions: int) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """Legal moves, the columns of none or all ``actions``, and outcomes from one list."""
        allowed = np.empty((len(states), actions), np.bool_)
        outcome = np.empty(len(states), np.float32)
        kernels.legal(states, allowed, outcome)
        return allowed, outcome

    def observe(self, states: States) -> NDArray[np.float32]:
        """20 planes, row 0 the mover's last rank, column 0 the a-file for both players.

        0 to 5 the mover's pawns, knights, bishops, rooks, queens and king, 6 to 11 the opponent's;
        12 whether the position was there before; 13 and 14 the mover's rights to castle short and
        long, 15 and 16 the opponent's; 17 the square of a legal capture en passant; 18 the plies
        without a pawn move or a capture, as a share of 100; 19 whether the mover is black.
        """
        planes = np.empty((len(states), *self.observation_shape), np.float32)
        kernels.pieces(states, np.zeros(len(states), np.bool_), planes)
        kernels.rights(states, planes)
        return planes

    def observe_earlier(self, states: States, turned: NDArray[np.bool_]) -> NDArray[np.float32]:
        """The first 13 planes of ``observe``, ``turned``: for the other player."""
        planes = np.empty((len(states), 13, 8, 8), np.float32)
        kernels.pieces(states, np.ascontiguousarray(turned), planes)
        return planes

    def render(self, state: np.void) -> str:
        return self.drawing(state).as_text()

    def drawing(self, state: np.void, last_action: int | None = None) -> Drawing:
        """The board as white sees it, white's pieces in capital letters, black's in small ones.

        A promotion takes a third click: on the same square for a queen, and one, two or three
        squares behind it for a knight, a rook and a bishop.
        """
        turn, letters = 56 * int(state["player"]), notation.letters(state)
        pawns = state["mine"] & state["diagonal"] & ~state["straight"] & ~state["slides"]
        clicks, named = _choices(turn)
        for square in range(48, 56):
            if int(pawns) >> square & 1:
                clicks |= {
                    action: (*clicks[action], clicks[action][1]) for action in _to_queen(square)
                }
        # The last move was the other player's, who saw the board from the other side.
        last = () if last_action is None else _two_cells(int(last_action), 56 - turn)
        return Drawing(
            cells=tuple(_cell(cell, letters[cell ^ 56]) for cell in range(64)),
            clicks=clicks,
            named=named,
            labels=_LABELS,
            last=last,
        )

    def action_to_text(self, action: int) -> str:
        """The two squares as white sees them: ``e2e4``, ``e7e8n``; ``h1+6`` leads off the board."""
        return notation.action_text(action)

    def move_to_text(self, state: np.void, action: int) -> str:
        """Standard Algebraic Notation: ``e4``, ``Nbd7``, ``exd6``, ``e8=Q+``, ``O-O-O``."""
        return notation.to_san(state, action)

    def text_to_move(self, state: np.void, text: str) -> int:
        """The legal move of a text in SAN or of squares, ``e2e4`` and ``e7e8q``."""
        return notation.read_move(state, text)

    def to_uci(self, state: np.void, action: int) -> str:
        """The move in the squares of the UCI protocol: ``e2e4``, ``e1g1``, ``e7e8q``."""
        return notation.to_squares(state, action)

    def from_uci(self, state: np.void, text: str) -> int:
        """The inverse of ``to_uci``; ``ValueError`` where the move is not legal."""
        return notation.read_squares(state, text)

    def fen(self, state: np.void, number: int = 1) -> str:
        """The position in FEN; the caller gives the ``number`` of the move, which states lack."""
        return notation.write_fen(state, number)

    def state_of_fen(self, fen: str) -> States:
        """``[1]``: the position of a FEN, without earlier ones; ``ValueError``, one line."""
        return notation.read_fen(fen)


@functools.cache
def _start() -> States:
    return notation.read_fen(notation.START)


_LABELS = (
    *(Label(-1.0, float(7 - rank), str(rank + 1)) for rank in range(8)),
    *(Label(float(file), 8.0, "abcdefgh"[file]) for file in range(8)),
)


def _cell(place: int, letter: str) -> Cell:
    """One square, numbered from a8, with the piece of a letter on it."""
    player = (0 if letter.isupper() else 1) if letter else None
    return Cell(x=float(place % 8), y=float(place // 8), player=player, piece=letter)


def _two_cells(action: int, turn: int) -> tuple[int, int]:
    """The cells from and to which an action moves; ``turn`` 56 if it is black's."""
    start, end = int(kernels.FROM[action]), int(kernels.TO[action])
    return start ^ turn ^ 56, end ^ turn ^ 56


def _to_queen(square: int) -> list[int]:
    """The actions that promote a pawn on a square of the seventh rank to a queen."""
    ends = range(max(56, square + 7), min(63, square + 9) + 1)
    return [int(kernels.ACTION[square, end]) for end in ends]


@functools.cache
def _all_choices(turn: int) -> tuple[dict[int, tuple[int, ...]], dict[int, str]]:
    """The cells to click per action where no pawn is promoted, and names of those never legal."""
    clicks, named = {}, {}
    for action in range(kernels.NUM_ACTIONS):
        end, kind = int(kernels.TO[action]), int(kernels.NEW_KIND[action])
        if end < 0 or (kind and end < 56):
            named[action] = notation.action_text(action)
            continue
        clicks[action] = _two_cells(action, turn)
        if kind:
            clicks[action] += ((end - 8 * _BEHIND[kind]) ^ turn ^ 56,)
    return clicks, named


def _choices(turn: int) -> tuple[dict[int, tuple[int, ...]], dict[int, str]]:
    """``_all_choices`` as dictionaries of the caller's own."""
    clicks, named = _all_choices(turn)
    return dict(clicks), dict(named)
