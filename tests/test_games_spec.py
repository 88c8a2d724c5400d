"""Texts that are nearest to what was typed."""

from games.spec import nearest

MOVES = ["a1-b2", "a5-a6", "e1-c3", "e1-d2", "c3-e1", "/f1"]


def test_what_begins_as_the_text_comes_first_and_case_is_ignored():
    assert nearest("E1", MOVES, 3)[:2] == ["e1-c3", "e1-d2"]
    assert nearest("e1-d", MOVES, 1) == ["e1-d2"]


def test_then_what_has_most_characters_in_common():
    assert nearest("e2-c3", MOVES, 1) == ["e1-c3"]
    assert nearest("f1", MOVES, 1) == ["/f1"]


def test_there_are_at_most_so_many_and_none_of_none():
    assert len(nearest("", MOVES, 4)) == 4
    assert nearest("x", [], 4) == []
