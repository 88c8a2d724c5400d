"""A run's agent as a folder of its own: what plays, and a model card that says where it is from."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

from alphazero import checkpoint
from alphazero.agents import CARD
from alphazero.checkpoint import CONFIG, MANIFEST, WEIGHTS, Checkpoint

RESTART_SECONDS = 2.0
"""Between two lines of metrics, a difference between the clock and the run's own minutes of more
than this means that the run was stopped and resumed in between."""
UNKNOWN_STRENGTH = "Not measured yet."


def export(run: Path, folder: Path, half: bool = False) -> Path:
    """Write the newest agent of ``run``, or the checkpoint ``run``, into ``folder``; the card.

    The weights are the averaged ones. An agent that lies in ``folder`` is replaced. ``ValueError``
    where there is no undamaged checkpoint, or ``folder`` holds anything else.
    """
    others = {path.name for path in folder.glob("*")} - {WEIGHTS, CONFIG, MANIFEST, CARD}
    if others or folder.is_file():
        raise ValueError(f"{folder} holds something already that is no exported agent")
    found = checkpoint.load(run)
    run = found.path.parent.parent
    training = totals(run, found.step)
    digest = checkpoint.release(found.path, folder, training, half)
    card = folder / CARD
    card.write_text(describe(found, training, digest, half), encoding="utf-8")
    return card


def totals(run: Path, step: int) -> dict[str, Any]:
    """What training took up to ``step``, as far as the run's ``metrics.jsonl`` says: ``steps``,
    ``games``, ``positions``, ``minutes`` of wall clock, ``parts`` (1: never resumed), ``cores``."""
    path, machine = run / "metrics.jsonl", run / "environment.json"
    texts = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    lines = [line for line in map(json.loads, texts) if line["step"] <= step and "games" in line]
    result: dict[str, Any] = {"steps": step}
    if lines:
        last = lines[-1]
        result |= {key: int(last[key]) for key in ("games", "positions")}
        result |= {"minutes": round(last["minutes"], 1), "parts": _parts(lines)}
    if machine.exists():
        result["cores"] = json.loads(machine.read_text(encoding="utf-8"))["cores"]
    return result


def _parts(lines: list[dict[str, Any]]) -> int:
    """Into how many the run was divided: the moment it seems to have begun moves at each resume."""
    began = [line["time"] - 60 * line["minutes"] for line in lines]
    return 1 + sum(abs(after - before) > RESTART_SECONDS for before, after in pairwise(began))


def describe(found: Checkpoint, training: dict[str, Any], digest: str, half: bool) -> str:
    """The model card, in Markdown; its strength is left to be measured."""
    config, network, search = found.config, found.config.network, found.config.search
    parameters = sum(array.size for array in found.weights.values())
    stored = "float16" if half else "float32"
    figures = {
        "network": f"{network.blocks} residual blocks of {network.channels} channels, attention "
        f"{network.attention}, {parameters:,} parameters, stored in {stored}",
        "search in self-play": f"{search.kind}, {search.simulations} simulations a move",
        "seed": str(config.seed),
        **{name: f"{value:,}" for name, value in training.items()},
    }
    rows = "\n".join(f"| {name} | {value} |" for name, value in figures.items())
    return f"""\
# {config.game}

An agent that learned {config.game} from the rules alone, by playing against itself.

## How trained

| | |
|---|---|
{rows}

Every setting is in `{CONFIG}` beside this card; `alphazero train` takes that file. Minutes are
of the wall clock, all parts together; a part is what ran between two interruptions. The weights
are the averaged ones of the last step.

## How strong

{UNKNOWN_STRENGTH}

## Use

Made to play this game with these rules, in this program, and for nothing else. It has seen nothing
but its own games: no human's, no solver's.

SHA-256 of `{WEIGHTS}`: `{digest}`

Licence: that of the program, Apache-2.0.
"""
