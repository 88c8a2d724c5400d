"""The contract of a game: batched, stateless rules over plain NumPy records.

Write a subclass of ``Game``, and self-play, search, training, arena, solvers and the terminal can
use it; ``games/tic_tac_toe.py`` is the example to copy. ``games.conformance.check(game)`` tests
every promise made on this page; run it first.

**States.** A batch of positions is a 1-D array ``[B]`` of records of the game's own ``dtype``, a
NumPy structured dtype. States are indexed, compared, hashed (as bytes), stored in a search tree
and sent between processes without calling the game. So a record has no padding bytes, holds no
Python objects, and encodes a position in one way only: equal bytes mean equal positions. The state
holds everything that the rest of the game depends on (the side to move unless it can be derived,
castling rights, the ko point); the instance holds the rules only.

**Shapes.** The batch axis is the first one of every argument and every result. ``B`` is the number
of positions, which may be 0 or 1, ``A`` is ``num_actions``, and ``C, H, W`` are the planes, rows
and columns of an observation. Row ``i`` of a result depends only on row ``i`` of the arguments.

**Point of view.** "The mover" is the player about to move. Every value, outcome and observation is
from the mover's point of view: +1 is a win, 0 a draw, -1 a loss. In most games the last move wins:
in the finished position the *other* player would move next, so that the outcome is -1. Players are
numbered 0 (who began) and 1; only ``to_move`` and ``render`` use that number.

**Actions** are numbered 0 to ``A - 1``. A number means the same move in every position, but it is
not legal in every position. A pass is an action like any other. The state after ``step`` determines
who moves next: a player may move twice in a row, and the sign of a value changes only when the
mover changes.

**Purity.** No method changes its arguments or returns a view of them; a result is a new array. The
same arguments give the same bytes: nothing is random, and no call affects a later one.

**Example.** Tic-tac-toe, two games at once; X has the cells 0 and 1 of the first row, O 3 and 4::

    >>> import games, numpy as np
    >>> game = games.make("tic_tac_toe")
    >>> states = game.initial(2)                                   # [2], two empty boards
    >>> for cell in (0, 3, 1, 4):
    ...     states = game.step(states, np.array([cell, cell]))
    >>> game.legal(states)[0].nonzero()[0]                         # row 0 of bool [2, 9]
    array([2, 5, 6, 7, 8])
    >>> states = game.step(states, np.array([2, 8]))               # X wins in game 0 only
    >>> game.to_move(states)                                       # int8 [2]: O in both
    array([1, 1], dtype=int8)
    >>> game.outcome(states)                                       # float32 [2]: O has lost game 0
    array([-1., nan], dtype=float32)
    >>> game.legal(states).any(axis=1)                             # all False = that game is over
    array([False,  True])

**Naming conventions** in games and their callers: ``states`` (``[B]``), ``state`` (one record),
``actions`` (``[B]``), ``action`` (an int), ``legal`` (``[B, A]``), ``outcome`` (a fact; a ``value``
is an estimate), ``mover`` (player 0 or 1), ``after`` (the states after a step).

**Errors.** Methods over states need not check their arguments: callers pass legal actions of
unfinished games. Only user input is checked: ``text_to_action`` and ``__init__`` raise
``ValueError`` with one line that explains what would be right.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

States = np.ndarray
"""``[B]`` records of one game's ``dtype``."""

Symmetry = tuple[NDArray[np.intp], NDArray[np.intp]]
"""One symmetry of the board: ``(cells [H*W], actions [A])``, two permutations used as gathers.

After the symmetry, cell ``i`` (row by row) shows what cell ``cells[i]`` showed before it, and
action ``a`` is what action ``actions[a]`` was: in NumPy ``new = old[cells]``. Example: the mirror
image of a board of one row and three columns whose actions are its columns is
``([2, 1, 0], [2, 1, 0])``.
"""


class Transition(NamedTuple):
    """The states after a step and everything else that a search needs about them."""

    states: States
    """``[B]``, as from ``step``."""
    legal: NDArray[np.bool_]
    """``[B, A]`` of these states."""
    outcome: NDArray[np.float32]
    """``[B]`` of these states, for the player about to move; NaN while the game goes on."""
    to_move: NDArray[np.int8]
    """``[B]`` of these states: 0 or 1."""


