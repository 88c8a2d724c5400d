"""Vocabularies: splitting into words, the order of words, encoding, and the file format."""

import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphazero.supervised.vocabulary import Vocabulary, tokenize

TEXTS = st.lists(st.text(max_size=60), max_size=12)
WORDY = st.lists(st.text("aB'c d9_.’\n", max_size=40), max_size=12)


def naive_words(text: str) -> list[str]:
    """The rule for words, applied character by character."""
    text = text.lower().replace("’", "'")
    kinds = ["other", *map(_kind, text), "other"]
    for place, letter in enumerate(text, 1):
        if letter == "'" and kinds[place - 1] == kinds[place + 1] == "letter":
            kinds[place] = "letter"
    words, before = [], "other"
    for letter, kind in zip(text, kinds[1:-1], strict=True):
        if kind != "other":
            if kind == before:
                words[-1] += letter
            else:
                words.append(letter)
        before = kind
    return words


def _kind(letter: str) -> str:
    return "number" if letter.isdecimal() else "letter" if letter.isalnum() else "other"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It's NOT good, at all!", ["it's", "not", "good", "at", "all"]),
        ("don’t 'quote' rock'n'roll'", ["don't", "quote", "rock'n'roll"]),
        ("7/10 in 1999, B2B", ["7", "10", "in", "1999", "b", "2", "b"]),
        ("snake_case <br /> café", ["snake", "case", "br", "café"]),
        ("?! ... '' _", []),
    ],
)
def test_a_word_is_letters_with_apostrophes_inside_or_digits(text, words):
    assert tokenize(text) == words


@settings(deadline=None)
@given(st.one_of(st.text(), st.text("aB'c d9_.’²")))
def test_words_are_those_of_a_loop_over_the_characters(text):
    assert tokenize(text) == naive_words(text)


@settings(deadline=None)
@given(st.text())
def test_a_word_alone_is_that_word(text):
    for word in tokenize(text):
        assert tokenize(word) == [word]


def test_the_most_frequent_words_come_first_and_ties_by_alphabet():
    texts = ["b a c", "c d", "e a"]
    assert Vocabulary.build(texts, 10).words == ("a", "c", "b", "d", "e")
    assert Vocabulary.build(texts, 3).words == ("a", "c", "b")


@settings(deadline=None)
@given(st.one_of(TEXTS, WORDY), st.integers(1, 30))
def test_a_vocabulary_agrees_with_a_plain_count(texts, size):
    counts = Counter(word for text in texts for word in naive_words(text))
    expected = sorted(sorted(counts), key=counts.__getitem__, reverse=True)[:size]
    assert list(Vocabulary.build(texts, size).words) == expected


def test_words_with_vectors_follow_as_many_at_most_as_words_of_the_texts():
    more = ["the", "A", "new", "york city", "newer", "new", "newest", "."]
    assert Vocabulary.build(["a b"], 2, more).words == ("a", "b", "the", "new")
    assert Vocabulary.build(["the"], 5, more).words == ("the", "new", "newer", "newest")


def test_numbers_are_padding_unknown_and_then_the_words_in_order():
    vocabulary = Vocabulary(("good", "film"))
    assert len(vocabulary) == 4
    numbers = vocabulary.encode(["A good film.", "", "Film film film film!"], 3)
    assert numbers.dtype == np.int32
    np.testing.assert_array_equal(numbers, [[1, 2, 3], [0, 0, 0], [3, 3, 3]])


def test_a_text_that_is_too_long_keeps_its_last_words_and_a_short_one_is_padded_behind():
    vocabulary = Vocabulary(("a", "b", "c", "d"))
    np.testing.assert_array_equal(vocabulary.encode(["a b c d", "a"], 2), [[4, 5], [2, 0]])


@settings(deadline=None)
@given(st.one_of(TEXTS, WORDY), st.integers(1, 8), st.integers(1, 9))
def test_encoding_can_be_undone_but_for_what_is_unknown_or_cut_off(texts, size, length):
    vocabulary = Vocabulary.build(texts, size)
    names = ("", "?", *vocabulary.words)
    for text, row in zip(texts, vocabulary.encode(texts, length), strict=True):
        known = [word if word in vocabulary.words else "?" for word in naive_words(text)]
        expected = known[max(0, len(known) - length) :]
        assert [names[number] for number in row] == expected + [""] * (length - len(expected))


def test_no_texts_are_no_rows():
    assert Vocabulary(("a",)).encode([], 7).shape == (0, 7)


@settings(deadline=None)
@given(st.one_of(TEXTS, WORDY), st.integers(1, 50))
def test_a_vocabulary_survives_as_text(texts, size):
    vocabulary = Vocabulary.build(texts, size)
    assert Vocabulary.from_text(vocabulary.to_text()) == vocabulary


GOOD = Vocabulary(("good", "film", "isn't", "9")).to_text()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "should begin"),
        ("good\nfilm\n", "should begin"),
        (GOOD[:-1], "end with a line's end"),
        (GOOD[: GOOD.index("9")], "3 words below the line 'vocabulary 1: 4'"),
        (GOOD + "more\n", "5 words below"),
        (GOOD.replace(": 4", ": four"), "4 words below"),
        (GOOD.replace("film", "film noir"), "line 3: 'film noir' is not one word"),
        (GOOD.replace("film", "Film"), "line 3: 'Film' is not one word"),
        (GOOD.replace("film", ""), "line 3: '' is not one word"),
        (GOOD.replace("9", "good"), "line 5: 'good' is on line 2"),
        (GOOD.replace("\n", "\r\n"), "words below the line"),
    ],
)
def test_a_damaged_vocabulary_is_refused_in_one_line(text, said):
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        Vocabulary.from_text(text)
    assert "\n" not in str(caught.value)


@settings(deadline=None)
@given(st.one_of(st.text(), st.text("vocabulary 1:\nab")))
def test_any_text_that_is_read_is_one_that_would_be_written(text):
    try:
        said = Vocabulary.from_text(text).to_text()
    except ValueError as problem:
        said = str(problem)
    assert said == text or "\n" not in said
