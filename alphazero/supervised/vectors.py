"""Word vectors in GloVe's text format: reading, writing, and learning them with gensim.

There is one line per word: the word and its numbers, separated by single blanks (Pennington et al.
2014). The most frequent words are first. Files may be compressed, and may begin with the header of
word2vec's text format, the number of words and the number of numbers.
"""

import itertools
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from alphazero import unpacking
from alphazero.nn import extras
from alphazero.supervised.vocabulary import PADDING, SPECIAL, Vocabulary, tokenize

UNKNOWN_RANGE = 0.25
"""Vectors of words that a file lacks are uniform in [-0.25, 0.25] (Kim 2014, section 3.1)."""
LARGEST = float(np.finfo(np.float32).max)
"""Largest number that a file may have."""
EXAMINED = 5
"""Lines at the beginning that decide how many numbers a line should have."""

WINDOW, NEGATIVE, FEWEST = 5, 5, 5
"""Skip-gram: context words on each side, noise words per pair, occurrences a word needs."""


class WordVectors(NamedTuple):
    """Vectors of ``N`` words, the most frequent first."""

    words: tuple[str, ...]
    values: NDArray[np.float32]
    """``[N, D]``."""


def read(
    path: Path, vocabulary: Vocabulary, seed: int = 0, report: Callable[[str], object] = print
) -> NDArray[np.float32]:
    """Vectors ``[V, D]`` for the numbers of ``vocabulary``; padding's vector is 0.

    Words that are not in the file get random vectors, drawn with ``seed``. Of two lines for one
    word the first counts. ``report`` is called with the number of words in the file. ``ValueError``
    names file and line, as where a line has another number of numbers than most of the first ones,
    or says that the file has no word of the vocabulary, or fewer words than its header says.
    """
    rows = {word: row for row, word in enumerate(vocabulary.words, SPECIAL)}
    known: dict[int, NDArray[np.float32]] = {}
    for where, word, numbers in _lines(path):
        row = rows.get(word)
        if row is not None and row not in known:
            known[row] = _vector(where, numbers)
    if not known:
        raise ValueError(f"{path}: has none of the vocabulary's {len(rows):,} words")
    size = (len(vocabulary), len(next(iter(known.values()))))
    # All vectors are drawn, then those of the file put in their place: what a missing word gets
    # depends on the seed and the vocabulary, not on the other words of the file.
    rng = np.random.default_rng(seed)
    values = rng.uniform(-UNKNOWN_RANGE, UNKNOWN_RANGE, size).astype(np.float32)
    values[PADDING] = 0
    values[list(known)] = list(known.values())
    share = len(known) / len(rows)
    report(f"{path}: vectors of {len(known):,} of the {len(rows):,} words ({share:.0%})")
    return values


def words(path: Path) -> list[str]:
    """All words of the file, in its order. ``ValueError`` as for ``read``."""
    return [word for _, word, _ in _lines(path)]


def write(path: Path, vectors: WordVectors) -> None:
    """Write the file, with six significant digits per number.

    After a failure the file is as it was before. ``ValueError`` for a word with a blank.
    """
    for word in vectors.words:
        if word.split() != [word]:
            raise ValueError(f"{path}: {word!r} cannot be written: it is not one word")
    pattern = " ".join(["%s", *["%.6g"] * vectors.values.shape[1]]) + "\n"
    partial = path.with_name(f".saving-{path.name}")
    with partial.open("w", encoding="utf-8", newline="\n") as file:
        for word, row in zip(vectors.words, vectors.values.tolist(), strict=True):
            file.write(pattern % (word, *row))
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def pretrain(
    texts: Iterable[str], dimensions: int, seed: int, epochs: int = 5, workers: int = 1
) -> WordVectors:
    """Learn vectors ``[N, dimensions]`` from ``texts`` with gensim's Word2Vec.

    The method is skip-gram with negative sampling (Mikolov et al. 2013). Words that occur fewer
    than five times are left out. One worker gives the same vectors for the same texts and ``seed``;
    more workers are faster, and their results differ from call to call. ``ValueError`` where gensim
    is missing or no word is frequent enough.
    """
    try:
        from gensim.models import Word2Vec
    except ImportError:
        raise ValueError(
            extras.missing("learning word vectors needs gensim", "supervised")
        ) from None
    model = Word2Vec(
        vector_size=dimensions, sg=1, window=WINDOW, negative=NEGATIVE, min_count=FEWEST,
        epochs=epochs, seed=seed, workers=workers,
    )  # fmt: skip
    sentences = _tokenize_all(texts)
    model.build_vocab(sentences)
    if not len(model.wv):
        raise ValueError(f"no word occurs {FEWEST} times in the {len(sentences):,} texts")
    model.train(sentences, total_examples=model.corpus_count, epochs=epochs)
    return WordVectors(tuple(map(str, model.wv.index_to_key)), model.wv.vectors.astype(np.float32))


