"""A trained agent behind HTTP: the service ``/move``."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from fastapi import Request
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, create_model

from alphazero.judging import agent
from alphazero.search import strongest_moves
from alphazero.types import Evaluator, Search
from games import solvers
from games.base import Game, States
from workers.serve import bodies
from workers.serve.bodies import RequestError
from workers.serve.limits import Limits
from workers.serve.service import ParsedRequest, Service

PATH = "/move"
MOVES_DESCRIPTION = """\
the moves from the start: a text of 1-based actions, digits where the game has fewer than 10, else
separated by spaces; or a list of 1-based actions and of moves in the game's own notation"""
SIMULATIONS_DESCRIPTION = "simulations of the search: more take longer and search deeper"


class MoveRequest(NamedTuple):
    """One position to search."""

    states: States
    """``[1]``, not finished."""
    simulations: int


class MoveResult(NamedTuple):
    """The result of one search."""

    request: MoveRequest
    action: int
    policy: NDArray[np.float32]
    """``[A]``, sums to one."""
    value: float
    """In [-1, 1], for the player about to move."""


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


def load(path: Path, limits: Limits) -> Service:
    """The service of the agent at ``path``: a run, one of its checkpoints or an exported agent.

    Its network computes in float32. ``ValueError``, one line: there is no valid checkpoint.
    """
    network = agent.load_network(path)
    game, search = network.game, network.checkpoint.config.search
    return service(game, partial(search_positions, game, search, network.cached()), limits)


def search_positions(
    game: Game, search: Search, evaluate: Evaluator, requests: Sequence[MoveRequest]
) -> list[MoveResult]:
    """Search the positions of ``requests``; those with the same number of simulations together.

    A request's result does not depend on the other requests, except for the rounding of a network
    whose batches have another size.
    """
    results: dict[int, MoveResult] = {}
    for simulations in {request.simulations for request in requests}:
        rows = [row for row, one in enumerate(requests) if one.simulations == simulations]
        leaves = agent.leaves_for_single_game(simulations)
        algorithm = search.without_noise(simulations, leaves)
        states = np.concatenate([requests[row].states for row in rows])
        rngs = [np.random.default_rng(0) for _ in rows]
        result = strongest_moves(algorithm, game, states, rngs, evaluate)
        for row, action, policy, value in zip(
            rows, result.action.tolist(), result.policy, result.value.tolist(), strict=True
        ):
            results[row] = MoveResult(requests[row], action, policy, value)
    return [results[row] for row in range(len(requests))]


def service(
    game: Game, compute: Callable[[list[MoveRequest]], Sequence[MoveResult]], limits: Limits
) -> Service:
    """The service ``/move`` for ``game``, whose results come from ``compute``."""
    body = _body_model(game, limits)

    async def parse(request: Request) -> ParsedRequest:
        if bodies.content_type(request) != bodies.JSON:
            raise bodies.unsupported(request, bodies.JSON)
        given: Any = await bodies.json_body(request, body)
        position = MoveRequest(parse_position(game, given.moves), given.simulations)
        return ParsedRequest([position], False)

    return Service(
        path=PATH,
        purpose=f"A move in {game.name}, its value and the policy, from a search.",
        model={"kind": "game", "game": game.name},
        content={bodies.JSON: {"schema": body.model_json_schema()}},
        response_type=Move,
        parse=parse,
        compute=compute,
        to_json=lambda results, several: _as_json(game, results[0]),
        example=MoveRequest(game.initial(1), limits.simulations),
    )


def parse_position(game: Game, moves: str | list[int | str]) -> States:
    """The unfinished position ``[1]`` after ``moves`` from the start of the game.

    ``moves`` is a text in the format of ``alphazero solve``, or a list of 1-based actions and of
    moves in the game's notation. ``RequestError`` where a move is illegal or the game is over.
    """
    if isinstance(moves, list):
        moves = solvers.separator(game).join(map(partial(_as_number, game), moves))
    try:
        return solvers.unfinished(game, [moves])
    except solvers.NotAPosition as error:
        raise RequestError(422, str(error), "moves") from None


def _as_number(game: Game, move: int | str) -> str:
    if isinstance(move, int):
        return str(move)
    try:
        return str(game.text_to_action(move) + 1)
    except ValueError as error:
        raise RequestError(422, str(error), "moves") from None


def _body_model(game: Game, limits: Limits) -> type[BaseModel]:
    digits = len(str(game.num_actions))
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
            Field(limits.simulations, description=SIMULATIONS_DESCRIPTION),
        ),
    }
    return create_model("MoveBody", __config__=ConfigDict(extra="forbid"), **fields)


def _as_json(game: Game, result: MoveResult) -> dict[str, Any]:
    legal = np.flatnonzero(game.legal(result.request.states)[0]).tolist()
    return {
        "move": game.action_to_text(result.action),
        "action": result.action + 1,
        "value": result.value,
        "policy": {game.action_to_text(move): float(result.policy[move]) for move in legal},
        "simulations": result.request.simulations,
    }
