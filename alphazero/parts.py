"""The parts of a run that follow from its settings alone: game, encoder and search.

Everything that plays, stores or trains for a run takes them from here, in every process. Imports no
torch.
"""

import games
from alphazero import addresses, encoders
from alphazero.addresses import ByAddress
from alphazero.config import Config
from alphazero.encoders import Encoder
from alphazero.types import Search
from games.base import Game


def game_of(config: Config) -> Game:
    """The game as the run plays it: its states are those that are searched, stored and sent.

    ``ValueError``, one line, where game or encoder cannot be made.
    """
    return encoders.played_game(games.make(config.game), encoder_of(config))


def encoder_of(config: Config) -> Encoder:
    """The encoder of the network's input; it reads states of ``game_of(config)``.

    ``ValueError``, one line, where game or encoder cannot be made.
    """
    return encoders.make(config.network.encoder, games.make(config.game))


def search_of(config: Config) -> Search:
    """The search of self-play, with its exploration noise.

    ``ValueError``, one line, where a search by address cannot be made.
    """
    if isinstance(config.search, ByAddress):
        return addresses.build(config.search, "search")
    return config.search
