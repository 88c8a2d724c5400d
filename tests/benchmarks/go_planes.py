"""Other planes of Go, for ``recipe.py``: what is a game's own knowledge worth?"""

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from alphazero.encoders import Encoder
from games.base import States
from games.compiling import jit

MOST_POSITIONS, DEEPEST = 200, 60
"""Positions that are read in one ladder, and moves of one side, at most: a longer one counts as no
capture."""


class WithoutLiberties(Encoder):
    """The planes of ``games.go``; those of chains with one and two liberties are empty."""

    def __call__(self, states: States) -> NDArray[np.float32]:
        planes = self.game.observe(states)
        planes[:, 2:6] = 0
        return planes


class WithLadders(Encoder):
    """The planes of ``games.go`` and three of ladders.

    Chains of the mover with at most two liberties that a ladder takes if the opponent plays next;
    the opponent's that one takes if the mover plays; the moves that begin such a ladder.
    """

    def __init__(self, game: Any):
        super().__init__(game)
        planes, *board = self.shape
        self.shape = (planes + 3, *board)
        points = game.size**2
        near = np.full((points, 4), points, np.int64)
        for point in range(points):
            y, x = divmod(point, game.size)
            for k, (row, column) in enumerate(((y, x - 1), (y, x + 1), (y - 1, x), (y + 1, x))):
                if 0 <= row < game.size and 0 <= column < game.size:
                    near[point, k] = game.size * row + column
        self._near = near

    def __call__(self, states: States) -> NDArray[np.float32]:
        points = self.game.size**2
        boards = np.full((len(states), points + 1), 3, np.int8)  # 3: off the board
        mover = (1 - 2 * states["player"]).astype(np.int8)
        boards[:, :points] = np.sign(states["cells"][:, :points]) * mover[:, None]
        ladders = np.zeros((len(states), 3, points), np.float32)
        write_ladders(boards, self._near, ladders)
        ladders = ladders.reshape(len(states), 3, *self.shape[1:])
        return np.concatenate([self.game.observe(states), ladders], axis=1)


@numba.njit
def write_ladders(boards, near, planes):
    """Write the planes ``[B, 3, points]``; on ``boards`` the mover has 1 and the opponent -1."""
    points = near.shape[0]
    # Of each depth: a board for each side's move, and a chain's stones and liberties.
    memory = np.zeros((DEEPEST + 2, 2, points + 1), np.int8)
    stones = np.zeros((DEEPEST + 3, points), np.int16)
    marks = np.zeros(points + 1, np.int64)
    seen = np.zeros(points, np.uint8)
    read = np.zeros(1, np.int64)
    free, after = np.zeros(3, np.int64), memory[0, 0]
    for i in range(boards.shape[0]):
        board = boards[i]
        seen[:] = 0
        for start in range(points):
            colour = board[start]
            if colour == 0 or seen[start]:
                continue
            count, liberties = chain(board, near, start, stones[0], free, marks)
            if liberties > 2:
                continue
            for s in range(count):
                seen[stones[0, s]] = 1
            caught = False
            for k in range(liberties):
                move = free[k]
                after[:] = board
                if not place(after, near, move, -colour, stones[1], marks):
                    continue
                read[0] = 0
                if not escapes(after, near, start, read, 1, memory, stones, marks):
                    caught = True
                    if colour == -1:
                        planes[i, 2, move] = 1
            if caught:
                count, _ = chain(board, near, start, stones[0], free, marks)
                for s in range(count):
                    planes[i, 0 if colour == 1 else 1, stones[0, s]] = 1


@jit
def chain(board, near, start, stones, free, marks):
    """Follow the chain at ``start`` to its end or its third liberty; how many stones and liberties.

    ``stones`` begins with these, ``free [3]`` with the liberties; ``marks[-1]`` is the last stamp.
    """
    marks[-1] += 1
    stamp = marks[-1]
    marks[start] = stamp
    stones[0] = start
    count, done, liberties = 1, 0, 0
    while done < count:
        point = stones[done]
        done += 1
        for k in range(4):
            other = near[point, k]
            content = board[other]
            if content == 3 or marks[other] == stamp:
                continue
            if content == 0:
                marks[other] = stamp
                free[liberties] = other
                liberties += 1
                if liberties == 3:
                    return count, liberties
            elif content == board[start]:
                marks[other] = stamp
                stones[count] = other
                count += 1
    return count, liberties


@jit
def place(board, near, point, colour, stones, marks):
    """Place a stone and take what has no liberty left; False for suicide."""
    free = np.empty(3, np.int64)
    board[point] = colour
    for k in range(4):
        other = near[point, k]
        if board[other] == -colour:
            count, liberties = chain(board, near, other, stones, free, marks)
            if liberties == 0:
                for s in range(count):
                    board[stones[s]] = 0
    return chain(board, near, point, stones, free, marks)[1] > 0


@numba.njit  # without a cache on disk, from which recursive functions do not load rightly
def escapes(board, near, start, read, depth, memory, stones, marks):
    """Whether the chain at ``start``, whose side is to move, gets away from a ladder.

    It extends or takes a stone that attacks it; three liberties are an escape.
    """
    colour = board[start]
    if colour == 0:
        return False
    read[0] += 1
    if read[0] > MOST_POSITIONS or depth > DEEPEST:
        return True
    free = np.empty(3, np.int64)
    count, liberties = chain(board, near, start, stones[depth], free, marks)
    if liberties > 1:
        return True
    moves, number = np.empty(near.shape[0], np.int64), 1
    moves[0] = free[0]
    for s in range(count):
        for k in range(4):
            other = near[stones[depth, s], k]
            if board[other] == -colour:
                if chain(board, near, other, stones[depth + 1], free, marks)[1] == 1:
                    known = False
                    for m in range(number):
                        known |= moves[m] == free[0]
                    if not known:
                        moves[number] = free[0]
                        number += 1
    after, answer, around = memory[depth, 0], memory[depth, 1], np.empty(3, np.int64)
    for m in range(number):
        after[:] = board
        if not place(after, near, moves[m], colour, stones[depth + 1], marks):
            continue
        _, liberties = chain(after, near, start, stones[depth + 1], around, marks)
        if liberties > 2:
            return True
        caught = liberties < 2
        for k in range(liberties if liberties == 2 else 0):
            answer[:] = after
            if place(answer, near, around[k], -colour, stones[depth + 1], marks):
                if not escapes(answer, near, start, read, depth + 1, memory, stones, marks):
                    caught = True
                    break
        if not caught:
            return True
    return False
