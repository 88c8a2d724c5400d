"""What this machine does: search, inference, self-play and training rates, each measured here.

Rates drift by up to two between runs on a shared machine, so what is compared with each other is
measured in the same run, in slices that take turns.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from pydantic import TypeAdapter, ValidationError

from alphazero import config
from alphazero.config_file import ConfigError

SHORT = {"games": "selfplay.games", "simulations": "search.simulations"}
"""What may be written for a key of the configuration here."""

WHOLE = ("search.proofs=false", "selfplay.stop_when_proven=false")
"""A search that may end early would be counted with simulations that it did not make."""


def run(what: str, options: Sequence[str]) -> dict[str, Any]:
    """Measure ``what``, a module of this package with a ``bench``, and return its figures by name.

    ``options`` are ``key=value``: a field of ``BenchSettings``, a key of ``SHORT`` or any key of
    the configuration. ``ConfigError`` where one is none of these.
    """
    # Not at the top: an actor that needs ``synthetic`` shall not import torch on its way.
    import torch

    from workers.bench.measuring import BenchSettings

    measurement = import_module(f"{__name__}.{what}")
    own = set(BenchSettings.__dataclass_fields__)
    given = [option.partition("=") for option in options]
    values = {key: value for key, _, value in given if key in own}
    overrides = [f"{SHORT.get(key, key)}{_}{value}" for key, _, value in given if key not in own]
    try:
        settings = TypeAdapter(BenchSettings).validate_python(values)
    except ValidationError as error:
        lines = [f"{found['loc'][0]}: {found['msg']}" for found in error.errors()]
        raise ConfigError(lines) from None
    try:
        defaults = [*WHOLE, *getattr(measurement, "DEFAULTS", ())]
        chosen = config.load(settings.config, [*defaults, *overrides])
    except ConfigError as error:
        known = f"bench itself knows {', '.join(sorted(own | set(SHORT)))}"
        raise ConfigError([*error.lines, known]) from None
    torch.set_num_threads(1)
    return measurement.bench(chosen, settings)
