"""Games as the page writes them in its requests."""

from alphazero.judging import session
from alphazero.judging.session import Session
from games.base import Game
from workers.serve.bodies import RequestError

SEPARATOR = "."
"""Between two moves in an address: ``4.4.5.3``."""


def read(game: Game, moves: str) -> Session:
    """The game in progress after ``moves``: actions counted from 1, or moves in its notation.

    ``RequestError`` (422), one line, where a move cannot be played or there are too many.
    """
    words = moves.split(SEPARATOR) if moves else []
    if len(words) > game.max_plies:
        raise RequestError(422, f"a game has at most {game.max_plies} moves", "moves")
    try:
        return session.after(game, words)
    except ValueError as error:
        raise RequestError(422, str(error), "moves") from None


def unfinished(game: Game, moves: str) -> Session:
    """The same as ``read``; ``RequestError`` (422) also where the game is over."""
    played = read(game, moves)
    if played.over():
        raise RequestError(422, "the game is over", "moves")
    return played
