"""The events of ``cluster_faults``, each a function of a lab and of a number of repetitions.

An event yields one ``Result`` per repetition. Where a run survives it, all repetitions disturb the
same run; where it does not, each has a run of its own.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from cluster_runs import PATIENCE, Cluster, Run
from made_up_machines import PRIVATE, ROOT, Lab, Machine, wait_until

WATCHED = 30.0
"""Seconds after an event in which the longest pause of play is looked for."""
SEARCH = "search process"
OURS = ("ray::NodeActor", "ray::ReplayStore", "workers.node.child", "alphazero train")
"""Words in the command lines of a run's processes."""


class Result(NamedTuple):
    """The measurement of one event."""

    seconds: float
    games_lost: int
    """Games that had been stored before, and are missing or twice after."""
    line: str
    """The last line about it that the user reads."""


def lost(run: Run, before: list[int]) -> int:
    after = run.game_ids()
    return len(set(before) - set(after)) + len(after) - len(set(after))


def message(line: str) -> str:
    """A line of log.txt without its time and level."""
    words = line.partition(" WARNING ")[2] or line.partition(" ERROR ")[2] or line
    return words.partition(": ")[2]  # after the module that wrote it


def last_line(text: str) -> str:
    """The last line of what a command has printed that is not empty."""
    return ([line.strip() for line in text.splitlines() if line.strip()] or [""])[-1]


def playing(lab: Lab, *names: str, settings: str = "") -> tuple[Cluster, list[Machine], Run]:
    """A run on a cluster of so many machines, started on the first one; all of them play."""
    cluster = Cluster(lab)
    machines = [cluster.add(name) for name in names]
    run = Run(machines[0], lab.folder / "run", settings)
    run.until_nodes(len(machines))
    return cluster, machines, run


def disturb(run: Run, event: Callable[[], object], word: str = "") -> Result:
    """The pause of play after ``event``; waits until a line with ``word`` is in the log."""
    before, problems = run.game_ids(), len(run.problems())
    event()
    pause = run.longest_pause(WATCHED)
    if word:
        run.wait(lambda: any(word in line for line in run.problems()[problems:]), f"line: {word}")
    new = [line for line in run.problems()[problems:] if word in line]
    return Result(pause, lost(run, before), message(new[-1]) if new else "")


def power_cut(lab: Lab, repetitions: int) -> Iterator[Result]:
    """The power of a machine fails on which the driver does not run."""
    yield from with_another(lab, repetitions, Machine.cut, "lost")


def with_another(
    lab: Lab, repetitions: int, event: Callable[[Machine], object], word: str = ""
) -> Iterator[Result]:
    """``disturb`` a run of two machines by an event on the second one, each time a new machine."""
    cluster, (_, other), run = playing(lab, "one", "other")
    for number in range(repetitions):
        if number:
            other = cluster.add(f"other{number}")
            run.until_nodes(2)
        yield disturb(run, partial(event, other), word)
        other.cut()
        run.until_nodes(1)


def power_cut_driver(lab: Lab, repetitions: int) -> Iterator[Result]:
    """The power of the driver's machine fails; the run is continued on the other one."""
    cluster, (one, other), run = playing(lab, "one", "other")
    for number in range(repetitions):
        before = run.game_ids()
        one.cut()
        one, other = other, cluster.add(f"other{number}")
        run.start(one, "--resume")
        seconds = run.until_games()
        yield Result(seconds, lost(run, before), "")
        run.until_nodes(2)


def join(lab: Lab, repetitions: int) -> Iterator[Result]:
    """A machine joins: seconds from the end of `ray start` until it plays."""
    cluster, _, run = playing(lab, "one")
    for number in range(repetitions):
        before = run.game_ids()
        other = cluster.add(f"other{number}")
        seconds = run.until_nodes(2)
        yield Result(seconds, lost(run, before), "nodes 2")
        other.cut()
        run.until_nodes(1)


def head(lab: Lab, repetitions: int) -> Iterator[Result]:
    """gcs_server is killed: seconds until the command has ended; then another cluster continues."""
    cluster, machines, run = playing(lab, "one", "other")
    for _ in range(repetitions):
        before, began = run.game_ids(), time.monotonic()
        (server,) = cluster.head.find("gcs_server")
        os.kill(server, signal.SIGKILL)
        wait_until(run.ended, "end", PATIENCE)
        seconds, line = time.monotonic() - began, last_line(run.text())
        for machine in (cluster.head, *machines):
            machine.run("ray stop --force")
        cluster.start_head()
        for machine in machines:
            cluster.join(machine)
        run.start(machines[0], "--resume")
        run.until_games()
        yield Result(seconds, lost(run, before), line)
        run.until_nodes(2)


def driver(lab: Lab, repetitions: int) -> Iterator[Result]:
    """The command is killed: seconds until no process of the run is left on any machine."""
    _, machines, run = playing(lab, "one", "other")
    left = lambda: [pid for m in machines for word in OURS for pid in m.find(word)]  # noqa: E731
    for _ in range(repetitions):
        before = run.game_ids()
        assert len(left()) >= 2 * 3 + 2, "the processes of the run are not recognised"
        run.machine.kill(run.process)
        seconds = wait_until(lambda: not left(), "end of all processes", PATIENCE)
        run.start(machines[0], "--resume")
        run.until_games()
        yield Result(seconds, lost(run, before), "")
        run.until_nodes(2)


