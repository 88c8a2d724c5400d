"""Builds game records again from stored actions, many games in lock step.

A stored game holds its actions; ``step`` gives the states and ``legal`` the actions to which the
weights of its policies belong. Every game is checked while it is built: a record that comes out of
here has legal moves, finite numbers, policies that sum to one and the result that the rules give.
"""

import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from alphazero import records
from alphazero.types import Ending, GameRecord, is_trained
from games.base import Game, States

SUM_TOLERANCE = 0.01
"""How far the sum of a policy may be from 1; rounding to float16 changes it by up to 0.001."""


class Stored(NamedTuple):
    """A game of ``P`` plies as it was read, with ``T`` recorded positions; not yet checked."""

    game_id: int
    version: int
    ending: Ending | None
    """None in format 1, which does not say how a game ended."""
    result: float | NDArray[np.float32]
    """The outcome for player 0; in format 1 ``[T]``, the outcome for the mover of each position."""
    actions: NDArray[np.integer]
    """``[P]``."""
    weights: NDArray[np.float16]
    """The policies' weights of all legal actions, one position after another, without those of
    positions that are not trained on; in format 1 ``[T, A]``."""
    value: NDArray[np.float16]
    """``[T]``."""
    surprise: NDArray[np.float16]
    """``[T]``."""
    checksum: int
    """CRC-32 of the recorded states, continued with their legal actions except in format 1."""

    @property
    def positions(self) -> int:
        """The number of recorded positions that are trained on."""
        return int(np.count_nonzero(is_trained(self.surprise)))


def result(game: Game, rows: NDArray) -> int:
    """The outcome for player 0 of a game with these recorded rows; 0 where there is none."""
    if not len(rows):
        return 0
    first = records.states_of(rows[:1])
    return int(rows["outcome"][0]) * (1 if game.to_move(first)[0] == 0 else -1)


def weights_stored(game: Game, rows: NDArray) -> NDArray[np.bool_]:
    """``[T, max_legal]``: the places of ``policy_weight`` whose weights are stored with a game.

    Those of the legal actions, in the positions that are trained on.
    """
    return (rows["policy_action"] < game.num_actions) & is_trained(rows["surprise"])[:, None]


def find_problem(game: Game, stored: Stored) -> str | None:
    """A line about a wrong size or range in a game as it was read; None if there is none."""
    plies, positions = len(stored.actions), len(stored.value)
    if not positions <= plies <= game.max_plies:
        return _wrong_lengths(game, positions, plies)
    if len(stored.surprise) != positions:
        return f"{len(stored.surprise)} surprises of {positions} positions"
    if stored.ending is None and len(stored.weights) != positions:
        return f"{len(stored.weights)} policies of {positions} positions"
    if not (_is_natural(stored.game_id) and _is_natural(stored.version)):
        return _wrong_number(stored.game_id, stored.version)
    if stored.ending is not None and stored.result not in (-1, 0, 1):
        return f"its result is {stored.result!r}, not -1, 0 or 1"
    return None


def find_problem_of_record(game: Game, record: GameRecord) -> str | None:
    """A line about what is wrong in a record that is to be stored; None if nothing is.

    Only the random opening is not played again: its actions are numbers of actions, no more.
    """
    rows, actions = record.rows, record.actions
    for name, array, dtype in (("rows", rows, records.row(game)), ("actions", actions, np.int32)):
        if array.dtype != dtype or array.ndim != 1:
            return f"{name} is {array.dtype}{list(array.shape)} instead of {np.dtype(dtype)} [T]"
    if not len(rows) <= len(actions) <= game.max_plies:
        return _wrong_lengths(game, len(rows), len(actions))
    if not (_is_natural(record.game_id) and _is_natural(record.version)):
        return _wrong_number(record.game_id, record.version)
    if len(actions) and not 0 <= actions.min() <= actions.max() < game.num_actions:
        return f"an action is not in 0 to {game.num_actions - 1}"
    if not len(rows):
        return None
    return _wrong_numbers(rows) or _wrong_positions(game, record)