def _tokenize_all(texts: Iterable[str]) -> list[list[str]]:
    """The words of each text; a word that occurs often is one string in memory.

    With a string per occurrence IMDb's reviews would need more than 1 GB.
    """
    known: dict[str, str] = {}
    return [[known.setdefault(word, word) for word in tokenize(text)] for text in texts]


def _lines(path: Path) -> Iterator[tuple[str, str, list[str]]]:
    """For every line its place (``path:number``), its word, and its numbers as texts."""
    if unpacking.plain_name(path).endswith(".bin"):
        raise ValueError(f"{path}: should be word2vec's text format, its binary one is not read")
    lines = _decoded(path)
    first = list(itertools.islice(lines, EXAMINED))
    if not first:
        raise ValueError(f"{path} is empty")
    count, dimensions, first = _layout(path, first)
    words_read = 0
    for number, text in itertools.chain(first, lines):
        word, *numbers = text.rsplit(" ", dimensions)
        if not (word and numbers) or len(numbers) != dimensions or _ends_in_number(word):
            raise ValueError(
                f"{path}:{number}: a word and {text.count(' ')} numbers, should be "
                f"{dimensions or 'some'}, as in most of the first lines"
            )
        words_read += 1
        yield f"{path}:{number}", word, numbers
    if words_read < count:
        raise ValueError(f"{path}: cut off: {words_read:,} words, its first line says {count:,}")


def _layout(path: Path, first: list[tuple[int, str]]) -> tuple[int, int, list[tuple[int, str]]]:
    """From the first lines: how many words there are at least, how many numbers each has, and the
    lines without word2vec's header."""
    header = re.fullmatch(r"(\d+) (\d+)", first[0][1], re.ASCII)
    counts = Counter(_count_numbers(text) for _, text in first[1 if header else 0 :])
    usual = counts.most_common(1)[0][0] if counts else 0
    if not header or usual == 1 != int(header[2]):  # a word that is a number, and its one number
        return 0, usual, first
    if counts and usual != int(header[2]):
        raise ValueError(
            f"{path}:1: says {header[2]} numbers per word, the next lines have {usual}"
        )
    return int(header[1]), int(header[2]), first[1:]


def _decoded(path: Path) -> Iterator[tuple[int, str]]:
    for number, line in unpacking.read_lines(path):
        yield number, line.rstrip("\r\n\t ").replace("\t", " ")


def _count_numbers(text: str) -> int:
    """The numbers at the end of a line, the word before them left out."""
    return sum(1 for _ in itertools.takewhile(_is_number, reversed(text.split(" ")[1:])))


def _ends_in_number(word: str) -> bool:
    """Whether ``word``, the part of a line before its last D numbers, ends in another number.

    The line then has more than D numbers. A blank alone is no sign of that: GloVe's largest file
    has words such as "at name@domain.com".
    """
    rest, _, last = word.rpartition(" ")
    return bool(rest) and _is_number(last)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _vector(where: str, numbers: list[str]) -> NDArray[np.float32]:
    try:
        values = np.array([float(number) for number in numbers])
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    if not (np.abs(values) <= LARGEST).all():
        raise ValueError(f"{where}: a number is not finite or too large")
    return values.astype(np.float32)
