"""The parts of a run that follow from its settings alone: the game as it is played, the search.

Everything that plays, stores or trains for a run takes them from here, in every process. Imports no
torch.
"""

import games
from alphazero.config import Config
from alphazero.types import Search
from games.base import Game


def game_of(config: Config) -> Game:
    """The game as the run plays it: its states are those that are searched, stored and sent."""
    return games.make(config.game)


def search_of(config: Config) -> Search:
    """The search of self-play, with its exploration noise."""
    return config.search
