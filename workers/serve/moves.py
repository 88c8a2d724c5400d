"""A trained agent behind HTTP: the service ``/move``."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from fastapi import Request
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, create_model

from alphazero import types
from alphazero.encoders import played_states
from alphazero.judging import agent, lines, session
from alphazero.judging.lines import Line
from alphazero.search import continues_trees, strongest_moves
from alphazero.search.reuse import KeptTrees
from alphazero.types import Evaluator, Search
from games.base import Game, States
from workers.serve import bodies
from workers.serve.bodies import RequestError
from workers.serve.limits import Limits
from workers.serve.service import ParsedRequest, Service

PATH = "/move"
MOVES_DESCRIPTION = """\
the moves from the start: a text, split into characters where the game has fewer than 10 actions, \
else at spaces; or a list. Numbers are actions counted from 1, other words moves in the game's own \
notation"""
SIMULATIONS_DESCRIPTION = "simulations of the search: more take longer and search deeper"
SECONDS_DESCRIPTION = """\
seconds of the search: it ends when they are over, or after its simulations if a number is given. \
It may go on from the search of an earlier request, so that equal requests may differ"""


class MoveRequest(NamedTuple):
    """One position to search."""

    states: States
    """``[1]``, not finished."""
    line: Line
    """The moves that led to it."""
    simulations: int | None
    """None: no limit but the time."""
    seconds: float | None = None
    """The time of its search; None: no limit."""


class MoveResult(NamedTuple):
    """The result of one search."""

    request: MoveRequest
    action: int
    policy: NDArray[np.float32]
    """``[A]``, sums to one."""
    value: float
    """In [-1, 1], for the player about to move."""
    simulations: int
    """Those of the request, or those done where it has a time."""


class Move(BaseModel):
    move: str
    """In the notation of the game's players."""
    action: int
    """The same move as a number, counted from 1."""
    value: float
    """The search's estimate for the player about to move: +1 a win, 0 a draw, -1 a loss."""
    policy: dict[str, float]
    """The search's preference for each legal move; sums to one."""
    simulations: int


def load(
    path: Path, limits: Limits, game: Game | None = None, allow: Sequence[str] = ()
) -> Service:
    """The service of the agent at ``path``: a run, one of its checkpoints or an exported agent.

    Its network computes in float32. ``game`` and ``allow`` as for ``agent.load``. ``ValueError``,
    one line: there is no valid checkpoint, or it needs code that is not allowed.
    """
    loaded = agent.load(path, game, simulations=limits.simulations, allow=allow)
    compute = MoveSearch(loaded.played, loaded.search, loaded.evaluate, limits)
    return service(loaded.game, compute, limits)


@dataclass
class MoveSearch:
    """Searches the positions of requests. For one thread at a time.

    A request with a time goes on from the tree of an earlier one whose line it continues, where
    ``search`` can do that; the last ``limits.kept_trees`` are kept. One with simulations alone
    always begins anew: equal requests give equal results.
    """

    game: Game
    """The game whose states ``evaluate`` reads, see ``encoders.played_game``."""
    search: Search
    evaluate: Evaluator
    limits: Limits
    trees: KeptTrees | None = field(init=False)

    def __post_init__(self) -> None:
        most = self.limits.kept_trees
        keep = most and continues_trees(self.search)
        self.trees = KeptTrees(most, most, self.limits.kept_bytes) if keep else None

    def __call__(self, requests: Sequence[MoveRequest]) -> list[MoveResult]:
        """One result for each of ``requests``; those with the same limits are searched together.

        Without a time a request's result does not depend on the other requests, except for the
        rounding of a network whose batches have another size. Searches of different times come one
        after another, and share ``longest_search`` where their sum is more.
        """
        groups: dict[types.Limits, list[int]] = {}
        for row, request in enumerate(requests):
            limits = types.Limits(request.simulations, request.seconds)
            groups.setdefault(limits, []).append(row)
        total = sum(limits.seconds or 0 for limits in groups)
        share = min(1.0, longest_search(self.limits) / total) if total else 1.0
        results: dict[int, MoveResult] = {}
        for limits, rows in groups.items():
            seconds = limits.seconds
            if seconds is not None:  # a tiny one must not become 0, which no search accepts
                seconds = max(seconds * share, session.LEAST_SECONDS)
            together = [requests[row] for row in rows]
            searched = self._search(together, limits._replace(seconds=seconds))
            results.update(zip(rows, searched, strict=True))
        return [results[row] for row in range(len(requests))]

    def _search(self, requests: Sequence[MoveRequest], limits: types.Limits) -> list[MoveResult]:
        """The results of ``requests``, all of which have these limits, from one search."""
        number, trees = requests[0].simulations, self.trees if limits.seconds else None
        leaves = agent.leaves_for_single_game(number) if number else agent.MOST_LEAVES
        search = self.search.without_noise(number, leaves)
        lines = [request.line for request in requests]
        states = np.concatenate([request.states for request in requests])
        states = played_states(self.game, states, lines)
        rngs = [np.random.default_rng(0) for _ in requests]
        kept = trees.lookup(lines) if trees else None
        result = strongest_moves(search, self.game, states, rngs, self.evaluate, limits, kept)
        if trees:
            trees.store(lines, result.tree)
        visits = result.visits.sum(axis=1).tolist()
        done = [number] * len(lines) if number and not limits.seconds else visits
        rows = (requests, result.action.tolist(), result.policy, result.value.tolist(), done)
        return [MoveResult(*row) for row in zip(*rows, strict=True)]


