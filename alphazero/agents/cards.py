"""The metadata at the top of a model card, in the form that the Hugging Face hub reads.

    ---
    license: apache-2.0
    tags: [alphazero, ...]
    model-index:                  the measured strength, the most telling figure first
    - name: tic_tac_toe
      results:
      - task: {type: reinforcement-learning}
        dataset: {type: tic_tac_toe, name: all 4,520 positions}
        metrics: [{type: mistakes, value: 0.0, name: "% mistakes, network alone"}]
    ---
    # tic_tac_toe

A card may come from anyone, so that reading it never fails: what is no metadata is left out.
"""

import sys
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, NamedTuple

from alphazero import plain_yaml
from alphazero.errors import one_line

EDGE = "---\n"
"""Begins and ends the metadata."""
MOST_RESULTS = 50
LONGEST = 120
"""Characters of a text of a card that are shown."""
TASK = "reinforcement-learning"


class Result(NamedTuple):
    """One figure of an agent's strength."""

    kind: str
    """The kind of figure in a word: ``mistakes``, ``points``, ``elo``."""
    value: float
    name: str
    """The words that follow the value in a sentence: ``% mistakes, network alone``."""
    against: str
    """The positions or the opponent with which it was measured."""

    def __str__(self) -> str:
        """The figure in words: ``3.8 % mistakes, 600 simulations: hard openings``."""
        return f"{self.value:g} {self.name}: {self.against}"


def split(card: str) -> tuple[str, str]:
    """The metadata of a card as a text, without its edges, and the rest; "" where it has none."""
    if not card.startswith(EDGE):
        return "", card
    metadata, edge, rest = card.removeprefix(EDGE).partition(f"\n{EDGE}")
    return (f"{metadata}\n", rest.lstrip("\n")) if edge else ("", card)


def results(card: str) -> list[Result]:
    """The figures in a card's metadata, in its order; those that cannot be read are left out."""
    try:
        fields = plain_yaml.load(split(card)[0])
        return list(_results(fields["model-index"]))[:MOST_RESULTS]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return []


def is_finite(value: Any) -> bool:
    """Whether a value of a stranger's file is a number that a float and JSON can hold."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def _results(index: Any) -> Iterator[Result]:
    for entry in (entry for model in index for entry in model["results"]):
        for metric in entry["metrics"]:
            value = metric["value"]
            if is_finite(value):
                texts = (metric["type"], metric["name"], entry["dataset"]["name"])
                kind, name, against = (one_line(str(text), LONGEST) for text in texts)
                yield Result(kind, float(value), name, against)


def metadata(game: str, measured: Iterable[Result] = ()) -> str:
    """The metadata of an agent of ``game``, with its edges, as the top of its card."""
    kind = game.partition(":")[0]
    fields: dict[str, Any] = {
        "license": "apache-2.0",
        "library_name": "distributed-alphazero",
        "pipeline_tag": TASK,
        "tags": ["alphazero", "board-games", "self-play", TASK, kind],
    }
    entries = [
        {
            "task": {"type": TASK, "name": "play"},
            "dataset": {"type": kind, "name": against},
            "metrics": [{"type": r.kind, "value": r.value, "name": r.name} for r in together],
        }
        for against, together in groupby(measured, key=lambda result: result.against)
    ]
    if entries:
        fields["model-index"] = [{"name": game, "results": entries}]
    return f"{EDGE}{plain_yaml.dump(fields)}{EDGE}\n"


def with_results(card: str, measured: Iterable[Result], game: str) -> str:
    """The card with metadata that have these figures, in place of those it has."""
    return metadata(game, measured) + split(card)[1]
