"""Word vectors in GloVe's text format: read, written, and learnt from texts by gensim.

A line a word: the word and its numbers, one blank between (Pennington et al. 2014). There is no
header line. Words come with the most frequent first.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from alphazero.nn import extras
from alphazero.supervised.vocabulary import PADDING, SPECIAL, Vocabulary, tokenize

UNKNOWN_RANGE = 0.25
"""Words that a file does not have get numbers up to this (Kim 2014, section 3.1)."""
LARGEST = float(np.finfo(np.float32).max)

WINDOW, NEGATIVE, FEWEST = 5, 5, 5
"""Words to each side, noise words a pair, and how often a word must occur."""


class WordVectors(NamedTuple):
    """Of ``N`` words."""

    words: tuple[str, ...]
    values: NDArray[np.float32]
    """``[N, D]``."""


def read(
    path: Path, vocabulary: Vocabulary, seed: int = 0, report: Callable[[str], object] = print
) -> NDArray[np.float32]:
    """``[V, D]``, a vector for each number of ``vocabulary``; padding's is 0.

    Those of words that ``path`` lacks are drawn from ``seed``.

    ``report`` hears how many words were found. Every line must have as many numbers as the first;
    of a word that stands there twice the first line counts. ``ValueError`` names file and line, or
    says that no word was found.
    """
    rows = {word: row for row, word in enumerate(vocabulary.words, SPECIAL)}
    found: dict[int, NDArray[np.float32]] = {}
    for where, word, numbers in _lines(path):
        row = rows.get(word)
        if row is not None and row not in found:
            found[row] = _vector(where, numbers)
    if not found:
        raise ValueError(f"{path}: has none of the vocabulary's {len(rows):,} words")
    size = (len(vocabulary), len(next(iter(found.values()))))
    rng = np.random.default_rng(seed)
    values = rng.uniform(-UNKNOWN_RANGE, UNKNOWN_RANGE, size).astype(np.float32)
    values[PADDING] = 0
    values[list(found)] = list(found.values())
    share = len(found) / len(rows)
    report(f"{path}: vectors of {len(found):,} of the {len(rows):,} words ({share:.0%})")
    return values


def words(path: Path) -> list[str]:
    """All words of the file, in its order. ``ValueError`` as for ``read``."""
    return [word for _, word, _ in _lines(path)]


def write(path: Path, vectors: WordVectors) -> None:
    """Six digits a number. The file is whole or, after a failure, what it was before."""
    for word in vectors.words:
        if word.split() != [word]:
            raise ValueError(f"{path}: {word!r} cannot be written: it is not one word")
    pattern = " ".join(["%s", *["%.6g"] * vectors.values.shape[1]]) + "\n"
    aside = path.with_name(f".saving-{path.name}")
    with aside.open("w", encoding="utf-8", newline="\n") as file:
        for word, row in zip(vectors.words, vectors.values.tolist(), strict=True):
            file.write(pattern % (word, *row))
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def pretrain(
    texts: Iterable[str], dimensions: int, seed: int, epochs: int = 5, workers: int = 1
) -> WordVectors:
    """Learn vectors from ``texts``: skip-gram with negative sampling (Mikolov et al. 2013).

    By gensim's Word2Vec, of words that occur five times or more. The same texts and ``seed`` give
    the same vectors with one worker; more are faster and give others each time. ``ValueError``
    where gensim is missing or no word is frequent enough.
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
    sentences = _tokenized(texts)
    model.build_vocab(sentences)
    if not len(model.wv):
        raise ValueError(f"no word occurs {FEWEST} times in the {len(sentences):,} texts")
    model.train(sentences, total_examples=model.corpus_count, epochs=epochs)
    return WordVectors(tuple(map(str, model.wv.index_to_key)), model.wv.vectors.astype(np.float32))


def _tokenized(texts: Iterable[str]) -> list[list[str]]:
    """Each word is kept once, however often it occurs: IMDb's would not fit into 1 GB else."""
    known: dict[str, str] = {}
    return [[known.setdefault(word, word) for word in tokenize(text)] for text in texts]


def _lines(path: Path) -> Iterator[tuple[str, str, list[str]]]:
    """Where each line stands, its word, and its numbers as they are written."""
    dimensions = 0
    with path.open("rb") as file:
        for number, content in enumerate(file, 1):
            where = f"{path}:{number}"
            try:
                text = content.decode().rstrip("\r\n ")
            except UnicodeDecodeError as error:
                raise ValueError(f"{where}: not UTF-8: {error.reason}") from None
            dimensions = dimensions or text.count(" ")
            word, *numbers = text.rsplit(" ", dimensions)
            if not (word and numbers) or len(numbers) != dimensions or _ends_in_number(word):
                raise ValueError(
                    f"{where}: a word and {text.count(' ')} numbers, should be "
                    f"{dimensions or 'some'}, as in the first line; GloVe's format has no header"
                )
            yield where, word, numbers


def _ends_in_number(word: str) -> bool:
    """Whether ``word``, all before a line's last D numbers, has one number more.

    Words with blanks are no fault: GloVe's largest file has some.
    """
    last = word.rpartition(" ")
    try:
        float(last[2])
    except ValueError:
        return False
    return bool(last[0])


def _vector(where: str, numbers: list[str]) -> NDArray[np.float32]:
    try:
        values = np.array([float(number) for number in numbers])
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    if not (np.abs(values) <= LARGEST).all():
        raise ValueError(f"{where}: a number is not finite or too large")
    return values.astype(np.float32)
