"""Learning word vectors, as ``alphazero supervised vectors`` does."""

from pathlib import Path

from rich.console import Console

from alphazero.supervised import texts, vectors


def learn(data: Path, file: Path, dimensions: int, seed: int) -> int:
    """Learn vectors from the unlabelled texts at ``data`` and write them; the exit status.

    ``file`` gets GloVe's text format, ``dimensions`` numbers per word. ``ValueError`` as for
    ``texts.unlabelled`` and ``vectors.pretrain``.
    """
    console = Console(stderr=True)
    with console.status(f"learning vectors of {dimensions} numbers: takes minutes"):
        learned = vectors.pretrain(texts.unlabelled(data), dimensions, seed)
        vectors.write(file, learned)
    print(f"{file} holds the vectors of {len(learned.words):,} words")
    return 0