class Running(NamedTuple):
    """``B`` games that are being played, with room for ``P`` plies, as they were stored."""

    states: States
    """``[B]``: the positions after the last moves."""
    plies: NDArray[np.int64]
    """``[B]``: the moves of each."""
    actions: NDArray[np.int32]
    """``[B, P]``."""
    rows: NDArray
    """``[B, P]``: where ``recorded``, the row of the position before each move."""
    recorded: NDArray[np.bool_]
    """``[B, P]``; nothing is recorded after the last move."""


def find_problem_of_running(game: Game, running: Running) -> str | None:
    """A line about what contradicts the rules in games that go on; None if nothing does.

    They are played again from their moves.
    """
    states = game.initial(len(running.plies))
    try:
        problem = _find_problem_of_rows(game, states, running)
    except IllegalMove as error:
        return str(error)
    if problem or states.tobytes() != running.states.tobytes():
        return problem or "the position of a game is not that of its moves"
    return None if np.isnan(game.outcome(states)).all() else "a game is over"


def _find_problem_of_rows(game: Game, states: States, running: Running) -> str | None:
    """The same of the rows; arguments and errors as in ``play_again``."""
    for ply, playing, current, legal in play_again(game, states, running.plies, running.actions):
        here = running.recorded[playing, ply]
        rows = records.as_items(running.rows)[playing[here], ply].view(running.rows.dtype)
        if records.states_of(rows).tobytes() != current[here].tobytes():
            return f"the position before move {ply + 1} of a game is not that of its moves"
        if not np.array_equal(rows["policy_action"], records.legal_actions(game, legal[here])):
            return f"the legal moves before move {ply + 1} of a game are wrong"
        rows["outcome"] = 0  # not known before the end
        if problem := _wrong_numbers(rows):
            return problem
    return None


class IllegalMove(ValueError):
    """A move that the rules do not allow; the text is one line."""


def play_again(
    game: Game, states: States, plies: NDArray[np.integer], actions: NDArray[np.integer]
) -> Iterator[tuple[int, NDArray[np.intp], States, NDArray[np.bool_]]]:
    """Play ``B`` games again in lock step, from their initial positions ``states [B]``.

    Before each ply: its number, the games that go on, their positions and legal moves. At the end
    ``states`` are the positions after ``plies [B]`` moves of ``actions [B, P]``. ``IllegalMove``.
    """
    for ply in range(plies.max()):
        playing = np.flatnonzero(plies > ply)
        current, chosen = states[playing], actions[playing, ply]
        legal = game.legal(current)
        if not (allowed := _allowed(legal, chosen)).all():
            action = chosen[~allowed][0]
            raise IllegalMove(f"move {ply + 1} of a game, action {action}, is illegal")
        yield ply, playing, current, legal
        states[playing] = game.step(current, chosen)


def rebuild(game: Game, games: Sequence[Stored]) -> list[GameRecord | str]:
    """The record of each game, its arrays read-only; or a line that says what is wrong in it.

    The games are of one format.
    """
    return _Rebuilding(game, games).records() if games else []


