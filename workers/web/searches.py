"""The searches of positions for pages: reports of another thread as events of a stream."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import Any

from alphazero.judging.session import Session
from workers.web.analysis import Job, Wanted
from workers.web.events import event


class Search:
    """One search of a page: its reports arrive from the thread of the searches."""

    def __init__(
        self, beside: set["Search"], start: Callable[..., Job], played: Session, ply: int,
        wanted: Wanted,
    ) -> None:  # fmt: skip
        """Search the position of ``played`` after ``ply`` moves, which is not over.

        ``beside``: the searches of all pages, to which this one belongs until it stops.
        """
        self._beside, self._latest, self._ended = beside, dict[str, Any](), False
        self._loop, self._news = asyncio.get_running_loop(), asyncio.Event()
        states, line = played.history[ply], tuple(played.actions[:ply])
        self._job: Job | None = start(played.game, states, line, self._report, wanted)
        beside.add(self)

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
        self._beside.discard(self)
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
