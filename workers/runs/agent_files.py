"""The files of exported agents: copied, and described in figures."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alphazero import checkpoint, plain_files, sealed
from alphazero.agents import CARD, cards
from alphazero.checkpoint import CONFIG, MANIFEST, WEIGHTS
from alphazero.errors import one_line
from workers.runs import export
from workers.terminal.output import counted

TRAINING = ("steps", "games", "positions", "minutes", "cores")
LARGEST = {MANIFEST: plain_files.TEXT, CARD: plain_files.TEXT}
"""The most bytes of the files that a manifest does not list."""


def copy(source: Path, folder: Path) -> None:
    """Copy an exported agent with its card to the new ``folder``.

    ``ValueError``, one line: a file is damaged or missing, or ``folder`` exists.
    """
    agent = sealed.open_whole(source)
    files = {name: agent.read(name) for name in (WEIGHTS, CONFIG)}
    files |= {name: plain_files.read(source / name, most) for name, most in LARGEST.items()}
    if folder.exists():
        raise ValueError(f"{folder} exists already: give a new folder")
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)


def complete_card(folder: Path) -> None:
    """Give the card of an agent its metadata, where an earlier version has written it without."""
    card = folder / CARD
    text = card.read_text(encoding="utf-8")
    if not cards.split(text)[0]:
        game = checkpoint.describe(folder).config.game
        card.write_text(cards.metadata(game) + text, encoding="utf-8")


def facts(folder: Path) -> dict[str, Any]:
    """The figures of an agent, as plain types; texts of its files in one line.

    ``game``, ``network``, ``parameters``, ``bytes`` of the weights and their ``sha256``, ``step``,
    ``rules_version``, ``training`` (``export.totals``) and ``strength``, the results in its card.
    ``ValueError``, one line: it is no agent, or damaged.
    """
    described = checkpoint.describe(folder)
    weights = described.folder.files[WEIGHTS]
    return {
        "game": one_line(described.config.game),
        "network": one_line(export.network_words(described.config)),
        "parameters": sum(map(math.prod, described.shapes.values())),
        "bytes": weights["bytes"],
        "sha256": one_line(weights["sha256"]),
        "step": described.step,
        "rules_version": _text(described.rules_version),
        "training": export.totals(described),
        "strength": [result._asdict() for result in cards.results(_card(described.path))],
    }


def digest_of_weights(folder: Path) -> str:
    """The SHA-256 of an agent's weights, its files compared with it; ``ValueError``: damaged."""
    return sealed.open_folder(folder).files[WEIGHTS]["sha256"]


def _text(value: object) -> str | None:
    return None if value is None else one_line(str(value), 100)


def _card(folder: Path) -> str:
    """The text of a card; empty where there is none that can be read."""
    try:
        return plain_files.read(folder / CARD).decode()
    except (OSError, ValueError):
        return ""


def training_words(training: dict[str, Any], names: Sequence[str] = TRAINING) -> str:
    """The cost of a training in a few words: ``25,911 steps, 144,659 games, 153 minutes``."""
    known = ((name.removesuffix("s"), training[name]) for name in names if name in training)
    whole = ((name, int(number) if number == int(number) else number) for name, number in known)
    return one_line(", ".join(counted(number, name) for name, number in whole))
