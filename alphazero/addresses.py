"""Classes of the user's own, named in a configuration by their address ``module:Class``.

A configuration that names one, such as that of a checkpoint, is read without importing anything:
only ``build`` imports the module. What a file from elsewhere names is imported only where the user
allowed it, see ``check_allowed``.
"""

import importlib
import inspect
import re
import shlex
from collections.abc import Collection, Mapping
from dataclasses import field, fields
from typing import Any

from pydantic import Discriminator, model_serializer, model_validator
from pydantic.dataclasses import dataclass

from alphazero.errors import one_line, reason
from alphazero.ranges import STRICT
from games.spec import suggest

_ADDRESS = re.compile(r"[\w.]{1,200}:\w[\w./-]{0,99}")
ADDRESS = "address"
"""The tag of ``ByAddress`` among the kinds of a section."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ByAddress:
    """A class of your own: ``kind`` is its address, every other key is an argument of the class.

    ``{kind: my_search:OnePly, temperature: 0.3}`` is ``OnePly(temperature=0.3)`` of the module
    ``my_search``, which every process of the run must be able to import.
    """

    kind: str
    """The address, ``module:Class``."""
    options: dict[str, Any] = field(default_factory=dict)
    """The keyword arguments."""

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, given: Any) -> Any:
        if not isinstance(given, dict):  # the dataclass was called, or is given as it is
            return given
        own = {name: given[name] for name in _own(cls) if name in given}
        return own | {"options": {key: given[key] for key in given if key not in own}}

    @model_serializer
    def _spread(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _own(type(self))} | self.options


def _own(cls: type) -> list[str]:
    """The keys that are fields of the dataclass, not options."""
    return [entry.name for entry in fields(cls) if entry.name != "options"]


def is_address(kind: object) -> bool:
    """Whether ``kind`` is written like an address, ``module:Class``."""
    return isinstance(kind, str) and all(kind.partition(":"))


def check_allowed(named: Mapping[str, str], allow: Collection[str], where: object) -> None:
    """``ValueError``, one line, for an address that was not allowed by the user; imports nothing.

    ``named``: by key the addresses that ``where`` names, which may come from a stranger. Importing
    one runs code, and its class is called with arguments from there: ``subprocess:Popen`` too is an
    address. So the user says which ones, ``allow``.
    """
    if isinstance(allow, str):  # whose parts would all be in it
        allow = [allow]
    missing = {key: address for key, address in named.items() if address not in allow}
    if wrong := [key for key, address in missing.items() if not _ADDRESS.fullmatch(address)]:
        raise ValueError(f"{where}: {wrong[0]}: {one_line(missing[wrong[0]])!r} is no address")
    if missing:
        listed = " and ".join(f"{key} {address}" for key, address in missing.items())
        unique = list(dict.fromkeys(missing.values()))
        raise ValueError(
            f"{where} needs code from outside this program, {listed}: if you trust it, add "
            f"{options(unique)} (in Python allow={unique})"
        )


def options(addresses: Collection[str]) -> str:
    """The command line's options that allow ``addresses``, for a command that is printed."""
    return " ".join(f"--allow {shlex.quote(address)}" for address in addresses)


def by_kind(default: str) -> Discriminator:
    """The rule by which a section's ``kind`` chooses its dataclass; ``default``: without one."""

    def tag(section: Any) -> str:
        if isinstance(section, dict):
            kind = section.get("kind", default)
        else:
            kind = getattr(section, "kind", default)
        return ADDRESS if is_address(kind) else str(kind)

    return Discriminator(tag)


def load(address: str, purpose: str) -> Any:
    """The object at ``module:Class``. ``purpose`` names it in the message of a ``ValueError``."""
    module, _, attribute = address.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:  # a user's own module may raise anything
        raise ValueError(f"{purpose} {address!r} cannot be imported: {reason(error)}") from error


def check(settings: ByAddress, purpose: str, arguments: int = 0) -> None:
    """Import the class; ``ValueError``, one line, where the options are not those that it needs.

    ``arguments``: how many others it will be called with, before the options.
    """
    made = load(settings.kind, purpose)
    try:
        signature = inspect.signature(made)
    except (TypeError, ValueError):
        raise ValueError(f"{purpose} {settings.kind!r} is not a class") from None
    known = signature.parameters
    open_ended = any(parameter.kind == parameter.VAR_KEYWORD for parameter in known.values())
    for name in settings.options:
        if name not in known and not open_ended:
            whole = f"'{purpose}={{kind: {settings.kind}}}'"
            raise ValueError(
                f"{settings.kind} has no argument {name!r}: take the key out, or replace the whole "
                f"section, {whole}; {suggest(name, known)}"
            )
    try:
        signature.bind(*range(arguments), **settings.options)
    except TypeError as error:
        raise ValueError(f"{purpose} {settings.kind!r}: {error}") from None


def build(settings: ByAddress, purpose: str, *arguments: Any) -> Any:
    """Call the class that ``settings`` name with ``arguments`` and their options.

    ``ValueError``, one line: it cannot be imported, or it does not accept the arguments.
    """
    made = load(settings.kind, purpose)
    try:
        return made(*arguments, **settings.options)
    except Exception as error:  # a user's own class may raise anything
        raise ValueError(f"{purpose} {settings.kind!r} cannot be made: {reason(error)}") from error
