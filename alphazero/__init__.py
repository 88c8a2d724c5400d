"""AlphaZero for board games, from Python.

    import alphazero

    agent = alphazero.load_agent("connect_four")      # bundled; or the folder of a run or an agent
    analysis = agent.analyse("4453")                  # after these moves
    print(analysis.move, analysis.value)

    game = alphazero.make_game("tic_tac_toe")
    print(alphazero.play_match(game, ["minimax:depth=9", "random"], games=20))

    config = alphazero.load_config("tic_tac_toe", ["training.steps=10"])
    alphazero.train(config, "runs/mine")

Every name is imported when it is used for the first time: ``import alphazero`` takes neither torch
nor the time that torch needs. It does check that the package ``games`` is the one that belongs to
this one; see ``alphazero.packages``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from alphazero import packages

if TYPE_CHECKING:
    from alphazero.config import Config
    from alphazero.config import load as load_config
    from alphazero.judging.agent import Agent, Analysis, MoveEvaluation, load_agent
    from alphazero.judging.arena import ArenaResult
    from alphazero.judging.match import play_match
    from alphazero.judging.notebook import board
    from alphazero.judging.picture import Picture, show
    from alphazero.judging.players import Decision, Player
    from alphazero.judging.players import make as make_player
    from alphazero.local_run import train
    from alphazero.types import Evaluation, Search, SearchResult
    from games import make as make_game
    from games import register as register_game
    from games.base import Game

__version__ = "0.1.0"

__all__ = [
    "Agent",
    "Analysis",
    "ArenaResult",
    "Config",
    "Decision",
    "Evaluation",
    "Game",
    "MoveEvaluation",
    "Picture",
    "Player",
    "Search",
    "SearchResult",
    "__version__",
    "board",
    "load_agent",
    "load_config",
    "make_game",
    "make_player",
    "play_match",
    "register_game",
    "show",
    "train",
]

_SOURCES = {
    "Agent": "alphazero.judging.agent:Agent",
    "Analysis": "alphazero.judging.agent:Analysis",
    "ArenaResult": "alphazero.judging.arena:ArenaResult",
    "Config": "alphazero.config:Config",
    "Decision": "alphazero.judging.players:Decision",
    "Evaluation": "alphazero.types:Evaluation",
    "Game": "games.base:Game",
    "MoveEvaluation": "alphazero.judging.agent:MoveEvaluation",
    "Picture": "alphazero.judging.picture:Picture",
    "Player": "alphazero.judging.players:Player",
    "Search": "alphazero.types:Search",
    "SearchResult": "alphazero.types:SearchResult",
    "board": "alphazero.judging.notebook:board",
    "load_agent": "alphazero.judging.agent:load_agent",
    "load_config": "alphazero.config:load",
    "make_game": "games:make",
    "make_player": "alphazero.judging.players:make",
    "play_match": "alphazero.judging.match:play_match",
    "register_game": "games:register",
    "show": "alphazero.judging.picture:show",
    "train": "alphazero.local_run:train",
}
"""Where each name is defined; type checkers read the imports above instead."""

packages.check("games")

if not TYPE_CHECKING:  # a type checker would accept every name

    def __getattr__(name: str) -> Any:
        if name not in _SOURCES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module, _, attribute = _SOURCES[name].partition(":")
        value = getattr(import_module(module), attribute)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
