"""The configurations in sealed folders, read without importing anything that they name."""

from typing import TypeVar

from alphazero import config_file
from alphazero.config import OBSOLETE
from alphazero.config_file import ConfigError
from alphazero.errors import one_line, reading
from alphazero.sealed import Sealed

T = TypeVar("T")


def read(folder: Sealed, name: str, kind: type[T]) -> T:
    """The ``kind`` in the file ``name``, which ``config_file.as_yaml`` wrote.

    ``ValueError``, one line, for any other text.
    """
    text, path = folder.text(name), folder.path / name
    with reading(path):
        try:
            return config_file.parse(kind, text, name, obsolete=OBSOLETE)
        except ConfigError as error:
            problem = one_line("; ".join(error.lines))
    raise ValueError(f"{path} does not fit this version: {problem}")
