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

**Optional methods.** Each has a default that is right for every game; a game that knows more
overrides it. No author turns boards, flips signs for another player or counts plies:

* ``max_legal``: the most legal actions of any position. Recorded policies have room for so many,
  which matters where there are thousands of actions.
* ``observation_bounds``: the least and the greatest number of an observation; by default 0 and 1.
* ``observe_bytes``: ``observe`` on a GPU, which then needs the states only; the example is
  ``games/gomoku.py``. By default the planes are made on the CPU.
* ``identity``: the part of a state on which everything else depends. Caches and exact solutions use
  it as their key. A state that counts plies for a drawing only leaves the count out.
* ``adjudicate``: the result of a game that reaches ``max_plies``, where the framework ends it in
  self-play, matches, rollouts and solvers alike. By default a draw. ``result`` is ``outcome`` with
  this rule; it is what callers use, and is not overridden.
* ``final_ownership`` and ``final_score``: who owns each cell of a finished board, and by how much
  the game was won. Networks learn them as additional targets. By default there are none.
* ``drawing``: the board as data, for pictures and clicks. By default the text of ``render``.
* ``rules_version``: a text that changes with the rules. By default a digest of a few games.
* ``move_to_text`` and ``text_to_move``: the notation of a move in one position, where it depends on
  the position. Where actions are numbered from the mover's side of the board (chess, Breakthrough),
  the same action is ``e2e4`` for the first player and ``e7e5`` for the second; and in chess it is
  written ``e4``. By default the notation of the action itself.

**Naming conventions** in games and their callers: ``states`` (``[B]``), ``state`` (one record),
``actions`` (``[B]``), ``action`` (an int), ``legal`` (``[B, A]``), ``outcome`` (a fact; a ``value``
is an estimate), ``mover`` (player 0 or 1), ``after`` (the states after a step).

**Errors.** Methods over states need not check their arguments: callers pass legal actions of
unfinished games. Only user input is checked: ``text_to_action`` and ``__init__`` raise
``ValueError`` with one line that explains what would be right.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from games.digest import digest_of_games
from games.drawing import Drawing
from games.spec import nearest

States = np.ndarray
"""``[B]`` records of one game's ``dtype``."""

Symmetry = tuple[NDArray[np.intp], NDArray[np.intp]]
"""One symmetry of the board: ``(cells [H*W], actions [A])``, two permutations used as gathers.

After the symmetry, cell ``i`` (row by row) shows what cell ``cells[i]`` showed before it, and
action ``a`` is what action ``actions[a]`` was: in NumPy ``new = old[cells]``. Example: the mirror
image of a board of one row and three columns whose actions are its columns is
``([2, 1, 0], [2, 1, 0])``.
"""


NEAREST = 5
"""Moves that the message about a text that is none shows."""
LONGEST = 100
"""Characters of that text which it shows, at most."""


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


def as_bytes(states: States) -> NDArray[np.uint8]:
    """``[B, K]``: the bytes of each state; a view where ``states`` are in one piece."""
    states = np.ascontiguousarray(states)
    return states.view(np.uint8).reshape(len(states), states.itemsize)


