"""One game session and the player that moves in it: the part that all protocols have in common."""

import logging
import math
from collections.abc import Callable, Sequence

import numpy as np

import games
from alphazero import agents
from alphazero.judging import players
from alphazero.judging.decisions import Decision, Player
from alphazero.judging.session import Session
from alphazero.search.tree import Tree
from alphazero.types import Limits
from games.base import Game
from games.spec import parse_options

log = logging.getLogger(__name__)

MOST_SIMULATIONS = 10**6
"""Simulations of one search, at most: an analysis without an end stops there, or where its tree has
``search.tree.LARGEST`` bytes."""
ENDLESS = 1e6
"""Seconds of an analysis without an end."""
WARM_UP = Limits(2, 0.05)
"""The first search of a process compiles its functions: it is made before the first command."""

MakePlayer = Callable[[Game], Player]


class Engine:
    """A session and a player, made anew together where the rules change. For one thread."""

    def __init__(
        self, game: Game, make_player: MakePlayer, seed: int, bounded: bool = True
    ) -> None:
        """``bounded``: the player's own limits hold beside those of a call, not only without."""
        self._make_player, self._bounded = make_player, bounded
        self.rng = np.random.default_rng(seed)
        self._use(game)

    def _use(self, game: Game) -> None:
        """Begin with other rules; ``ValueError``: the player does not play by them."""
        self.player, self.searches = warm(self._make_player(game), game)
        """Whether the player searches trees, and so can be watched and stopped."""
        self.game, self.session = game, Session(game)

    def change(self, **parameters: int | float) -> None:
        """Begin a new game with these parameters of the game's rules; nothing else is changed.

        Where the player is the default one, it may be another one afterwards: this is logged.

        ``ValueError``, one line: the game has no such parameter or not this value, or the player
        does not play with it, as a network on a board of another size.
        """
        game, before = self.changed(**parameters), self.player.name
        if game is self.game:
            self.session.start()
            return
        self._use(game)
        if self.player.name != before:
            log.warning("%s: the player is %s now, not %s", game.name, self.player.name, before)

    def changed(self, **parameters: int | float) -> Game:
        """The game with these parameters, the one that is played where they are its own."""
        spec = with_parameters(self.game.name, parameters)
        return self.game if games.same(spec, self.game.name) else games.make(spec)

    def decide(self, limits: Limits = Limits()) -> Decision:
        """The player's decision in the position on the board, which is not played.

        ``ValueError``: the game is over.
        """
        return self._decide(self.limits(limits))

    def analyse(self, watch: Callable[[Tree], bool]) -> Decision:
        """The same without limits, as long as ``watch`` lets it; a player without trees decides."""
        endless = Limits(MOST_SIMULATIONS, ENDLESS, watch)
        return self._decide(endless if self.searches else self.player.limits)

    def _decide(self, limits: Limits) -> Decision:
        if self.session.game is self.game:
            return self.session.decide(self.player, self.rng, limits)
        # It began elsewhere: its moves are no line from the initial position.
        return self.player(self.session.states, [self.rng], limits)

    def limits(self, limits: Limits) -> Limits:
        """The limits of a call: the smaller ones of those given and the player's own."""
        given, own = limits, self.player.limits
        if not self._bounded and (given.simulations, given.seconds) != (None, None):
            own = Limits(MOST_SIMULATIONS)
        numbers = [n for n in (own.simulations, given.simulations) if n is not None]
        seconds = [s for s in (own.seconds, given.seconds) if s is not None]
        return Limits(min(numbers, default=None), min(seconds, default=None), given.watch)


def warm(player: Player, game: Game) -> tuple[Player, bool]:
    """``player`` after a short search, which loads all that it needs; whether it searches trees."""
    decision = player(game.initial(1), [np.random.default_rng(0)], WARM_UP, [()])
    return player, decision.tree is not None


def load_player(game: Game, spec: str | None, allow: Sequence[str], fresh: bool = False) -> Player:
    """The player of ``spec``, by default ``players.default``, for one position at a time.

    A checkpoint searches with PUCT unless its ``search`` is given: unlike Gumbel AlphaZero it can
    be stopped at any time, and continues its tree. ``fresh``: without trees of earlier searches,
    so that equal positions have equal results. A network may have been trained with other
    parameters of the game, if its input and output are alike: Go with another komi.
    """
    if spec is None:
        spec = players.default(game, fitting=True)
        if agents.fitting(game.name) is None:
            log.warning("no agent for %s comes with this program: %s plays", game.name, spec)
    kind, options = players.parse(spec)
    if kind == "checkpoint":
        more = {} if "search" in options else {"search": "puct"}
        if fresh and "reuse_tree" not in options:
            more["reuse_tree"] = "false"
        added = ",".join(f"{key}={value}" for key, value in more.items())
        spec = f"{spec}{',' if ':' in spec else ':'}{added}" if added else spec
    return players.make(spec, game, leaves="auto", allow=allow, fitting=True)


def with_parameters(spec: str, parameters: dict[str, int | float]) -> str:
    """The text of a game with some parameters replaced: ``("go:size=9", {"komi": 6.5})``.

    ``ValueError``: the game has no such parameter, or a number is not finite.
    """
    name, settings = games.named(spec)
    entry = games.registered().get(name)
    known = entry.parameters if entry else {}
    values: dict[str, object] = {key: text for key, text, _ in parse_options(settings)}
    for key, value in parameters.items():
        if key not in known or not math.isfinite(value):
            raise ValueError(f"{name} has no parameter {key}={value}")
        values[key] = value
    return f"{name}:{','.join(f'{key}={value}' for key, value in values.items())}"
