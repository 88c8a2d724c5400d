"""Tiny games with known values or special rules, for tests of searches and of the contract."""

from functools import cache
from itertools import count

import numpy as np

from games.base import Game, States
from games.drawing import Cell, Drawing


class OneMove(Game):
    """One move ends the game; ``results[a]`` in {-1, 0, 1} is the result for its mover."""

    observation_shape = (1, 1, 1)
    max_plies = 1
    dtype = np.dtype([("played", "i1")])

    def __init__(self, results):
        self.name = "one_move"
        self.results = np.array(results, np.float32)
        self.num_actions = len(results)

    def initial(self, batch: int) -> States:
        return np.full(batch, -1, self.dtype)

    def legal(self, states: States) -> np.ndarray:
        return np.repeat((states["played"] < 0)[:, None], self.num_actions, axis=1)

    def step(self, states: States, actions: np.ndarray) -> States:
        return np.asarray(actions).astype(np.int8).view(self.dtype)

    def outcome(self, states: States) -> np.ndarray:
        # Adding zero turns -0 into 0.
        over = states["played"] >= 0
        return np.where(over, 0 - self.results[states["played"]], np.nan).astype(np.float32)

    def to_move(self, states: States) -> np.ndarray:
        return (states["played"] >= 0).astype(np.int8)

    def observe(self, states: States) -> np.ndarray:
        return np.zeros((len(states), 1, 1, 1), np.float32)

    def render(self, state: np.void) -> str:
        return str(state["played"])


class DoubleNim(Game):
    """Take one, two or three stones; after taking two move again; taking the last stone wins.

    Turns do not alternate, and the winner of a finished game may be the player to move.
    """

    name = "double_nim"
    num_actions = 3
    observation_shape = (1, 1, 1)
    max_plies = 40
    dtype = np.dtype([("stones", "i1"), ("player", "i1"), ("moved", "i1")])
    """``player`` moves next, ``moved`` moved last."""

    def piles(self, *stones: int) -> States:
        return np.array([(pile, 0, 0) for pile in stones], self.dtype)

    def initial(self, batch: int) -> States:
        return self.piles(*[15] * batch)

    def legal(self, states: States) -> np.ndarray:
        return states["stones"][:, None] >= np.arange(1, 4)

    def step(self, states: States, actions: np.ndarray) -> States:
        after = states.copy()
        after["stones"] -= np.asarray(actions).astype(np.int8) + 1
        after["moved"] = states["player"]
        after["player"] ^= (np.asarray(actions) != 1).astype(np.int8)
        return after

    def outcome(self, states: States) -> np.ndarray:
        result = np.where(states["player"] == states["moved"], 1, -1)
        return np.where(states["stones"] > 0, np.nan, result).astype(np.float32)

    def to_move(self, states: States) -> np.ndarray:
        return states["player"].copy()

    def observe(self, states: States) -> np.ndarray:
        return states["stones"].astype(np.float32).reshape(-1, 1, 1, 1)

    def render(self, state: np.void) -> str:
        return str(state["stones"])


@cache
def double_nim_values(stones: int) -> tuple[int, ...]:
    """The results for the mover of taking 1, 2 or 3 of ``stones``, under best play."""
    values = []
    for taken in range(1, min(stones, 3) + 1):
        again = 1 if taken == 2 else -1
        rest = stones - taken
        values.append(1 if rest == 0 else again * max(double_nim_values(rest)))
    return tuple(values)


class Tug(Game):
    """A token on five squares; each move pulls it one square, and good play never ends.

    Player 0 wins at the right end, player 1 at the left. Action 0 pulls towards the mover's own
    end, action 1 away from it.
    """

    name = "made_up_games:Tug"
    num_actions = 2
    observation_shape = (1, 1, 5)
    max_plies = 13
    dtype = np.dtype([("at", "i1"), ("player", "i1")])

    def initial(self, batch: int) -> States:
        return np.array([(2, 0)] * batch, self.dtype)

    def legal(self, states: States) -> np.ndarray:
        return np.repeat(np.isnan(self.outcome(states))[:, None], 2, axis=1)

    def step(self, states: States, actions: np.ndarray) -> States:
        after = states.copy()
        right = (np.asarray(actions) == 0) == (states["player"] == 0)
        after["at"] += np.where(right, 1, -1).astype(np.int8)
        after["player"] = 1 - states["player"]
        return after

    def outcome(self, states: States) -> np.ndarray:
        won = np.where((states["at"] == 4) == (states["player"] == 0), 1, -1)
        at_end = (states["at"] == 0) | (states["at"] == 4)
        return np.where(at_end, won, np.nan).astype(np.float32)

    def to_move(self, states: States) -> np.ndarray:
        return states["player"].copy()

    def observe(self, states: States) -> np.ndarray:
        own = np.where(states["player"] == 0, states["at"], 4 - states["at"])
        return (np.arange(5) == own[:, None]).astype(np.float32)[:, None, None, :]

    def render(self, state: np.void) -> str:
        return "." * int(state["at"]) + "T" + "." * (4 - int(state["at"]))


