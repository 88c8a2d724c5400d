"""What several test files share: one Ray session a test run, started by the first that needs it."""

import logging
import os
import tempfile

import pytest


@pytest.fixture(scope="session")
def ray_session():
    """A private cluster of this machine, of eight pretended cores, whatever it really has."""
    ray = pytest.importorskip("ray")
    # A short path: the sockets in it may not be longer than 107 bytes.
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
