"""The trained agents that come with the package, in folders that ``alphazero export`` wrote.

Each folder is a released checkpoint (``checkpoint.release``) with a model card.
"""

from pathlib import Path

import games
from games.spec import closest, parse_options

FOLDER = Path(__file__).parent
CARD = "MODEL_CARD.md"
KOMI = "komi"
"""The parameter of a game that an agent's network need not have been trained with."""
SIMULATIONS = 600
"""Simulations per move of an agent that plays against a human, by default."""


FOLDERS = {
    "breakthrough:rows=8,columns=8": "breakthrough",
    "connect_four": "connect_four",
    "go:size=5,komi=24.0,history=16": "go_5x5",
    "go:size=7,komi=9.0,history=16": "go_7x7",
    "go:size=9,komi=7.0,history=16": "go_9x9",
    "gomoku:size=15,length=5,exact=false": "gomoku_15x15",
    "gomoku:size=9,length=5,exact=false": "gomoku_9x9",
    "hex:size=7,swap=false": "hex_7x7",
    "othello:size=8": "othello",
    "tic_tac_toe": "tic_tac_toe",
}
"""The folder of each agent by the ``name`` of its game; the folder's name stands for it, too."""


def names() -> list[str]:
    """The names of the games that have a bundled agent, sorted."""
    return sorted(FOLDERS)


def named(text: str) -> str | None:
    """The game of ``names`` that ``text`` means: in any spelling, or by the agent's folder."""
    own = next((game for game, folder in FOLDERS.items() if text == folder), None)
    try:
        made = games.make(text).name if related(text) else ""
    except ValueError:
        return own
    return made if made in FOLDERS else own


def related(game: str) -> list[str]:
    """Those ``names`` that are the game of the text ``game`` with any parameters."""
    return [name for name in names() if games.named(name)[0] == games.named(game)[0]]


def suggestion(text: str) -> str:
    """The end of a message about ``text``, which names no agent: the agents that come close.

    Where only the komi is another one, the commands in which the agent plays with any.
    """
    if others := related(text):
        try:
            made = games.make(text).name
        except ValueError as error:
            return str(error)
        if made in FOLDERS:
            return f"{made} is a name: give it as a text, not as a path"
        if name := fitting(made):
            return (
                f"the agent for {name} differs in the komi alone: name that game, or use "
                "`play`, `web`, `gtp` or `analyse`, which take any komi"
            )
        verb = "are" if len(others) > 1 else "is"
        *first, last = others
        listed = f"{', '.join(first)} and {last}" if first else last
        return f"for {games.named(text)[0]} there {verb} {listed}"
    if match := closest(text, [*FOLDERS.values(), *names()]):
        return f"did you mean {match!r}?"
    listed = ", ".join(FOLDERS.values())
    return f"the agents are {listed}; `alphazero agents list` has their games"


def find(game: str) -> Path:
    """The folder of the agent for ``game``, a game's ``name``; ``ValueError`` if there is none."""
    if game not in FOLDERS:
        raise ValueError(
            f"no agent for {game} comes with this program; {suggestion(game)}; "
            "checkpoint:path=runs/MY_RUN is one of yours"
        )
    return FOLDER / FOLDERS[game]


def fitting(game: str) -> str | None:
    """The game of ``names`` whose agent plays ``game``, a game's ``name``; None where none does.

    It is the same game, but for its komi: ``go:size=9,komi=7.0,history=16`` for
    ``go:size=9,komi=6.5,history=16``. Other parameters change the network's input, or the aim.
    """
    if game in FOLDERS:
        return game
    return next((name for name in related(game) if list(differences(name, game)) == [KOMI]), None)


def differences(one: str, other: str) -> dict[str, tuple[str, str]]:
    """The parameters in which two names of the same game differ, each with its two values.

    ``{"komi": ("24.0", "7.5")}`` for ``go:size=5,komi=24.0,history=16`` and
    ``go:size=5,komi=7.5,history=16``. A value that a name does not state is empty.
    """
    first, second = (
        {key: value or text for key, value, text in parse_options(games.named(name)[1], calls=True)}
        for name in (one, other)
    )
    values = {key: (first.get(key, ""), second.get(key, "")) for key in {**first, **second}}
    return {key: pair for key, pair in values.items() if pair[0] != pair[1]}


def card(game: str) -> str:
    """The model card in Markdown: training and strength of the agent. Errors as for ``find``.

    Without the metadata at its top, which are for programs.
    """
    from alphazero.agents import cards

    return cards.split((find(game) / CARD).read_text(encoding="utf-8"))[1]
