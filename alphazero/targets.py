"""Targets: the numbers that the network learns, computed when a whole game is stored.

Pure functions of one game, in NumPy. A *value target* is the distribution over win, draw and loss
that the value head learns; ``VALUE_TARGETS`` names them. An *auxiliary target* is learned by an
additional head of the same name; ``TARGETS`` names them. To add one, write its function and its
entry here. Everything is from the point of view of the player about to move in each position.

Sources: Wu 2019 is "Accelerating Self-Play Learning in Go" (arXiv 1902.10565), KataGo's methods are
https://github.com/lightvector/KataGo/blob/master/docs/KataGoMethods.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alphazero import records, values
from alphazero.types import Ending, GameRecord, is_trained
from games.base import Game, States
from games.spec import suggest

if TYPE_CHECKING:
    from alphazero.config import ReplaySettings


class Episode(NamedTuple):
    """One finished game of ``T`` recorded positions, as the targets need it."""

    rows: NDArray
    """``[T]`` of ``records.row(game)``."""
    mover: NDArray[np.int8]
    """``[T]``, the player about to move: 0 or 1."""
    final: States
    """``[1]``, the position after the last move."""
    ending: Ending
    """Why the game ended; except for ``RULES`` the final position is not finished."""


Compute = Callable[[Game, Episode, "ReplaySettings"], NDArray[np.float32]]
"""``float32 [T, *shape]``; NaN where a position has no target."""


class Target(NamedTuple):
    """An auxiliary target."""

    shape: Callable[[Game], tuple[int, ...]]
    """The shape of one position's target."""
    axis: Literal["cells", "actions"] | None
    """The meaning of the shape's only axis, so that the symmetries of the game can be applied:
    cells of the board, or actions. Over actions a target is a distribution, and at most
    ``max_legal`` actions have a probability above 0. None: symmetries do not change the target."""
    compute: Compute
    needs: str | None = None
    """The optional method of a game without which there is no target: it returns None then."""
    of_proven: bool = True
    """Whether games that end early, by a proof or a resignation, have it."""


def episode(game: Game, record: GameRecord) -> Episode:
    """The episode of ``record``, which has at least one recorded position."""
    states = records.states_of(record.rows)
    final = game.step(states[-1:], record.actions[-1:])
    return Episode(record.rows, game.to_move(states), final, record.ending)


def mixture(game: Game, episode: Episode, settings: ReplaySettings) -> NDArray[np.float32]:
    """``[T, 3]``: the mixture of the outcome z and the search's value q.

    ``(1 - m) * d(z) + m * d(q)`` with ``m`` = ``value_mixing``, ``d(v) = (max(v, 0), 1 - |v|,
    max(-v, 0))``; its expectation is ``(1 - m) * z + m * q``. ``m`` = 0 is AlphaZero's z (Silver et
    al. 2018, equation 1). A won game with ``q`` = 0.5 and ``m`` = 0.2: 0.8 * (1, 0, 0) + 0.2 *
    (0.5, 0.5, 0) = (0.9, 0.1, 0).
    """
    outcome = episode.rows["outcome"]
    value = episode.rows["value"].astype(np.float32)
    mixing, certain = settings.value_mixing, values.distribution(outcome)
    return ((1 - mixing) * certain + mixing * values.distribution(value)).astype(np.float32)


def short_term(game: Game, episode: Episode, settings: ReplaySettings) -> NDArray[np.float32]:
    """``[T]`` in [-1, 1]: the exponential average of the search's values from each position on.

    ``(1 - d) * sum_{k >= 0} d**k * q[t + k]`` over the rest of the game, and the outcome z for all
    plies behind its end, ``d**(T - t) * z`` (KataGo's methods, "short-term value and score
    targets"; with the values one ply later it is the lambda-return, Sutton and Barto 2018, equation
    12.3). ``d`` = ``1 - 1 / short_term_plies``. ``q`` and ``z`` are taken for the mover of ``t``.

    Computed from the end: ``G[T] = z``, ``G[t] = (1 - d) * q[t] + d * G[t + 1]``, with the sign
    changed where the mover changes. Example: ``d`` = 0.5, values 0.2 (player 0), -0.4 (player 1),
    0.6 (player 0), and player 0 wins. For player 0 the values are 0.2, 0.4, 0.6, then 1:
    ``G[2]`` = 0.3 + 0.5 = 0.8, ``G[1]`` = 0.2 + 0.4 = 0.6, which is -0.6 for player 1, ``G[0]`` =
    0.1 + 0.3 = 0.4.
    """
    sign = np.where(episode.mover == 0, 1, -1)
    value = sign * episode.rows["value"].astype(np.float64)  # for player 0
    decay, average = (
        1 - 1 / settings.short_term_plies,
        float(sign[-1] * episode.rows["outcome"][-1]),
    )
    averages = np.empty(len(value))
    for t in range(len(value) - 1, -1, -1):
        averages[t] = average = (1 - decay) * value[t] + decay * average
    return (sign * averages).astype(np.float32)


