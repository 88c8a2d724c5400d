"""Requests of the analysis: lines of JSON, with the fields of KataGo's analysis engine.

See docs/Analysis_Engine.md of KataGo for their meaning there, docs/engine_protocols.md for ours.
"""

import json
import math
import sys
from collections.abc import Iterable
from typing import Any, NamedTuple

from alphazero.errors import one_line, reason
from alphazero.judging import session
from games.base import Game, States
from workers.engines.engine import MOST_SIMULATIONS

LONGEST_ID = 200
"""Characters of an id."""
DEEPEST = 20
"""Levels of lists and objects in a request. Python writes values that are much deeper with an
exception, and requests are repeated in answers; the fields that are read have at most three."""
MOST_SECONDS = 1e6
KNOWN = ("id", "moves", "initialPlayer", "analyzeTurns", "maxVisits", "maxTime", "includePolicy",
         "priority", "reportDuringSearchEvery", "rules", "komi", "boardXSize", "boardYSize",
         "initialStones", "overrideSettings")  # fmt: skip
SETTINGS = ("maxTime", "reportAnalysisWinratesAs")
"""The settings of ``overrideSettings`` that are read."""
VIEWS = {"SIDETOMOVE": None, "BLACK": 0, "WHITE": 1}
"""Whose values are reported: those of the player about to move, or of one side."""
COLORS = {"b": 0, "black": 0, "w": 1, "white": 1}
NAMES = "BW"
"""The names of both sides in answers; black is the player who begins."""


class Bad(Exception):
    """A request that is refused: ``Bad(message, field, id)``."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class Wishes(NamedTuple):
    """How positions are searched and reported; those with equal ones may share a batch."""

    visits: int | None = None
    """None: as many as the player's own limits."""
    seconds: float | None = None
    every: float | None = None
    """Seconds between reports during the search; None: there are none."""


class Position(NamedTuple):
    """One position to be searched."""

    id: str
    turn: int
    states: States
    """``[1]``"""
    line: tuple[int, ...]
    wishes: Wishes
    policy: bool
    """Whether the answer has the priors of all actions."""
    view: int | None
    priority: int


class Request(NamedTuple):
    """The positions of one request, and its fields that are not read."""

    positions: list[Position]
    unused: list[str]


def parse(line: str) -> dict[str, Any]:
    """The object in a line of JSON; ``Bad``: there is none, or one that is too deep."""
    try:
        fields = json.loads(line, parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError) as error:
        raise Bad(f"this is no request: {reason(error)}") from None
    if not isinstance(fields, dict):
        raise Bad("a request is an object: {...}")
    level: list[Any] = [fields]
    for _ in range(DEEPEST):
        level = [value for outer in level for value in _inside(outer)]
    if any(isinstance(value, list | dict) for value in level):
        raise Bad(f"a request has at most {DEEPEST} levels of lists and objects")
    return fields


def _finite(text: str) -> float:
    """The number; ``ValueError``: answers that repeat NaN, Infinity or 1e999 would be no JSON."""
    if math.isfinite(number := float(text)):
        return number
    raise ValueError(f"{text[:40]} is not a finite number")


def _inside(value: object) -> Iterable[Any]:
    """The values in a list or an object; none in anything else."""
    match value:
        case list():
            return value
        case dict():
            return value.values()
    return ()


def identify(fields: dict[str, Any]) -> str:
    """The request's id; ``Bad``: it has none."""
    name = fields.get("id")
    if not isinstance(name, str) or len(name) > LONGEST_ID:
        raise Bad(f"a request needs an id: a text of at most {LONGEST_ID} characters", "id")
    return name


