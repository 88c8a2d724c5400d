"""The registry: ``make("othello:size=6")`` builds a game from its name and parameters."""

import difflib
import importlib
import inspect
from typing import NamedTuple

from games.base import Game

# By address, so that a game is only imported when somebody asks for it.
_registry: dict[str, str | type[Game]] = {
    "tic_tac_toe": "games.tic_tac_toe:TicTacToe",
    "connect_four": "games.connect_four:ConnectFour",
    "othello": "games.othello:Othello",
}


class Registered(NamedTuple):
    """One line of the list of games."""

    game: type[Game]
    parameters: dict[str, int | float | str | bool]
    """What may follow the name, with the defaults."""
    description: str


def make(spec: str) -> Game:
    """The game ``spec`` names: ``name`` or ``name:parameter=value,...``.

    A game need not be registered: ``package.module:Class`` names it by its address, and so works in
    every process that can import it; parameters follow as ``package.module:Class:size=5``.
    ``ValueError`` (one line) for an unknown name, an unknown parameter or a bad value.
    """
    name, _, settings = spec.strip().partition(":")
    if name not in _registry and (settings and "=" not in settings.partition(":")[0]):
        name, _, settings = spec.strip().rpartition(":") if "=" in settings else (spec, "", "")
    game = _find(name)
    values = _parse(name, settings, _parameters(game))
    try:
        return game(**values)
    except TypeError as error:
        raise ValueError(f"game {name!r} cannot be made: {error}") from error


def register(name: str, game: type[Game]) -> None:
    """Let ``make`` find ``game`` by ``name`` in this process; ``ValueError`` where it is taken."""
    if _registry.get(name, game) is not game:
        raise ValueError(f"a game named {name!r} is registered already")
    _registry[name] = game


def registered() -> dict[str, Registered]:
    """Every registered game by name, imported."""
    games = {name: _find(name) for name in _registry}
    return {
        name: Registered(game, _parameters(game), (game.__doc__ or "").partition("\n")[0])
        for name, game in games.items()
    }


def _find(name: str) -> type[Game]:
    entry = _registry.get(name, name)
    if not isinstance(entry, str):
        return entry
    module, colon, attribute = entry.partition(":")
    if not colon:
        raise ValueError(f"unknown game {name!r}; {_nearest(name, _registry)}")
    try:
        game = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # whatever a user's own file may hold
        raise ValueError(f"game {name!r} cannot be imported: {error}") from error
    if not (inspect.isclass(game) and issubclass(game, Game)) or inspect.isabstract(game):
        raise ValueError(f"{name!r} is not a game: that is a complete subclass of games.base.Game")
    return game


def _parameters(game: type[Game]) -> dict:
    return {name: each.default for name, each in inspect.signature(game).parameters.items()}


def _parse(name: str, settings: str, defaults: dict) -> dict:
    values = {}
    for setting in filter(None, settings.split(",")):
        key, equals, text = (part.strip() for part in setting.partition("="))
        if not equals:
            raise ValueError(f"{name}: parameters are written key=value, not {setting!r}")
        if key not in defaults:
            raise ValueError(f"{name} has no parameter {key!r}; {_nearest(key, defaults)}")
        if defaults[key] is inspect.Parameter.empty:
            raise ValueError(f"{name}: {key} needs a default value in the game's own __init__")
        values[key] = _convert(name, key, text, type(defaults[key]))
    return values


def _convert(name: str, key: str, text: str, kind: type):
    try:
        return {"true": True, "false": False}[text.lower()] if kind is bool else kind(text)
    except (ValueError, KeyError):
        raise ValueError(f"{name}: {key} must be of type {kind.__name__}, not {text!r}") from None


def _nearest(word: str, known: dict) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"there is {', '.join(known)}" if known else "it takes none"
