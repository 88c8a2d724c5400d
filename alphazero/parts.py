"""The parts of a run that follow from its settings alone: game, encoder, search, memory.

Everything that plays, stores or trains for a run takes them from here, in every process. Imports no
torch.
"""

import games
from alphazero import addresses, encoders, memory, records
from alphazero.addresses import ByAddress
from alphazero.config import Config
from alphazero.encoders import Encoder
from alphazero.packing import Packing
from alphazero.types import Search
from games.base import Game

ACTION_BYTES = 4
"""Bytes of a recorded action, beside its row."""


def addresses_of(config: Config, search: bool = True) -> dict[str, str]:
    """The addresses that ``config`` names, by key; those that playing with it would import.

    ``search``: whether its search would be made. Imports nothing.
    """
    game = games.address_of(config.game)
    named = {
        "game": game,
        "search.kind": config.search.kind if search else None,
        "network.kind": config.network.kind,
        "network.encoder": encoders.address_of(config.network.encoder),
    }
    return {key: text for key, text in named.items() if text and addresses.is_address(text)}


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


def packing_of(config: Config) -> Packing:
    """How finished games are packed where they are played."""
    heads, resign_value = tuple(config.network.heads), config.selfplay.resign_value
    return Packing(game_of(config), config.replay, heads, resign_value)


def largest_request(config: Config, search: Search | None = None) -> int:
    """The positions that a group sends to another process at once, at most; ``search`` replaces the
    one of ``config``."""
    leaves = getattr(search or search_of(config), "leaves", 1)  # a search of one's own has none
    return min(memory.MOST_POSITIONS, config.selfplay.games * leaves)


def memory_of(config: Config, processes: int = 0, search: Search | None = None) -> memory.Sizes:
    """The sizes of one process of self-play, of which ``processes`` share this machine.

    0 processes: threads of the run's own process, which share no memory with others. ``search``
    replaces the one of ``config``.
    ``ValueError``, one line, where they do not fit into ``selfplay.memory``, or without that
    setting into each process's part of ``memory.SHARE`` of the machine's memory.
    """
    game, play = game_of(config), config.selfplay
    load = memory.Load(
        groups=play.groups,
        games=play.games,
        simulations=(search or search_of(config)).simulations,
        cache=play.cache,
        row_bytes=records.row(game).itemsize + ACTION_BYTES,
        keeps_trees=play.reuse_tree,
        key=encoder_of(config).key,
        request=largest_request(config, search) if processes else 0,
    )
    share = int(memory.SHARE * memory.available_memory()) // max(1, processes)
    return memory.plan(game, load, share if play.memory is None else play.memory)
