"""Fixtures of several test files: one Ray session per test run, started when first needed."""

import logging
import os
import tempfile
from pathlib import Path

import pytest

PROCESS = os.environ.get("PYTEST_XDIST_WORKER")
"""The name of this process when pytest-xdist runs the tests in several, as `make test` does."""
LONGEST = ("ray", "test_notebooks", "test_docs")
"""Groups of tests that start first, so that no process waits for one of them at the end."""

if PROCESS:
    # Numba updates the index of its disk cache without a lock: one cache per process.
    cache = Path(__file__).parents[1] / ".pytest_cache" / f"numba-{PROCESS}"
    os.environ.setdefault("NUMBA_CACHE_DIR", str(cache))
    # The processes fill the cores. An environment variable would bind the tests' own threads and
    # commands, too, which choose for themselves.
    import torch

    torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a file in one process, and all tests that use Ray in the same one."""
    if not PROCESS:
        return
    groups = {item: _group(item) for item in items}
    for item, group in groups.items():
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: LONGEST.index(groups[item]) if groups[item] in LONGEST else 99)


def _group(item: pytest.Item) -> str:
    return "ray" if "ray_session" in getattr(item, "fixturenames", ()) else item.path.stem


@pytest.fixture(scope="session")
def ray_session():
    """A private cluster on this machine that offers eight cores, however many there are."""
    ray = pytest.importorskip("ray")
    # A short path: those of the sockets in it may not be longer than 107 bytes.
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp", ignore_cleanup_errors=True) as folder:
        environment = {"RAY_TMPDIR": folder, "RAY_USAGE_STATS_ENABLED": "0"}
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
