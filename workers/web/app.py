"""The page's paths. Every request is a GET that holds the whole game; all answers are JSON."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Annotated, Any

from fastapi import FastAPI, Query, Response
from fastapi.responses import JSONResponse

import alphazero
from alphazero.judging import plain_positions
from alphazero.judging.advice import BLUNDER
from alphazero.judging.session import SEATS, Session
from games import svg
from workers.serve import app as serving
from workers.serve.batching import Unavailable
from workers.serve.bodies import RequestError
from workers.serve.heads import HeadMiddleware, allowed_hosts
from workers.serve.limits import Limits
from workers.serve.logs import Log, to_stderr
from workers.serve.metrics import Metrics, MetricsMiddleware
from workers.web import exact, files, game_files, positions, replays, runs, trees
from workers.web.analysis import LONGEST_SECONDS, Job, Wanted
from workers.web.engines import Engines, MoveRequest
from workers.web.events import EventStream, event
from workers.web.heads import OwnPageMiddleware
from workers.web.offers import Offers, Target
from workers.web.searches import Search

LIMITS = Limits(
    seconds=LONGEST_SECONDS + 60, head_bytes=2**15, body_bytes=1024, connections=256
)  # fmt: skip
"""The server's own: the longest answer is the stream of an analysis; a head may hold a file."""
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
Plies = Annotated[int, Query(ge=0, le=trees.MOST_PLIES)]
Ending = Annotated[str, Query(pattern=f"^$|{game_files.ENDING}")]
Format = Annotated[str, Query(alias="format", max_length=10)]
Name = Annotated[str, Query(max_length=game_files.MOST_NAME)]
Packed = Annotated[str, Query(max_length=game_files.MOST_PACKED)]


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
        self.solvers = exact.Solvers()
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
        self.solvers.stop()

    def paths(self) -> dict[str, Callable[..., Any]]:
        """The methods by their paths."""
        return {
            "/api/start": self.start,
            "/api/players": self.players,
            "/api/position": self.position,
            "/api/board.svg": self.picture,
            "/api/save": self.save,
            "/api/load": self.load,
            "/api/move": self.move,
            "/api/analyse": self.analyse,
            "/api/exact": self.exact,
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
        """The players of a game, and the formats of its files."""
        offers, made = [o.as_json() for o in self.offers.players(game)], self.offers.game(game)
        return JSONResponse(
            {"name": made.name, "players": offers, "formats": game_files.formats(made)}
        )

    def position(self, game: Text, moves: Moves = "") -> Response:
        """The position after some moves."""
        return JSONResponse(plain_positions.as_json(self._read(game, moves)))

    def picture(self, game: Text, moves: Moves = "") -> Response:
        """The same as a picture."""
        drawing = self._read(game, moves).drawing
        return Response(svg.render(drawing), media_type="image/svg+xml")

    def save(
        self, game: Text, kind: Format, moves: Moves = "", end: Ending = "",
        first: Name = SEATS[0], second: Name = SEATS[1],
    ) -> Response:  # fmt: skip
        """A game as a file: who played it and how it ended before its end are the page's."""
        played = self._read(game, moves)
        if first != second:
            played.continue_as((first, second), None, None)
        game_files.end(played, end)
        name = game_files.file_name(played.game, kind)
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        text = game_files.text(played, kind)
        return Response(text, media_type=game_files.MEDIA_TYPES[kind], headers=headers)

    def load(self, game: Text, name: Text, file: Packed) -> Response:
        """The moves of a file that the page has read."""
        return JSONResponse(game_files.load(self.offers.game(game), name, file))

    async def move(
        self, game: Text, player: Text, moves: Moves = "", simulations: Simulations = None
    ) -> Response:
        """The move of a player."""
        played = await asyncio.to_thread(self._unfinished, game, moves)
        offer = await asyncio.to_thread(self.offers.player, game, player)
        level = simulations if offer.as_json()["levels"] else None
        return JSONResponse(await self.engines.move(game, player, MoveRequest(played, level)))

    async def analyse(
        self, game: Text, player: Text, moves: Moves = "", simulations: Simulations = None,
        plies: Plies = 0,
    ) -> Response:  # fmt: skip
        """A search that goes deeper until the page leaves: events with what it has reached."""
        played = await asyncio.to_thread(self._unfinished, game, moves)
        analyser = await self.engines.analyser(game, player)
        self._check_room(1)
        wanted = Wanted(simulations, plies)
        search = Search(self.open, analyser.start, played, len(played.actions), wanted)
        return EventStream(search.events(), search.stop)

    async def exact(self, game: Text, moves: Moves = "") -> Response:
        """Exact results of the moves of a position, as far as they are proven in time."""
        played = await asyncio.to_thread(self._unfinished, game, moves)
        leave = self.solvers.enter()
        return EventStream(self.solvers.events(game, played, leave), leave)

    async def values(
        self, game: Text, player: Text, moves: Moves = "", simulations: Simulations = 64
    ) -> Response:
        """The value of every position of a game, from its start to its end: an event for each."""
        played = await asyncio.to_thread(self._read, game, moves)
        analyser = await self.engines.analyser(game, player)
        self._check_room(TOGETHER)
        return EventStream(self._values(played, analyser.start, Wanted(simulations)))

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
        self, played: Session, start: Callable[..., Job], wanted: Wanted
    ) -> AsyncGenerator[str, None]:
        """Searches of ``TOGETHER`` positions at once, and the result of a finished game.

        Other pages may have begun searches meanwhile: without room for more, ``error`` says so.
        """
        plies = len(played.actions) + (not played.over())
        for first in range(0, plies, TOGETHER):
            together, searches = range(first, min(first + TOGETHER, plies)), list[Search]()
            try:
                self._check_room(len(together))
                for ply in together:
                    searches.append(Search(self.open, start, played, ply, wanted))
                for ply, search in zip(together, searches, strict=True):
                    yield event({"ply": ply, **await search.last()})
            except Unavailable as error:
                yield event({"error": str(error)})
                return
            finally:
                for search in searches:
                    search.stop()
        if played.over():
            yield event({"ply": len(played.actions), "first": played.result(0), "over": True})
