"""Exact results of a position's moves for a page, from a process that is killed when it leaves."""

import asyncio
import json
import logging
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress

from alphazero.judging.session import Session
from workers.serve.batching import Unavailable
from workers.web.events import event

SECONDS = 60.0
"""Time of one process: results that are not there by then are not shown."""
MOST_PROCESSES = 2
"""Processes of all pages together; other pages wait for their turn."""
MOST_WAITING = 16
"""Pages that wait; with more the answer is 503."""
LONGEST_LINE = 2**20
"""Bytes of a line of a process, at most."""
CODE = """
import sys
sys.path[:] = {path!r}
from workers.web.solving import main
main()
"""
"""The program of a process, which imports what this one does."""
EXPECTED = (0, -signal.SIGALRM, -signal.SIGXCPU, -signal.SIGKILL)
"""Exit statuses of a process that ended, or was ended, as it should; with others it has failed."""
FAILED = "the exact results ended early: their process failed"

logger = logging.getLogger(__name__)


class Solvers:
    """The processes of one server; for its event loop."""

    def __init__(self) -> None:
        self._turn = asyncio.Semaphore(MOST_PROCESSES)
        self._running: set[Process] = set()
        self._waiting: set[object] = set()
        self._closing = False

    @property
    def waiting(self) -> int:
        """Pages that wait for their turn."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Processes that run now."""
        return len(self._running)

    def stop(self) -> None:
        """Kill all processes; no other one begins."""
        self._closing = True
        for process in list(self._running):
            _kill(process)

    def enter(self) -> Callable[[], None]:
        """Count one page more that waits; returns the function that ends it, also if called twice.

        ``Unavailable`` where too many wait already or the server ends.
        """
        if self._closing or self.waiting >= MOST_WAITING:
            raise Unavailable("too many positions are solved already")
        place = object()
        self._waiting.add(place)
        return lambda: self._waiting.discard(place)

    async def events(
        self, text: str, played: Session, leave: Callable[[], None]
    ) -> AsyncGenerator[str, None]:
        """An event for each new result of the moves of ``played``, which is not over.

        ``text``: the text of its game. ``leave``: what ``enter`` has returned. ``moves`` maps
        actions, counted from 1, to result and plies, see ``proofs.Proof``; ``error`` is a sentence
        where the process has failed.
        """
        wanted = {"game": text, "actions": [int(a) for a in played.actions], "seconds": SECONDS}
        try:
            await self._turn.acquire()
        finally:
            leave()
        try:
            if self._closing:
                return
            async with self._process(wanted) as process:
                assert process.stdout
                while line := await process.stdout.readline():
                    yield event({"moves": json.loads(line)})
                if (status := await process.wait()) not in EXPECTED:
                    logger.error("the process of exact results ended with status %d", status)
                    yield event({"error": FAILED})
        finally:
            self._turn.release()

    @asynccontextmanager
    async def _process(self, wanted: dict[str, object]) -> AsyncGenerator[Process, None]:
        """A process that has received ``wanted``; it is killed at the end."""
        # -P: no module of the current folder is imported in place of one of Python's own.
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-c", CODE.format(path=sys.path),
            stdin=PIPE, stdout=PIPE, stderr=DEVNULL, limit=LONGEST_LINE,
        )  # fmt: skip
        self._running.add(process)
        if self._closing:  # the server has ended while the process started
            _kill(process)
        try:
            assert process.stdin
            with suppress(ConnectionError):
                process.stdin.write(json.dumps(wanted).encode())
                await process.stdin.drain()
                process.stdin.close()
            yield process
        finally:
            self._running.discard(process)
            _kill(process)
            await process.wait()


def _kill(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()
