"""A program of which this one reads lines: deadlines, bounded output, and its end.

The program is not trusted: it may never answer, answer without end, write to its error output what
is not read, or end at any time. All of this becomes an ``EngineFailure`` whose text completes
"it ...": "gave no answer within 10 s".
"""

import os
import selectors
import shlex
import shutil
import signal
import subprocess
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import IO, NamedTuple

from alphazero.errors import one_line, signal_name

LONGEST_LINE = 2**16
"""Bytes of a line; UCI's longest, principal variations, have some thousands."""
MOST_LINES = 50_000
"""Lines of one answer; a search that reports every depth and move writes some hundreds."""
MOST_BYTES = 2**24
"""Characters of one answer, and bytes that wait while the program reads no command."""
CHUNK = 2**16
"""Bytes that are read at once; where an answer is awaited no more and one unfinished line wait."""
KEPT_ERRORS = 500
"""Bytes of its error output that are kept for a message."""
ENDING_SECONDS = 1.0
"""How long a program has to end by itself, once its output has ended."""
PAUSE = 0.01
"""Seconds between two looks at whether it has ended."""
FOLDERS = ("/usr/games", "/usr/local/games")
"""Where programs are sought besides the folders of PATH: Debian's engines are there."""


class EngineFailure(Exception):
    """The reason why a program cannot go on, in words that complete "it ..."."""


class Deadline(NamedTuple):
    """The time by which a program must have answered."""

    end: float
    """A time of the clock."""
    seconds: float
    """How long that was when the deadline was set, for messages."""


