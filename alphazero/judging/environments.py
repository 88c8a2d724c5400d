"""Makes environments of Gymnasium and PettingZoo from texts; ``gymnasium.make`` calls it.

``alphazero.environments`` registers them.
"""

import numpy as np
from numpy.typing import NDArray

import games
from alphazero.judging import players
from games.as_gymnasium import GymnasiumGame, Opponent
from games.as_pettingzoo import PettingZooGame
from games.base import Game, States

Parameter = int | float | str | bool


def for_gymnasium(
    game: str = "",
    opponent: str | Opponent = "random",
    seat: int | None = None,
    render_mode: str | None = None,
    **parameters: Parameter,
) -> GymnasiumGame:
    """One seat of ``game`` with ``parameters`` against ``opponent``, the text of a player.

    ``"random"``, ``"mcts:simulations=50"``, ``"checkpoint"`` (the bundled agent) or
    ``"checkpoint:path=runs/mine"``, see ``players.make``; or a function of a position and a
    generator. ``ValueError``, one line: no such game, parameter, player, seat or render mode, or
    a game of one player.
    """
    made = _made(game, parameters)
    plays = opponent_of(opponent, made) if isinstance(opponent, str) else opponent
    return GymnasiumGame(made, plays, seat, render_mode)


def for_pettingzoo(
    game: str = "", render_mode: str | None = None, **parameters: Parameter
) -> PettingZooGame:
    """Both seats of ``game`` with ``parameters``. Errors as for Gymnasium."""
    return PettingZooGame(_made(game, parameters), render_mode)


def opponent_of(spec: str, game: Game) -> Opponent:
    """The player of this text as the opponent in an environment."""
    player = players.make(spec, game, leaves="auto")

    def play(states: States, rng: np.random.Generator) -> NDArray[np.integer]:
        return player(states, [rng]).action

    return play


def _made(game: str, parameters: dict[str, Parameter]) -> Game:
    """``games.make`` with parameters that are no texts: size=6, swap=True."""
    texts = [f"{key}={str(value).lower() if isinstance(value, bool) else value}"
             for key, value in parameters.items()]  # fmt: skip
    _, given = games.named(game)
    separator = "," if given else ":"
    return games.make(game + separator * bool(texts) + ",".join(texts))