def longest_search(limits: Limits) -> float:
    """The most seconds that a request may ask a search to take.

    Half of the time in which it must be answered: requests before it may be computed first.
    """
    return limits.seconds / 2


def service(
    game: Game, compute: Callable[[list[MoveRequest]], Sequence[MoveResult]], limits: Limits
) -> Service:
    """The service ``/move`` for ``game``, whose results come from ``compute``."""
    body = _body_model(game, limits)

    async def parse(sent: Request) -> ParsedRequest:
        if bodies.content_type(sent) != bodies.JSON:
            raise bodies.unsupported(sent, bodies.JSON)
        given: Any = await bodies.json_body(sent, body)
        position = parse_position(game, given.moves)
        simulations = given.simulations
        if simulations is None and given.seconds is None:
            simulations = limits.simulations
        line = tuple(position.actions)
        request = MoveRequest(position.states, line, simulations, given.seconds)
        return ParsedRequest([request], False)

    return Service(
        path=PATH,
        purpose=f"A move in {game.name}, its value and the policy, from a search.",
        model={"kind": "game", "game": game.name},
        content={bodies.JSON: {"schema": body.model_json_schema()}},
        response_type=Move,
        parse=parse,
        compute=compute,
        to_json=lambda results, several: _as_json(game, results[0]),
        example=MoveRequest(game.initial(1), (), limits.simulations),
    )


def parse_position(game: Game, moves: str | list[int | str]) -> session.Session:
    """The game in progress after ``moves`` from the start, as ``Agent.analyse`` reads them.

    ``RequestError`` where a move is illegal or the game is over.
    """
    try:
        return session.unfinished(game, moves)
    except ValueError as error:
        raise RequestError(422, str(error), "moves") from None


def _absent() -> None:
    """The value of a field that a request does not have; it may not send null itself."""


def _body_model(game: Game, limits: Limits) -> type[BaseModel]:
    longest = max(len(game.action_to_text(action)) for action in range(game.num_actions))
    digits = max(longest, len(str(game.num_actions)))
    text: Any = Annotated[str, Field(max_length=game.max_plies * (digits + 1))]
    action: Any = Annotated[int, Field(strict=True, ge=1, le=game.num_actions)]
    word: Any = Annotated[str, Field(min_length=1, max_length=20)]
    words: Any = Annotated[list[action | word], Field(max_length=game.max_plies)]
    most = max(limits.max_simulations, limits.simulations)
    fields: dict[str, Any] = {
        "moves": (
            text | words,
            Field(description=MOVES_DESCRIPTION),
        ),
        "simulations": (
            Annotated[int, Field(strict=True, ge=2, le=most)],
            Field(
                default_factory=_absent,
                description=SIMULATIONS_DESCRIPTION,
                json_schema_extra={"default": limits.simulations},
            ),
        ),
        "seconds": (
            Annotated[float, Field(strict=True, gt=0, le=longest_search(limits))],
            Field(default_factory=_absent, description=SECONDS_DESCRIPTION),
        ),
    }
    return create_model("MoveBody", __config__=ConfigDict(extra="forbid"), **fields)


def _as_json(game: Game, result: MoveResult) -> dict[str, Any]:
    states = result.request.states
    legal = lines.legal_moves(game, states)
    return {
        "move": legal[result.action],
        "action": result.action + 1,
        "value": result.value,
        "policy": {text: float(result.policy[action]) for action, text in legal.items()},
        "simulations": result.simulations,
    }