class _Rebuilding:
    """``G`` games with ``T`` recorded positions in all, whose rows lie one after another."""

    def __init__(self, game: Game, games: Sequence[Stored]):
        self.game, self.games = game, games
        self.plies = np.array([len(stored.actions) for stored in games])
        self.positions = np.array([len(stored.value) for stored in games])
        self.bounds = np.concatenate([[0], np.cumsum(self.positions)])
        self.rows = np.zeros(self.bounds[-1], records.row(game))
        self.rows["state"] = game.initial(1)  # where no game gets to because of an illegal move
        self.problems: list[str | None] = [None] * len(games)
        self.old = games[0].ending is None
        """Whether the games are of format 1."""

    def records(self) -> list[GameRecord | str]:
        final = self._replay()
        self.states = records.states_of(self.rows)
        self.sign = np.where(self.game.to_move(self.states) == 0, 1, -1)
        self._check_states()
        for name in ("value", "surprise"):
            self.rows[name] = np.concatenate([getattr(stored, name) for stored in self.games])
        self._fill_policies()
        endings = self._fill_outcomes(final)
        if _wrong_numbers(self.rows):  # then find out which games it is
            for i in range(len(self.games)):
                self._note(i, _wrong_numbers(self.rows[self.bounds[i] : self.bounds[i + 1]]))
        self.items = records.as_items(self.rows)
        return [self._record(i, ending) for i, ending in enumerate(endings)]

    def _note(self, i: int, problem: str | None) -> None:
        """The first problem of game ``i`` counts: later ones may follow from it."""
        self.problems[i] = self.problems[i] or problem

    def _note_rows(self, mask: NDArray[np.bool_], problem: str) -> None:
        if mask.any():
            for i in np.unique(np.searchsorted(self.bounds, np.flatnonzero(mask), "right") - 1):
                self._note(int(i), problem)

    def _replay(self) -> States:
        """Play every game from the start; writes states and legal actions, returns the last states.

        A game is left where it has an illegal move.
        """
        game, rows = self.game, self.rows
        actions = np.concatenate([stored.actions for stored in self.games]).astype(np.int64)
        first = np.cumsum(self.plies) - self.plies
        row = self.bounds[:-1] - (self.plies - self.positions)  # of ply 0, if it were recorded
        states, playing = game.initial(len(self.games)), np.arange(len(self.games))
        for ply in range(self.plies.max()):
            playing = playing[self.plies[playing] > ply]
            current, chosen = states[playing], actions[first[playing] + ply]
            legal = game.legal(current)
            allowed = _allowed(legal, chosen)
            if not allowed.all():
                for i, action in zip(playing[~allowed], chosen[~allowed], strict=True):
                    self._note(int(i), f"move {ply + 1}, action {action}, is illegal")
                playing, current = playing[allowed], current[allowed]
                chosen, legal = chosen[allowed], legal[allowed]
            here = row[playing] + ply
            recorded = here >= self.bounds[playing]
            rows["state"][here[recorded]] = current[recorded]
            slots = records.legal_actions(game, legal[recorded])
            rows["policy_action"][here[recorded]] = slots
            if len(playing):
                states[playing] = game.step(current, chosen)
        return states

    def _check_states(self) -> None:
        slots = self.rows["policy_action"]
        for i, stored in enumerate(self.games):
            span = slice(self.bounds[i], self.bounds[i + 1])
            checksum = zlib.crc32(self.states[span].tobytes())
            if not self.old:
                checksum = zlib.crc32(slots[span].tobytes(), checksum)
            if checksum != stored.checksum:
                self._note(i, "its moves lead to other positions than those that were recorded: "
                              f"the rules of {self.game.name} have changed")  # fmt: skip

    def _fill_policies(self) -> None:
        """Write the weights of the legal actions where a position is trained on."""
        slots, weights = self.rows["policy_action"], self.rows["policy_weight"]
        used = weights_stored(self.game, self.rows)
        if self.old:
            dense = np.concatenate([stored.weights for stored in self.games])
            index, place = np.nonzero(used)
            weights[index, place] = dense[index, slots[index, place]]
            illegal = np.count_nonzero(dense, axis=1) != np.count_nonzero(weights, axis=1)
            self._note_rows(illegal, "a policy is not 0 on an illegal move")
            return
        counts = np.concatenate([[0], np.cumsum(np.count_nonzero(used, axis=1))])[self.bounds]
        parts = []
        for i, (stored, count) in enumerate(zip(self.games, np.diff(counts), strict=True)):
            if len(stored.weights) != count:
                self._note(i, f"its policies have {len(stored.weights)} weights of {count} moves")
            fits = len(stored.weights) == count
            parts.append(stored.weights if fits else np.zeros(count, np.float16))
        weights[used] = np.concatenate(parts)

    def _fill_outcomes(self, final: States) -> list[Ending]:
        """Write the outcomes; returns why each game ended."""
        outcome = _outcome_of_player_0(self.game, final)
        if self.old:
            stored = self.sign * np.concatenate([stored.result for stored in self.games])
            results = np.where(self.positions > 0, np.append(stored, 0)[self.bounds[:-1]], 0)
            other = stored != np.repeat(results, self.positions)
            self._note_rows(other, "its outcomes contradict each other")
            cut = np.where(self.plies == self.game.max_plies, Ending.LENGTH, Ending.PROVEN)
            endings = [Ending(end) for end in np.where(np.isnan(outcome), cut, Ending.RULES)]
        else:
            results = np.array([stored.result for stored in self.games], np.float32)
            endings = [Ending(stored.ending or 0) for stored in self.games]
        known = np.where(self.positions > 0, results, outcome)
        for i, ending in enumerate(endings):
            self._note(i, _wrong_end(outcome[i], known[i], ending))
        self.rows["outcome"] = np.repeat(results, self.positions) * self.sign + 0.0  # no -0
        return endings

    def _record(self, i: int, ending: Ending) -> GameRecord | str:
        stored = self.games[i]
        if self.problems[i]:
            return f"game {stored.game_id} cannot be read: {self.problems[i]}"
        # Copied, so that one record that is kept does not keep the memory of all.
        items = self.items[self.bounds[i] : self.bounds[i + 1]].copy()
        rows, actions = items.view(self.rows.dtype), stored.actions.astype(np.int32)
        rows.flags.writeable = actions.flags.writeable = False
        return GameRecord(int(stored.game_id), int(stored.version), actions, rows, ending)


