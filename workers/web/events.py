"""Server-sent events: a response that goes on until the page has all of it or leaves."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Callable
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

MEDIA_TYPE = "text/event-stream"
DONE = "event: done\ndata: {}\n\n"
"""The last event: a page that has received it closes the stream instead of opening it again."""


def event(data: dict[str, Any]) -> str:
    """One event with ``data`` as JSON."""
    return f"data: {json.dumps(data, allow_nan=False, separators=(',', ':'))}\n\n"


class EventStream(Response):
    """Sends the events of a generator, which is closed at the end and when the page has left.

    Starlette's own streaming response notices that a client has left when it sends the next part;
    here a search stops at once.
    """

    def __init__(
        self, events: AsyncGenerator[str, None], close: Callable[[], object] = tuple
    ) -> None:
        """``close`` is called once at the end, even where the generator has never begun."""
        super().__init__(None, media_type=MEDIA_TYPE, headers={"Cache-Control": "no-store"})
        del self.headers["content-length"]
        self._events, self._close = events, close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events; an exception of their generator is raised, for the server's log."""
        tasks = [asyncio.create_task(self._send(send)), asyncio.create_task(_left(receive))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            await self._events.aclose()
            self._close()
        for end in ends:
            if isinstance(end, Exception):  # a task that was cancelled ended as it should
                raise end

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async for text in self._events:
            part = {"type": "http.response.body", "body": text.encode(), "more_body": True}
            await send(part)
        for text in (DONE, ""):
            more = bool(text)
            await send({"type": "http.response.body", "body": text.encode(), "more_body": more})


async def _left(receive: Receive) -> None:
    """Return when the client has closed its connection."""
    with contextlib.suppress(OSError):
        while (await receive())["type"] != "http.disconnect":
            pass