def empty_cluster(lab: Lab, repetitions: int) -> Iterator[Result]:
    """The run is on a head without cores, and no other machine is there; then one joins."""
    cluster = Cluster(lab)
    run = Run(cluster.head, lab.folder / "run")
    for number in range(repetitions):
        waits = lambda n=number: run.text().count("waiting for one to join") > n  # noqa: E731
        run.wait(waits, "line that it waits")
        (line,) = {line for line in run.text().splitlines() if "waiting for one to join" in line}
        before = run.game_ids()
        machine = cluster.add(f"other{number}")
        seconds = run.until_games()
        yield Result(seconds, lost(run, before), line)
        machine.cut()


def many_workers(lab: Lab, repetitions: int) -> Iterator[Result]:
    """32 search processes of a machine are killed at once."""
    _, (one,), run = playing(lab, "one", settings="selfplay.processes=32")
    for _ in range(repetitions):
        run.wait(lambda: run.metrics()[-1].get("players") == 32, "32 search processes")
        yield disturb(run, lambda: kill_all(search_processes(one)), "search process")


def search_processes(machine: Machine) -> list[int]:
    from workers.bench import processes

    pids = machine.find("workers.node.child")
    return [pid for pid in pids if processes.kind(pid) == SEARCH]


def kill_all(pids: list[int]) -> None:
    assert len(pids) == 32, f"{len(pids)} search processes instead of 32"
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def other_token(lab: Lab, repetitions: int) -> Iterator[Result]:
    """A stranger tries to join, and to train, with a token of its own; the run goes on."""
    _, _, run = playing(lab, "one")
    stranger = lab.add("stranger")
    words = (
        "ray start --address head:6379 --num-cpus 1",
        "alphazero train hex:size=4 --ray head:6379",
    )
    for _ in range(repetitions):
        answers = []
        attempt = lambda a=answers: a.extend(  # noqa: E731
            stranger.try_run(word, RAY_AUTH_TOKEN="f" * 64) for word in words
        )
        result = disturb(run, attempt)
        assert all(status for status, _ in answers), answers
        assert run.nodes() == 1
        yield result._replace(line=last_line(answers[1][1]))


def other_version(lab: Lab, repetitions: int) -> Iterator[Result]:
    """A machine joins whose program is another version."""
    cluster, _, run = playing(lab, "one")
    file = ROOT / "games/base.py"
    other_file = lab.folder / "base.py"
    other_file.write_text(f"{file.read_text()}# another version\n")
    for number in range(repetitions):
        other = lab.add(f"other{number}")
        other.run(f"mount --bind {other_file} {file}")
        yield disturb(run, lambda machine=other: cluster.join(machine), "left out")
        other.cut()


def missing_module(lab: Lab, repetitions: int) -> Iterator[Result]:
    """The game's module is on the driver's machine only: seconds until the command has ended."""
    cluster = Cluster(lab)
    one = cluster.add("one")
    one.run(f"cd {PRIVATE} && alphazero new my_game")
    cluster.add("other")
    for number in range(repetitions):
        output, began = lab.folder / f"own{number}.txt", time.monotonic()
        process = one.start(
            f"cd {PRIVATE} && exec alphazero train my_game:MyGame --ray head:6379 --run-dir own",
            output,
        )
        wait_until(lambda p=process: p.poll() is not None, "end", PATIENCE)
        one.run(f"rm -r {PRIVATE}/own")
        yield Result(time.monotonic() - began, 0, last_line(output.read_text()))


def slow_network(lab: Lab, repetitions: int) -> Iterator[Result]:
    """A machine joins whose packets are 20 ms late, in both directions."""
    cluster, _, run = playing(lab, "one")
    for number in range(repetitions):
        before = run.game_ids()
        other = cluster.add(f"slow{number}", delay=0.02)
        seconds = run.until_nodes(2)
        time.sleep(WATCHED)  # it stays
        assert run.nodes() == 2
        yield Result(seconds, lost(run, before), "nodes 2")
        other.cut()
        run.until_nodes(1)


def full_disk(lab: Lab, repetitions: int) -> Iterator[Result]:
    """The disk of a machine's temporary folder and its shared memory become full."""
    yield from with_another(lab, repetitions, fill)


def fill(machine: Machine) -> None:
    for folder in (PRIVATE, "/dev/shm"):
        machine.try_run(f"dd if=/dev/zero of={folder}/filler bs=64k; sync")


EVENTS: dict[str, Callable[[Lab, int], Iterator[Result]]] = {
    "power_cut": power_cut,
    "power_cut_driver": power_cut_driver,
    "join": join,
    "head": head,
    "driver": driver,
    "empty_cluster": empty_cluster,
    "many_workers": many_workers,
    "other_token": other_token,
    "other_version": other_version,
    "missing_module": missing_module,
    "slow_network": slow_network,
    "full_disk": full_disk,
}
"""The events by their names on the command line."""