class LargeTug(Tug):
    """The same with numbers of actions that 16 bits with a sign cannot hold: 39,998 and 39,999."""

    name = "made_up_games:LargeTug"
    num_actions = 40_000
    max_legal = 2

    def legal(self, states: States) -> np.ndarray:
        legal = np.zeros((len(states), self.num_actions), np.bool_)
        legal[:, -2:] = super().legal(states)
        return legal

    def step(self, states: States, actions: np.ndarray) -> States:
        return super().step(states, np.asarray(actions) - (self.num_actions - 2))


class TugNearerEnd(Tug):
    """The same, but at ``max_plies`` the player to whose end the token is nearer has won."""

    name = "made_up_games:TugNearerEnd"

    def adjudicate(self, states: States) -> np.ndarray:
        for_first = np.sign(states["at"] - 2)
        return np.where(states["player"] == 0, for_first, -for_first).astype(np.float32)


class CountedTug(Tug):
    """The same with a count of plies in the state, on which nothing depends.

    ``identity`` leaves the count out, so that positions reached on paths of two lengths are one.
    """

    name = "made_up_games:CountedTug"
    dtype = np.dtype([("at", "i1"), ("player", "i1"), ("plies", "u1")])

    def initial(self, batch: int) -> States:
        return np.array([(2, 0, 0)] * batch, self.dtype)

    def step(self, states: States, actions: np.ndarray) -> States:
        after = super().step(states, actions)
        after["plies"] += 1
        return after

    def identity(self, states: States) -> np.ndarray:
        return np.stack([states["at"], states["player"]], axis=1).view(np.uint8)


class ClockedTug(CountedTug):
    """BROKEN: the token's carrier wins after ten plies, and ``identity`` leaves the count out."""

    name = "made_up_games:ClockedTug"

    def outcome(self, states: States) -> np.ndarray:
        outcome = super().outcome(states)
        return np.where(np.isnan(outcome) & (states["plies"] >= 10), np.float32(-1), outcome)


class StakedTug(CountedTug):
    """BROKEN: the count, which ``identity`` leaves out, decides what an end by length is worth."""

    name = "made_up_games:StakedTug"

    def adjudicate(self, states: States) -> np.ndarray:
        return np.where(states["plies"] % 4 < 2, 1, -1).astype(np.float32)


class Climb(Game):
    """Up one step or down to any lower one; at height ``h`` there are ``h + 2`` moves.

    Random games stay low, as one move of many leads up. After 30 plies the game is a draw.
    """

    name = "made_up_games:Climb"
    num_actions = 10
    observation_shape = (1, 1, 10)
    max_plies = 30
    dtype = np.dtype([("height", "i1"), ("plies", "i1")])

    def initial(self, batch: int) -> States:
        return np.zeros(batch, self.dtype)

    def legal(self, states: States) -> np.ndarray:
        above = np.arange(10) <= states["height"][:, None] + 1
        return above & (states["plies"] < 30)[:, None]

    def step(self, states: States, actions: np.ndarray) -> States:
        after = np.empty(len(states), self.dtype)
        after["height"], after["plies"] = actions, states["plies"] + 1
        return after

    def outcome(self, states: States) -> np.ndarray:
        return np.where(states["plies"] < 30, np.nan, 0).astype(np.float32)

    def to_move(self, states: States) -> np.ndarray:
        return (states["plies"] % 2).astype(np.int8)

    def observe(self, states: States) -> np.ndarray:
        shown = np.arange(10) == states["height"][:, None]
        return shown.astype(np.float32)[:, None, None, :]

    def render(self, state: np.void) -> str:
        return f"at {state['height']}"


class HighClimb(Climb):
    """BROKEN: states a ``max_legal`` that only games which seek many moves exceed."""

    name = "made_up_games:HighClimb"
    max_legal = 9


class Restless(Tug):
    """BROKEN: every instance has another version of the same rules."""

    name = "made_up_games:Restless"
    _instances = count()

    def __init__(self):
        self.rules_version = str(next(self._instances))


