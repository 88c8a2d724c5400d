"""Answers of a fleet's actors: whether there is one in time, and their errors in one line."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from alphazero.errors import RunFailed
from workers.cluster.members import Member, Timeouts
from workers.cluster.node_actor import NodeLost
from workers.node.processes import is_stopped


def hanging(
    member: Member, now: float, timeouts: Timeouts, is_stopped: Callable[[Member], bool]
) -> str:
    """Why the member counts as one that hangs; empty where it does not.

    A process may be silent for long and healthy, because its machine has too much to do. So it is
    ended after seconds only where the system says that it is stopped, which no load explains.
    """
    silence, stuck = now - member.last_answer, now - member.last_advance
    if silence > (timeouts.ping if member.alive else timeouts.start):
        return f"{member.name} did not answer for {silence:.0f} s"
    if member.alive and silence > timeouts.stopped and is_stopped(member):
        return f"{member.name} is stopped: no answer for {silence:.0f} s"
    if member.running is not None and stuck > timeouts.start:
        return f"{member.name} has not advanced for {stuck:.0f} s"
    return ""


def process_stopped(here: str, member: Member) -> bool:
    """Whether the system reports the process of an actor as stopped.

    ``here``: the id of this machine; for another one False until a task there has answered.
    """
    node, pid = member.status.get("node"), member.pid
    if node == here and pid is not None:
        return is_stopped(pid)
    if node and member.pending_look is None:
        task: Any = ray.remote(num_cpus=0, max_retries=0)(is_stopped)
        there = NodeAffinitySchedulingStrategy(node, soft=False)
        member.pending_look = task.options(scheduling_strategy=there).remote(pid)
    if member.pending_look is None or not ready(member.pending_look):
        return False
    look, member.pending_look = member.pending_look, None
    with suppress(RayError):
        return bool(ray.get(look, timeout=1.0))
    return False


def ready(reference: Any) -> bool:
    """Whether the call has returned."""
    return bool(ray.wait([reference], timeout=0)[0])


def is_creation(error: RayError) -> bool:
    """Whether the constructor of an actor raised: it would do so again."""
    return "creation task" in str(error).partition("\n")[0]


def remedy(reason: str) -> str:
    """Words on how to mend a machine that lacks a module, such as a game of the user's own."""
    if "cannot be imported" not in reason and not reason.startswith("ModuleNotFoundError"):
        return ""
    return (
        "; install the module on every machine, or start the run with `ray job submit "
        "--working-dir FOLDER`"
    )


def cause(error: RayTaskError) -> Exception:
    """The error that code raised, in the process where it did; behind a node and its calls."""
    raised: Any = error
    while isinstance(raised, RayTaskError):
        raised = raised.cause
    return raised


def first_line(error: RayError) -> str:
    """The cause in one line; Ray's own messages are a page long."""
    if isinstance(error, RayTaskError):
        raised = cause(error)
        kind = "" if isinstance(raised, RunFailed) else f"{type(raised).__name__}: "
        return f"{kind}{raised}".splitlines()[0]
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return lines[-1] if "creation task" in lines[0] else lines[0]


def traceback_there(error: RayError) -> str:
    """The traceback of an error in the process where it was raised; empty where it has none.

    A process of a node hands its traceback on as a note of the node's error.
    """
    if not isinstance(error, RayTaskError):
        return str(error) if is_creation(error) else ""
    raised = cause(error)
    if isinstance(raised, RunFailed | NodeLost):  # sentences for people; where they arise is known
        return "\n".join(getattr(raised, "__notes__", ()))
    # An error of Ray that is also one of the cause's type has the cause's attributes only.
    return getattr(error, "traceback_str", "") or str(error)