def _default(compute: Callable[["Game"], Any]) -> Any:
    """An attribute that is computed when it is first read, unless the class or instance sets it."""
    return cached_property(compute)


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
    """The number of moves, of both players and including passes, after which a game is ended.

    An upper bound where the rules end every game. Where play can go round in circles it is the
    author's choice: games as long as this get the result of ``adjudicate``.
    """
    dtype: np.dtype
    """The dtype of one state: a record with named fields, without padding or Python objects.

    ``np.dtype([("cells", "i1", (9,))])``. Search copies and stores many states: keep it small.
    """

    keyless: str = ""
    """The parameter of ``__init__``, a text, that may come first in ``games.make`` without its key.

    Such as ``rules``: ``open_spiel:hex(board_size=5)`` is ``open_spiel:rules=hex(board_size=5)``.
    Its value may be written as a call with arguments of its own, which commas separate.
    """

    observation_bounds: tuple[float, float] = (0.0, 1.0)
    """The least and the greatest number that an observation may hold, as ``(-1.0, 1.0)``.

    Libraries that take the game as an environment are given them as the bounds of its observations.
    """
    max_legal: int = _default(lambda game: game.num_actions)
    """At least the number of legal actions in any position; by default ``num_actions``.

    An int from 1 to ``num_actions``. Recorded policies have room for so many moves: state it where
    it is much smaller than ``num_actions`` and certain. Example: chess has 4,672
    actions in AlphaZero's numbering, and no position has more than 218 moves.
    """
    rules_version: str = _default(lambda game: digest_of_games(game))
    """A text that differs where the rules differ, the same in every process and machine.

    By default 12 hexadecimal digits, a digest of 16 random games drawn from a fixed seed. A change
    of the rules that these games do not meet goes unnoticed: an author who needs more states a
    text, as ``rules_version = "2"``.
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

        The numbers are finite and within ``observation_bounds``. The mover's pieces are in the same
        planes for both players, so that one network plays both sides; commonly plane 0 has the
        mover's pieces and plane 1 the opponent's.
        """

    def observe_bytes(self, constant: Callable[[NDArray], Any]) -> Callable[[Any], Any] | None:
        """``observe`` for states that are on a GPU: a function of their bytes ``uint8 [B, K]``.

        It returns numbers or truth values ``[B, C, H, W]`` that equal ``observe``, and uses nothing
        but indices and operators, which are the same for torch's tensors as for NumPy's arrays.
        ``constant`` moves an array to where the states are, once. None, the default: there is none.
        """
        return None

    def observe_earlier(self, states: States, turned: NDArray[np.bool_]) -> NDArray[np.float32]:
        """``float32 [B, K, H, W]``: earlier positions for the encoder ``history``.

        ``turned [B]``: whether the present mover is the other player. By default ``observe``.
        """
        return self.observe(states)

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
        key = text.strip()
        if key not in self._by_text:
            some = ", ".join(nearest(key[:LONGEST], self._by_text, NEAREST))
            raise ValueError(f"{key[:LONGEST]!r} is not a move here; the nearest are {some}")
        return self._by_text[key]

    def move_to_text(self, state: np.void, action: int) -> str:
        """The legal ``action`` of ``state`` in the notation of this game's players.

        By default ``action_to_text``. Two legal actions of a state never have the same text.
        """
        return self.action_to_text(action)

    def text_to_move(self, state: np.void, text: str) -> int:
        """The inverse of ``move_to_text``: the action that ``text`` names in ``state``.

        Errors as in ``text_to_action``; whether the action is legal is not checked.
        """
        return self.text_to_action(text)

    @cached_property
    def _by_text(self) -> dict[str, int]:
        """Every action by its text: made once, as a game may have 100,000 of them."""
        return {self.action_to_text(action): action for action in range(self.num_actions)}

    def identity(self, states: States) -> NDArray[np.uint8]:
        """``uint8 [B, K]``: what everything about a position depends on, ``K`` bytes.

        Positions with equal rows have equal ``legal``, ``observe``, ``outcome``, ``to_move`` and,
        where they apply, ``adjudicate``, ``final_ownership`` and ``final_score``; so have those
        that equal moves lead to. They share an entry in caches and in solutions. The default is all
        bytes of the state, which is always right. Example: a state that counts plies, in a game
        whose rules do not depend on the count, leaves it out.
        """
        return as_bytes(states)

    def adjudicate(self, states: States) -> NDArray[np.float32]:
        """``float32 [B]``: the results of unfinished games that have reached ``max_plies``.

        +1, 0 or -1 for the player about to move; by default every such game is a draw. It must
        work on every unfinished position. Example: the majority of the discs on the board.
        """
        return np.zeros(len(states), np.float32)

    def result(self, states: States, plies: NDArray[np.integer] | int) -> NDArray[np.float32]:
        """``float32 [B]``: ``outcome``, and for games of ``max_plies`` or more plies a result.

        For the player about to move; NaN where the game goes on. ``plies [B]``, or one number for
        all, is how many moves have been played. Not to be overridden.
        """
        outcome = self.outcome(states)
        long = np.asarray(plies) >= self.max_plies
        if long.any():
            cut = np.isnan(outcome) & long
            outcome[cut] = self.adjudicate(states[cut])
        return outcome

    def final_ownership(self, states: States) -> NDArray[np.float32] | None:
        """``float32 [B, H * W]``: who owns each cell of finished games, for the player to move.

        +1 the player about to move, -1 the other, 0 neither; cells row by row as in ``observe``,
        so that symmetries turn both alike. The framework turns it for the mover of an earlier
        position, and masks it in games that the rules did not finish. None, the default, for every
        batch: the game has no such thing. Undefined in unfinished positions.
        """
        return None

    def final_score(self, states: States) -> NDArray[np.float32] | None:
        """``float32 [B]`` in [-1, 1]: the margin of finished games, for the player to move.

        As a share of the largest possible margin. It refines the outcome, so its sign is that of
        ``outcome``: a game whose result can differ from its count of points has no score. None,
        the default, for every batch: the game has no such thing. Undefined in unfinished positions.
        """
        return None

    def drawing(self, state: np.void, last_action: int | None = None) -> Drawing:
        """The board as data, see ``games.drawing``: cells, pieces, the cells to click per action.

        ``last_action`` is the action that led to ``state``, or None where it is not known; its
        cells are marked. Every action, legal or not, has cells to click or a name. The default is
        the text of ``render`` without cells, and the notation of every action as its name.
        """
        named = {action: self.action_to_text(action) for action in range(self.num_actions)}
        return Drawing(cells=(), clicks={}, named=named, text=self.render(state))

    def __repr__(self) -> str:
        return f"<game {self.name}>"