class Rosette(Game):
    """Two pieces on seven hexagons; a move leads to a neighbour, and onto the other piece wins.

    A turn may be passed, so that play need not end. Cell 0 is the centre, 1 to 6 are around it.
    Action ``7 * start + goal`` is a move, 49 a pass.
    """

    name = "made_up_games:Rosette"
    num_actions = 50
    max_legal = 7
    observation_shape = (2, 1, 7)
    max_plies = 20
    dtype = np.dtype([("mine", "i1"), ("theirs", "i1"), ("player", "i1")])
    """The cells of the pieces; ``mine`` is -1 for a mover whose piece has been taken."""
    neighbours = np.array(
        [
            [a != b and (0 in (a, b) or abs(a - b) in (1, 5)) for b in range(7)]
            for a in range(7)
        ]
    )  # fmt: skip

    def initial(self, batch: int) -> States:
        return np.array([(1, 4, 0)] * batch, self.dtype)

    def legal(self, states: States) -> np.ndarray:
        start = states["mine"][:, None] == np.arange(7)
        moves = (start[:, :, None] & self.neighbours).reshape(-1, 49)
        return np.column_stack([moves, states["mine"] >= 0])

    def step(self, states: States, actions: np.ndarray) -> States:
        after, goal = np.empty(len(states), self.dtype), np.asarray(actions) % 7
        moved = np.where(np.asarray(actions) == 49, states["mine"], goal)
        after["mine"] = np.where(moved == states["theirs"], -1, states["theirs"])
        after["theirs"], after["player"] = moved, 1 - states["player"]
        return after

    def outcome(self, states: States) -> np.ndarray:
        return np.where(states["mine"] < 0, -1, np.nan).astype(np.float32)

    def to_move(self, states: States) -> np.ndarray:
        return states["player"].copy()

    def observe(self, states: States) -> np.ndarray:
        pieces = np.stack([states["mine"], states["theirs"]], axis=1)[:, :, None]
        return (pieces == np.arange(7)).astype(np.float32)[:, :, None, :]

    def drawing(self, state: np.void, last_action: int | None = None) -> Drawing:
        """Hexagons; a move is two clicks, from where to where."""
        angles = np.arange(6) * np.pi / 3
        places = [(0.0, 0.0), *zip(np.cos(angles).tolist(), np.sin(angles).tolist(), strict=True)]
        mover = int(state["player"])
        players = {int(state["theirs"]): 1 - mover, int(state["mine"]): mover}
        return Drawing(
            cells=tuple(
                Cell(round(x, 3), round(y, 3), "hexagon", players.get(cell))
                for cell, (x, y) in enumerate(places)
            ),
            clicks={action: divmod(action, 7) for action in range(49)},
            named={49: "pass"},
            last=() if last_action in (None, 49) else divmod(last_action, 7),
        )

    def render(self, state: np.void) -> str:
        return self.drawing(state).as_text()


class Race(Game):
    """Two runners on a track of three fields; a move is one or two fields ahead; the first wins.

    Actions are numbered from the mover's side, and the fields ``a`` to ``d`` are the same for both:
    the first player runs from ``a`` to ``d``, the second from ``d`` to ``a``. So the notation of a
    move depends on the position.
    """

    name = "made_up_games:Race"
    num_actions = 2
    observation_shape = (2, 1, 4)
    max_plies = 6
    dtype = np.dtype([("mine", "i1"), ("theirs", "i1"), ("player", "i1")])
    """Fields run by the player about to move, and by the other."""

    def initial(self, batch: int) -> States:
        return np.zeros(batch, self.dtype)

    def legal(self, states: States) -> np.ndarray:
        left = 3 - states["mine"][:, None]
        return (np.arange(1, 3) <= left) & (states["theirs"] < 3)[:, None]

    def step(self, states: States, actions: np.ndarray) -> States:
        after = np.empty(len(states), self.dtype)
        after["theirs"], after["mine"] = states["mine"] + actions + 1, states["theirs"]
        after["player"] = 1 - states["player"]
        return after

    def outcome(self, states: States) -> np.ndarray:
        return np.where(states["theirs"] == 3, -1, np.nan).astype(np.float32)

    def to_move(self, states: States) -> np.ndarray:
        return states["player"].copy()

    def observe(self, states: States) -> np.ndarray:
        planes = [states[name][:, None] == np.arange(4) for name in ("mine", "theirs")]
        return np.stack(planes, axis=1)[:, :, None].astype(np.float32)

    def render(self, state: np.void) -> str:
        return f"{state['mine']} {state['theirs']} {'XO'[state['player']]}"

    def move_to_text(self, state: np.void, action: int) -> str:
        at = int(state["mine"])
        fields = "abcd" if state["player"] == 0 else "dcba"
        return fields[at] + fields[at + action + 1]

    def text_to_move(self, state: np.void, text: str) -> int:
        actions = range(min(2, 3 - int(state["mine"])))
        here = {self.move_to_text(state, action): action for action in actions}
        if text.strip() not in here:
            raise ValueError(
                f"{text.strip()[:9]!r} is not a move here; possible are {' '.join(here)}"
            )
        return here[text.strip()]