def short_term_wdl(game: Game, episode: Episode, settings: ReplaySettings) -> NDArray[np.float32]:
    """``[T, 3]``: ``short_term`` as a distribution over win, draw and loss."""
    return values.distribution(short_term(game, episode, settings)).astype(np.float32)


def reply(game: Game, episode: Episode, settings: ReplaySettings) -> NDArray[np.float32]:
    """``[T, A]``: the search's policy in the next position in which the opponent is to move.

    The auxiliary policy target of Wu 2019, section 3.4. NaN where no such position is recorded, in
    the last one, for example, and where it is not trained on: it has no policy. If player 0
    moves in the positions 0, 1 and 3 and player 1 in 2, the target of 0 and 1 is the policy of 2,
    that of 2 is the policy of 3, and 3 has none.
    """
    rows, mover = episode.rows, episode.mover
    # The first position after t whose mover is another one: where the next run of positions with
    # the same mover begins.
    begins = np.flatnonzero(mover[1:] != mover[:-1]) + 1
    following = np.searchsorted(begins, np.arange(len(rows)), side="right")
    answered = following < len(begins)
    answered[answered] = is_trained(rows["surprise"][begins[following[answered]]])
    policy = np.full((len(rows), game.num_actions), np.nan, np.float32)
    answers = rows[begins[following[answered]]]
    policy[answered] = records.unpack_policy(
        game, answers["policy_action"], answers["policy_weight"]
    )[1]
    return policy


def ownership(game: Game, episode: Episode, settings: ReplaySettings) -> NDArray[np.float32]:
    """``[T, H * W]``: who owns each cell at the end: +1 the mover, -1 the opponent, 0 neither.

    Wu 2019, section 4.1. NaN unless the game ended by its rules and has ``final_ownership``.
    """
    _, height, width = game.observation_shape
    final = game.final_ownership(episode.final) if episode.ending == Ending.RULES else None
    if final is None:
        return np.full((len(episode.rows), height * width), np.nan, np.float32)
    assert final.shape == (1, height * width)
    return (_same_player(game, episode)[:, None] * final + 0.0).astype(np.float32)


def score(game: Game, episode: Episode, settings: ReplaySettings) -> NDArray[np.float32]:
    """``[T]`` in [-1, 1]: the final margin for the mover, as a share of the largest possible one.

    Wu 2019, section 4.1 (there as a distribution). NaN unless the game ended by its rules and has
    ``final_score``.
    """
    final = game.final_score(episode.final) if episode.ending == Ending.RULES else None
    if final is None:
        return np.full(len(episode.rows), np.nan, np.float32)
    assert final.shape == (1,)
    return (_same_player(game, episode) * final + 0.0).astype(np.float32)


def moves_left(game: Game, episode: Episode, settings: ReplaySettings) -> NDArray[np.float32]:
    """``[T]`` in (0, 1]: the plies still played from the position on, as a share of ``max_plies``.

    As the moves-left head of Leela Chess Zero. NaN where the game ended early, by a proof or a
    resignation. The last position of a game of Connect Four has 1 / 42.
    """
    count = len(episode.rows)
    if episode.ending in (Ending.PROVEN, Ending.RESIGNED):
        return np.full(count, np.nan, np.float32)
    return (np.arange(count, 0, -1) / game.max_plies).astype(np.float32)


def surprise_weights(surprise: NDArray[np.floating], share: float) -> NDArray[np.float32]:
    """``[T]``: the weights of a game's positions in the loss; their mean is 1.

    ``1 - share + share * T * s[t] / sum(s)`` with the policy surprise ``s`` (KataGo's methods,
    "policy surprise weighting"; there ``share`` is 0.5, and positions are drawn more often instead
    of weighted in the loss). A game without any surprise has weights 1. Example: ``s`` = (0, 0.1,
    0.3) and ``share`` = 0.5: 0.5 + 0.5 * 3 * (0, 0.25, 0.75) = (0.5, 0.875, 1.625).
    """
    surprise = surprise.astype(np.float64)
    total = surprise.sum()
    relative = surprise * len(surprise) / total if total > 0 else np.ones(len(surprise))
    return (1 - share + share * relative).astype(np.float32)


def _same_player(game: Game, episode: Episode) -> NDArray[np.int64]:
    """``[T]``: 1 where the mover is the player to move in the final position, else -1."""
    return np.where(episode.mover == game.to_move(episode.final), 1, -1)


def _scalar(game: Game) -> tuple[int, ...]:
    return ()


def _cells(game: Game) -> tuple[int, ...]:
    return (game.observation_shape[1] * game.observation_shape[2],)


def _actions(game: Game) -> tuple[int, ...]:
    return (game.num_actions,)


