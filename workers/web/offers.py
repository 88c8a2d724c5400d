"""Everything that a page may name: games, players and runs, each looked up in a list of the server.

Nothing that a request contains becomes a path, an import or the text of a player. Games and players
beside the fixed ones are those that the user has typed, and those of the runs in the folder.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import games
from alphazero import agents
from alphazero.judging import players
from games.base import Game
from workers.serve.bodies import RequestError
from workers.web import runs
from workers.web.runs import Run

GAMES = (
    "connect_four", "tic_tac_toe", "othello:size=6", "othello", "go:size=5,komi=24", "go:size=9",
    "go:size=13", "chess", "hex:size=7", "hex", "gomoku:size=9", "gomoku",
    "breakthrough:rows=6,columns=6", "breakthrough", "dots_and_boxes",
)  # fmt: skip
"""The games of every page; games of other libraries are offered where the user names them."""
NO_GAME = "this page has no such game: it is shown if its server is started as `alphazero web GAME`"
BUNDLED = "bundled agent"
PLAYERS = ("mcts:seconds=1", "minimax:seconds=1", "random")
"""Players of every game."""
ROLLOUTS = PLAYERS[0]
"""The player that analyses where there is no network."""
SEARCHING = ("checkpoint", "mcts")
"""Kinds of players whose simulations a page may choose."""
ANALYSING = (*SEARCHING, "policy")
"""Kinds of players with which a page may analyse: those with a network or with rollouts."""
MOST_CHECKPOINTS = 200
"""Checkpoints of all runs that are offered as players of one game."""


@dataclass(frozen=True, slots=True)
class Target:
    """The game, run and players that the command line names."""

    game: str | None = None
    """The game that the page shows first."""
    run: str | None = None
    """The run that it shows first, a name in ``folder``."""
    folder: Path | None = None
    """The folder of runs; None: there are none."""
    players: tuple[str, ...] = ()
    """Texts of players that the user has typed, which may start programs."""
    allow: tuple[str, ...] = ()
    """Addresses that checkpoints may name, see ``alphazero.addresses``."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A player that a page may choose."""

    label: str
    """Its name in requests."""
    spec: str = ""
    """Its text; empty for a checkpoint of a run."""
    path: Path | None = None
    """The checkpoint of a run."""
    typed: bool = False
    """Whether the user has typed its text: only then it may start a program."""

    @property
    def kind(self) -> str:
        return "checkpoint" if self.path else players.parse(self.spec)[0]

    def as_json(self) -> dict[str, Any]:
        """The player as the page lists it."""
        return {
            "label": self.label,
            "levels": self.kind in SEARCHING,
            "analyses": self.kind in ANALYSING,
        }


@dataclass(slots=True)
class Offers:
    """The lists of one server."""

    target: Target
    _made: dict[str, Game] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def runs(self) -> dict[str, Run]:
        """The runs of the folder by name, as they are now."""
        return runs.listed(self.target.folder, self.target.allow)

    def run(self, name: str) -> Run:
        """A run by its name; ``RequestError`` (404) where there is none."""
        run = self.runs().get(name)
        if run is None:
            raise RequestError(404, "there is no such run", "run")
        return run

    def games(self) -> list[str]:
        """The texts of all games, the first one that of the command line."""
        own = [run.game for run in self.runs().values() if run.game]
        first = [self.target.game] if self.target.game else []
        return list(dict.fromkeys([*first, *GAMES, *own]))

    def game(self, text: str) -> Game:
        """One of ``games``, made when it is first needed; ``RequestError``: 404, or 422."""
        with self._lock:
            if text in self._made:
                return self._made[text]
            if text not in self.games():
                raise RequestError(404, NO_GAME, "game")
            try:
                self._made[text] = games.make(text)
            except ValueError as error:
                raise RequestError(422, str(error), "game") from None
            return self._made[text]

    def players(self, text: str) -> list[Offer]:
        """The players of a game: those typed, the bundled one, those of runs, and others."""
        game = self.game(text)
        offers = [Offer(spec, spec, typed=True) for spec in self._typed(text)]
        if trained := agents.fitting(game.name):
            spec = f"checkpoint:simulations={agents.SIMULATIONS}"
            other = "" if trained == game.name else f", trained in {trained}"
            offers.append(Offer(f"{BUNDLED}{other}", spec))
        offers += self._checkpoints(text)
        offers += [Offer(spec, spec) for spec in PLAYERS]
        return list({offer.label: offer for offer in reversed(offers)}.values())[::-1]

    def player(self, text: str, label: str) -> Offer:
        """A player of a game by its label; ``RequestError`` (404) where there is none."""
        for offer in self.players(text):
            if offer.label == label:
                return offer
        raise RequestError(404, "there is no such player", "player")

    def _typed(self, text: str) -> Sequence[str]:
        """The players of the command line, which belong to its game."""
        first = self.games()[0]
        return self.target.players if text == first else ()

    def _checkpoints(self, text: str) -> list[Offer]:
        """The checkpoints of the game's runs, the newest of each run first."""
        offers = []
        for run in self.runs().values():
            if run.game is None or not games.same(run.game, text):
                continue
            for step in reversed(run.steps):
                path = run.path / "checkpoints" / f"step_{step:06d}"
                offers.append(Offer(f"{run.name}, step {step}", path=path))
        return offers[:MOST_CHECKPOINTS]
