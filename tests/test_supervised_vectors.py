"""Word vectors: GloVe's text format, checked against gensim's reader, and learning with gensim."""

import bz2
import gzip
import lzma
import re
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from alphazero.supervised import vectors
from alphazero.supervised.vectors import WordVectors
from alphazero.supervised.vocabulary import Vocabulary

GLOVE = Path(__file__).parents[2] / "shared" / "data" / "glove" / "glove.50d.8453.txt"
FILE = "the 0.5 -1 2e-1\nfilm 1 2 3\ngood -0.25 0 4\n"
VOCABULARY = Vocabulary(("film", "superb", "the"))


def quiet(line: str) -> None:
    pass


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "vectors.txt"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_words_of_the_file_get_its_vectors_and_the_others_small_ones(tmp_path):
    lines: list[str] = []
    path = write(tmp_path, FILE)
    values = vectors.read(path, VOCABULARY, report=lines.append)
    assert values.dtype == np.float32
    assert values.shape == (5, 3)
    np.testing.assert_allclose(values[2], [1, 2, 3])
    np.testing.assert_allclose(values[4], [0.5, -1, 0.2])
    assert not values[0].any()
    for row in (1, 3):
        assert 0 < np.abs(values[row]).max() <= 0.25
    assert lines == [f"{path}: vectors of 2 of the 3 words (67%)"]


def test_missing_vectors_depend_on_the_seed_and_nothing_else(tmp_path):
    path = write(tmp_path, FILE)
    one, same = (vectors.read(path, VOCABULARY, 1, quiet) for _ in range(2))
    other = vectors.read(path, VOCABULARY, 2, quiet)
    np.testing.assert_array_equal(one, same)
    assert (one[3] != other[3]).all()
    np.testing.assert_array_equal(one[2], other[2])
    fuller = vectors.read(write(tmp_path, FILE + "other 1 1 1\n"), VOCABULARY, 1, quiet)
    np.testing.assert_array_equal(one, fuller)


def test_words_are_listed_in_the_order_of_the_file(tmp_path):
    assert vectors.words(write(tmp_path, FILE)) == ["the", "film", "good"]


def test_the_first_of_two_lines_counts(tmp_path):
    path = write(tmp_path, FILE + "film 7 7 7\n")
    np.testing.assert_allclose(vectors.read(path, VOCABULARY, 0, quiet)[2], [1, 2, 3])


def test_words_with_blanks_and_numbers_as_words_are_accepted(tmp_path):
    path = write(tmp_path, FILE + ". . . 1 2 3\nat name@domain.com 1 2 3\n1999 4 5 6\n")
    assert vectors.words(path)[3:] == [". . .", "at name@domain.com", "1999"]


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (FILE + "bad 1 2\n", 4, "a word and 2 numbers, should be 3, as in most of the first"),
        (FILE + "bad 1 2 3 4\n", 4, "a word and 4 numbers, should be 3"),
        (FILE + "\n", 4, "a word and 0 numbers, should be 3"),
        (FILE + " 1 2 3\n", 4, "a word and 3 numbers"),
        ("3 50\n" + FILE, 1, "says 50 numbers per word, the next lines have 3"),
        ("bad 1\n" + FILE, 1, "a word and 1 numbers, should be 3"),
        ("bad 1 2 3 4\n" + FILE, 1, "a word and 4 numbers, should be 3"),
        ("film\n", 1, "a word and 0 numbers, should be some"),
        (FILE + "superb 1 two 3\n", 4, "could not convert string to float: 'two'"),
        (FILE + "superb 1 nan 3\n", 4, "a number is not finite"),
        (FILE + "superb 1 1e39 3\n", 4, "a number is not finite or too large"),
        (FILE.encode() + b"caf\xe9 1 2 3\n", 4, "not UTF-8"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, text, line, said):
    path = write(tmp_path, text)
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        vectors.read(path, VOCABULARY, 0, quiet)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("9 2\n", "cut off: 0 words"),
        ("other 1 2\n", "none of the vocabulary's 3"),
    ],
)
def test_a_file_without_any_of_the_words_is_refused(tmp_path, text, said):
    path = write(tmp_path, text)
    with pytest.raises(ValueError, match=said):
        vectors.read(path, VOCABULARY, 0, quiet)


