"""Errors that commands report in one line; importing this module takes no time."""


class RunFailed(RuntimeError):
    """A run that cannot continue although its input was correct; its message is one line.

    Raised for instance where a loss is not finite or a cluster has been lost. Bad input raises
    ``ValueError`` instead.
    """


class FleetLost(RunFailed):
    """The end of a run whose self-play cannot continue; what was learned is whole.

    So a checkpoint can still be saved.
    """
