"""Child processes of a node: their start, their messages, and their end with it."""

import logging
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any

from alphazero.errors import RunFailed, one_line, signal_name
from workers.node.processes import is_stopped
from workers.node.tracebacks import traceback_of

ORPHAN_SECONDS = 1.0
"""How often a child looks whether its parent has ended."""
ENDING_SECONDS = 10.0
"""The longest wait for the end of a process that was killed."""
KEPT_OUTPUT = 4000
"""Bytes of the end of a child's output that are read."""
MOST_OUTPUT = 2**20
"""Bytes of a child's output from which on all but its end is dropped: a library may write a warning
per call for weeks."""
MOST_WARNINGS, MOST_ERRORS = 5, 10
"""Different warnings that a child sends, at most, and with errors."""
FAILED = 3
"""The exit status of a child that has sent its error."""
CODE = """
import signal, sys
for number in signal.SIGINT, signal.SIGHUP, signal.SIGTERM:
    signal.signal(number, signal.SIG_IGN)
sys.path[:] = {path!r}
from workers.node.child import main
main()
"""
"""The program of a child. A signal to the whole process group, as from a terminal or a job
scheduler, is for the parent, which ends its children; so they ignore it from the start."""


def _current_traceback() -> str:
    return traceback_of(sys.exception())


@dataclass(frozen=True)
class Failure:
    """The message of a child whose function raised an error, in one line with its place."""

    text: str
    traceback: str = field(default_factory=_current_traceback)
    """The end of the traceback, by default of the error that is being handled."""


@dataclass(frozen=True)
class Warned:
    """The message of a child whose log has a new warning, in one line."""

    text: str


class Sender:
    """The end of the connection in a child; all of its threads may use it."""

    def __init__(self, connection: Connection):
        self._connection, self._lock = connection, threading.Lock()

    def send(self, message: Any) -> None:
        content = pickle.dumps(message)  # which may log a warning, and that is sent, too
        with self._lock:
            self._connection.send_bytes(content)


class Warnings(logging.StreamHandler):
    """Writes warnings to the output, and sends each different one once.

    Of those below an error ``MOST_WARNINGS`` are sent.
    """

    def __init__(self, sender: Sender):
        super().__init__()
        self.setLevel(logging.WARNING)
        self._sender, self._sent = sender, set[str]()

    def emit(self, record: logging.LogRecord) -> None:
        super().emit(record)
        try:
            self._send(one_line(record.getMessage()), record.levelno)
        except Exception:  # a text that does not fit its arguments, or the parent is gone
            self.handleError(record)

    def _send(self, text: str, level: int) -> None:
        room = MOST_ERRORS if level >= logging.ERROR else MOST_WARNINGS
        if text not in self._sent and len(self._sent) < room:
            self._sent.add(text)
            self._sender.send(Warned(text))


class Child:
    """A process that runs ``target(*arguments, sender)``; it dies with this process.

    ``target`` and ``arguments`` are pickled. ``receive`` is called here, on a thread of the child's
    own, with each message that is sent through the ``Sender``, and with a ``Warned`` for each
    warning in the child's log. It is a new process and no copy of this one, which may have threads.
    """

    def __init__(
        self,
        target: Callable[..., None],
        arguments: Sequence[Any],
        descriptors: Sequence[int],
        receive: Callable[[Any], object],
    ):
        """``descriptors``: those that the arguments refer to by number."""
        reading, writing = os.pipe()
        self._end = self.traceback = ""
        self._errors = _appended_file()
        self._process = subprocess.Popen(
            # -P: no module of the current folder is imported in place of one of Python's own.
            [sys.executable, "-P", "-c", CODE.format(path=sys.path)],
            stdin=subprocess.PIPE,
            stdout=self._errors,
            stderr=self._errors,
            pass_fds=[*descriptors, writing],
        )
        os.close(writing)
        messages = Connection(reading, writable=False)
        self._receiving = threading.Thread(target=_receive, args=(messages, receive), daemon=True)
        self._receiving.start()
        assert self._process.stdin
        try:
            with self._process.stdin as stdin:
                pickle.dump((os.getpid(), writing, target, tuple(arguments)), stdin)
        except BrokenPipeError:
            pass  # it has ended already, which ``exit_status`` shows

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    @property
    def is_stopped(self) -> bool:
        """Whether it was stopped by a signal or a debugger."""
        return is_stopped(self.pid)

    def trim(self) -> None:
        """Drop all but the end of the output where it has become longer than ``MOST_OUTPUT``."""
        if os.fstat(self._errors.fileno()).st_size > MOST_OUTPUT:
            end = self._output()
            self._errors.truncate(0)
            self._errors.write(end)

    def _output(self) -> bytes:
        """The end of what the process has written."""
        size = os.fstat(self._errors.fileno()).st_size
        return os.pread(self._errors.fileno(), KEPT_OUTPUT, max(0, size - KEPT_OUTPUT))

    def end(self) -> str:
        """One line on how the process ended: the last line of its output, or the signal.

        Where there are more lines, as of a traceback, ``traceback`` has them.
        """
        status = self._process.poll()
        if status is not None and status < 0:
            return f"killed by {signal_name(-status)}"
        lines = self._output().decode(errors="replace").strip().splitlines()
        if len(lines) > 1:
            self.traceback = "\n".join(lines)
        return lines[-1] if lines else f"exit status {status}"

    def close(self) -> str:
        """Kill the process if it runs, also one that is stopped; returns ``end()``.

        All messages that it has sent as a whole have been received then.
        """
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):  # a process inside of a driver that hangs
            self._process.wait(ENDING_SECONDS)
        # Longer only where a process that the child has started keeps the connection open.
        self._receiving.join(ENDING_SECONDS)
        if not self._errors.closed:
            with self._errors:
                self._end = self.end()
        return self._end


def _appended_file() -> IO[bytes]:
    """A new file without a name; what is written to it is added at its end, wherever that is."""
    descriptor, name = tempfile.mkstemp()
    os.close(descriptor)
    file = open(name, "a+b", buffering=0)  # noqa: SIM115 - closed with the child
    os.unlink(name)
    return file


def _receive(messages: Connection, receive: Callable[[Any], object]) -> None:
    """Hand on messages until the other end is closed, as it is when the process ends."""
    with messages:
        while True:
            try:
                message = messages.recv()
            except (EOFError, OSError, pickle.UnpicklingError):  # in the middle of one, too
                return
            receive(message)


def main() -> None:
    """Run the function that the parent has sent; called in the new process."""
    parent, writing, target, arguments = pickle.load(sys.stdin.buffer)
    _die_with(parent)
    sender = Sender(Connection(writing, readable=False))
    logging.getLogger().addHandler(Warnings(sender))
    try:
        target(*arguments, sender)
    except BrokenPipeError:
        os._exit(FAILED)  # the parent has closed the connection
    except BaseException as error:
        sender.send(Failure(with_place(error)))
        os._exit(FAILED)  # threads may be in the middle of a computation


def with_place(error: BaseException) -> str:
    """The error in one line, with the file and line where it was raised, outside of libraries.

    For instance ``IndexError: list index out of range (walk.py, line 31)``. The text of a
    ``RunFailed`` is such a line already.
    """
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "site-packages" not in frame.filename] or frames
    if isinstance(error, RunFailed):
        return str(error)
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return f"{text} ({Path(own[-1].filename).name}, line {own[-1].lineno})"


def _die_with(parent: int) -> None:
    """End this process within seconds after its parent, however that ended."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(ORPHAN_SECONDS)
        os._exit(FAILED)

    threading.Thread(target=watch, name="watches the parent", daemon=True).start()