PACK = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress}


@pytest.mark.parametrize("ending", PACK)
@pytest.mark.parametrize("start", ["", "3 3\n", "\ufeff", "\ufeff3 3\n"])
def test_the_first_word_is_read_behind_a_header_or_a_byte_order_mark(tmp_path, ending, start):
    path = tmp_path / f"vectors.txt{ending}"
    path.write_bytes(PACK[ending]((start + FILE).encode()))
    assert vectors.words(path) == ["the", "film", "good"]
    np.testing.assert_allclose(vectors.read(path, VOCABULARY, 0, quiet)[4], [0.5, -1, 0.2])


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_word2vec_file_of_gensim_is_read_as_gensim_reads_it(tmp_path, size):
    models = pytest.importorskip("gensim.models")
    made = models.KeyedVectors(size)
    names, values = ["12", "film", "9"], np.random.default_rng(0).normal(size=(3, size))
    made.add_vectors(names, values.astype(np.float32))
    path = tmp_path / "vectors.txt.gz"
    made.save_word2vec_format(str(path), binary=False)
    assert vectors.words(path) == names
    read = vectors.read(path, VOCABULARY, 0, quiet)
    np.testing.assert_allclose(read[2], made["film"], rtol=1e-5)


def test_word2vecs_binary_format_is_named(tmp_path):
    path = tmp_path / "GoogleNews-vectors-negative300.bin.gz"
    path.write_bytes(gzip.compress(b"1 1\nfilm \x00\x00\x80\x3f\n"))
    with pytest.raises(ValueError, match="text format, its binary one is not read"):
        vectors.words(path)


def test_words_that_are_numbers_are_no_header(tmp_path):
    assert vectors.words(write(tmp_path, "1999 4\nfilm 1\ngood 2\n")) == ["1999", "film", "good"]


def test_a_file_cut_off_between_two_lines_is_found_by_its_header(tmp_path):
    path = write(tmp_path, "4 3\n" + FILE)
    with pytest.raises(ValueError, match="cut off: 3 words, its first line says 4"):
        vectors.words(path)


def test_a_file_of_a_zip_is_named_like_one_of_a_folder(tmp_path):
    path = tmp_path / "glove.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("glove.3d.txt", FILE)
    assert vectors.words(path) == ["the", "film", "good"]
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("glove.2d.txt", "a 1 2\n")
    assert vectors.words(path / "glove.2d.txt") == ["a"]
    for wrong, said in (
        (path, f"holds 2 files, glove.3d.txt, glove.2d.txt: name one, as in {path}/glove.3d.txt"),
        (path / "glove.txt", "no such file in the archive, which has glove.3d.txt, glove.2d.txt"),
    ):
        with pytest.raises(ValueError, match=re.escape(said)) as caught:
            vectors.words(wrong)
        assert "\n" not in str(caught.value)


@settings(deadline=None)
@given(
    arrays.arrays(
        np.float32,
        arrays.array_shapes(min_dims=2, max_dims=2, max_side=6),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    )
)
def test_written_vectors_are_read_back_to_six_digits(tmp_path_factory, values):
    names = tuple("abcdef"[: len(values)])
    path = tmp_path_factory.mktemp("vectors") / "vectors.txt"
    vectors.write(path, WordVectors(names, values))
    read = vectors.read(path, Vocabulary(names), 0, quiet)
    np.testing.assert_allclose(read[2:], values, rtol=1e-5, atol=1e-44)
    assert [file.name for file in path.parent.iterdir()] == ["vectors.txt"]


