"""Trials as tasks of Ray: the same results as without Ray, and errors as single lines."""

import os
import sys
from collections.abc import Iterator

import pytest

pytest.importorskip("sklearn")

from alphazero.errors import RunFailed
from alphazero.supervised import candidates, config, tuning
from workers.supervised import trials

SHARED = (
    "data.limit=200", "model.hidden=[16]", "fit.epochs=1", "fit.batch_size=32", "fit.device=cpu",
)  # fmt: skip
pytestmark = pytest.mark.usefixtures("ray_session", "_pickled_by_value")


@pytest.fixture(scope="module")
def _pickled_by_value() -> Iterator[None]:
    """The tasks cannot import this file."""
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


@pytest.fixture(scope="module")
def plan() -> tuning.Plan:
    axes = candidates.axes(["optimizer.name=adam,sgd"])
    tried = candidates.grid("mlp", SHARED, axes)
    return tuning.plan(config.load("mlp", SHARED), tried, 2, lambda line: None)


def test_ray_gives_the_same_accuracies_as_one_process(plan):
    expected = tuning.search(plan)
    for parallel in (1, 2):
        results = tuning.search(plan, trials.on_ray("local", parallel))
        assert [one.accuracies for one in results] == [one.accuracies for one in expected]


def failing(trial, pool):
    raise ValueError("one line of what was wrong")


def dying(trial, pool):
    os._exit(1)


def test_the_error_of_a_trial_keeps_its_message(plan):
    calls = trials.on_ray("local", 2)(failing, plan.trials[0], plan.pools)
    with pytest.raises(ValueError, match=r"^one line of what was wrong$"):
        list(calls)


def test_a_trial_that_always_dies_ends_the_search_with_one_line(plan):
    calls = trials.on_ray("local", 1)(dying, plan.trials[0], plan.pools)
    with pytest.raises(RunFailed, match=r"^ray local: .+$"):
        list(calls)
