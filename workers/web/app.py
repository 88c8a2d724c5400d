"""The page's paths. Every request is a GET that holds the whole game; all answers are JSON."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import Annotated, Any

from fastapi import FastAPI, Query, Response
from fastapi.responses import JSONResponse

import alphazero
from alphazero.judging.advice import BLUNDER
from alphazero.judging.session import Session
from games import svg
from workers.serve import app as serving
from workers.serve.batching import Unavailable
from workers.serve.bodies import RequestError
from workers.serve.heads import HeadMiddleware, allowed_hosts
from workers.serve.limits import Limits
from workers.serve.logs import Log, to_stderr
from workers.serve.metrics import Metrics, MetricsMiddleware
from workers.web import files, positions, replays, runs
from workers.web.analysis import LONGEST_SECONDS, Job
from workers.web.engines import Engines, MoveRequest
from workers.web.events import EventStream, event
from workers.web.heads import OwnPageMiddleware
from workers.web.offers import Offers, Target

LIMITS = Limits(seconds=LONGEST_SECONDS + 60, body_bytes=1024, connections=256)
"""The server's own: the longest answer is the stream of an analysis."""
MOST_SEARCHES = 64
"""Positions that are searched at once, for all pages together; with more the answer is 503."""
TOGETHER = 8
"""Positions of a game that are searched at once for its graph."""
MOST_LEVEL = 10_000
"""Simulations that a page may demand."""

Text = Annotated[str, Query(max_length=300)]
Moves = Annotated[str, Query(max_length=12_000)]
Whole = Annotated[int, Query(ge=0, le=2**53)]
Simulations = Annotated[int | None, Query(ge=2, le=MOST_LEVEL)]


def build(target: Target, log: Log = to_stderr) -> FastAPI:
    """The application for ``target``; ``log`` receives a line per failed request."""
    app = FastAPI(
        title="alphazero web", docs_url=None, redoc_url=None, openapi_url=None,
        redirect_slashes=False,
    )  # fmt: skip
    offers = Offers(target)
    page = Page(offers, Engines(offers))
    app.state.metrics, app.state.log, app.state.page = Metrics(), _failures(log), page
    serving.add_errors(app)
    for path, answer in page.paths().items():
        app.add_api_route(path, answer, methods=["GET"], response_model=None)
    app.add_api_route("/{path:path}", _file, methods=["GET"], response_model=None)
    app.add_middleware(serving.BodyLimitMiddleware, limits=LIMITS)
    app.add_middleware(OwnPageMiddleware)
    app.add_middleware(HeadMiddleware, hosts=allowed_hosts("127.0.0.1"))
    paths = set(page.paths())
    app.add_middleware(MetricsMiddleware, paths=paths, metrics=app.state.metrics, log=app.state.log)
    return app


def _failures(log: Log) -> Log:
    """``log`` for the lines of failed requests and of other errors alone."""
    return lambda line: log(line) if line.get("status", 500) == 500 else None


async def _file(path: str) -> Response:
    """One of the page's files."""
    file = files.table().get(f"/{path}")
    if file is None:
        raise RequestError(404, "there is no such page")
    # Files change with the program only, but a page of an older version must not mix with them.
    return Response(file.content, media_type=file.media_type, headers={"Cache-Control": "no-cache"})


