"""Child processes of a node: what they write, and the tracebacks of their errors."""

import logging
import os
import signal
import threading
import time
from functools import partial

import node_doubles as doubles
import pytest
from node_doubles import wait_until
from test_node_fleet import CONFIG, PLAN, TIMEOUTS

from workers.node import child, tracebacks
from workers.node.child import Child, Failure
from workers.node.fleet import NodeFleet, task_of
from workers.node.node import Node
from workers.node.tracebacks import log_traceback, traceback_of


def write_much(sender):
    for number in range(30_000):
        os.write(1, b"a warning of a library, number %d, of many that are all alike\n" % number)
    sender.send("written")
    time.sleep(600)


def test_the_output_of_a_child_is_cut_to_its_end_and_goes_on_there():
    received = []
    started = Child(write_much, (), (), received.append)
    wait_until(lambda: received)
    size = lambda: os.fstat(started._errors.fileno()).st_size  # noqa: E731
    assert size() > child.MOST_OUTPUT
    started.trim()
    assert size() == child.KEPT_OUTPUT
    assert started._output().endswith(b"number 29999, of many that are all alike\n")
    started.trim()
    assert size() == child.KEPT_OUTPUT
    assert started.close() == "killed by SIGKILL"


def write_on_command(path, sender):
    os.write(1, b"x" * (child.MOST_OUTPUT + 1))
    sender.send("written")
    while not os.path.exists(path):
        time.sleep(0.01)
    os.write(2, b"the last line")
    os._exit(1)


def test_what_a_child_writes_after_a_cut_follows_it_without_a_gap(tmp_path):
    received, path = [], tmp_path / "go"
    started = Child(write_on_command, (str(path),), (), received.append)
    wait_until(lambda: received)
    started.trim()
    path.touch()
    wait_until(lambda: not started.is_alive)
    assert os.fstat(started._errors.fileno()).st_size == child.KEPT_OUTPUT + len("the last line")
    assert started.close().endswith("xxxthe last line")


def end_by(number, sender):
    os.kill(os.getpid(), number)


@pytest.mark.skipif(not hasattr(signal, "SIGRTMIN"), reason="needs real-time signals")
def test_a_signal_without_a_name_is_told_by_its_number():
    number = signal.SIGRTMIN + 1
    started = Child(end_by, (number,), (), lambda message: None)
    wait_until(lambda: not started.is_alive)
    assert started.close() == f"killed by signal {number}"


def raise_deeply(sender, depth=3):
    if depth:
        raise_deeply(sender, depth - 1)
    raise IndexError("list index\nout of range" + 2 * tracebacks.MOST_CHARACTERS * "!")


def test_an_error_of_a_child_comes_with_the_end_of_its_traceback():
    received = []
    started = Child(raise_deeply, (), (), received.append)
    wait_until(lambda: not started.is_alive)
    started.close()
    (failure,) = received
    assert isinstance(failure, Failure)
    assert failure.text.startswith("IndexError: list index out of range")
    assert len(failure.traceback) == tracebacks.MOST_CHARACTERS
    assert failure.traceback.endswith("!")


class Talkative:
    """Logs a warning while it is pickled."""

    def __reduce__(self):
        logging.getLogger("alphazero").warning("this is pickled")
        return str, ("the last message",)


def warn_often(path, sender):
    log = logging.getLogger("alphazero.nn")
    threads = [
        threading.Thread(target=log.warning, args=("without graphs:\nreason %d", number))
        for number in range(4)
        for _ in range(50)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.info("no warning")
    log.warning("%d things", "not a number of")
    sender.send(Talkative())
    for number in range(2 * child.MOST_WARNINGS):
        log.warning("another one: %d", number)
    log.error("the device has failed")
    os._exit(1)


def test_a_child_sends_each_different_warning_once_not_too_many_and_errors_still(tmp_path):
    received = []
    started = Child(warn_often, (str(tmp_path),), (), received.append)
    wait_until(lambda: not started.is_alive)
    assert started.close() == "the device has failed"
    texts = [message.text for message in received if isinstance(message, child.Warned)]
    assert sorted(texts[:4]) == [f"without graphs: reason {number}" for number in range(4)]
    assert texts[4:] == ["this is pickled", "the device has failed"]
    assert [message for message in received if isinstance(message, str)] == ["the last message"]


def test_a_warning_of_an_evaluator_is_reported_with_its_name_and_play_goes_on():
    reports = []
    node = Node(PLAN, task_of(CONFIG, PLAN, doubles.warning), iter(range(100)), TIMEOUTS,
                report=reports.append)  # fmt: skip
    node.publish(doubles.weights(0), 0)
    wait_until(lambda: node.take_games(1, 0.1))
    evaluators = node.pids("evaluator")
    node.close()
    text = "inference continues without graphs"
    assert len(evaluators) == PLAN.evaluators > 1
    assert len(reports) == 1
    assert reports[0] in {f"evaluator {number}: {text}" for number in range(PLAN.evaluators)}


def test_a_failure_outside_of_an_error_has_no_traceback():
    assert Failure("a line").traceback == ""
    assert traceback_of(None) == ""


def test_a_traceback_in_the_log_is_indented_and_has_no_control_characters(caplog):
    caplog.set_level(logging.INFO)
    log_traceback(logging.getLogger("workers"), "evaluator 0", "one\n\x1b[2Jtwo\n")
    log_traceback(logging.getLogger("workers"), "evaluator 1", "")
    assert caplog.messages == ["evaluator 0, traceback:\n    one\n    ?[2Jtwo"]


def test_the_traceback_of_an_evaluator_is_in_the_log_once_and_not_in_the_message(caplog, tmp_path):
    caplog.set_level(logging.INFO)
    fleet = NodeFleet(CONFIG, tmp_path, doubles.Uncounted(), doubles.broken, PLAN, TIMEOUTS)
    fleet.publish(doubles.weights(0), 0)
    messages = []
    for _ in range(2):
        try:
            wait_until(lambda: fleet.collect().games)
        except RuntimeError as error:
            messages.append(str(error))
    fleet.close()
    assert len(messages) == 2
    assert "\n" not in messages[0]
    (entry,) = [record for record in caplog.records if "traceback:" in record.message]
    assert entry.levelno == logging.INFO
    assert "in broken" in entry.message
    assert entry.message.endswith("no such device: cuda:7")


def test_a_process_that_ends_by_itself_leaves_what_it_has_written_in_the_report():
    reports = []
    task = task_of(CONFIG, PLAN, doubles.hashing)
    groups = partial(doubles.exiting_groups, "first\nsecond\nlast")
    task = task._replace(playing=task.playing._replace(make_groups=groups))
    node = Node(PLAN, task, iter(range(100)), TIMEOUTS, report=reports.append)
    node.publish(doubles.weights(0), 0)
    wait_until(lambda: node.failure)
    node.close()
    line, *more = reports[0].splitlines()
    assert line.endswith("ended: last")
    assert more[-3:] == ["first", "second", "last"]
    assert "\n" not in node.failure
    assert node.traceback.endswith("first\nsecond\nlast")
