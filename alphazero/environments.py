"""Registers every game as an environment of Gymnasium and of PettingZoo when it is imported.

    import alphazero.environments

    gymnasium.make("alphazero/ConnectFour-v0", opponent="checkpoint")
    pettingzoo.make("aec", "alphazero/connect_four-v0")

``import alphazero`` does not import it, because the two libraries take longer to import than
everything else that a command needs at its start. Games outside the registry, and those of other
libraries, have the ids ``alphazero/Game-v0`` and ``alphazero/game-v0`` and are an argument there:
``game="my_game:MyGame"``.
"""

from typing import Any

import gymnasium
import pettingzoo

import games

NAMESPACE, VERSION = "alphazero", "v0"
MAKERS = "alphazero.judging.environments"
"""The module that makes the environments."""
ANY_GAME = "game"
"""The name of the environments whose game is an argument."""


def identifier(name: str) -> str:
    """A game's name as the classes of Gymnasium are written: ``connect_four``, ``ConnectFour``."""
    return "".join(part.capitalize() for part in name.split("_"))


def arguments() -> dict[str, dict[str, Any]]:
    """The arguments of the makers by the name of the environment."""
    own = (name for name, entry in games.registered().items() if not entry.keyless)
    return {ANY_GAME: {}} | {name: {"game": name} for name in own}


for _name, _arguments in arguments().items():
    gymnasium.register(
        f"{NAMESPACE}/{identifier(_name)}-{VERSION}", f"{MAKERS}:for_gymnasium", kwargs=_arguments
    )
    pettingzoo.register(
        "aec", f"{NAMESPACE}/{_name}-{VERSION}", f"{MAKERS}:for_pettingzoo", kwargs=_arguments
    )
