"""Self-play: groups of games that move together, each game with its own randomness."""

from collections.abc import Generator, Iterator

import numpy as np
from numpy.typing import NDArray

from alphazero.config import SelfPlaySettings
from alphazero.evaluators import random_actions
from alphazero.types import Evaluation, GameRecord, Search, SearchResult, Stream
from games.base import Game, States

# Attributes of a GameGroup that make up its state; their names are keys in checkpoints.
_HISTORY = ("_actions", "_states", "_policy", "_value")
_COUNTERS = ("_ids", "_versions", "_plies", "_opening", "_hopeless", "_may_resign", "_current")


class GameGroup:
    """``settings.games`` games that move together, so that their searches share batches.

    Where a game ends, the next one begins. A game is a function of ``(seed, game_id)`` and of its
    evaluations; the other games of the group have no influence on it.
    """

    def __init__(
        self,
        game: Game,
        search: Search,
        settings: SelfPlaySettings,
        seed: int,
        game_ids: Iterator[int],
    ):
        """``game_ids`` must never end; no two groups of a run may have an id in common."""
        self._game, self._search, self._settings = game, search, settings
        self._seed, self._game_ids, self._started = seed, game_ids, 0
        batch, plies, actions = settings.games, game.max_plies, game.num_actions
        self._current = game.initial(batch)
        self._actions = np.zeros((batch, plies), np.int16)
        self._states = np.zeros((batch, plies), game.dtype)
        self._policy = np.zeros((batch, plies, actions), np.float16)
        self._value = np.zeros((batch, plies), np.float16)
        self._ids = np.zeros(batch, np.int64)
        self._versions = np.zeros(batch, np.int64)
        self._plies = np.zeros(batch, np.int64)
        self._opening = np.zeros(batch, np.int64)
        # Each player's own moves in a row whose value was below minus resign_value.
        self._hopeless = np.zeros((batch, 2), np.int64)
        self._may_resign = np.zeros(batch, np.bool_)
        self._rngs: list[np.random.Generator] = [np.random.default_rng(0)] * batch
        for i in range(batch):
            self._start(i)

    def move(self) -> Generator[States, Evaluation, list[GameRecord]]:
        """Play one ply in every game: yields states to evaluate, returns the games that ended."""
        result = yield from self._search(self._game, self._current, self._rngs, self._temperature())
        rows = np.arange(len(self._current))
        self._actions[rows, self._plies] = result.action
        self._states[rows, self._plies] = self._current
        self._policy[rows, self._plies] = result.policy
        self._value[rows, self._plies] = result.value
        self._plies += 1
        np.minimum(self._versions, result.version, out=self._versions)
        mover = self._game.to_move(self._current)
        adjudicated = self._adjudicated(mover, result)
        self._current = self._game.step(self._current, result.action)
        outcome = self._game.outcome(self._current)
        same = self._game.to_move(self._current) == mover
        adjudicated = np.where(same, adjudicated, -adjudicated)  # now for the player to move
        outcome = np.where(np.isnan(outcome), adjudicated, outcome)
        over = np.flatnonzero(~np.isnan(outcome))
        return [self._finish(int(i), float(outcome[i])) for i in over]

    def state(self) -> dict:
        """All that ``restore`` needs to continue bit for bit, as bytes and plain values."""
        arrays = {name: getattr(self, name).tobytes() for name in _HISTORY + _COUNTERS}
        rngs = [rng.bit_generator.state for rng in self._rngs]
        return {"started": self._started, "rngs": rngs, "arrays": arrays}

    def restore(self, state: dict) -> None:
        """Continue from the ``state()`` of a group with the same game and settings.

        ``ValueError`` where sizes differ. The ids that the other group had used are drawn from
        ``game_ids`` and skipped.
        """
        for name, stored in state["arrays"].items():
            array = getattr(self, name)
            if len(stored) != array.nbytes:
                raise ValueError(
                    f"self-play state: {name[1:]} has {len(stored)} bytes, these settings need "
                    f"{array.nbytes}; resume with the game and selfplay settings of the run"
                )
            array[...] = np.frombuffer(stored, array.dtype).reshape(array.shape)
        for rng, stored in zip(self._rngs, state["rngs"], strict=True):
            rng.bit_generator.state = stored
        while self._started < state["started"]:
            next(self._game_ids)
            self._started += 1

    def _temperature(self) -> NDArray[np.float32]:
        """``[B]``, by each game's ply."""
        settings = self._settings
        early = self._plies < settings.temperature_plies
        return np.where(early, settings.temperature, settings.final_temperature).astype(np.float32)

    def _adjudicated(self, mover: NDArray[np.int8], result: SearchResult) -> NDArray[np.float32]:
        """``[B]``: the results, for the mover, of the games that end early; NaN for the others.

        A game ends early where its result is proven, or where the mover resigns: the values of two
        own moves in a row were below minus ``resign_value``.
        """
        settings = self._settings
        stop = np.zeros(len(mover), np.bool_)
        if settings.stop_when_proven and result.proven is not None:
            stop = result.proven
        adjudicated = np.where(stop, result.value, np.float32(np.nan))
        if settings.resign_value is not None:
            rows, low = np.arange(len(mover)), result.value < -settings.resign_value
            self._hopeless[rows, mover] = np.where(low, self._hopeless[rows, mover] + 1, 0)
            resigned = self._may_resign & (self._hopeless[rows, mover] >= 2)
            adjudicated[resigned & ~stop] = -1
        return adjudicated

    def _start(self, i: int) -> None:
        """Begin the next game at index ``i``, with its random opening."""
        game_id = next(self._game_ids)
        self._started += 1
        rng = np.random.default_rng([self._seed, Stream.GAME, game_id])
        opening = random_opening(self._game, self._settings.random_opening_plies, rng)
        self._rngs[i], self._ids[i] = rng, game_id
        self._current[i : i + 1] = self._game.initial(1)
        for ply, action in enumerate(opening):
            self._actions[i, ply] = action
            self._current[i : i + 1] = self._game.step(self._current[i : i + 1], np.array([action]))
        self._plies[i] = self._opening[i] = len(opening)
        self._versions[i], self._hopeless[i] = np.iinfo(np.int64).max, 0
        self._may_resign[i] = rng.random() >= self._settings.resign_disabled_fraction

    def _finish(self, i: int, outcome: float) -> GameRecord:
        """The record of the game at index ``i``, where the next one begins.

        ``outcome`` is for the player to move in the last position.
        """
        played, recorded = slice(0, self._plies[i]), slice(self._opening[i], self._plies[i])
        states = self._states[i, recorded].copy()
        same = self._game.to_move(states) == self._game.to_move(self._current[i : i + 1])
        record = GameRecord(
            game_id=int(self._ids[i]),
            version=int(self._versions[i]),
            actions=self._actions[i, played].copy(),
            states=states,
            policy=self._policy[i, recorded].copy(),
            value=self._value[i, recorded].copy(),
            outcome=np.where(same, outcome, -outcome).astype(np.float32),
        )
        self._start(i)
        return record


def random_opening(game: Game, plies: int, rng: np.random.Generator) -> list[int]:
    """Uniformly random actions from the initial position that do not finish the game.

    Their number is drawn first, 0 to ``plies``, each equally likely. An opening that finishes the
    game is drawn again.
    """
    length = rng.integers(plies + 1)
    while True:
        state, actions = game.initial(1), []
        for _ in range(length):
            action = random_actions(game.legal(state), rng)
            state = game.step(state, action)
            actions.append(int(action[0]))
            if not np.isnan(game.outcome(state)[0]):
                break
        else:
            return actions
