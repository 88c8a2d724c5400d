"""Players and searches of the page, loaded when they are first needed.

The last few are kept. Each player moves in a thread of its own, for several pages at once, behind a
queue of bounded length (``serve.batching``); the searches of analyses share one thread per network.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from alphazero import evaluators
from alphazero.errors import reason
from alphazero.judging import agent, players
from alphazero.judging.decisions import Decision, Player
from alphazero.judging.session import Session
from alphazero.search.puct import PUCT
from alphazero.types import Limits
from games.base import Game
from workers.serve import limits as serving
from workers.serve.batching import Batcher, Unavailable
from workers.serve.bodies import RequestError
from workers.web.analysis import MOST_BYTES, Analyser, Analyst
from workers.web.offers import Offer, Offers

MOST_LOADED = 8
"""Players and analysers that are kept; of those that are idle the oldest is dropped."""
MOVE_SECONDS = 8.0
"""Seconds of a player's search for the moves of a batch, at most."""
QUEUE = serving.Limits(batch=32, queue=64, seconds=30.0)
"""Limits of each player: positions that wait, and the longest time from a request to its move."""
ROLLOUT_SECONDS = 0.1
"""After so long a random game of a leaf is adjudicated, so that a round of the search ends."""


@dataclass(frozen=True, slots=True)
class MoveRequest:
    """A position in which a player is to move."""

    session: Session
    """Not over."""
    simulations: int | None
    """None: as many as the player makes."""


class Mover:
    """Chooses the moves of several requests; called by the thread of a ``Batcher``."""

    def __init__(self, player: Player) -> None:
        self.player = player

    def __call__(self, requests: Sequence[MoveRequest]) -> list[dict[str, Any]]:
        """A move for each of ``requests``; those with equal limits are searched together."""
        groups: dict[int | None, list[int]] = {}
        for row, request in enumerate(requests):
            groups.setdefault(request.simulations, []).append(row)
        answers: dict[int, dict[str, Any]] = {}
        for simulations, rows in groups.items():
            sessions = [requests[row].session for row in rows]
            decision = self._decide(sessions, simulations)
            answers |= {row: _as_json(decision, index) for index, row in enumerate(rows)}
        return [answers[row] for row in range(len(requests))]

    def _decide(self, sessions: Sequence[Session], simulations: int | None) -> Decision:
        own = self.player.limits.seconds
        seconds = MOVE_SECONDS if own is None else min(own, MOVE_SECONDS)
        states = np.concatenate([played.states for played in sessions])
        rngs = [np.random.default_rng() for _ in sessions]
        lines = [tuple(played.actions) for played in sessions]
        room = MOST_BYTES * len(sessions)
        limits = Limits(simulations, seconds, lambda tree: tree.used_bytes > room)
        return self.player(states, rngs, limits, lines)


def _as_json(decision: Decision, index: int) -> dict[str, Any]:
    """A move as the page reads it; ``forfeit``: the player has lost instead, for this reason."""
    forfeits = decision.forfeits or {}
    if index in forfeits:
        return {"action": None, "forfeit": forfeits[index] or "gave the game up"}
    return {"action": int(decision.action[index]) + 1}


Loaded = Batcher[MoveRequest, dict[str, Any]] | Analyser


Key = tuple[str, str, str]
"""The purpose, ``move`` or ``analyse``, the game and the label of a player."""


class Entry(NamedTuple):
    """A player or analyser, and what ends its threads and programs."""

    made: Loaded
    close: Callable[[], object]


