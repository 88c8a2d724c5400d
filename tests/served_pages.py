"""Servers of the page for tests in browsers."""

from contextlib import contextmanager

import pytest
from made_up_models import running
from made_up_runs import make_run

from workers.web import app
from workers.web.offers import Target


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A server with a run of Connect Four: its address, its application and the run's folder."""
    run = tmp_path_factory.mktemp("runs") / "mine"
    make_run(run, lines=50)
    with serving(run.parent) as (address, application):
        yield address, application, run


@contextmanager
def serving(folder):
    """A server of a folder of runs, in which no request may fail: address and application."""
    lines = []
    application = app.build(Target(folder=folder), lines.append)
    with running(application, app.LIMITS) as address:
        yield "http://{}:{}/".format(*address), application
    application.state.page.engines.close()
    assert lines == []