def _allowed(legal: NDArray[np.bool_], chosen: NDArray[np.integer]) -> NDArray[np.bool_]:
    """``[B]``: whether each ``chosen [B]``, which may be any number, is one of ``legal [B, A]``."""
    inside = np.clip(chosen, 0, legal.shape[1] - 1)
    return legal[np.arange(len(chosen)), inside] & (inside == chosen)


def _wrong_numbers(rows: NDArray) -> str | None:
    """A line about values, surprises, policies or outcomes out of range; None if there are none."""
    if not len(rows):
        return None
    weights, surprise, outcome = rows["policy_weight"], rows["surprise"], rows["outcome"]
    totals, trained = weights.sum(1, dtype=np.float32), is_trained(surprise)
    # Written so that every comparison with NaN is a problem.
    if not np.abs(rows["value"]).max() <= 1:
        return "a value is not in [-1, 1]"
    if not ((surprise >= 0) & (surprise < np.inf))[trained].all():
        return "a surprise is not a number of at least 0"
    if not weights.min() >= 0:
        return "a policy has a weight that is not a number of at least 0"
    if not (np.abs(totals - 1) <= SUM_TOLERANCE)[trained].all():
        return "a policy does not sum to 1"
    if totals[~trained].any():
        return "a position that is not trained on has a policy"
    if not ((outcome == 0) | (np.abs(outcome) == 1)).all():
        return "an outcome is not -1, 0 or 1"
    return None


def _wrong_positions(game: Game, record: GameRecord) -> str | None:
    """A line where moves, positions, outcomes or the ending contradict the rules, else None."""
    rows, actions = record.rows, record.actions[-len(record) :]
    slots, states = rows["policy_action"], records.states_of(rows)
    if not np.array_equal(slots, records.legal_actions(game, game.legal(states))):
        return "the column policy_action does not hold the legal moves"
    if not (slots == actions[:, None]).any(1).all():
        return "a move is illegal"
    after = game.step(states, actions)
    if after[:-1].tobytes() != states[1:].tobytes():
        return "a move does not lead to the next position"
    first = np.where(game.to_move(states) == 0, rows["outcome"], -rows["outcome"])
    if not (first == first[0]).all():
        return "its outcomes contradict each other"
    return _wrong_end(_outcome_of_player_0(game, after[-1:])[0], first[0], record.ending)


def _wrong_end(outcome: float, result: float, ending: Ending) -> str | None:
    """A line where the ``outcome`` of the last position contradicts a result or an ending.

    Outcome and result are for player 0; the outcome is NaN where the game goes on.
    """
    over = not np.isnan(outcome)
    if over and outcome != result:
        return f"its result is {result:+g}, by the rules {outcome:+g}"
    if (ending == Ending.RULES) != over:
        state = "over" if over else "not over"
        return f"it ended by {ending.name}, but the position after its last move is {state}"
    return None


def _outcome_of_player_0(game: Game, states: States) -> NDArray[np.float32]:
    """``float32 [B]``, NaN where the game goes on."""
    return game.outcome(states) * np.where(game.to_move(states) == 0, 1, -1)


def _wrong_lengths(game: Game, positions: int, plies: int) -> str:
    return f"{positions} positions and {plies} moves, in a game of at most {game.max_plies} plies"


def _wrong_number(game_id: object, version: object) -> str:
    return f"version {version!r} or the game's id {game_id!r} is not in 0 to 2**63 - 1"


def _is_natural(number: object) -> bool:
    return isinstance(number, int | np.integer) and bool(0 <= number < 2**63)
