"""Searches of many pages at once, a round of each in turn, in one thread per network.

A search is a generator that yields states to evaluate. The thread holds the generators of all open
pages: in each turn it evaluates the states of all of them as one batch and sends every generator
its part. Twenty pages so advance alike, and a page that closes its stream stops its search within
one round.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from alphazero.encoders import played_states
from alphazero.errors import reason
from alphazero.judging import lines
from alphazero.search.puct import PUCT
from alphazero.search.tree import Tree
from alphazero.search.variations import Edge, below, principal_variation
from alphazero.types import Evaluation, Evaluator, Limits, SearchSteps
from games.base import Game, States
from workers.engines.candidates import Watch
from workers.web import trees

LONGEST_SECONDS = 60.0
"""Seconds of one search, at most."""
MOST_SIMULATIONS = 200_000
MOST_BYTES = 2**26
"""The memory of a position's tree at which its search ends, also one for a move: 64 MiB."""
ALL_BYTES = 2**29
"""The same of all searches of one network together: with many of them each ends earlier."""
INTERVAL = 0.25
"""Seconds between two reports."""
BATCH = 512
"""Positions that are evaluated together, at most, unless one search alone yields more."""
LISTED = 400
"""Moves of a report, at most."""
FAINT = 0.005
"""A move without a visit is reported where its prior is at least so much."""
PLIES = 10
"""Moves of the principal variation, at most."""


@dataclass(frozen=True, slots=True)
class Analyst:
    """A search that can be watched, and the evaluator of its leaves."""

    search: PUCT
    """Without noise."""
    played: Game
    """The game whose states ``evaluate`` reads, see ``encoders.played_game``."""
    evaluate: Evaluator
    """Called by one thread at a time."""


class Wanted(NamedTuple):
    """The part of a search that a page wants to see."""

    simulations: int | None = None
    """After so many it ends; None: only by the bounds of this module."""
    plies: int = 0
    """So many plies of its tree are in each report; 0: none."""


Report = Callable[[dict[str, Any] | None], None]
"""Called by the thread of the searches with each report, and with None after the last one."""


@dataclass(eq=False, slots=True)
class Job:
    """The search of one position for one page."""

    steps: SearchSteps
    report: Report
    pending: States | None = None
    """States that wait for their evaluation; None before the first ones are yielded."""
    stopped: threading.Event = field(default_factory=threading.Event)
    """Set by the page's own thread, to end the search."""
    ended: bool = False

    def stop(self) -> None:
        """End the search with its current round; may be called more than once."""
        self.stopped.set()

    def end(self) -> None:
        """Close the search; the last call of ``report``."""
        if not self.ended:
            self.ended = True
            self.steps.close()
            self.report(None)


