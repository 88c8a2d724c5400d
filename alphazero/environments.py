"""Registers every game as an environment of Gymnasium and of PettingZoo, once these are imported.

``gymnasium.make("alphazero/ConnectFour-v0")`` and
``pettingzoo.make("aec", "alphazero/connect_four-v0")`` work after ``import alphazero``; games
outside the registry have the ids ``alphazero/Game-v0`` and ``alphazero/game-v0``. Both libraries
find environments by nothing but a call of their ``register`` (Gymnasium 1.0 gave up entry points of
packages), and importing them takes longer than everything else that a command needs at its start.
So registration follows their import where that comes later than ours.
"""

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

NAMESPACE, VERSION = "alphazero", "v0"
MAKERS = "alphazero.judging.environments"
"""The module that makes the environments."""
ANY_GAME = "game"
"""The name of the environments whose game is an argument."""


def register_when_imported() -> None:
    """Register the environments now with the libraries that are imported, with others later."""
    for library, register in _REGISTER.items():
        if library in sys.modules:
            register()
    if not any(isinstance(finder, _Following) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Following())


def identifier(name: str) -> str:
    """A game's name as the classes of Gymnasium are written: ``connect_four``, ``ConnectFour``."""
    return "".join(part.capitalize() for part in name.split("_"))


def _register_with_gymnasium() -> None:
    from gymnasium.envs.registration import register, registry

    for name, arguments in _arguments().items():
        if (key := f"{NAMESPACE}/{identifier(name)}-{VERSION}") not in registry:
            register(id=key, entry_point=f"{MAKERS}:for_gymnasium", kwargs=arguments)


def _register_with_pettingzoo() -> None:
    from pettingzoo import aec_registry, register

    for name, arguments in _arguments().items():
        if (key := f"{NAMESPACE}/{name}-{VERSION}") not in aec_registry:
            register("aec", key, f"{MAKERS}:for_pettingzoo", kwargs=arguments)


def _arguments() -> dict[str, dict[str, Any]]:
    """The arguments of the maker by the name of the environment."""
    import games  # NumPy, which ``import alphazero`` does not need; both libraries do

    return {ANY_GAME: {}} | {name: {"game": name} for name in games.registered()}


_REGISTER: dict[str, Callable[[], None]] = {
    "gymnasium": _register_with_gymnasium,
    "pettingzoo": _register_with_pettingzoo,
}


class _Following(MetaPathFinder):
    """Finds the modules of ``_REGISTER`` as the other finders do, and registers after their run."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in _REGISTER:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        specs = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next(filter(None, specs), None)
        if spec and spec.loader:
            _add_step(spec.loader, _REGISTER[fullname])
        return spec


def _add_step(loader: Any, then: Callable[[], None]) -> None:
    """Let this one loader call ``then`` after it has run its module."""
    run = loader.exec_module

    def run_and_register(module: ModuleType) -> None:
        run(module)
        then()

    with suppress(AttributeError):  # a loader without attributes of its own
        loader.exec_module = run_and_register