class Page:
    """The answers of the server; its methods' parameters are those of the requests."""

    def __init__(self, offers: Offers, engines: Engines) -> None:
        self.offers, self.engines = offers, engines
        self.open: set[Search] = set()
        """The searches of all pages."""
        self.closing = False

    @property
    def searches(self) -> int:
        """Positions that are searched now."""
        return len(self.open)

    def stop(self) -> None:
        """End all searches, and with them the streams; no other one begins."""
        self.closing = True
        for search in list(self.open):
            search.stop()

    def paths(self) -> dict[str, Callable[..., Any]]:
        """The methods by their paths."""
        return {
            "/api/start": self.start,
            "/api/players": self.players,
            "/api/position": self.position,
            "/api/board.svg": self.picture,
            "/api/move": self.move,
            "/api/analyse": self.analyse,
            "/api/values": self.values,
            "/api/runs": self.runs,
            "/api/curves": self.curves,
            "/api/selfplay": self.selfplay,
            "/api/matches": self.matches,
        }

    def start(self) -> Response:
        """The games, and what the command line names."""
        target = self.offers.target
        return JSONResponse(
            {
                "version": alphazero.__version__,
                "games": self.offers.games(),
                "run": target.run,
                "folder": target.folder is not None,
                "mistake": BLUNDER,
            }
        )

    def players(self, game: Text) -> Response:
        """The players of a game."""
        offers = [offer.as_json() for offer in self.offers.players(game)]
        return JSONResponse({"name": self.offers.game(game).name, "players": offers})

    def position(self, game: Text, moves: Moves = "") -> Response:
        """The position after some moves."""
        return JSONResponse(positions.as_json(self._read(game, moves)))

    def picture(self, game: Text, moves: Moves = "") -> Response:
        """The same as a picture."""
        drawing = positions.drawing(self._read(game, moves))
        return Response(svg.render(drawing), media_type="image/svg+xml")

    async def move(
        self, game: Text, player: Text, moves: Moves = "", simulations: Simulations = None
    ) -> Response:
        """The move of a player."""
        played = await asyncio.to_thread(self._unfinished, game, moves)
        offer = await asyncio.to_thread(self.offers.player, game, player)
        level = simulations if offer.as_json()["levels"] else None
        return JSONResponse(await self.engines.move(game, player, MoveRequest(played, level)))

    async def analyse(
        self, game: Text, player: Text, moves: Moves = "", simulations: Simulations = None
    ) -> Response:
        """A search that goes deeper until the page leaves: events with what it has reached."""
        played = await asyncio.to_thread(self._unfinished, game, moves)
        analyser = await self.engines.analyser(game, player)
        self._check_room(1)
        search = Search(self, analyser.start, played, len(played.actions), simulations)
        return EventStream(search.events(), search.stop)

    async def values(
        self, game: Text, player: Text, moves: Moves = "", simulations: Simulations = 64
    ) -> Response:
        """The value of every position of a game, from its start to its end: an event for each."""
        played = await asyncio.to_thread(self._read, game, moves)
        analyser = await self.engines.analyser(game, player)
        self._check_room(TOGETHER)
        return EventStream(self._values(played, analyser.start, simulations))

    def runs(self) -> Response:
        """The runs of the folder."""
        return JSONResponse({"runs": [run.as_json() for run in self.offers.runs().values()]})

    def curves(self, run: Text, after: Whole = 0, step: Whole | None = None) -> Response:
        """The metrics of a run from a byte of its file on, where the line has this step."""
        return JSONResponse(runs.curves(self.offers.run(run), after, step))

    def selfplay(self, run: Text) -> Response:
        """The newest games of a run's self-play."""
        chosen = self.offers.run(run)
        if chosen.game is None:
            raise RequestError(404, f"{run} has no game that is known here", "run")
        return JSONResponse(replays.games_of(chosen, self.offers.game(chosen.game)))

    def matches(self) -> Response:
        """The matches of the folder."""
        return JSONResponse({"matches": replays.matches(self.offers.target.folder)})

    def _read(self, game: str, moves: str) -> Session:
        return positions.read(self.offers.game(game), moves)

    def _unfinished(self, game: str, moves: str) -> Session:
        return positions.unfinished(self.offers.game(game), moves)

    def _check_room(self, more: int) -> None:
        if self.closing:
            raise Unavailable("the server ends")
        if self.searches + more > MOST_SEARCHES:
            raise Unavailable(f"{self.searches} positions are searched already")

    async def _values(
        self, played: Session, start: Callable[..., Job], simulations: int | None
    ) -> AsyncGenerator[str, None]:
        """Searches of ``TOGETHER`` positions at once, and the result of a finished game."""
        plies = len(played.actions) + (not played.over())
        for first in range(0, plies, TOGETHER):
            if self.closing:
                return
            together = range(first, min(first + TOGETHER, plies))
            searches = [Search(self, start, played, ply, simulations) for ply in together]
            try:
                for ply, search in zip(together, searches, strict=True):
                    yield event({"ply": ply, **await search.last()})
            finally:
                for search in searches:
                    search.stop()
        if played.over():
            yield event({"ply": len(played.actions), "first": played.result(0), "over": True})


class Search:
    """One search of a page: its reports arrive from the thread of the searches."""

    def __init__(
        self, page: Page, start: Callable[..., Job], played: Session, ply: int,
        simulations: int | None,
    ) -> None:  # fmt: skip
        """Search the position of ``played`` after ``ply`` moves, which is not over."""
        self._page, self._latest, self._ended = page, dict[str, Any](), False
        self._loop, self._news = asyncio.get_running_loop(), asyncio.Event()
        states, line = played.history[ply], tuple(played.actions[:ply])
        self._job: Job | None = start(played.game, states, line, self._report, simulations)
        page.open.add(self)

    async def events(self) -> AsyncGenerator[str, None]:
        """Each report as an event, the newest one where several have arrived."""
        try:
            while not self._ended or self._news.is_set():
                await self._news.wait()
                self._news.clear()
                if self._latest:
                    yield event(self._latest)
        finally:
            self.stop()

    async def last(self) -> dict[str, Any]:
        """The last report."""
        while not self._ended:
            await self._news.wait()
            self._news.clear()
        return self._latest

    def stop(self) -> None:
        """End the search; may be called more than once."""
        self._page.open.discard(self)
        if self._job is not None:
            self._job.stop()
            self._job = None

    def _report(self, report: dict[str, Any] | None) -> None:
        """Called by the thread of the searches."""
        with contextlib.suppress(RuntimeError):  # the server has ended
            self._loop.call_soon_threadsafe(self._receive, report)

    def _receive(self, report: dict[str, Any] | None) -> None:
        if report is None:
            self._ended = True
        else:
            self._latest = report
        self._news.set()