class Analyser:
    """The searches of one ``Analyst``; its thread lives while there are any."""

    def __init__(self, analyst: Analyst) -> None:
        self._analyst = analyst
        self._lock = threading.Lock()
        self._jobs: list[Job] = []
        self._thread: threading.Thread | None = None

    @property
    def busy(self) -> bool:
        """Whether there are searches."""
        with self._lock:
            return bool(self._jobs)

    def start(
        self, game: Game, states: States, line: Sequence[int], report: Report,
        wanted: Wanted,
    ) -> Job:  # fmt: skip
        """Search the unfinished position ``states [1]`` after ``line`` until the job is stopped.

        It also ends when its result is proven, and by the bounds of ``wanted`` and of this module.
        ``report`` receives what ``snapshot`` makes, every ``INTERVAL`` and at the end.
        """
        analyst = self._analyst
        stopped = threading.Event()

        def show(tree: Tree) -> None:
            report(snapshot(game, states, tree, wanted.plies))

        watch = Watch(stopped.is_set, show, INTERVAL)
        limits = Limits(
            min(wanted.simulations or MOST_SIMULATIONS, MOST_SIMULATIONS),
            LONGEST_SECONDS,
            lambda tree: watch(tree) or tree.used_bytes > self._room(),
        )
        root = played_states(analyst.played, states, [line])
        rngs, temperature = [np.random.default_rng(0)], np.zeros(1, np.float32)
        steps = analyst.search(analyst.played, root, rngs, temperature, limits)
        job = Job(_reporting(steps, show), report, stopped=stopped)
        with self._lock:
            self._jobs.append(job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="analysis", daemon=True)
                self._thread.start()
        return job

    def _room(self) -> int:
        """Bytes of the tree of each search, at most."""
        return min(MOST_BYTES, ALL_BYTES // max(1, len(self._jobs)))

    def _run(self) -> None:
        while jobs := self._open_jobs():
            self._turn(jobs)

    def _open_jobs(self) -> list[Job]:
        """The searches that go on; without any the thread ends."""
        with self._lock:
            for job in self._jobs:
                if job.stopped.is_set():
                    job.end()
            self._jobs = [job for job in self._jobs if not job.ended]
            if not self._jobs:
                self._thread = None
            return list(self._jobs)

    def _turn(self, jobs: list[Job]) -> None:
        """One evaluation for each search, in batches of at most ``BATCH``."""
        for job in jobs:
            if job.pending is None:
                _advance(job, None)
        batch: list[Job] = []
        for job in [job for job in jobs if not job.ended]:
            if batch and _positions(batch) + _positions([job]) > BATCH:
                self._evaluate(batch)
                batch = []
            batch.append(job)
        if batch:
            self._evaluate(batch)

    def _evaluate(self, jobs: list[Job]) -> None:
        states = np.concatenate([job.pending for job in jobs if job.pending is not None])
        try:
            logits, value, version = self._analyst.evaluate(states)
        except Exception as error:  # a game or a network of the user's own may raise anything
            for job in jobs:
                _fail(job, error)
            return
        start = 0
        for job in jobs:
            end = start + _positions([job])
            _advance(job, Evaluation(logits[start:end], value[start:end], version))
            start = end


def _positions(jobs: Sequence[Job]) -> int:
    return sum(len(job.pending) for job in jobs if job.pending is not None)


def _advance(job: Job, evaluation: Evaluation | None) -> None:
    """Send the search its evaluation, or begin it with None; at its end close it."""
    try:
        job.pending = next(job.steps) if evaluation is None else job.steps.send(evaluation)
    except StopIteration:
        job.end()
    except Exception as error:  # a game of the user's own may raise anything
        _fail(job, error)


def _fail(job: Job, error: Exception) -> None:
    job.report({"error": reason(error)})
    job.end()


def _reporting(steps: SearchSteps, show: Callable[[Tree], None]) -> SearchSteps:
    """The search ``steps``, whose last tree is shown, too."""
    result = yield from steps
    if result.tree is not None:
        show(result.tree)
    return result


def snapshot(game: Game, states: States, tree: Tree, plies: int = 0) -> dict[str, Any]:
    """The state of the search of ``states [1]``, as JSON has it.

    ``value`` is that of the best move for the player about to move, ``first`` the same for the
    player who began; ``moves`` are the best one, then the others by visits. Actions count from 1.
    ``tree``: see ``trees.branches``, where ``plies`` are wanted.
    """
    edges = below(tree, 0)
    priors = tree.prior[0]  # those of the edges are marked where a move is refuted
    shown = [e for e in edges if e.visits or priors[e.action] >= FAINT][:LISTED]
    line = [edge.action for edge in principal_variation(tree, 0)][:PLIES]
    best = edges[0]
    value = best.value if best.visits else float(tree.nodes["value"][0, 0])
    first = value if int(game.to_move(states)[0]) == 0 else -value
    return {
        "simulations": int(tree.nodes["visits"][0, 0]) - 1,
        "value": round(value, 4),
        "first": round(first, 4),
        "best": best.action + 1,
        "moves": [_move(edge, float(priors[edge.action])) for edge in shown],
        "variation": lines.notation(game, states, line),
        **({"tree": trees.branches(game, states, tree, plies)} if plies else {}),
    }


def _move(edge: Edge, prior: float) -> dict[str, Any]:
    proven = edge.lower == edge.upper
    return {
        "action": edge.action + 1,
        "visits": edge.visits,
        "value": round(edge.value, 4) if edge.visits else None,
        "prior": round(prior, 4),
        **({"proven": edge.lower} if proven else {}),
    }