def split_command(text: str) -> list[str]:
    """The words of a command, quotes as in a shell, the first one the path of a program.

    No shell runs it. ``ValueError``, one line: there is no such program, or the quotes do not fit.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ValueError(f"cmd={one_line(text)!r}: {error}") from None
    if not words:
        raise ValueError("cmd= is empty: it needs a program, as in cmd='gnugo --mode gtp'")
    places = os.pathsep.join((os.environ.get("PATH", os.defpath), *FOLDERS))
    path = shutil.which(os.path.expanduser(words[0]), path=places)
    if path is None:
        raise ValueError(f"there is no program {one_line(words[0])!r}")
    return [path, *words[1:]]


class Program:
    """A running program in a process group of its own; for one thread at a time.

    It is killed with its group by ``kill``, when this object is no longer used, and when Python
    ends. Its error output is read beside its output, so that it never waits for a full pipe.
    """

    def __init__(self, command: Sequence[str], now: Callable[[], float] = time.monotonic) -> None:
        """Start ``command``, see ``split_command``. ``EngineFailure``: the system cannot run it."""
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            raise EngineFailure(f"cannot be started: {error.strerror}") from None
        self._now = now
        self._lines: deque[bytes] = deque()
        self._unfinished = b""
        self._errors = b""
        self._selector = selectors.DefaultSelector()
        # Called when the last reference is gone, or at the latest when the interpreter ends.
        self.kill = weakref.finalize(self, _end, self._process, self._selector)
        for stream in (self._process.stdout, self._process.stderr):
            os.set_blocking(_number(stream), False)
            self._selector.register(_number(stream), selectors.EVENT_READ)
        os.set_blocking(_number(self._process.stdin), False)

    @property
    def pid(self) -> int:
        """The id of the process and of its group."""
        return self._process.pid

    def stop(self) -> None:
        """Kill it while another thread may wait for its answer, which then fails with its end."""
        if self.kill.alive:
            _kill_group(self._process)

    def deadline(self, seconds: float) -> Deadline:
        """The deadline ``seconds`` from now."""
        return Deadline(self._now() + seconds, seconds)

    def send(self, line: str, deadline: Deadline) -> None:
        """Write ``line`` and a newline; ``EngineFailure``: it reads nothing until ``deadline``."""
        rest = memoryview(f"{line}\n".encode())
        number = _number(self._process.stdin)
        while rest:
            try:
                rest = rest[os.write(number, rest) :]
            except BlockingIOError:
                self._wait_to_write(number, deadline)
            except OSError:
                raise self._ended() from None

    def _wait_to_write(self, number: int, deadline: Deadline) -> None:
        """Wait until the program reads; what it writes meanwhile is kept, within the bounds."""
        self._selector.register(number, selectors.EVENT_WRITE)
        try:
            self._receive(deadline, "read no command")
        finally:
            self._selector.unregister(number)

    def line(self, deadline: Deadline) -> str:
        """The next line of its output, without the newline; bytes that are no UTF-8 become ``?``.

        ``EngineFailure``: there is none before ``deadline``; the program has ended; or the line has
        more than ``LONGEST_LINE`` bytes.
        """
        while not self._lines:
            self._receive(deadline, "gave no answer")
        return self._lines.popleft().decode(errors="replace").rstrip("\r")

    def answer(self, deadline: Deadline) -> Iterator[str]:
        """The lines of an answer, of which the caller must find the end; errors as in ``line``.

        ``EngineFailure`` also after ``MOST_LINES`` lines or ``MOST_BYTES`` characters.
        """
        size = 0
        for _ in range(MOST_LINES):
            line = self.line(deadline)
            size += len(line)
            if size > MOST_BYTES:
                raise EngineFailure(f"wrote more than {MOST_BYTES:,} characters in one answer")
            yield line
        raise EngineFailure(f"wrote more than {MOST_LINES:,} lines in one answer")

    def _receive(self, deadline: Deadline, problem: str) -> None:
        """Read once what the program has written; ``EngineFailure(problem)`` where time is over."""
        left = deadline.end - self._now()
        ready = self._selector.select(left) if left > 0 else []
        if not ready:
            raise EngineFailure(f"{problem} within {deadline.seconds:g} s")
        for key, events in ready:
            if events & selectors.EVENT_READ:
                self._read(key.fd)

    def _read(self, number: int) -> None:
        try:
            chunk = os.read(number, CHUNK)
        except BlockingIOError:
            return
        if number == _number(self._process.stderr):
            self._errors = (self._errors + chunk)[-KEPT_ERRORS:]
            if not chunk:
                self._selector.unregister(number)
        elif not chunk:
            raise self._ended()
        else:
            *lines, self._unfinished = (self._unfinished + chunk).split(b"\n")
            self._lines.extend(lines)
            if len(self._lines) > MOST_LINES:
                raise EngineFailure(f"wrote more than {MOST_LINES:,} lines")
            if sum(map(len, self._lines)) > MOST_BYTES:
                raise EngineFailure(f"wrote more than {MOST_BYTES:,} bytes")
            if max(map(len, (*lines, self._unfinished))) > LONGEST_LINE:
                raise EngineFailure(f"wrote a line of more than {LONGEST_LINE:,} bytes")

    def _ended(self) -> EngineFailure:
        """The failure of a program that has closed its output, or its input."""
        status = _status(self._process.pid, self._now() + ENDING_SECONDS, self._now)
        self._read_last_errors()
        how = "closed its output" if status is None else _ending(status)
        last = one_line(self._errors.decode(errors="replace").strip().rpartition("\n")[2])
        return EngineFailure(f"{how}: {last}" if last else how)

    def _read_last_errors(self) -> None:
        number = _number(self._process.stderr)
        with suppress(OSError):
            self._errors = (self._errors + os.read(number, CHUNK))[-KEPT_ERRORS:]


def _number(stream: IO[bytes] | None) -> int:
    assert stream is not None, "all three streams are pipes"
    return stream.fileno()


def _status(pid: int, end: float, now: Callable[[], float]) -> os.waitid_result | None:
    """How the process ended; None where it has not by ``end``.

    It stays a zombie: until ``_end`` no other process or group can get its number.
    """
    while True:
        status = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if status or now() > end:
            return status
        time.sleep(PAUSE)


def _ending(status: os.waitid_result) -> str:
    if status.si_code == os.CLD_EXITED:
        return f"ended with status {status.si_status}"
    return f"was ended by {signal_name(status.si_status)}"


def _end(process: subprocess.Popen, selector: selectors.BaseSelector) -> None:
    """Kill the program and what it has started in its group, even where it was stopped."""
    _kill_group(process)
    process.wait()
    selector.close()
    for stream in (process.stdin, process.stdout, process.stderr):
        with suppress(OSError):
            if stream:
                stream.close()


def _kill_group(process: subprocess.Popen) -> None:
    with suppress(OSError):  # it has ended, and with it the whole group
        os.killpg(process.pid, signal.SIGKILL)