class Engines:
    """The loaded players and analysers of one server; for its event loop."""

    def __init__(self, offers: Offers) -> None:
        self._offers = offers
        self._loaded: dict[Key, Entry] = {}
        self._loading: dict[Key, asyncio.Task[None]] = {}
        self._threads = ThreadPoolExecutor(MOST_LOADED, "loading")
        self._lock = threading.Lock()  # of ``_loaded``, to which those threads add
        self._ended = False

    async def move(self, game: str, label: str, request: MoveRequest) -> dict[str, Any]:
        """The move of a player; ``RequestError``, or ``Unavailable`` where too many wait."""
        batcher = await self._get("move", game, label)
        assert isinstance(batcher, Batcher)
        try:
            batched = await batcher.submit([request])
        except (RequestError, Unavailable):
            raise
        except Exception as error:  # a player or a game of the user's own may raise anything
            raise RequestError(422, f"{label}: {reason(error)}", "player") from None
        return batched.results[0]

    async def analyser(self, game: str, label: str) -> Analyser:
        """The searches with a player's network; ``RequestError`` where it has none."""
        analyser = await self._get("analyse", game, label)
        assert isinstance(analyser, Analyser)
        return analyser

    def close(self) -> None:
        """End the threads after their current computation, and the programs that play."""
        with self._lock:
            self._ended = True
            entries = list(self._loaded.values())
            self._loaded.clear()
        self._threads.shutdown(wait=False, cancel_futures=True)
        for entry in entries:
            entry.close()

    async def _get(self, purpose: str, game: str, label: str) -> Loaded:
        """The entry, which is loaded at the first request, once for all that wait for it."""
        key = purpose, game, label
        while key not in self._loaded:  # loaded and dropped again, perhaps, while this one waited
            if key not in self._loading:
                self._make_room()
                self._loading[key] = asyncio.create_task(self._load(key))
            await asyncio.shield(self._loading[key])
        with self._lock:
            self._loaded[key] = entry = self._loaded.pop(key)  # the last one used is the newest
        return entry.made

    def _make_room(self) -> None:
        """Make room for one more; ``Unavailable`` where all that is loaded is in use."""
        if self._ended:
            raise Unavailable("the server ends")
        with self._lock:
            if len(self._loaded) + len(self._loading) < MOST_LOADED:
                return
            idle = [key for key, entry in self._loaded.items() if not entry.made.busy]
            if not idle:
                raise Unavailable("too many players are in use")
            dropped = self._loaded.pop(idle[0])
        dropped.close()

    async def _load(self, key: Key) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._threads, self._make, key)
        finally:
            del self._loading[key]

    def _make(self, key: Key) -> None:
        """Load one, in a thread; what is ready only after ``close`` is closed here."""
        purpose, game, label = key
        entry = Entry(*(self._player if purpose == "move" else self._analyst)(game, label))
        with self._lock:
            if not self._ended and key not in self._loaded:
                self._loaded[key] = entry
                return
        entry.close()
        raise Unavailable("the server ends")

    def _player(self, game: str, label: str) -> tuple[Loaded, Callable[[], object]]:
        offer, made = self._offers.player(game, label), self._offers.game(game)
        player = _loading(label, partial(make_player, offer, made, self._offers.target.allow))
        batcher = Batcher(Mover(player), QUEUE)

        def close() -> None:
            batcher.close()
            player.close()

        return batcher, close

    def _analyst(self, game: str, label: str) -> tuple[Loaded, Callable[[], object]]:
        offer, made = self._offers.player(game, label), self._offers.game(game)
        if not offer.as_json()["analyses"]:
            raise RequestError(422, "this player has no search to be watched", "player")
        make = partial(make_analyst, offer, made, self._offers.target.allow)
        return Analyser(_loading(label, make)), tuple


def _loading(label: str, load: Callable[[], Any]) -> Any:
    """The result of ``load``, whose ``ValueError`` becomes the answer 422."""
    try:
        return load()
    except (ValueError, OSError) as error:
        raise RequestError(422, f"{label}: {reason(error)}", "player") from None


def make_player(offer: Offer, game: Game, allow: Sequence[str]) -> Player:
    """A player without trees of earlier searches, which may be those of another page.

    A level of N simulations so is N. A user may type ``reuse_tree=true`` nevertheless.
    ``ValueError``, one line, where it cannot be made, as where its program is not there.
    """
    if offer.path is not None:
        return players.from_checkpoint(
            game, offer.label, allow, path=offer.path, leaves="auto", reuse_tree=False
        )
    spec = offer.spec
    kind, options = players.parse(spec)
    if kind == "checkpoint" and "reuse_tree" not in options:
        spec += f"{',' if ':' in spec else ':'}reuse_tree=false"
    return players.make(spec, game, leaves="auto", allow=allow, programs=offer.typed, fitting=True)


def make_analyst(offer: Offer, game: Game, allow: Sequence[str] = ()) -> Analyst:
    """PUCT with the network of ``offer``, or with random games; ``ValueError`` as in ``make``."""
    if offer.kind == "mcts":
        search = players.ROLLOUT_SEARCH.without_noise(leaves=agent.MOST_LEAVES)
        evaluate = evaluators.rollout(game, np.random.default_rng(), ROLLOUT_SECONDS)
        return Analyst(search, game, evaluate)
    named = offer.path or players.parse(offer.spec)[1].get("path")
    path = named or players.bundled(game, fitting=True)
    trained = agent.load(
        agent.find(str(path)),
        game,
        search="puct",
        leaves=agent.MOST_LEAVES,
        allow=allow,
        fitting=True,
    )
    assert isinstance(trained.search, PUCT)
    return Analyst(trained.search, trained.played, trained.evaluate)
