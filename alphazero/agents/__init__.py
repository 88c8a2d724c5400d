"""The trained agents that come with the package: one folder per game, from ``alphazero export``.

Each folder is a released checkpoint (``checkpoint.release``) with a model card.
"""

from pathlib import Path

FOLDER = Path(__file__).parent
CARD = "MODEL_CARD.md"
SIMULATIONS = 600
"""Simulations per move of an agent that plays against a human, by default."""


def names() -> list[str]:
    """The names of the games that have a bundled agent, sorted."""
    return sorted(path.parent.name for path in FOLDER.glob(f"*/{CARD}"))


def find(game: str) -> Path:
    """The folder of the agent for ``game``, a game's ``name``; ``ValueError`` if there is none."""
    if game not in names():
        raise ValueError(
            f"no agent for {game} comes with this program, only for {' and '.join(names())}; "
            "checkpoint:path=runs/MY_RUN is one of yours"
        )
    return FOLDER / game


def card(game: str) -> str:
    """The model card in Markdown: training and strength of the agent. Errors as for ``find``."""
    return (find(game) / CARD).read_text(encoding="utf-8")
