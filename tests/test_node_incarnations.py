"""The numbers of the lives of search processes, from which the ids of games begin."""

import pytest

from workers.node import incarnations
from workers.node.incarnations import Incarnations


def test_no_incarnation_number_is_drawn_twice_in_any_session(tmp_path):
    first = Incarnations(tmp_path / "number")
    drawn = [first.draw() for _ in range(2)] + [first.draw(10)]
    again = Incarnations(tmp_path / "number")
    assert [*drawn, next(again)] == [1, 2, 3, 13]


@pytest.mark.parametrize("text", ["", "seven", "0", "-1", "1.5", str(2**40), "9" * 5000, "\u0663"])
def test_a_file_without_an_incarnation_number_is_named(text, tmp_path):
    path = tmp_path / "worker_incarnation"
    path.write_text(text)
    with pytest.raises(ValueError, match="worker_incarnation should be a whole number from 1 to"):
        Incarnations(path)


@pytest.mark.parametrize("number", ["7", 2**40, 0, None, 1.0])
def test_a_state_without_an_incarnation_number_is_refused(number, tmp_path):
    with pytest.raises(ValueError, match="incarnation should be a whole number"):
        Incarnations(tmp_path / "number").restore({"incarnation": number})


def test_a_number_is_durable_before_it_is_used(tmp_path, monkeypatch):
    path, synced = tmp_path / "number", []
    monkeypatch.setattr(
        incarnations, "sync_folder", lambda folder: synced.append((folder, path.read_text()))
    )
    assert Incarnations(path).draw() == 1
    assert synced == [(tmp_path, "2")]
