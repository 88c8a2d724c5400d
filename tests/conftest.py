"""Fixtures of several test files: one Ray session per test run, started when first needed."""

import logging
import os
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest

PROCESS = os.environ.get("PYTEST_XDIST_WORKER")
"""The name of this process when pytest-xdist runs the tests in several, as `make test` does."""
LONGEST = ("ray", "test_notebooks.py", "test_docs.py")
"""Groups of tests that start first, so that no process waits for one of them at the end."""

if PROCESS:
    # Numba updates the index of its disk cache without a lock: one cache per process.
    folder = Path(__file__).parents[1] / ".pytest_cache" / f"numba-{PROCESS}"
    os.environ.setdefault("NUMBA_CACHE_DIR", str(folder))
    # The processes fill the cores. An environment variable would bind the tests' own threads and
    # commands, too, which choose for themselves.
    import torch

    torch.set_num_threads(1)


@cache
def _group(path: str) -> str:
    """Tests of the same group run in the same process: those of a file, and all that use Ray."""
    file = Path(__file__).parents[1] / path
    return "ray" if "ray_session" in file.read_text(encoding="utf-8") else file.name


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hand out groups. The option ``--dist loadgroup`` has no effect with pytest 9.2."""
    from xdist.scheduler import LoadScopeScheduling

    class LoadGroups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _group(nodeid.partition("::")[0])

    return LoadGroups(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the longest groups where there are several processes."""
    if PROCESS:
        order = {name: place for place, name in enumerate(LONGEST)}
        items.sort(key=lambda item: order.get(_group(item.nodeid.partition("::")[0]), len(order)))


@pytest.fixture(scope="session")
def ray_session():
    """A private cluster on this machine that offers eight cores, however many there are."""
    ray = pytest.importorskip("ray")
    from workers import bench

    # The actors would all compile the search at the same time, against the time limits of tests.
    small = ["config=tic_tac_toe", "games=4", "simulations=4", "blocks=1", "channels=8"]
    here = ["ray=off", "selfplay.processes=0"]
    bench.run("selfplay", [*small, *here, "seconds=0.1", "threads=1"])
    # A short path: those of the sockets in it may not be longer than 107 bytes.
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp", ignore_cleanup_errors=True) as folder:
        environment = {
            "RAY_TMPDIR": folder,
            "RAY_USAGE_STATS_ENABLED": "0",
            # Ray's own 15 would leave its processes nothing beside the other tests.
            "RAY_worker_niceness": "0",
            "PYTHONPATH": str(Path(__file__).parent),  # of the doubles that actors import
        }
        before = {name: os.environ.get(name) for name in environment}
        os.environ.update(environment)
        ray.init(
            address="local",
            num_cpus=8,
            include_dashboard=False,
            object_store_memory=128 * 2**20,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
        yield ray
        ray.shutdown()
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@pytest.fixture
def no_ray(monkeypatch):
    """No Ray seems to run in this process, and none is started; that of the tests goes on."""
    from workers.cluster import connection

    monkeypatch.setattr(connection.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(connection.ray, "init", pytest.fail)
    monkeypatch.setattr(connection.ray, "shutdown", lambda: None)
