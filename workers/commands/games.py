"""``alphazero games``: the registered games."""

import argparse

HELP = "registered games and their parameters"
EPILOG = "parameters follow the name: alphazero play othello:size=6"


def add_options(parser: argparse.ArgumentParser) -> None:
    """No options of its own."""


def run(options: argparse.Namespace) -> int:
    import games
    from workers.terminal import tables

    table = tables.make(None, "game", "parameters", "description", justify="left")
    for name, entry in games.registered().items():
        parameters = ", ".join(f"{key}={value}" for key, value in entry.parameters.items())
        table.add_row(name, parameters, entry.description)
    return tables.report(table)
