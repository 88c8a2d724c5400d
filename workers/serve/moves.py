"""A trained agent behind HTTP: what ``/move`` reads, searches and answers."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from fastapi import Request
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, create_model

import games
from alphazero.judging import players
from alphazero.search import run
from alphazero.types import Evaluator, Search
from games import solvers
from games.base import Game, States
from workers.serve import bodies
from workers.serve.bodies import Refused
from workers.serve.limits import Limits
from workers.serve.service import Asked, Service

PATH = "/move"


class Question(NamedTuple):
    states: States
    """``[1]``, not finished."""
    simulations: int


class Thought(NamedTuple):
    question: Question
    action: int
    policy: NDArray[np.float32]
    """``[A]``."""
    value: float


class Move(BaseModel):
    move: str
    """In the notation of the game's players."""
    action: int
    """The same, counted from 1."""
    value: float
    """What the search expects for the player about to move: +1 a win, 0 a draw, -1 a loss."""
    policy: dict[str, float]
    """How much the search thinks of each legal move; sums to one."""
    simulations: int


def load(path: Path, limits: Limits) -> Service:
    """The agent at ``path``, a run, one of its checkpoints or an exported agent, with its search.

    Its network computes in float32. ``ValueError``, one line: there is no whole checkpoint.
    """
    # Torch takes seconds to import; who reads this module's help shall not wait for it.
    from alphazero import checkpoint
    from alphazero.cache import CachedEvaluator
    from alphazero.inference import AT_ONCE, NetworkEvaluator

    found = checkpoint.load(path)
    game = games.make(found.config.game)
    network = NetworkEvaluator(game, found.config.network, AT_ONCE)
    network.load(found.weights, found.step)
    remembering = CachedEvaluator(game, network, players.REMEMBERED)
    return service(game, partial(think, game, found.config.search, remembering), limits)


def think(
    game: Game, search: Search, evaluate: Evaluator, questions: Sequence[Question]
) -> list[Thought]:
    """Searches the positions together that are to be searched equally long.

    The same question gets the same answer, whatever the others are, but for the rounding of a
    network that is asked in batches of another size.
    """
    thoughts: dict[int, Thought] = {}
    for simulations in {question.simulations for question in questions}:
        rows = [row for row, each in enumerate(questions) if each.simulations == simulations]
        algorithm = search.for_play(simulations, players.leaves_alone(simulations))
        states = np.concatenate([questions[row].states for row in rows])
        rngs = [np.random.default_rng(0) for _ in rows]
        strongest = np.zeros(len(rows), np.float32)
        found = run(algorithm(game, states, rngs, strongest), evaluate)
        for row, action, policy, value in zip(
            rows, found.action.tolist(), found.policy, found.value.tolist(), strict=True
        ):
            thoughts[row] = Thought(questions[row], action, policy, value)
    return [thoughts[row] for row in range(len(questions))]


def service(
    game: Game, compute: Callable[[list[Question]], Sequence[Thought]], limits: Limits
) -> Service:
    """What answers ``/move`` in ``game`` by ``compute``."""
    body = _body(game, limits)

    async def read(request: Request) -> Asked:
        if bodies.content_type(request) != bodies.JSON:
            raise bodies.unsupported(request, bodies.JSON)
        given: Any = await bodies.json_body(request, body)
        return Asked([Question(position(game, given.moves), given.simulations)], False)

    return Service(
        path=PATH,
        purpose=f"A move in {game.name}, its value and the policy, from a search.",
        about={"kind": "game", "game": game.name},
        content={bodies.JSON: {"schema": body.model_json_schema()}},
        answer=Move,
        read=read,
        compute=compute,
        show=lambda thoughts, several: _shown(game, thoughts[0]),
        example=Question(game.initial(1), limits.simulations),
    )


def position(game: Game, given: str | list[int | str]) -> States:
    """``[1]``: the unfinished position after ``given``; ``Refused`` where there is none.

    It is a text as ``alphazero solve`` takes it, or a list of 1-based actions and of moves in the
    game's notation.
    """
    if isinstance(given, list):
        given = solvers.separator(game).join(map(partial(_word, game), given))
    try:
        return solvers.unfinished(game, [given])
    except solvers.NotAPosition as error:
        raise Refused(422, str(error), "moves") from None


def _word(game: Game, move: int | str) -> str:
    if isinstance(move, int):
        return str(move)
    try:
        return str(game.text_to_action(move) + 1)
    except ValueError as error:
        raise Refused(422, str(error), "moves") from None


def _body(game: Game, limits: Limits) -> type[BaseModel]:
    digits = len(str(game.num_actions))
    text: Any = Annotated[str, Field(max_length=game.max_plies * (digits + 1))]
    action: Any = Annotated[int, Field(strict=True, ge=1, le=game.num_actions)]
    word: Any = Annotated[str, Field(min_length=1, max_length=20)]
    words: Any = Annotated[list[action | word], Field(max_length=game.max_plies)]
    most = max(limits.most_simulations, limits.simulations)
    fields: dict[str, Any] = {
        "moves": (
            text | words,
            Field(
                description="from the start: a text of 1-based actions, digits where the game has "
                "fewer than 10, else separated by spaces; or a list of 1-based actions and of "
                "moves in the game's own notation"
            ),
        ),
        "simulations": (
            Annotated[int, Field(strict=True, ge=2, le=most)],
            Field(limits.simulations, description="of the search: more take longer and see more"),
        ),
    }
    return create_model("MoveBody", __config__=ConfigDict(extra="forbid"), **fields)


def _shown(game: Game, thought: Thought) -> dict[str, Any]:
    legal = np.flatnonzero(game.legal(thought.question.states)[0]).tolist()
    return {
        "move": game.action_to_text(thought.action),
        "action": thought.action + 1,
        "value": thought.value,
        "policy": {game.action_to_text(each): float(thought.policy[each]) for each in legal},
        "simulations": thought.question.simulations,
    }
