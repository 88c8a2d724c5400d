"""The signals that end a command: Ctrl-C, SIGTERM, and SIGHUP of a terminal that is closed."""

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from rich.console import Console

ENDING = ("SIGINT", "SIGTERM", "SIGHUP")
"""Windows has no SIGHUP."""


@contextmanager
def stop_on_signal(console: Console) -> Iterator[list[int]]:
    """A list of the signals received, which end the run: Ctrl-C, SIGTERM, SIGHUP.

    A second Ctrl-C stops at once. The others may come twice: a terminal that is closed sends
    SIGHUP, and so does its shell.
    """
    signals: list[int] = []

    def handle(number: int, _: object) -> None:
        if number == signal.SIGINT and number in signals:
            raise KeyboardInterrupt
        signals.append(number)
        if len(signals) == 1:
            # Python refuses a second write while one waits for a terminal or a pipe that is full.
            with suppress(RuntimeError):
                console.print("stopping after this step")

    with handled(handle):
        yield signals


@contextmanager
def handled(
    handler: Callable[[int, FrameType | None], object] | int, names: Iterable[str] = ENDING
) -> Iterator[None]:
    """Meanwhile, the signals with these ``names`` are handled by ``handler``.

    A SIGHUP that this process ignores, because ``nohup`` started it, stays ignored.
    """
    before = {
        signal.Signals[name]: signal.signal(signal.Signals[name], handler)
        for name in names
        if hasattr(signal, name) and not (name == "SIGHUP" and _ignored(name))
    }
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


@contextmanager
def hangup_blocked() -> Iterator[None]:
    """Meanwhile, SIGHUP waits; processes that are started now never get it.

    A terminal that is closed sends it to all of them. Ray's would end before the run is saved.
    """
    if not hasattr(signal, "SIGHUP"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _ignored(name: str) -> bool:
    return signal.getsignal(signal.Signals[name]) == signal.SIG_IGN


def interrupt(number: int, _: object) -> None:
    """Handle a signal as Ctrl-C is handled by default.

    A second SIGHUP, the shell's after the terminal's, does not interrupt what the first has begun.
    """
    if signal.Signals(number).name == "SIGHUP":
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def terminate(number: int, _: object) -> None:
    """Handle a signal as SIGTERM is handled now."""
    signal.raise_signal(signal.SIGTERM)
