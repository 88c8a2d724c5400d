"""The message for an optional package that is not installed."""


def missing(need: str, extra: str) -> str:
    """Return one line: what is needed, and how to install the ``extra`` that brings it.

    For example "serving needs FastAPI: run python -m pip install --editable '.[serve]' in the
    source folder".
    It names the source folder because the name ``alphazero`` on the package index belongs to
    another project.
    """
    return f"{need}: run python -m pip install --editable '.[{extra}]' in the source folder"