# Gensim leaves a file without a header open.
left_open = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@left_open
def test_gensim_reads_written_vectors(tmp_path):
    models = pytest.importorskip("gensim.models")
    values = np.random.default_rng(0).normal(size=(4, 7)).astype(np.float32)
    path = tmp_path / "vectors.txt"
    vectors.write(path, WordVectors(("don't", "caf\u00e9", "7", "film"), values))
    read = models.KeyedVectors.load_word2vec_format(path, binary=False, no_header=True)
    assert read.index_to_key == ["don't", "caf\u00e9", "7", "film"]
    np.testing.assert_allclose(read.vectors, values, rtol=1e-5)


def test_a_word_with_a_blank_is_not_written_and_the_old_file_stays(tmp_path):
    path = write(tmp_path, FILE)
    with pytest.raises(ValueError, match="'two words' cannot be written"):
        vectors.write(path, WordVectors(("one", "two words"), np.zeros((2, 3), np.float32)))
    assert path.read_text() == FILE
    assert list(tmp_path.iterdir()) == [path]


@left_open
def test_gloves_own_file_is_read_as_gensim_reads_it():
    models = pytest.importorskip("gensim.models")
    if not GLOVE.exists():
        pytest.skip(f"needs {GLOVE}")
    every = models.KeyedVectors.load_word2vec_format(GLOVE, binary=False, no_header=True)
    names = vectors.words(GLOVE)
    assert names == every.index_to_key
    assert names[0] == "the"
    vocabulary = Vocabulary(("day", "good", "notaword"))
    values = vectors.read(GLOVE, vocabulary, 0, quiet)
    np.testing.assert_array_equal(values[2:4], every[["day", "good"]])


def texts(count: int) -> list[str]:
    """Sentences in which cats and dogs, and Monday and Friday, have the same neighbours."""
    rng = np.random.default_rng(0)
    kinds = (
        (("cat", "dog"), ("eats", "sleeps", "barks"), ("meat", "bones", "fish")),
        (("monday", "friday"), ("brings", "means", "was"), ("work", "rain", "trouble")),
    )
    chosen = rng.integers(2, size=count)
    return [" ".join(rng.choice(words) for words in kinds[kind]) for kind in chosen]


def test_words_among_the_same_neighbours_get_similar_vectors():
    pytest.importorskip("gensim")
    learned = vectors.pretrain(texts(1500), dimensions=8, seed=1, epochs=40)
    assert learned.values.shape == (len(learned.words), 8)
    assert learned.values.dtype == np.float32
    rows = dict(zip(learned.words, learned.values / np.linalg.norm(learned.values, axis=1)[:, None],
                    strict=True))  # fmt: skip
    assert rows["cat"] @ rows["dog"] > rows["cat"] @ rows["monday"] + 0.2
    assert rows["friday"] @ rows["monday"] > rows["friday"] @ rows["dog"] + 0.2


def test_the_same_texts_and_seed_give_the_same_vectors():
    pytest.importorskip("gensim")
    learned, again, other = (
        vectors.pretrain(iter(texts(300)), dimensions=5, seed=seed) for seed in (1, 1, 2)
    )
    assert learned.words == again.words == other.words
    np.testing.assert_array_equal(learned.values, again.values)
    assert not np.allclose(learned.values, other.values)


def test_learned_words_are_ordered_by_frequency_and_rare_ones_are_left_out():
    pytest.importorskip("gensim")
    learned = vectors.pretrain(["Rare word, word! word"] * 4 + ["word it it"] * 5, 3, seed=0)
    assert learned.words == ("word", "it")


def test_a_missing_gensim_is_reported_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "gensim.models", None)
    with pytest.raises(ValueError, match=r"needs gensim: run .* --editable '\.\[supervised\]'"):
        vectors.pretrain(texts(9), 3, seed=0)


def test_too_few_texts_are_refused():
    pytest.importorskip("gensim")
    with pytest.raises(ValueError, match="no word occurs 5 times in the 2 texts"):
        vectors.pretrain(["one two", "three"], 3, seed=0)
