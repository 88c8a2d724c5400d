"""The control plane, Ray's own processes, as the driver watches it.

``gcs_server`` is the one of the whole cluster, a ``raylet`` is that of a node. Where gcs_server is
lost, Ray ends the driver a minute later; where the raylet of this node is lost, Ray ends it within
the next ``ray.put``. Both happen without a word, so both have to be noticed first:

* gcs_server has to answer a call every second, on a thread of its own because Ray repeats such a
  call for a minute where nothing answers;
* the end of the raylet closes a socket that was connected to it, in the same moment, and the system
  says whether the process at the other end of that socket was stopped. A call that the raylet does
  not answer would be no test: its death meanwhile ends this process.
"""

import socket
import struct
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from typing import NamedTuple, TypeVar

import ray

from alphazero.errors import RunFailed
from workers.cluster.connection import this_node
from workers.node.clock import LONGEST_CHECK, Clock
from workers.node.processes import is_stopped

T = TypeVar("T")
GCS_SERVER, RAYLET = "gcs_server", "raylet"
PAUSE = 1.0
"""Seconds between two calls that test whether a process answers."""
RAYLET_ENDED = "the raylet of this machine, the process of Ray that starts all others, has ended"
LONGEST_SILENCE = 8.0
"""Seconds without an answer of Ray's own processes after which a program that only waits ends;
after a minute they would end it without a word."""
CHECK_SECONDS = 0.5
"""Seconds between two checks while ``patiently`` waits."""


class Loss(NamedTuple):
    """A process of Ray itself that was lost, and a line about it."""

    name: str
    reason: str


class ControlPlane:
    """Finds out whether gcs_server and the raylet of this node still answer."""

    def __init__(self, look: Callable[[], list[dict]] | None = None):
        """``look``: calls gcs_server for the list of machines, by default ``ray.nodes``."""
        self._ended = threading.Event()
        self._answers = 0
        self._look = look or ray.nodes
        self.nodes: list[dict] = self._look()
        """The machines of the cluster as of the last answer of gcs_server."""
        self._last = {GCS_SERVER: 0.0, RAYLET: 0.0}
        self._answers_seen = 0
        paths = {node["NodeID"]: node["RayletSocketName"] for node in self.nodes}
        self._path = path = paths[this_node()]
        self._watched = hasattr(socket, "AF_UNIX")  # not on Windows
        self._socket = _connected(path) if self._watched else None
        threading.Thread(target=self._call, name="calls gcs_server", daemon=True).start()

    def has_raylet(self) -> bool:
        """Whether the raylet of this node runs, as its socket shows; a stopped one does, too."""
        connected = self._socket
        if connected is None:
            return not self._watched
        try:
            if connected.recv(1, socket.MSG_DONTWAIT):
                return True
        except BlockingIOError:  # nothing to read: the other side is still there
            return True
        except OSError:
            pass
        connected.close()
        self._socket = again = _connected(self._path)  # None unless the raylet closed that one only
        return again is not None

    def silence(self, now: float) -> tuple[str, float]:
        """The process that has not answered for longest, and for how long, on a ``Clock``."""
        if self._answers != self._answers_seen:
            self._answers_seen, self._last[GCS_SERVER] = self._answers, now
        if self._socket is None or not is_stopped(_pid_behind(self._socket)):
            self._last[RAYLET] = now
        name, since = min(self._last.items(), key=lambda entry: entry[1])
        return name, now - since

    def problem(self, now: float, limit: float) -> "Loss | None":
        """The loss of the raylet, or of a process that has not answered for ``limit`` seconds."""
        if not self.has_raylet():
            return Loss(RAYLET, RAYLET_ENDED)
        name, silence = self.silence(now)
        if silence <= limit:
            return None
        return Loss(name, f"Ray's {name} has ended or hangs: no answer for {silence:.0f} s")

    def close(self) -> None:
        """Repeat no call any more: after a shutdown a call would start a new cluster."""
        self._ended.set()
        if self._socket is not None:
            self._socket.close()

    def _call(self) -> None:
        while not self._ended.wait(PAUSE):
            try:
                self.nodes = self._look()
            except Exception:
                continue  # Not answered: the silence grows.
            self._answers += 1


class Watch:
    """The control plane of a program that only waits for its cluster: ``check`` raises."""

    def __init__(self, limit: float = LONGEST_SILENCE):
        """``limit``: seconds without an answer."""
        self._limit = limit
        self._clock = Clock(LONGEST_CHECK)
        self._control = ControlPlane()

    def check(self) -> None:
        """Raise ``ClusterLost`` where Ray's own processes ended or hang."""
        self._clock.advance()
        if loss := self._control.problem(self._clock.now, self._limit):
            raise ClusterLost(loss)

    def close(self) -> None:
        self._control.close()


class ClusterLost(RunFailed):
    """The end of a program because Ray itself was lost: no call of it may return."""

    def __init__(self, loss: Loss):
        super().__init__(loss.reason)
        self.name = loss.name


def patiently(check: Callable[[], None], function: Callable[[], T]) -> T:
    """The result of ``function``, which Ray may never answer; ``check`` may raise meanwhile."""
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(function())
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    while not wait([result], CHECK_SECONDS).done:
        check()
    return result.result()


def _pid_behind(connected: socket.socket) -> int:
    """The process at the other end of a local socket; 0 where the system does not say that."""
    credentials = struct.Struct("3i")  # process, user, group
    with suppress(OSError, AttributeError):  # just closed; not Linux
        read = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, credentials.size)
        return credentials.unpack(read)[0]
    return 0


def _connected(path: str) -> socket.socket | None:
    connected = socket.socket(socket.AF_UNIX)
    try:
        connected.connect(path)
    except OSError:
        connected.close()
        return None
    return connected
