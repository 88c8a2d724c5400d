"""Run the page's server on this machine, until the process is stopped.

Each module is imported when it is needed: errors in the options are reported at once.
"""

import contextlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from workers.terminal import output, signals

if TYPE_CHECKING:
    import socket

    import uvicorn

    from games.base import Game
    from workers.web.offers import Offer, Offers, Target

HOST = "127.0.0.1"
RUNS = Path("runs")
"""The folder of runs where none is named."""
FAREWELL = 3
"""Seconds that answers in progress have at the end of the server; searches end at once."""


def run(what: str | None, port: int, players: Sequence[str] = (), allow: Sequence[str] = ()) -> int:
    """Serve the page until the process is stopped; return its exit status.

    ``what`` is a game, a run, a folder of runs or of one agent, or None. ``ValueError`` or
    ``OSError``, one line: there is no such thing, a package is missing, or the port is in use.
    """
    from workers.serve import main, server

    main.check_packages("web")
    chosen = target(what, tuple(players), tuple(allow))
    with (
        output.tolerated(),
        signals.handled(signals.terminate, ["SIGHUP"]),
        server.bind(HOST, port) as bound,
    ):
        return _serve(bound, chosen)


def target(what: str | None, players: tuple[str, ...], allow: tuple[str, ...]) -> "Target":
    """The game, run or folder that ``what`` names; ``ValueError``: it names none."""
    from alphazero import sealed
    from workers.web import runs
    from workers.web.offers import Target

    path = Path(what).expanduser() if what else RUNS
    if what and not path.is_dir():
        address = _check_game(what)
        named = (*allow, address) if address else allow
        return Target(what, None, RUNS if RUNS.is_dir() else None, players, named)
    if not path.is_dir():
        return Target(players=players, allow=allow)
    path = path.resolve()
    if (path / sealed.MANIFEST).exists():
        return _agent(path, players, allow)
    if not runs.is_run(path):
        return Target(None, None, path, players, allow)
    run = runs.listed(path.parent, allow).get(path.name)
    if run is None:
        raise ValueError(f"{what}: there are no metrics of a run in this folder yet")
    return Target(run.game, run.name, path.parent, players, allow)


def _check_game(what: str) -> str | None:
    """The address of the class of the game ``what``, None for a registered one.

    ``ValueError`` where ``what`` names no game; of a path it says that there is no folder.
    """
    import games

    try:
        games.make(what)
    except ValueError as error:
        if "/" not in what:
            raise
        raise ValueError(f"there is no folder {what}; and as a game: {error}") from None
    return games.address_of(what)


def _agent(path: Path, players: tuple[str, ...], allow: tuple[str, ...]) -> "Target":
    """The game of an exported agent or of a checkpoint, and the agent as its first player."""
    import games
    from alphazero import checkpoint
    from alphazero.addresses import check_allowed

    game = checkpoint.describe(path).config.game
    address = games.address_of(game)
    check_allowed({"game": address} if address else {}, allow, path)
    from workers.web.offers import Target

    return Target(game, None, None, (*players, str(path)), allow)


def _serve(bound: "socket.socket", chosen: "Target") -> int:
    from workers.serve import server
    from workers.web import app

    application = app.build(chosen)
    page = application.state.page
    prepare(page.offers)
    bound.listen(app.LIMITS.connections)
    config = server.build(application, app.LIMITS).config
    config.timeout_graceful_shutdown = FAREWELL
    try:
        # uvicorn ends in order after Ctrl-C, and then raises it again.
        with contextlib.suppress(KeyboardInterrupt):
            print(f"open {server.url(bound)}/ in a browser; Ctrl-C ends", flush=True)
            stopping(page.stop, config).run(sockets=[bound])
    finally:
        page.engines.close()
    return 0


def stopping(stop: Callable[[], None], config: "uvicorn.Config") -> "uvicorn.Server":
    """A server that calls ``stop`` before it waits for the answers in progress."""
    import uvicorn

    class Stopping(uvicorn.Server):
        async def shutdown(self, sockets: "list[socket.socket] | None" = None) -> None:
            stop()
            await super().shutdown(sockets)

    return Stopping(config)


def prepare(offers: "Offers") -> None:
    """Check the players and load what the first analysis needs; a signal ends both in order.

    ``ValueError``, one line, where the first game or a player of the command line cannot be made.
    """
    import torch

    from workers.serve.bodies import RequestError

    torch.set_num_threads(1)  # the event loop has the other core
    try:
        first = offers.games()[0]
        game, players = offers.game(first), offers.players(first)
        analyst = next(offer for offer in players if offer.as_json()["analyses"])
        typed = [offer for offer in players if offer.typed]
        with signals.handled(signals.interrupt, ("SIGTERM", "SIGHUP")):
            check_players(typed, game, offers.target.allow)
            warm_up(analyst, game, offers.target.allow)
    except RequestError as error:
        raise ValueError(str(error)) from None


def check_players(players: "Sequence[Offer]", game: "Game", allow: Sequence[str]) -> None:
    """Make each player once, and end it again; programs are started.

    ``ValueError``, one line, where one cannot be made: a page would show that at its first move.
    """
    from workers.web import engines

    for offer in players:
        print(f"checking the player {offer.label}", file=sys.stderr, flush=True)
        engines.make_player(offer, game, allow).close()


def warm_up(offer: "Offer", game: "Game", allow: Sequence[str]) -> None:
    """Load what the first analysis by a player needs, so that it begins at once.

    ``ValueError``, one line, where the player cannot be made.
    """
    import numpy as np

    from alphazero.search import strongest_moves
    from alphazero.types import Limits
    from workers.web import engines

    analyst = engines.make_analyst(offer, game, allow)
    states, rngs = analyst.played.initial(1), [np.random.default_rng(0)]
    limits = Limits(8, 1.0)
    strongest_moves(analyst.search, analyst.played, states, rngs, analyst.evaluate, limits)
