"""The registry: ``make("othello:size=6")`` builds a game from its name and parameters."""

import importlib
import inspect
from typing import NamedTuple

from games.base import Game
from games.spec import closest, parse_call, parse_options, plain_call, shown, split, suggest


class Registered(NamedTuple):
    """One entry of the registry."""

    game: str | type[Game]
    """The address ``module:Class``, so that the module is imported when the game is first used; or
    the class itself, of a game registered in this process."""
    parameters: dict[str, int | float | str | bool]
    """The parameters that may follow the name, with their defaults."""
    description: str
    """The first line of the class's docstring."""
    keyless: str = ""
    """The parameter that may come first without its key, see ``Game.keyless``."""
    imports: str = ""
    """The form in which the keyless parameter names an import: ``module`` or ``module:name``."""


# Parameters and descriptions are repeated here, so that a list of games takes no time: importing
# compiled games takes longer than everything else. A test compares them with the classes.
_registry: dict[str, Registered] = {
    "tic_tac_toe": Registered(
        "games.tic_tac_toe:TicTacToe", {},
        "Tic-tac-toe; a move is a cell, 1 to 9, row by row from the top left.",
    ),
    "connect_four": Registered(
        "games.connect_four:ConnectFour", {},
        "Connect Four on the usual 6 x 7 board; a move is a column, 1 to 7 from the left.",
    ),
    "othello": Registered(
        "games.othello:Othello", {"size": 8},
        "Othello; a move is a cell, a1 to h8 from the top left, or pass where no cell is allowed.",
    ),
    "go": Registered(
        "games.go:Go", {"size": 9, "komi": 7.0, "history": 16},
        "Go by area; a move is a point, A1 to T19 from the bottom left without an I, or pass.",
    ),
    "chess": Registered(
        "games.chess:Chess", {},
        "Chess; a move is written e4, Nf3, O-O, exd5 or e8=Q, or as two squares: e2e4, e7e8q.",
    ),
    "hex": Registered(
        "games.hex:Hex", {"size": 11, "swap": True},
        "Hex; a move is a cell, a1 at the top left, or swap as the second player's first move.",
    ),
    "gomoku": Registered(
        "games.gomoku:Gomoku", {"size": "15", "length": 5, "exact": False},
        "Gomoku and m,n,k games (size=ROWSxCOLUMNS); a move is a cell, a1 at the bottom left.",
    ),
    "breakthrough": Registered(
        "games.breakthrough:Breakthrough", {"rows": 8, "columns": 8},
        "Breakthrough; a move is two squares, as a2a3 or a2b3; White's home row is 1.",
    ),
    "dots_and_boxes": Registered(
        "games.dots_and_boxes:DotsAndBoxes", {"rows": 3, "columns": 3},
        "Dots and Boxes; a move is a line, as b1, in the drawing's grid of dots and lines.",
    ),
    "open_spiel": Registered(
        "games.open_spiel_game:OpenSpielGame", {"rules": "tic_tac_toe", "max_plies": 512},
        "A game of OpenSpiel for two without chance and secrets: open_spiel:hex(board_size=5).",
        keyless="rules",
    ),
    "pettingzoo": Registered(
        "games.pettingzoo_game:PettingZooEnvironment",
        {"environment": "pettingzoo.classic.tictactoe_v3", "max_plies": 512},
        "A turn-based environment of PettingZoo: pettingzoo:pettingzoo.classic.tictactoe_v3.",
        keyless="environment", imports="module",
    ),
    "gymnasium": Registered(
        "games.gymnasium_game:GymnasiumEnvironment",
        {"environment": "FrozenLake-v1(is_slippery=false)", "lowest": 0.0, "highest": 1.0,
         "max_plies": 0, "seed": 0},
        "An environment of Gymnasium for one player: gymnasium:FrozenLake-v1(is_slippery=false).",
        keyless="environment", imports="module:name",
    ),
}  # fmt: skip


def make(spec: str) -> Game:
    """Build the game named by ``spec``: ``name`` or ``name:parameter=value,...``.

    A game need not be registered: ``package.module:Class`` names it by its address, and so works in
    every process that can import it; parameters follow as ``package.module:Class:size=5``. A
    parameter may be written without its key if it is the game's ``keyless`` one and comes first.
    ``ValueError`` (one line) for an unknown name, an unknown parameter or a bad value.
    """
    name, settings = named(spec)
    game = _load(name)
    values = _parse(name, settings, _parameters(game), game.keyless)
    try:
        return game(**values)
    except ValueError:
        raise
    except Exception as error:  # a user's own class may raise anything
        raise ValueError(f"game {shown(name)} cannot be made: {error!r}") from error


def named(spec: str) -> tuple[str, str]:
    """The name or address in ``spec`` and the text of the parameters; nothing is imported.

    ``"othello:size=6"`` gives ``("othello", "size=6")``, ``"mine:Game:size=5"`` gives
    ``("mine:Game", "size=5")``. A registered game's address becomes its name.
    """
    name, settings = split(spec)
    if name in _registry:
        return name, settings
    text = spec.strip()
    # An address has a colon of its own: parameters begin behind its second colon.
    module, attribute, rest = (*text.split(":", 2), "", "")[:3]
    if known := _registered_name(f"{module}:{attribute}"):
        return known, rest
    if settings and "=" not in settings.partition(":")[0]:
        head, equals, tail = text.partition("=")
        name, _, settings = head.rpartition(":") if equals else (text, "", "")
        settings += equals + tail
    return name, settings


