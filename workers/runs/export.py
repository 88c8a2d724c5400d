"""Export a run's agent to a folder: weights, configuration, checksums and a model card."""

import json
import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import games
from alphazero import checkpoint, metrics_file, plain_files
from alphazero.addresses import ByAddress
from alphazero.agents import CARD, cards
from alphazero.agents.cards import Result
from alphazero.checkpoint import CONFIG, MANIFEST, WEIGHTS, Checkpoint, Description
from alphazero.config import Config, NetworkSettings
from alphazero.errors import one_line, reading
from alphazero.network import check_weights
from alphazero.network_settings import PerceptronSettings
from alphazero.parts import addresses_of
from workers.terminal.output import counted

Trained = Checkpoint | Description
RESTART_SECONDS = 2.0
"""The run was stopped and resumed between two lines of metrics where the clock advanced by this
much more, or less, than the run's own ``minutes``."""
TOTALS = ("steps", "games", "positions", "minutes", "cpu_minutes", "parts")
"""Totals that an agent with another's initial weights adds to those of the other's training."""
BEGAN_WITH = "began_with"
ORIGIN = ("path", "game")
"""Texts about the initial weights, which stand beside their totals."""
UNKNOWN_STRENGTH = "Not measured yet."
STRENGTH = f"""\
## How strong

{UNKNOWN_STRENGTH}

## Use
"""
"""The section of a card before its strength was written down."""


def export(
    run: Path, folder: Path, half: bool = False, warn: Callable[[str], object] = lambda line: None
) -> Path:
    """Write the newest agent of ``run``, or the checkpoint ``run``, to ``folder``; return the card.

    The weights are the averaged ones; ``half``: stored as float16. An agent in ``folder`` is
    replaced. ``warn`` is called with a line where it was not trained. ``ValueError``, one line:
    there is no valid checkpoint, ``folder`` holds anything else, or the card in it states the
    strength of its agent.
    """
    card = check_target(folder)
    exported = checkpoint.complete(_described(run))
    training = totals(exported)
    if not training["steps"]:
        warn(f"{run} was not trained: after 0 optimizer steps its agent plays with random weights")
    digest = checkpoint.release(exported, folder, training, half)
    card.write_text(model_card(exported, training, digest, half), encoding="utf-8")
    return card


def check_target(folder: Path) -> Path:
    """The card of an agent exported to ``folder``; ``ValueError`` as in ``export``."""
    others = {path.name for path in folder.glob("*")} - {WEIGHTS, CONFIG, MANIFEST, CARD}
    if others or folder.is_file():
        raise ValueError(f"{folder} holds something already that is not an exported agent")
    card = folder / CARD
    if card.exists() and STRENGTH not in card.read_text(encoding="utf-8"):
        raise ValueError(
            f"{card} states how strong its agent is: remove it first, or export to another folder"
        )
    return card


def _described(run: Path) -> Description:
    """The checkpoint to export, whose weights are those of its network.

    The shapes of networks and games of the user's own are not compared: they would be imported.
    """
    described = checkpoint.describe(run)
    config = described.config
    if not addresses_of(config, search=False):
        with reading(described.path):
            game = games.make(config.game)
        check_weights(game, config.network, described.shapes, described.path)
    return described


def write_strength(card: Path, game: str, strength: str, results: list[Result]) -> None:
    """Replace the note in a new card that its agent was not measured by ``strength``.

    ``results`` become part of its metadata.
    """
    text = card.read_text(encoding="utf-8").replace(f"{UNKNOWN_STRENGTH}\n", strength, 1)
    card.write_text(cards.with_results(text, results, game), encoding="utf-8")