VALUE_TARGETS: dict[str, Compute] = {"mixture": mixture, "short_term": short_term_wdl}
"""Value targets by name, each ``[T, 3]``: the choices of ``replay.value_target``."""

TARGETS: dict[str, Target] = {
    "reply": Target(_actions, "actions", reply),
    "ownership": Target(_cells, "cells", ownership, needs="final_ownership", of_proven=False),
    "score": Target(_scalar, None, score, needs="final_score", of_proven=False),
    "moves_left": Target(_scalar, None, moves_left, of_proven=False),
    "short_term": Target(_scalar, None, short_term),
}
"""Auxiliary targets by the name of the head that learns them."""


def of_finished_games(heads: Iterable[str]) -> list[str]:
    """Those of ``heads`` that learn nothing from games that end early, by a proof for instance."""
    return [name for name in heads if name in TARGETS and not TARGETS[name].of_proven]


def check_value_target(name: str) -> None:
    """``ValueError`` unless ``name`` is a value target."""
    if name not in VALUE_TARGETS:
        raise ValueError(f"got {name!r}, should be {' or '.join(VALUE_TARGETS)}")


def offered(name: str, game: Game) -> bool:
    """Whether ``game`` has the method that the auxiliary target ``name`` needs."""
    method = TARGETS[name].needs
    return method is None or getattr(game, method)(game.initial(0)) is not None


def columns(game: Game, settings: ReplaySettings, heads: Sequence[str] = ()) -> np.dtype:
    """The dtype of one stored position: that of a record's row, then the targets in use.

    ``wdl``: the value target. ``weight``: where ``policy_surprise`` is above 0. Then the auxiliary
    target of each of ``heads``, under its name; one over actions has the columns NAME_action and
    NAME_weight instead, as the policy has. ``ValueError`` for a head without a target.
    """
    row = records.row(game)
    fields: list[tuple] = [(name, row[name]) for name in row.names or ()]
    fields.append(("wdl", np.float32, (3,)))
    if settings.policy_surprise:
        fields.append(("weight", np.float32, ()))
    for name in heads:
        if name not in TARGETS:
            raise ValueError(f"there is no target for the head {name!r}; {suggest(name, TARGETS)}")
        if TARGETS[name].axis == "actions":
            fields.append((f"{name}_action", records.action_type(game), (game.max_legal,)))
            fields.append((f"{name}_weight", np.float16, (game.max_legal,)))
        else:
            fields.append((name, np.float32, TARGETS[name].shape(game)))
    return np.dtype(fields)


def rows_to_store(
    game: Game, record: GameRecord, settings: ReplaySettings, heads: Sequence[str] = ()
) -> NDArray:
    """The rows of ``record`` that are trained on, of ``columns(game, settings, heads)``.

    The targets are those of the whole game; weights by surprise are 1 on average over these rows.
    """
    rows = np.zeros(len(record), columns(game, settings, heads))
    if not len(record):
        return rows
    # The fields of a record's row come first, so that their bytes can be copied together.
    width = record.rows.dtype.itemsize
    _bytes(rows)[:, :width] = _bytes(np.ascontiguousarray(record.rows))
    played = episode(game, record)
    rows["wdl"] = VALUE_TARGETS[settings.value_target](game, played, settings)
    trained = is_trained(record.rows["surprise"])
    if settings.policy_surprise:
        surprise = record.rows["surprise"][trained]
        rows["weight"][trained] = surprise_weights(surprise, settings.policy_surprise)
    for name in heads:
        target = TARGETS[name].compute(game, played, settings)
        assert target.shape == (len(record), *TARGETS[name].shape(game)), name
        if TARGETS[name].axis == "actions":
            packed = records.pack_policy(game, target > 0, target)
            rows[f"{name}_action"], rows[f"{name}_weight"] = packed
        else:
            rows[name] = target
    return rows if trained.all() else rows[trained]


def auxiliary(game: Game, rows: NDArray) -> dict[str, NDArray[np.float32]]:
    """The auxiliary targets in stored ``rows [n]`` by name, each ``[n, *shape]``.

    Targets over actions sum to 1, or are NaN where a position has none.
    """
    stored = {}
    for name, target in TARGETS.items():
        if target.axis != "actions" and name in (rows.dtype.names or ()):
            stored[name] = np.ascontiguousarray(rows[name])
        elif f"{name}_action" in (rows.dtype.names or ()):
            policy = records.unpack_policy(game, rows[f"{name}_action"], rows[f"{name}_weight"])[1]
            total = policy.sum(1, keepdims=True)
            stored[name] = policy / np.where(total > 0, total, np.nan)
    return stored


def _bytes(rows: NDArray) -> NDArray[np.uint8]:
    """A view ``[T, itemsize]`` of contiguous ``rows``."""
    return rows.view(np.uint8).reshape(len(rows), rows.dtype.itemsize)