def without_parameters(spec: str) -> tuple[str, str]:
    """The game that ``spec`` names, whatever its parameters; nothing is imported.

    ``("go", "")`` for ``go:size=9``; of another library also the name that a game has there, as
    ``("open_spiel", "hex")`` for ``open_spiel:hex(board_size=5)``. ``ValueError``, one line: a bad
    parameter of such a game.
    """
    name, settings = named(spec)
    entry = _registry.get(name)
    if entry is None or not entry.keyless:
        return name, ""
    values = entry.parameters | _parse(name, settings, entry.parameters, entry.keyless)
    return name, parse_call(str(values[entry.keyless]))[0]


def address_of(spec: str) -> str | None:
    """The address ``module:name`` that ``make`` would import for ``spec``; imports nothing.

    None for a registered game, by its name or its address, unless a parameter of it names a module
    outside of the library that the game is for; and for a text that names no game.
    """
    name, settings = named(spec)
    if name in _registry:
        return _imported(name, settings)
    return name if ":" in name else None


def _imported(name: str, settings: str) -> str | None:
    """The address of what the keyless parameter of a registered game would import, or None.

    ``pettingzoo:mine.chess`` imports ``mine.chess`` and calls its ``env``: ``"mine.chess:env"``.
    """
    entry = _registry[name]
    if not entry.imports:
        return None
    try:
        values = _parse(name, settings, entry.parameters, entry.keyless)
        what, _ = parse_call(values.get(entry.keyless, ""))
    except ValueError:
        return None  # nothing is imported for it: make refuses it for the same reason
    if entry.imports == "module":
        inside = not what or what.partition(".")[0] == name
        return None if inside else f"{what}:env"
    return what if ":" in what else None


def same(first: str, second: str) -> bool:
    """Whether two specs name the same game with the same parameters, one of which may be left out.

    ``othello`` and ``othello:size=8`` do. Nothing is made, and nothing is imported where the names
    differ, or the class cannot be found.
    """
    (name, settings), (other, others) = named(first), named(second)
    if first == second or name != other:
        return first == second
    try:
        game = _load(name)
        defaults = _parameters(game)
        values, theirs = (_parse(name, text, defaults, game.keyless) for text in (settings, others))
    except ValueError:
        return False
    return defaults | values == defaults | theirs


def register(name: str, game: type[Game]) -> None:
    """Let ``make`` build ``game`` from ``name`` in this process.

    A class of the same module and name replaces the earlier one: the cell of a notebook that
    defines a game can be run again. ``ValueError`` where another game has the name already.
    """
    earlier = _registry[name].game if name in _registry else game
    if isinstance(earlier, str) or _address(earlier) != _address(game):
        raise ValueError(f"a game named {name!r} is registered already")
    _registry[name] = Registered(game, _parameters(game), _description(game), game.keyless)


def registered() -> dict[str, Registered]:
    """Every entry by the game's name; no game is imported."""
    return dict(_registry)


def _registered_name(address: str) -> str | None:
    """The name under which the class at an address is registered."""
    for name, entry in _registry.items():
        known = entry.game if isinstance(entry.game, str) else ":".join(_address(entry.game))
        if known == address:
            return name
    return None


def _address(game: type[Game]) -> tuple[str, str]:
    return game.__module__, game.__qualname__


def _description(game: type[Game]) -> str:
    return (game.__doc__ or "").partition("\n")[0]


def _load(name: str) -> type[Game]:
    """The class behind a registered name or an address ``package.module:Class``."""
    entry = _registry[name].game if name in _registry else name
    if not isinstance(entry, str):
        return entry
    module, colon, attribute = entry.partition(":")
    if not colon:
        hint = suggest(name, _registry, "there is")
        more = "" if closest(name, _registry) else "; a game of your own is named module:Class"
        raise ValueError(f"unknown game {shown(name)}; {hint}{more}")
    try:
        game = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # a user's own module may raise anything
        near = closest(module, _registry)
        hint = f"; did you mean {near!r}?" if near else ""
        raise ValueError(f"game {shown(name)} cannot be imported: {error}{hint}") from error
    if not (inspect.isclass(game) and issubclass(game, Game)) or inspect.isabstract(game):
        rule = "that is a complete subclass of games.base.Game"
        raise ValueError(f"{shown(name)} is not a game: {rule}")
    return game


def _parameters(game: type[Game]) -> dict:
    """The parameters of the class's ``__init__`` with their defaults."""
    signature = inspect.signature(game)
    return {name: parameter.default for name, parameter in signature.parameters.items()}


def _parse(name: str, settings: str, defaults: dict, keyless: str = "") -> dict:
    """The values of ``key=value,...``, each converted to the type of its default.

    The first item may be the value of ``keyless`` alone.
    """
    values = {}
    for place, (key, text, written) in enumerate(parse_options(settings, calls=bool(keyless))):
        if text is None and keyless and not place:
            key, text = keyless, written
        if text is None:
            example = f"{name}:{next(iter(defaults))}={written}" if len(defaults) == 1 else ""
            raise ValueError(
                f"{name}: parameters are written key=value, not {shown(written)}"
                f"{example and f'; did you mean {shown(example)}?'}"
            )
        if key not in defaults:
            raise ValueError(f"{name} has no parameter {shown(key)}; {suggest(key, defaults)}")
        if defaults[key] is inspect.Parameter.empty:
            raise ValueError(f"{name}: {key} needs a default value in the game's own __init__")
        values[key] = _convert(name, key, text, type(defaults[key]))
        if key == keyless:
            values[key] = plain_call(values[key])
    return values


def _convert(name: str, key: str, text: str, kind: type):
    try:
        return {"true": True, "false": False}[text.lower()] if kind is bool else kind(text)
    except (ValueError, KeyError):
        wanted = f"must be of type {kind.__name__}, not {shown(text)}"
        raise ValueError(f"{name}: {key} {wanted}") from None
