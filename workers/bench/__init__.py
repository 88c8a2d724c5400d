"""Benchmarks of this machine: rates of search, inference, self-play and training.

On a shared machine rates differ by up to a factor of two between runs. Rates that are compared with
each other are therefore measured in the same run, in slices that take turns.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from pydantic import TypeAdapter, ValidationError

from alphazero import config
from alphazero.config_file import ConfigError
from alphazero.errors import requirement

SHORT = {"games": "selfplay.games", "simulations": "search.simulations"}
"""Short names for keys of the configuration."""

FULL_SEARCHES = (
    "search.look_ahead=false",
    "search.proofs=false",
    "selfplay.stop_when_proven=false",
)
"""Every search makes all its simulations: one that ends early would be counted with simulations
that it did not make."""


def run(what: str, options: Sequence[str]) -> dict[str, Any]:
    """Run the benchmark ``what``, a module of this package, and return its figures by name.

    ``options`` are ``key=value``: a field of ``BenchSettings``, a key of ``SHORT`` or any key of
    the configuration. ``ConfigError`` where one is none of these.
    """
    # Imported here because actors import ``synthetic`` from this package and need no torch.
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
        lines = [f"{detail['loc'][0]}: {requirement(detail)}" for detail in error.errors()]
        raise ConfigError(lines) from None
    try:
        defaults = [*FULL_SEARCHES, *getattr(measurement, "DEFAULTS", ())]
        chosen = config.load(settings.config, [*defaults, *overrides])
    except ConfigError as error:
        known = f"settings of bench itself: {', '.join(sorted(own | set(SHORT)))}"
        raise ConfigError([*error.lines, known]) from None
    torch.set_num_threads(1)
    return measurement.bench(chosen, settings)
