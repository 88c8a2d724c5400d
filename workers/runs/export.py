"""A run's agent as a folder of its own: what plays, and a model card that says where it is from."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from alphazero import checkpoint, metrics_file
from alphazero.agents import CARD
from alphazero.checkpoint import CONFIG, MANIFEST, WEIGHTS, Checkpoint

RESTART_SECONDS = 2.0
"""Between two lines of metrics, a difference between the clock and the run's own minutes of more
than this means that the run was stopped and resumed in between."""
TOTALS = ("steps", "games", "positions", "minutes", "cpu_minutes", "parts")
"""What an agent that began with another's weights has of both together."""
BEGAN_WITH = "began_with"
UNKNOWN_STRENGTH = "Not measured yet."
STRENGTH = f"""\
## How strong

{UNKNOWN_STRENGTH}

## Use
"""
"""This much of a card that nobody has written on."""


def export(run: Path, folder: Path, half: bool = False) -> Path:
    """Write the newest agent of ``run``, or the checkpoint ``run``, into ``folder``; the card.

    The weights are the averaged ones. An agent that lies in ``folder`` is replaced. ``ValueError``
    where there is no undamaged checkpoint, ``folder`` holds anything else, or somebody has written
    on its card how strong the agent there is.
    """
    others = {path.name for path in folder.glob("*")} - {WEIGHTS, CONFIG, MANIFEST, CARD}
    if others or folder.is_file():
        raise ValueError(f"{folder} holds something already that is no exported agent")
    card = folder / CARD
    if card.exists() and STRENGTH not in card.read_text(encoding="utf-8"):
        raise ValueError(f"{card} says how strong its agent is: remove it first, or export beside")
    found = checkpoint.load(run)
    training = totals(found)
    digest = checkpoint.release(found.path, folder, training, half)
    card.write_text(describe(found, training, digest, half), encoding="utf-8")
    return card


def totals(found: Checkpoint) -> dict[str, Any]:
    """What the training of ``found`` took, as far as is known: ``TOTALS`` and ``cores``.

    ``minutes`` are of wall clock, ``cpu_minutes`` of this run's own process; ``parts``: 1 more than
    it was resumed. An exported agent has them in its manifest. One that began with the weights of
    another adds its totals to that one's, which ``began_with`` holds beside its ``path``; that is
    all it holds where nothing is found there any more.
    """
    manifest = json.loads((found.path / MANIFEST).read_bytes())
    if "training" in manifest:
        return manifest["training"]
    run = _run(found)
    own, source = _own(run, found.step), found.config.training.initial_weights
    if source is None:
        return own
    earlier: dict[str, Any] = {}
    try:
        first = checkpoint.load(source)
        earlier = totals(first) if _run(first) != run else {}
    except ValueError:
        pass  # it was moved, or removed
    if earlier:
        own = {key: value for key, value in own.items() if key not in TOTALS or key in earlier}
        own |= {key: round(own[key] + earlier[key], 1) for key in TOTALS if key in own}
    return own | {BEGAN_WITH: {"path": source} | earlier}


def _run(found: Checkpoint) -> Path:
    return found.path.resolve().parents[1]


def _own(run: Path, step: int) -> dict[str, Any]:
    """The totals of ``run`` alone, up to ``step``."""
    path, machine = run / "metrics.jsonl", run / "environment.json"
    # A line that a match wrote has no counts.
    lines = (
        [line for line in metrics_file.read(path, step) if "games" in line] if path.exists() else []
    )
    result: dict[str, Any] = {"steps": step}
    if lines:
        parts, last = _parts(lines), lines[-1]
        result |= {key: int(last[key]) for key in ("games", "positions")}
        result |= {"minutes": round(last["minutes"], 1), "parts": len(parts)}
        if all("cpu_minutes" in part[-1] for part in parts):
            # Each part counts from 0.
            result["cpu_minutes"] = round(sum(part[-1]["cpu_minutes"] for part in parts), 1)
    if machine.exists():
        result["cores"] = json.loads(machine.read_text(encoding="utf-8"))["cores"]
    return result


def _parts(lines: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """As the run was divided: the moment it seems to have begun moves at each resume."""
    began = np.array([line["time"] - 60 * line["minutes"] for line in lines])
    first = np.flatnonzero(np.abs(np.diff(began)) > RESTART_SECONDS) + 1
    edges = [0, *first.tolist(), len(lines)]
    return [lines[start:stop] for start, stop in pairwise(edges)]


def describe(found: Checkpoint, training: dict[str, Any], digest: str, half: bool) -> str:
    """The model card, in Markdown; its strength is left to be measured."""
    config, network, search = found.config, found.config.network, found.config.search
    parameters = sum(array.size for array in found.weights.values())
    halved = half or any(array.dtype == np.float16 for array in found.weights.values())
    stored = "float16" if halved else "float32"
    figures = {
        "network": f"{network.blocks} residual blocks of {network.channels} channels, attention "
        f"{network.attention}, {parameters:,} parameters, stored in {stored}",
        "search in self-play": f"{search.kind}, {search.simulations} simulations a move",
        "seed": str(config.seed),
        **{name: f"{value:,}" for name, value in training.items() if name != BEGAN_WITH},
    }
    origin = _origin(training.get(BEGAN_WITH))
    first = "`training.initial_weights=` and a first stage of your own"
    needs = f" together with {first}" if config.training.initial_weights else ""
    rows = "\n".join(f"| {name} | {value} |" for name, value in figures.items())
    return f"""\
# {config.game}

An agent that learned {config.game} from the rules alone, by playing against itself.{origin}

## How trained

| | |
|---|---|
{rows}

Every setting is in `{CONFIG}` beside this card; `alphazero train` takes that file{needs}. Minutes
are of the wall clock, all parts together; a part is what ran between two interruptions; CPU minutes
are those of the training process, which without Ray is all there is. The weights are the averaged
ones of the last step.

{STRENGTH}
Made to play this game with these rules, in this program, and for nothing else. It has seen nothing
but its own games: no human's, no solver's.

SHA-256 of `{WEIGHTS}`: `{digest}`

Licence: that of the program, Apache-2.0.
"""


def _origin(began_with: dict[str, Any] | None) -> str:
    """A paragraph on whose weights were the first ones."""
    if began_with is None:
        return ""
    counted = "counted below" if "steps" in began_with else "not counted: nothing is known of it"
    return f"\n\nIt began with the weights of `{began_with['path']}`, whose training is {counted}."
