"""The trained agents that come with the package: a folder a game, as ``alphazero export`` wrote it.

Each is a released checkpoint (``checkpoint.release``) with its model card beside it.
"""

from pathlib import Path

FOLDER = Path(__file__).parent
CARD = "MODEL_CARD.md"
SIMULATIONS = 600
"""A move, where an agent plays against a human who asks for nothing else."""


def names() -> list[str]:
    """The games that have one."""
    return sorted(path.parent.name for path in FOLDER.glob(f"*/{CARD}"))


def find(game: str) -> Path:
    """The folder of the agent for ``game``, a game's own ``name``; ``ValueError``: it has none."""
    if game not in names():
        raise ValueError(
            f"no agent for {game} comes with this program, only for {' and '.join(names())}; "
            "checkpoint:path=runs/MY_RUN is one of yours"
        )
    return FOLDER / game


def card(game: str) -> str:
    """Its model card in Markdown: how it was trained, how strong it is. Errors as for ``find``."""
    return (find(game) / CARD).read_text(encoding="utf-8")
