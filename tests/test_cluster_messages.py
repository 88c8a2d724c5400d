"""The messages of an actor: all are read once, and the memory that they take has a bound."""

from workers.cluster import messages
from workers.cluster.messages import MOST, Messages


def test_each_message_is_read_once():
    own, seen, before = Messages(), [], {}
    for number in range(10):
        for part in range(number):
            own.add(f"{number}.{part}")
        status = own.status()
        seen += messages.new(before, status)
        before = status
    assert seen == [f"{number}.{part}" for number in range(10) for part in range(number)]


def test_of_many_messages_the_last_ones_are_kept():
    own = Messages()
    own.add("first")
    before = own.status()
    for number in range(3 * MOST):
        own.add(str(number))
    assert messages.new(before, own.status()) == [str(n) for n in range(2 * MOST, 3 * MOST)]
    assert len(own.status()["reports"]) == MOST


def test_the_messages_of_an_actor_that_began_anew_are_read_from_its_start():
    old, young = Messages(), Messages()
    old.add("old")
    young.add("young")
    assert messages.new({}, young.status()) == ["young"]
    assert messages.new(old.status(), old.status()) == []