class Game(ABC):
    """The rules of a zero-sum game of two players with perfect information and without chance.

    An instance holds rules and no position; it is immutable and may be shared between threads.
    ``Othello(6)`` and ``Othello(8)`` are two instances; equal ``name`` means equal rules.

    Parameters are keyword arguments of ``__init__`` with defaults of type int, float, str or bool,
    so that ``games.make("othello:size=6")`` can set them. The first line of the class's docstring
    describes the game where games are listed (``alphazero games``).
    """

    name: str
    """The text from which ``games.make`` builds this instance, including all parameters.

    ``"othello:size=6"``; for a game outside the registry ``"package.module:Class"``. It is stored
    in checkpoints and sent to other processes.
    """
    num_actions: int
    """``A``, the number of actions, at least 1; the network has one policy output for each."""
    observation_shape: tuple[int, int, int]
    """``(C, H, W)`` of one observation, each at least 1."""
    max_plies: int
    """An upper bound on the number of moves in a game, of both players and including passes."""
    dtype: np.dtype
    """The dtype of one state: a record with named fields, without padding or Python objects.

    ``np.dtype([("cells", "i1", (9,))])``. Search copies and stores many states: keep it small.
    """

    @abstractmethod
    def initial(self, batch: int) -> States:
        """``batch`` copies of the starting position, player 0 to move; a new array in each call."""

    @abstractmethod
    def legal(self, states: States) -> NDArray[np.bool_]:
        """``bool [B, A]``, True where an action is allowed.

        A row is all False exactly if that game is over, that is, if ``outcome`` is not NaN. If a
        player may have no move while the game goes on, passing must be an action.
        """

    @abstractmethod
    def step(self, states: States, actions: NDArray[np.integer]) -> States:
        """``[B]``: the states after ``actions [B]``, one action per state.

        Pure: a new array, every byte of it written. The result for an illegal action, or in a
        finished game, is undefined; callers pass legal ones.
        """

    @abstractmethod
    def outcome(self, states: States) -> NDArray[np.float32]:
        """``float32 [B]``: +1, 0 or -1 for the player about to move; NaN while the game goes on.

        In a finished game that is the player who would move next: -1 if the last move won.
        """

    @abstractmethod
    def to_move(self, states: States) -> NDArray[np.int8]:
        """``int8 [B]``: 0 if the player who began is about to move, 1 if it is the other player.

        In a finished game: the player who would move next.
        """

    @abstractmethod
    def observe(self, states: States) -> NDArray[np.float32]:
        """``float32 [B, C, H, W]``: the network's input, from the mover's point of view.

        The numbers are finite, about 0 to 1. The mover's pieces are in the same planes for both
        players, so that one network plays both sides; commonly plane 0 has the mover's pieces and
        plane 1 the opponent's.
        """

    def advance(self, states: States, actions: NDArray[np.integer]) -> Transition:
        """``step``, then ``legal``, ``outcome`` and ``to_move`` of its result, in new arrays.

        Searches call it for all new nodes of a batch. The default calls the four methods; a game
        whose methods are compiled can save time with one compiled function for all of them.
        """
        after = self.step(states, actions)
        return Transition(after, self.legal(after), self.outcome(after), self.to_move(after))

    def symmetries(self) -> list[Symmetry]:
        """The symmetries of the rules, the identity first; training data is augmented with them.

        They form a group: applying one after another is again a symmetry in the list. The default
        is the identity alone, which is always right.
        """
        _, height, width = self.observation_shape
        return [(np.arange(height * width), np.arange(self.num_actions))]

    @abstractmethod
    def render(self, state: np.void) -> str:
        """A multi-line drawing of one state (``states[i]``) for people, with coordinates.

        ``X`` stands for player 0, who began, ``O`` for player 1, whichever player is about to move.
        """

    def action_to_text(self, action: int) -> str:
        """The action in the usual notation of this game; by default a number from 1 to ``A``."""
        return str(action + 1)

    def text_to_action(self, text: str) -> int:
        """The inverse of ``action_to_text``; spaces around ``text`` do not matter.

        ``ValueError``, one line that explains what would be right, if no action has this text. The
        method does not check whether the action is legal in a position.
        """
        by_text = {self.action_to_text(action): action for action in range(self.num_actions)}
        key = text.strip()
        if key not in by_text:
            first, last = self.action_to_text(0), self.action_to_text(self.num_actions - 1)
            raise ValueError(f"{key!r} is not a move here; moves run from {first} to {last}")
        return by_text[key]

    @property
    def max_legal(self) -> int:
        """The largest number of legal actions in any position; by default ``num_actions``.

        Stored policies and search trees have room for so many moves: state it where it is much
        smaller than ``num_actions``.
        """
        return self.num_actions

    def identity(self, states: States) -> NDArray[np.uint8]:
        """``uint8 [B, K]``: what ``legal``, ``observe`` and the rest of the game depend on.

        Positions with equal rows share an entry of a cache. The default is all bytes of the state;
        a game whose states count plies, for example, leaves the count out.
        """
        states = np.ascontiguousarray(states)
        return states.view(np.uint8).reshape(len(states), self.dtype.itemsize)

    def adjudicate(self, states: States) -> NDArray[np.float32]:
        """``float32 [B]``: the results of unfinished games that have reached ``max_plies``.

        +1, 0 or -1 for the player about to move; by default every such game is a draw.
        """
        return np.zeros(len(states), np.float32)

    def result(self, states: States, plies: NDArray[np.integer] | int) -> NDArray[np.float32]:
        """``float32 [B]``: ``outcome``, and for games of ``max_plies`` or more plies a result.

        ``plies [B]`` moves have been played. Games that go on are NaN. Not to be overridden.
        """
        outcome = self.outcome(states)
        cut = np.isnan(outcome) & (np.asarray(plies) >= self.max_plies)
        if cut.any():
            outcome[cut] = self.adjudicate(states[cut])
        return outcome

    def final_ownership(self, states: States) -> NDArray[np.float32] | None:
        """``float32 [B, H * W]``: who owns each cell in finished games, for the player to move.

        +1 the player about to move, -1 the other, 0 neither. None, the default: the game has no
        such thing. A network can learn it as an auxiliary target.
        """
        return None

    def final_score(self, states: States) -> NDArray[np.float32] | None:
        """``float32 [B]`` in [-1, 1]: the margin of finished games, for the player to move.

        As a share of the largest possible margin. None, the default: the game has no such thing.
        """
        return None

    def __repr__(self) -> str:
        return f"<game {self.name}>"
