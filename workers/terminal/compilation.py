"""Says that the search is being compiled, which only a first run has to wait for."""

import logging

from numba.core import event

from alphazero.search import kernels

logger = logging.getLogger(__name__)


class _Announcement(event.Listener):
    """Speaks when Numba begins to compile anything that its disk cache does not hold, once."""

    def __init__(self):
        self._said = False

    def on_start(self, event: event.Event):
        if not self._said:
            self._said = True
            logger.warning(
                "compiling for this machine: some seconds, where a game or a search is used the "
                "first time (kept in %s)",
                kernels.attach.stats.cache_path,
            )

    def on_end(self, event: event.Event):
        pass


def announce() -> None:
    """From now on, in this process."""
    event.register("numba:compile", _Announcement())
