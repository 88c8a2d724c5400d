"""The players ``gtp:cmd=...`` and ``uci:cmd=...``: their options, as texts name them."""

import os
from typing import Annotated

from pydantic import ConfigDict, Field, validate_call

from alphazero.config import Count
from alphazero.judging.decisions import Player
from alphazero.judging.engines import pool
from alphazero.judging.engines.gtp import GtpEngine
from alphazero.judging.engines.process import split_command
from alphazero.judging.engines.uci import UciEngine
from alphazero.types import Limits
from games.base import Game

Seconds = Annotated[float, Field(gt=0, le=86_400)]
PATIENCE = 30.0
"""Seconds after which a program without an answer has lost, where no number is given."""
MOVE_SECONDS = 1.0
"""The time per move of a program that speaks UCI and is given no other limit."""

_constructor = validate_call(config=ConfigDict(arbitrary_types_allowed=True))


@_constructor
def gtp(
    game: Game,
    name: str,
    *,
    cmd: str,
    seconds: Seconds | None = None,
    processes: Count | None = None,
    commands: str = "",
) -> Player:
    """A program that speaks GTP 2, as ``gtp:cmd="gnugo --mode gtp --level 1"``.

    It loses a game in which it has no legal move after ``seconds``, 30 unless given. Where they are
    given, the time is stated to the program. At most ``processes`` run at once, as many as there
    are cores unless given. ``commands``, separated by ``;``, are sent to each before its first
    game.
    """
    words, first = split_command(cmd), _listed(commands)
    number, limits = processes or os.cpu_count() or 1, Limits(seconds=seconds)

    def start() -> pool.Engine:
        return GtpEngine(game, words, first)

    return pool.player(game, name, pool.Settings(start, number, seconds or PATIENCE, limits))


@_constructor
def uci(
    game: Game,
    name: str,
    *,
    cmd: str,
    seconds: Seconds | None = None,
    processes: Count | None = None,
    nodes: Count | None = None,
    depth: Count | None = None,
    skill: int | None = None,
    options: str = "",
    variant: str | None = None,
) -> Player:
    """A program that speaks UCI, as ``uci:cmd=stockfish,skill=0,nodes=1000``.

    ``seconds`` and ``processes`` as in ``gtp``. ``nodes`` and ``depth`` limit its search; without
    them and ``seconds`` it has one second per move. ``skill`` is its option ``Skill Level``;
    ``options`` are others, ``"Hash=64;Threads=1"``. ``variant``: what it calls the game.
    """
    words, chosen = split_command(cmd), _named(options)
    if skill is not None:
        chosen["Skill Level"] = str(skill)
    given = {"nodes": nodes, "depth": depth}
    searched = " ".join(f"{key} {value}" for key, value in given.items() if value is not None)
    stated = seconds or (None if searched else MOVE_SECONDS)
    number, limits = processes or os.cpu_count() or 1, Limits(seconds=stated)

    def start() -> pool.Engine:
        return UciEngine(game, words, chosen, searched, variant)

    return pool.player(game, name, pool.Settings(start, number, seconds or PATIENCE, limits))


def _listed(text: str) -> list[str]:
    """The parts between semicolons, without empty ones."""
    return [part.strip() for part in text.split(";") if part.strip()]


def _named(text: str) -> dict[str, str]:
    """``"Hash=64;Threads=1"`` as a mapping; ``ValueError`` for a part without ``=``."""
    pairs = [part.partition("=") for part in _listed(text)]
    for key, equals, _ in pairs:
        if not equals:
            raise ValueError(f"options are written Name=value;Name=value, not {key!r}")
    return {key.strip(): value.strip() for key, _, value in pairs}
