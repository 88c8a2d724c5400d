"""``alphazero agents``: trained agents, those of this program, of folders and of the hub."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workers.terminal.options import add_json, local_path

if TYPE_CHECKING:
    from rich.table import Table

HELP = "list, describe and fetch trained agents"
EPILOG = """\
examples:
  alphazero agents list
  alphazero agents info connect_four
  alphazero agents info hf://USER/AGENT
  alphazero agents get hf://USER/AGENT --to my_agent
  alphazero play connect_four --player checkpoint:path=my_agent

hf://USER/AGENT is a repository of the Hugging Face hub; behind @ a branch, a tag or a commit.
`alphazero export RUN --to hf://USER/AGENT` makes one"""


def add_options(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="the agents that come with this program")
    add_json(listing)
    listing.set_defaults(run_action=_list)
    info = actions.add_parser("info", help="the network, the training and the strength of one")
    info.add_argument("agent", metavar="AGENT", help="a game of the list, a folder, or hf://...")
    add_json(info)
    info.set_defaults(run_action=_info)
    get = actions.add_parser("get", help="copy or download one, and check its files")
    get.add_argument("agent", metavar="AGENT", help="a game of the list, or hf://USER/AGENT")
    get.add_argument(
        "--to", type=local_path, metavar="FOLDER", help="a new folder; default: the agent's name"
    )
    get.set_defaults(run_action=_get)


def run(options: argparse.Namespace) -> int:
    return options.run_action(options)


def _list(options: argparse.Namespace) -> int:
    from alphazero import agents
    from workers.runs import agent_files
    from workers.terminal import tables

    table = tables.make(None, "game", "MB", "training", "strength, by its card", justify="left")
    table.columns[0].no_wrap = True  # names are copied into commands
    rows = []
    for game in agents.names():
        facts = agent_files.facts(agents.find(game))
        rows.append({"name": game, **facts})
        first, *_ = [*_strength(facts), "not measured"]
        training = agent_files.training_words(facts["training"], ("minutes",))
        table.add_row(facts["game"], f"{facts['bytes'] / 1e6:.2f}", training, first)
    return tables.report(table, {"agents": rows}, options.json)


def _info(options: argparse.Namespace) -> int:
    from alphazero.judging import agent
    from workers.runs import agent_files
    from workers.terminal import tables

    facts = agent_files.facts(agent.find(os.path.expanduser(options.agent)))
    return tables.report(_table(options.agent, facts), facts, options.json)


def _table(name: str, facts: dict[str, Any]) -> "Table":
    """The facts of one agent, a row per fact."""
    from rich.markup import escape

    from workers.runs import agent_files
    from workers.terminal import tables

    shown = {
        "game": facts["game"],
        "network": f"{facts['network']}, {facts['parameters']:,} parameters",
        "weights": f"{facts['bytes'] / 1e6:.2f} MB, SHA-256 {facts['sha256']}",
        "training": agent_files.training_words(facts["training"]),
        "rules version": facts["rules_version"] or "not recorded",
        "strength, by its card": "\n".join(_strength(facts)) or "not measured",
    }
    table = tables.make(None, "agent", escape(name), justify="left")
    for key, text in shown.items():
        table.add_row(key, escape(text))
    return table


def _strength(facts: dict[str, Any]) -> list[str]:
    """The figures of a card in words."""
    from alphazero.agents.cards import Result

    return [str(Result(**result)) for result in facts["strength"]]


def _get(options: argparse.Namespace) -> int:
    from alphazero import hub, plain_files
    from alphazero.checkpoint import WEIGHTS
    from workers.runs import agent_files

    if hub.is_address(options.agent):
        folder = options.to or Path(hub.parse(options.agent).name)
        version = f", commit {hub.download(options.agent, folder)}"
    else:
        source = _bundled(options.agent)
        folder, version = options.to or Path(source.name), ""
        agent_files.copy(source, folder)
    size = plain_files.size(folder / WEIGHTS)
    digest = agent_files.digest_of_weights(folder)
    print(f"{folder} holds the agent ({size / 1e6:.2f} MB of weights{version})")
    print(f"every file has the SHA-256 of its manifest; that of the weights is {digest}")
    return 0


def _bundled(name: str) -> Path:
    """The folder of an agent of this program; ``ValueError``, one line, for another name."""
    from alphazero import agents
    from games.spec import shown

    if game := agents.named(name):
        return agents.find(game)
    hint = agents.suggestion(name)
    raise ValueError(f"no agent {shown(name)} comes with this program; {hint}")