def totals(exported: Trained, counted: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The cost of a checkpoint's training, as far as it is recorded: ``TOTALS`` and ``cores``.

    ``minutes`` are of wall clock, ``cpu_minutes`` of the training process; ``parts`` is the number
    of resumptions plus one. An exported agent has them in its manifest. Where the initial weights
    were those of another agent, its totals are added: 20 steps after 10 steps are 30. Then
    ``began_with`` holds its ``path``, its ``game`` if the text of that differs, and its totals;
    what cannot be read any more is left out. ``counted``: the runs whose totals are not added
    again.
    """
    if (recorded := checkpoint.training_of(exported.path)) is not None:
        return {"steps": exported.step} | _recorded(recorded)
    run = _run(exported)
    own, source = _own_totals(run, exported.step), exported.config.training.initial_weights
    if source is None:
        return own
    earlier: dict[str, Any] = {}
    origin: dict[str, Any] = {"path": source}
    try:
        first = checkpoint.describe(source)
        if not _same_game(first.config.game, exported.config.game):
            origin["game"] = one_line(first.config.game)
        counted = (*counted, run)
        earlier = totals(first, counted) if _run(first) not in counted else {}
    except ValueError:
        pass  # moved or removed since
    if earlier:
        own = {key: value for key, value in own.items() if key not in TOTALS or key in earlier}
        own |= {key: round(own[key] + earlier[key], 1) for key in TOTALS if key in own}
    return own | {BEGAN_WITH: origin | earlier}


def _same_game(one: str, other: str) -> bool:
    """Whether both name the same game; those of an address, which may be anyone's, by their text.

    Nothing is imported that only a folder names.
    """
    foreign = games.address_of(one) or games.address_of(other)
    return one == other if foreign else games.same(one, other)


def _recorded(training: object) -> dict[str, Any]:
    """The totals in an agent's manifest, which may come from anyone: numbers, a path, a game."""
    if not isinstance(training, dict):
        return {}
    names = (*TOTALS, "cores")
    figures: dict[str, Any] = {
        name: training[name] for name in names if cards.is_finite(training.get(name))
    }
    match training.get(BEGAN_WITH):
        case {"path": str()} as first:
            texts = {key: one_line(first[key]) for key in ORIGIN if isinstance(first.get(key), str)}
            figures[BEGAN_WITH] = texts | _recorded(first)
    return figures


def _run(loaded: Trained) -> Path:
    """The run directory of a checkpoint."""
    return loaded.path.resolve().parents[1]


def _own_totals(run: Path, step: int) -> dict[str, Any]:
    """The totals of ``run`` alone, up to ``step``."""
    with reading(run):
        return _own_figures(run / "metrics.jsonl", run / "environment.json", step)


def _own_figures(path: Path, machine: Path, step: int) -> dict[str, Any]:
    # The line of a match has no counts.
    lines = (
        [line for line in metrics_file.read(path, step) if "games" in line] if _exists(path) else []
    )
    result: dict[str, Any] = {"steps": step}
    if lines:
        parts, last = _parts(lines), lines[-1]
        result |= {key: int(last[key]) for key in ("games", "positions")}
        result |= {"minutes": round(last["minutes"], 1), "parts": len(parts)}
        if all("cpu_minutes" in part[-1] for part in parts):
            # The CPU time of a process: each part starts at 0.
            result["cpu_minutes"] = round(sum(part[-1]["cpu_minutes"] for part in parts), 1)
    if _exists(machine):
        result["cores"] = int(json.loads(plain_files.read(machine))["cores"])
    return result


def _exists(path: Path) -> bool:
    """Whether there is such a file; ``ValueError`` where it is a link, a FIFO or the like."""
    return os.path.lexists(path) and plain_files.size(path) >= 0


def _parts(lines: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The lines of each part of the run, divided where it was resumed.

    ``time`` minus ``minutes`` is the moment at which the run seems to have started. It is constant
    within a part, and moves at each resumption by the time in between: lines at clock 10:01 and
    10:02 with minutes 1 and 2 give 10:00, one at 11:03 with minutes 3 gives 11:00.
    """
    starts = np.array([line["time"] - 60 * line["minutes"] for line in lines])
    first = np.flatnonzero(np.abs(np.diff(starts)) > RESTART_SECONDS) + 1
    edges = [0, *first.tolist(), len(lines)]
    return [lines[start:stop] for start, stop in pairwise(edges)]


def network_words(config: Config) -> str:
    """The kind and the size of a network in a few words."""
    network = config.network
    if isinstance(network, PerceptronSettings):
        return (
            f"perceptron, {counted(network.layers, 'residual layer')} of "
            f"{counted(network.width, 'unit')}"
        )
    if not isinstance(network, NetworkSettings):
        return network.kind
    return (
        f"{counted(network.blocks, 'residual block')} of "
        f"{counted(network.channels, 'channel')}, attention "
        f"{network.attention}"
    )


def _search(config: Config) -> str:
    search = config.search
    if isinstance(search, ByAddress):
        return search.kind
    ahead = " with look_ahead" if getattr(search, "look_ahead", False) else ""
    return f"{search.kind}{ahead}, {search.simulations} simulations per move"


def model_card(exported: Checkpoint, training: dict[str, Any], digest: str, half: bool) -> str:
    """The model card in Markdown; the strength is to be filled in after a measurement."""
    config = exported.config
    parameters = sum(array.size for array in exported.weights.values())
    halved = half or any(array.dtype == np.float16 for array in exported.weights.values())
    stored = "float16" if halved else "float32"
    figures = {
        "network": f"{network_words(config)}, {parameters:,} parameters, stored in {stored}",
        "search in self-play": _search(config),
        "seed": str(config.seed),
        **{name: f"{value:,}" for name, value in training.items() if name != BEGAN_WITH},
    }
    origin = _origin(training.get(BEGAN_WITH))
    learned = (
        f"An agent that learned {config.game} from the rules alone, by playing against itself."
    )
    if not training["steps"]:
        learned = f"An agent of {config.game} that was not trained: its weights are random."
    first = "`training.initial_weights=` and a first stage of your own"
    needs = f" together with {first}" if config.training.initial_weights else ""
    rows = "\n".join(f"| {name} | {value} |" for name, value in figures.items())
    return f"""\
{cards.metadata(config.game)}# {config.game}

{learned}{origin}

## How trained

| | |
|---|---|
{rows}

Every setting is in `{CONFIG}` beside this card; `alphazero train` takes that file{needs}. Minutes
are of the wall clock, all parts together; a part is what ran between two interruptions; CPU minutes
are those of the training process, which without Ray is the only one. The weights are the averaged
ones of the last step.

{STRENGTH}
Made to play this game with these rules, in this program, and for nothing else. It was trained on
its own games alone: no games of humans, no solver.

SHA-256 of `{WEIGHTS}`: `{digest}`

Licence: that of the program, Apache-2.0.
"""


def _origin(began_with: dict[str, Any] | None) -> str:
    """A paragraph that names the initial weights; empty where they were random."""
    if began_with is None:
        return ""
    counted = "counted below" if "steps" in began_with else "not counted: there is no record of it"
    source = f"`{began_with['path']}`"
    if "game" in began_with:
        source += f", trained in `{began_with['game']}`"
    return f"\n\nIt began with the weights of {source}. Their training is {counted}."
