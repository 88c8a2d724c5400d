"""Matches between agents, players and players' texts, as ``import alphazero`` offers them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from alphazero.judging import arena, players
from alphazero.judging.agent import Agent
from alphazero.judging.arena import ArenaResult
from alphazero.judging.decisions import Player, agent_player
from games.base import Game


def play_match(
    game: Game,
    players: Sequence[Player | Agent | str],
    games: int = 100,
    seed: int = 0,
    *,
    opening_plies: int | None = None,
    swap: bool = True,
    progress: Callable[[int, int], None] | None = None,
    record: Callable[[dict[str, Any]], object] | None = None,
) -> ArenaResult:
    """Let every pair of ``players`` play ``games`` games of ``game``, and rate them.

    A player is an ``Agent``, a ``Player`` or a text such as ``"minimax:depth=5"``. Each game begins
    with ``opening_plies`` random moves: two unless given, fewer where the game is shorter, more
    where there are too few openings of that length. Each opening is played twice, with sides
    exchanged; without ``swap`` it is played once, and the player named first begins. ``progress``
    is called with the numbers of finished games and of all games, ``record`` with each finished
    game as plain types (``record=games.append`` keeps them in a list). The result depends on the
    arguments alone.

    ``ValueError``, one line: fewer than two players, no game, openings that end the game, an
    unknown player, or an agent of another game.
    """
    if isinstance(players, str):
        raise ValueError(f"players are a list, such as [{players!r}, 'random'], not {players!r}")
    opponents = [as_player(player, game) for player in players]
    return arena.play(game, opponents, games, seed, opening_plies, progress, swap, record)


def as_player(player: Player | Agent | str, game: Game) -> Player:
    """``player`` as a ``Player`` of ``game``. ``ValueError``, one line: it cannot play it."""
    if isinstance(player, str):
        return players.make(player, game, programs=True)
    if isinstance(player, Player):
        return player
    if not isinstance(player, Agent):
        raise ValueError(f"a player is an Agent, a Player or a text such as 'mcts', not {player!r}")
    if player.game.name != game.name:
        raise ValueError(f"the agent {player.name} plays {player.game.name}, not {game.name}")
    agent = replace(player, search=player.search.without_noise(leaves=1))
    return agent_player(player.name, agent)
