"""Self-play: groups of games that move together, each game with its own randomness."""

import itertools
from collections.abc import Generator, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alphazero import records
from alphazero.evaluators import random_actions
from alphazero.rebuilding import IllegalMove, Running, find_problem_of_running, play_again
from alphazero.search import continues_trees
from alphazero.search.conclusion import merge
from alphazero.selfplay_settings import SelfPlaySettings
from alphazero.types import (
    Ending,
    Evaluation,
    GameRecord,
    Kept,
    Search,
    SearchResult,
    SearchSteps,
    Stream,
)
from games.base import Game, States

# Attributes of a GameGroup whose arrays make up its state; their names are keys in checkpoints.
_COUNTERS = ("_ids", "_versions", "_plies", "_opening", "_hopeless", "_may_resign", "_current")
_LAYOUT = 2
"""The version of a group's state. In version 1, which has no such key, the arrays had room for
``max_plies`` plies and a column each for states, dense policies and values."""
FIRST_PLIES = 64
"""Plies for which a group has room at first; twice as many each time that a game is longer."""
MOST_GAMES = 10**9
"""Games that a group begins in a run, at most; a thousand a second for eleven days."""
OPENING_TRIES, _PROBED = 100, 1000
"""Random openings that may finish the game before a shorter one is taken; random games from which
the lengths of openings are estimated."""


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
        if settings.fast_fraction:
            leaves = getattr(search, "leaves", 1)  # a search of the user's own may have none
            self._fast_search = search.without_noise(settings.fast_simulations, leaves=leaves)
        self._seed, self._game_ids, self._started = seed, game_ids, 0
        batch, plies = settings.games, min(game.max_plies, FIRST_PLIES)
        self._current = game.initial(batch)
        self._actions = np.zeros((batch, plies), np.int32)
        self._rows = np.zeros((batch, plies), records.row(game))
        self._ids = np.zeros(batch, np.int64)
        self._versions = np.zeros(batch, np.int64)
        self._plies = np.zeros(batch, np.int64)
        self._opening = np.zeros(batch, np.int64)
        # Each player's own moves in a row whose value was below minus resign_value.
        self._hopeless = np.zeros((batch, 2), np.int64)
        self._may_resign = np.zeros(batch, np.bool_)
        self._rngs: list[np.random.Generator] = [np.random.default_rng(0)] * batch
        self._kept: list[Kept | None] = [None] * batch  # of each game the tree of its last search
        self._reuses_tree = settings.reuse_tree and continues_trees(search)
        for i in range(batch):
            self._start(i)

    def move(self) -> Generator[States, Evaluation, list[GameRecord]]:
        """Play one ply in every game: yields states to evaluate, returns the games that ended."""
        fast = self._draw_fast()
        result = yield from self._searching(fast)
        self._record(result, fast)
        np.minimum(self._versions, result.version, out=self._versions)
        mover = self._game.to_move(self._current)
        early, ending = self._early_results(mover, result)
        self._current = self._game.step(self._current, result.action)
        outcome = self._game.outcome(self._current)
        ending[~np.isnan(outcome)] = Ending.RULES
        same = self._game.to_move(self._current) == mover
        early = np.where(same, early, -early)  # now for the player to move
        outcome = np.where(np.isnan(outcome), early, outcome)
        long = np.isnan(outcome) & (self._plies >= self._game.max_plies)
        if long.any():
            outcome[long], ending[long] = self._game.adjudicate(self._current[long]), Ending.LENGTH
        over = np.flatnonzero(~np.isnan(outcome))
        return [self._finish(int(i), float(outcome[i]), Ending(ending[i])) for i in over]

    def state(self) -> dict:
        """All that ``restore`` needs to continue bit for bit, as bytes and plain values.

        Of the history only what a record will hold, so that a restored group has the same state.
        Trees are not in it: the next search of each game begins a new one.
        """
        self._kept = [None] * len(self._kept)
        played, recorded = self._masks()
        arrays = {name: getattr(self, name).tobytes() for name in _COUNTERS}
        arrays["_actions"] = self._actions[played].tobytes()
        arrays["_rows"] = self._rows[recorded].tobytes()
        # Training states cannot hold empty bytes; ``restore`` takes a missing array as empty.
        arrays = {name: stored for name, stored in arrays.items() if stored}
        rngs = [rng.bit_generator.state for rng in self._rngs]
        return {"layout": _LAYOUT, "started": self._started, "rngs": rngs, "arrays": arrays}

    def restore(self, state: dict) -> None:
        """Continue from the ``state()`` of a group with the same game and settings.

        ``ValueError`` where sizes differ, or where the games contradict the rules: they are played
        again. The ids that the other group had used are drawn from ``game_ids`` and skipped. States
        of earlier versions are converted.
        """
        arrays = state["arrays"]
        for name in _COUNTERS:
            array = getattr(self, name)
            array[...] = _array(arrays, name, array.dtype, array.size).reshape(array.shape)
        plies, opening = self._plies, self._opening
        # Before there is room for so many.
        if not ((opening >= 0) & (opening <= plies) & (plies < self._game.max_plies)).all():
            raise ValueError("self-play state: a game has an impossible number of plies")
        ids = self._ids
        if len(np.unique(ids)) < len(ids) or min(ids.min(), self._versions.min()) < 0:
            raise ValueError("self-play state: a game has an impossible id or version")
        if not 0 <= state["started"] <= MOST_GAMES:
            raise ValueError("self-play state: an impossible number of games was begun")
        if (layout := state.get("layout", 1)) not in (1, _LAYOUT):
            raise ValueError(f"self-play state: layout {layout!r:.40} is not known here")
        if layout == 1:
            try:
                actions, rows = self._history_of_layout_1(arrays)
            except IllegalMove as error:
                raise ValueError(f"self-play state: {error}") from None
        else:
            actions = _array(arrays, "_actions", np.int32, self._plies.sum())
            positions = (self._plies - self._opening).sum()
            rows = _array(arrays, "_rows", self._rows.dtype, positions)
        self._make_room(int(self._plies.max()))
        played, recorded = self._masks()
        self._actions[played], self._rows[recorded] = actions, rows
        running = Running(self._current, plies, self._actions, self._rows, recorded)
        if problem := find_problem_of_running(self._game, running):
            raise ValueError(f"self-play state: {problem}")
        self._kept = [None] * len(self._kept)
        for rng, stored in zip(self._rngs, state["rngs"], strict=True):
            rng.bit_generator.state = stored
        behind = max(0, state["started"] - self._started)
        self._started += behind
        next(itertools.islice(self._game_ids, behind, behind), None)  # skips so many, quickly

    def _draw_fast(self) -> NDArray[np.bool_]:
        """``[B]``: whether each game's next move is fast, drawn from the game's own generator."""
        fraction = self._settings.fast_fraction
        if not fraction:
            return np.zeros(len(self._rngs), np.bool_)
        return np.array([rng.random() < fraction for rng in self._rngs])

    def _searching(self, fast: NDArray[np.bool_]) -> SearchSteps:
        """Search all current positions: first those of the ``fast [B]`` moves, then the others."""
        if not fast.any():
            return (yield from self._search_rows(self._search, np.arange(len(fast)), fast))
        parts = [np.flatnonzero(part) for part in (fast, ~fast) if part.any()]
        results = []
        for rows in parts:
            search = self._fast_search if fast[rows[0]] else self._search
            results.append((yield from self._search_rows(search, rows, fast)))
        return merge(results, parts)

    def _search_rows(
        self, search: Any, rows: NDArray[np.intp], fast: NDArray[np.bool_]
    ) -> SearchSteps:
        """Search the games ``rows``, with their trees where it takes them, and keep the new trees.

        ``Search`` does not name ``kept``: a search need not have it.
        """
        rngs = [self._rngs[i] for i in rows.tolist()]
        kept = {"kept": [self._kept[i] for i in rows.tolist()]} if self._reuses_tree else {}
        temperature = self._temperature(fast)[rows]
        result = yield from search(self._game, self._current[rows], rngs, temperature, **kept)
        self._keep_trees(result, rows)
        return result

    def _record(self, result: SearchResult, fast: NDArray[np.bool_]) -> None:
        """Write one ply into every game: its action, and the row of its position."""
        self._make_room(int(self._plies.max()) + 1)
        here = np.arange(len(self._current)), self._plies
        self._actions[here] = result.action
        rows = records.of_search(self._game, self._current, result)
        records.leave_untrained(rows, fast)
        records.as_items(self._rows)[here] = records.as_items(rows)
        self._plies += 1

    def _make_room(self, plies: int) -> None:
        """Enlarge the history to at least ``plies`` plies: twice as many, at most ``max_plies``."""
        room = self._actions.shape[1]
        if plies > room:
            more = max(plies, min(2 * room, self._game.max_plies)) - room
            self._actions = np.pad(self._actions, ((0, 0), (0, more)))
            empty = np.zeros((len(self._rows), more), self._rows.dtype)
            self._rows = np.concatenate([self._rows, empty], axis=1)

    def _masks(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which places of the history are moves of the current games, and which are recorded."""
        ply = np.arange(self._actions.shape[1])
        played = ply < self._plies[:, None]
        return played, played & (ply >= self._opening[:, None])

    def _history_of_layout_1(self, arrays: dict[str, bytes]) -> tuple[NDArray, NDArray]:
        """The actions and rows of a state of the first layout, as ``restore`` needs them.

        Positions and legal moves are those of the moves: what is stored may be anything.
        """
        game, shape = self._game, (len(self._plies), self._game.max_plies)

        def column(name: str, dtype: Any, *more: int) -> NDArray:
            size = int(np.prod((*shape, *more)))
            return _array(arrays, name, dtype, size).reshape(*shape, *more)

        self._make_room(game.max_plies)
        played, recorded = self._masks()
        rows = np.zeros(shape, records.row(game))
        policy = column("_policy", np.float16, game.num_actions)
        actions, states = column("_actions", np.int16), game.initial(len(self._plies))
        for ply, playing, current, legal in play_again(game, states, self._plies, actions):
            here = playing, ply
            rows["state"][here] = current
            packed = records.pack_policy(game, legal, policy[here])
            rows["policy_action"][here], rows["policy_weight"][here] = packed
        rows["value"] = column("_value", np.float16)
        rows["outcome"] = np.nan
        return actions[played], rows[recorded]

    def _keep_trees(self, result: SearchResult, rows: NDArray[np.intp]) -> None:
        """Keep the trees of the games ``rows`` for the next ply, with the moves that are played."""
        if self._reuses_tree:
            tree, moves = result.tree, result.action.tolist()
            for i, (row, action) in enumerate(zip(rows.tolist(), moves, strict=True)):
                self._kept[row] = None if tree is None else Kept(tree, i, (action,))

    def _temperature(self, fast: NDArray[np.bool_]) -> NDArray[np.float32]:
        """``[B]``, by each game's ply; lower where the move is one of ``fast [B]``."""
        settings = self._settings
        early = self._plies < settings.temperature_plies
        chosen = np.where(early, settings.temperature, settings.final_temperature)
        lower = np.minimum(chosen, settings.fast_temperature)
        return np.where(fast, lower, chosen).astype(np.float32)

    def _early_results(
        self, mover: NDArray[np.int8], result: SearchResult
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """``[B]``: the results, for the mover, of the games that end early, and why; NaN elsewhere.

        A game ends early where its result is proven, or where the mover resigns: the values of two
        own moves in a row were below minus ``resign_value``.
        """
        settings = self._settings
        stop = np.zeros(len(mover), np.bool_)
        if settings.stop_when_proven and result.proven is not None:
            stop = result.proven
        results = np.where(stop, result.value, np.float32(np.nan))
        ending = np.full(len(mover), Ending.PROVEN, np.int64)
        if settings.resign_value is not None:
            rows, low = np.arange(len(mover)), result.value < -settings.resign_value
            self._hopeless[rows, mover] = np.where(low, self._hopeless[rows, mover] + 1, 0)
            resigned = self._may_resign & (self._hopeless[rows, mover] >= 2) & ~stop
            results[resigned], ending[resigned] = -1, Ending.RESIGNED
        return results, ending

    def _start(self, i: int) -> None:
        """Begin the next game at index ``i``, with its random opening."""
        game_id = next(self._game_ids)
        self._started += 1
        rng = np.random.default_rng([self._seed, Stream.GAME, game_id])
        opening, after = random_opening(self._game, self._settings.random_opening_plies, rng)
        self._rngs[i], self._ids[i] = rng, game_id
        self._current[i : i + 1] = after
        self._make_room(len(opening))
        self._actions[i, : len(opening)] = opening
        self._plies[i] = self._opening[i] = len(opening)
        self._versions[i], self._hopeless[i] = np.iinfo(np.int64).max, 0
        self._kept[i] = None
        self._may_resign[i] = rng.random() >= self._settings.resign_disabled_fraction

    def _finish(self, i: int, outcome: float, ending: Ending) -> GameRecord:
        """The record of the game at index ``i``, where the next one begins.

        ``outcome`` is for the player to move in the last position.
        """
        rows = self._rows[i, self._opening[i] : self._plies[i]].copy()
        mover = self._game.to_move(records.states_of(rows))
        same = mover == self._game.to_move(self._current[i : i + 1])
        rows["outcome"] = np.where(same, outcome, -outcome) + 0.0  # no draw is -0
        record = GameRecord(
            game_id=int(self._ids[i]),
            version=int(self._versions[i]),
            actions=self._actions[i, : self._plies[i]].copy(),
            rows=rows,
            ending=ending,
        )
        self._start(i)
        return record


class Opening(NamedTuple):
    """The first moves of a game."""

    actions: list[int]
    states: States
    """``[1]``: the position after them."""


def random_opening(game: Game, plies: int, rng: np.random.Generator) -> Opening:
    """Uniformly random actions from the initial position that do not finish the game.

    Their number is drawn first, 0 to ``plies``, each equally likely. An opening that finishes the
    game is drawn again, at most ``OPENING_TRIES`` times; then the longest one that was drawn is
    used, without the move that finished the game.
    """
    length = int(rng.integers(plies + 1))
    longest = Opening([], game.initial(1))
    for _ in range(OPENING_TRIES):
        drawn = _random_line(game, length, rng)
        if len(drawn.actions) == length:
            return drawn
        longest = max(longest, drawn, key=lambda opening: len(opening.actions))
    return longest


def shortened_openings(game: Game, plies: int) -> str:
    """A line about openings that are shorter than ``plies`` because random games end before that;
    empty where they are not. Example: 20 plies of a game that lasts 9 to 13.
    """
    rng, going = np.random.default_rng(0), game.initial(_PROBED)
    for ply in range(1, plies + 1):
        going = game.step(going, random_actions(game.legal(going), rng))
        going = going[np.isnan(game.outcome(going))]
        # The chance that all tries at an opening of this length finish the game.
        if (1 - len(going) / _PROBED) ** OPENING_TRIES > 0.01:
            return (
                f"selfplay.random_opening_plies: {plies}, but random games of {game.name} nearly "
                f"always end before ply {ply + 1}: the longer openings are cut to about {ply - 1}"
            )
    return ""


def _random_line(game: Game, length: int, rng: np.random.Generator) -> Opening:
    """``length`` random actions, or fewer: those before the one that would finish the game."""
    states, actions = game.initial(1), []
    for _ in range(length):
        # ``random_actions`` for a single state, with the same draws: a game begins so often that
        # its cost shows.
        legal = np.flatnonzero(game.legal(states))
        action = int(legal[int(rng.random() * len(legal))])
        after = game.step(states, np.array([action]))
        if not np.isnan(game.outcome(after)[0]):
            break
        states = after
        actions.append(action)
    return Opening(actions, states)


def _array(arrays: dict[str, bytes], name: str, dtype: Any, size: int) -> NDArray:
    """The stored array ``name`` of ``size`` items; ``ValueError`` if it has another size."""
    dtype, stored = np.dtype(dtype), arrays.get(name, b"")
    if len(stored) != size * dtype.itemsize:
        raise ValueError(
            f"self-play state: {name[1:]} has {len(stored)} bytes, these settings need "
            f"{size * dtype.itemsize}; resume with the game and selfplay settings of the run"
        )
    return np.frombuffer(stored, dtype)
