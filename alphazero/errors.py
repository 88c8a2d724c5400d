"""Errors that commands report in one line; importing this module takes no time."""

from pathlib import Path


class RunFailed(RuntimeError):
    """A run that cannot continue although its input was correct; its message is one line.

    Raised for instance where a loss is not finite or a cluster has been lost. Bad input raises
    ``ValueError`` instead.
    """


def diverged(reason: object, good: Path | None) -> RunFailed:
    """The failure of a run that diverged; ``good``: its last good checkpoint, if there is one."""
    if good is None:
        return RunFailed(f"{reason} and start again: no checkpoint was saved before")
    return RunFailed(f"{reason} and resume: the last good checkpoint is {good}")