def read(game: Game, fields: dict[str, Any]) -> Request:
    """The positions that ``fields`` ask for; ``Bad`` names the field that is wrong."""
    name = identify(fields)
    _check_board(game, fields)
    played = _played(game, fields)
    settings = _typed(fields, "overrideSettings", dict, {})
    turns = _turns(fields, len(played.actions))
    seconds = _number({**settings, **fields}, "maxTime", MOST_SECONDS)
    visits = _whole(fields, "maxVisits", None, 1)
    wishes = Wishes(
        None if visits is None else min(visits, MOST_SIMULATIONS),
        seconds,
        _number(fields, "reportDuringSearchEvery", MOST_SECONDS),
    )
    view = settings.get("reportAnalysisWinratesAs", "SIDETOMOVE")
    if not isinstance(view, str) or view.upper() not in VIEWS:
        raise Bad(f"reportAnalysisWinratesAs is one of {', '.join(VIEWS)}", "overrideSettings")
    policy = _typed(fields, "includePolicy", bool, False)
    priority = _whole(fields, "priority", 0, -(2**31)) or 0
    positions = [
        Position(name, turn, played.history[turn], tuple(played.actions[:turn]), wishes, policy,
                 VIEWS[view.upper()], priority)
        for turn in turns
    ]  # fmt: skip
    unused = [key for key in fields if key not in KNOWN and fields[key]]
    unused += [f"overrideSettings.{key}" for key in settings if key not in SETTINGS]
    return Request(positions, [one_line(key, 40) for key in unused])


def _check_board(game: Game, fields: dict[str, Any]) -> None:
    """``Bad`` where the request is about another board or other rules than ``game``'s."""
    _, rows, columns = game.observation_shape
    for key, own in (("boardXSize", columns), ("boardYSize", rows)):
        if (given := fields.get(key, own)) != own:
            raise Bad(f"the board has {own}, not {one_line(repr(given), 40)}", key)
    own_komi = getattr(game, "komi", None)
    if own_komi is not None and (given := fields.get("komi", own_komi)) != own_komi:
        raise Bad(f"the komi is {own_komi}, not {one_line(repr(given), 40)}", "komi")
    if fields.get("initialStones"):
        raise Bad("games begin from their initial position", "initialStones")
    first = fields.get("initialPlayer", "B")
    if not isinstance(first, str) or COLORS.get(first.lower()) != 0:
        raise Bad("the player who begins is B", "initialPlayer")


def _played(game: Game, fields: dict[str, Any]) -> session.Session:
    """The game with the request's moves: texts, numbers from 1, or pairs of a colour and a text."""
    moves = _typed(fields, "moves", list, None)
    sides: list[int | None] = []
    words: list[int | str] = []
    for move in moves:
        match move:
            case [str(who), str(text)] if who.lower() in COLORS:
                sides.append(COLORS[who.lower()])
                words.append(text)
            case _:
                sides.append(None)
                words.append(move)
    try:
        played = session.after(game, words)
    except ValueError as error:
        raise Bad(str(error), "moves") from None
    for number, (side, states) in enumerate(zip(sides, played.history, strict=False), 1):
        if side not in (None, int(game.to_move(states)[0])):
            raise Bad(f"move {number} is the other side's", "moves")
    return played


def _turns(fields: dict[str, Any], last: int) -> list[int]:
    turns = _typed(fields, "analyzeTurns", list, [last])
    for turn in turns:
        if type(turn) is not int or not 0 <= turn <= last:
            raise Bad(f"turns are whole numbers from 0 to {last}", "analyzeTurns")
    return list(dict.fromkeys(turns))


def _typed(fields: dict[str, Any], key: str, kind: type, default: Any) -> Any:
    value = fields.get(key, default)
    if not isinstance(value, kind):
        names = {list: "a list", dict: "an object", bool: "true or false"}
        raise Bad(f"{key} is {names[kind]}", key)
    return value


def _whole(fields: dict[str, Any], key: str, default: int | None, least: int) -> int | None:
    value = fields.get(key, default)
    if value is not None and (type(value) is not int or not least <= value < 2**31):
        raise Bad(f"{key} is a whole number, {least} or more", key)
    return value


def _number(fields: dict[str, Any], key: str, most: float) -> float | None:
    value = fields.get(key)
    if value is None:
        return None
    if type(value) not in (int, float) or not 0 < value <= sys.float_info.max:
        raise Bad(f"{key} is a number of seconds above 0", key)
    return min(float(value), most)
