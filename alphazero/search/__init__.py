"""Batched tree search: generators that yield states to evaluate and return their results."""

from collections.abc import Generator
from typing import TypeVar

from alphazero.types import Evaluation, Evaluator
from games.base import States

Result = TypeVar("Result")


def run(steps: Generator[States, Evaluation, Result], evaluate: Evaluator) -> Result:
    """Run a search, or any generator that yields states, to its end and return its result.

    Each batch of states that it yields is evaluated and sent back.
    """
    try:
        states = next(steps)
        while True:
            states = steps.send(evaluate(states))
    except StopIteration as stop:
        return stop.value
