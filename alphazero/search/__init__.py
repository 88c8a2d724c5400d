"""Batched tree search: generators that yield states to evaluate and return what they concluded."""

from collections.abc import Generator
from typing import TypeVar

from alphazero.types import Evaluation, Evaluator
from games.base import States

Result = TypeVar("Result")


def run(steps: Generator[States, Evaluation, Result], evaluate: Evaluator) -> Result:
    """Drive a search (or any generator that asks for evaluations) to its end in this process."""
    try:
        states = next(steps)
        while True:
            states = steps.send(evaluate(states))
    except StopIteration as stop:
        return stop.value
