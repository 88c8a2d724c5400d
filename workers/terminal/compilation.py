"""A message while the search is compiled, which only the first run on a machine has to wait for."""

import logging

from numba.core import event

from alphazero.search import kernels

logger = logging.getLogger(__name__)


class _Announcement(event.Listener):
    """Logs one warning when Numba starts to compile a function that its disk cache lacks."""

    def __init__(self):
        self._logged = False

    def on_start(self, event: event.Event):
        if not self._logged:
            self._logged = True
            logger.warning(
                "compiling for this machine: some seconds, where a game or a search is used the "
                "first time (kept in %s)",
                kernels.attach.stats.cache_path,
            )

    def on_end(self, event: event.Event):
        pass


def announce() -> None:
    """Log a message at the first compilation in this process from now on."""
    event.register("numba:compile", _Announcement())
