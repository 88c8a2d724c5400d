"""The command line: one handler a command.

A handler checks its arguments, calls one function of another module and prints what it returns.
Modules that take seconds to import are imported by the handler that needs them, so that a mistake
on the command line is answered at once.
"""

import argparse
import json
import os
import sys
import time
import traceback
from collections.abc import Container, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table

from alphazero.types import RunFailed
from workers.commands.arguments import build_parser
from workers.runs import run_directory
from workers.terminal import progress

if TYPE_CHECKING:
    from games.base import Game

HIDDEN = ("counted",)
"""Figures of a benchmark that only its JSON shows."""
BAD_INPUT, INTERRUPTED, BROKEN_PIPE = 2, 130, 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the process's exit status: 0, 1 (failed), 2 (bad input) or 130 (Ctrl-C)."""
    # As `python -m` would: a user's own game lies in the folder that the command is given in.
    sys.path.append(os.getcwd())
    parser = build_parser()
    options, rest = parser.parse_known_args(arguments)
    unknown = [word for word in rest if word.startswith("-") or not hasattr(options, "overrides")]
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    if rest:  # argparse stops collecting key=value words at the first option between them
        options.overrides += rest
    if options.command != "games":
        from workers.terminal import compilation

        compilation.announce()
    try:
        status = HANDLERS[options.command](options)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # Whoever read us is gone; without this Python would complain once more while it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except KeyboardInterrupt:
        print("\nalphazero: stopped", file=sys.stderr)
        return INTERRUPTED
    except (ValueError, OSError, RunFailed) as error:
        if os.environ.get("ALPHAZERO_TRACEBACK"):
            traceback.print_exc()
        for line in str(error).splitlines() or [type(error).__name__]:
            print(f"alphazero: error: {line}", file=sys.stderr)
        return BAD_INPUT if isinstance(error, ValueError) else 1


def _train(options: argparse.Namespace) -> int:
    from alphazero import config
    from workers.runs import monitoring

    settings = config.load(options.config, options.overrides)
    monitoring.check(settings)
    run_dir = run_directory.directory(Path(options.config).stem, options.run_dir, options.resume)
    if options.ray is not None:
        config.check_ray(options.ray)
    from workers.runs import train

    return train.main(
        settings, run_dir, options.resume, options.ray or settings.ray, options.time_limit
    )


def _play(options: argparse.Namespace) -> int:
    import games
    from alphazero import agents
    from alphazero.judging import players, terminal

    game, console = games.make(options.game), Console()
    if options.about:
        if options.player or options.hints or options.second:
            raise ValueError("--about only shows the agent that comes with GAME: give it alone")
        from rich.markdown import Markdown

        console.print(Markdown(agents.card(game.name)))
        return 0
    spec = options.player or players.default(game)
    if not (options.player or game.name in agents.names()):
        print(f"No agent for {game.name} comes with this program: {spec} plays in its stead.")
    player = players.make(spec, game, leaves="auto")
    settings = terminal.PlaySettings(
        begin=not options.second, hints=options.hints, seed=int(time.time())
    )
    terminal.play(game, player, settings, terminal.terminal_read, console)
    return 0


def _arena(options: argparse.Namespace) -> int:
    import games
    from alphazero.judging import arena, players

    game = games.make(options.game)
    entrants = [players.make(spec, game) for spec in options.players]
    screen = Console(stderr=True)
    for player in entrants:
        if player.inference:
            text = f"{player.name}: {player.inference}"
            screen.print(text, markup=False, highlight=False, soft_wrap=True)
    with progress.games() as report:
        result = arena.play(
            game, entrants, options.games, options.seed, options.opening_plies, report,
            swap=not options.fixed_seats,
        ).as_dict()  # fmt: skip
    table = Table(title=f"{result['game']}, {result['games']} games")
    _columns(table, "player", "wins", "draws", "losses", "score", "Elo", "95 %")
    for each in result["players"]:
        interval = f"{_signed(each['elo_low'])} to {_signed(each['elo_high'])}"
        counts = [str(each[key]) for key in ("wins", "draws", "losses")]
        table.add_row(each["name"], *counts, f"{each['score']:.1%}", _signed(each["elo"]), interval)
    return _report(table, result, options.json)


def _ladder(options: argparse.Namespace) -> int:
    from workers.commands import ladder

    return _report(*ladder.run(options), options.json)


def _evaluate(options: argparse.Namespace) -> int:
    import games
    from alphazero.judging import mistakes, players

    game = games.make(options.game)
    if options.suite:
        return _evaluate_suite(options, game)
    if len(options.players) != 1:
        raise ValueError("--player: one at a time, except with --suite")
    player = players.make(options.players[0], game)
    positions = mistakes.positions_from(options.positions, game)
    result = mistakes.evaluate(player, positions, game, options.seed)
    table = Table(title=f"{player.name} in {result['positions']:,} positions of {game.name}")
    _columns(table, "mistakes", "rate", "95 %", "optimal moves", "simulations")
    table.add_row(
        str(result["mistakes"]),
        f"{result['mistake_rate']:.2%}",
        f"{result['low']:.2%} to {result['high']:.2%}",
        f"{result['optimal_rate']:.2%}",
        str(result["simulations"]),
    )
    return _report(table, result, options.json)


def _evaluate_suite(options: argparse.Namespace, game: "Game") -> int:
    from alphazero.judging import mistakes, players

    sets = mistakes.load_suite(game)
    specs = [each for spec in options.players for each in mistakes.suite_players(spec)]
    total = sum(len(positions.states) for positions in sets.values())
    results = []
    with progress.bars() as report:
        for spec in specs:
            report(spec, total, 0)
        for player in [players.make(spec, game) for spec in specs]:
            counts = progress.added(partial(report, player.name, total))
            reports = {
                name: mistakes.evaluate(player, positions, game, options.seed, counts)
                for name, positions in sets.items()
            }
            each = {"name": player.name, "simulations": player.simulations, "sets": reports}
            results.append(each)
    table = Table(title=f"mistakes in {total:,} solved positions of {game.name}, 95 % interval")
    _columns(table, "set", *(escape(each["name"]) for each in results))
    for name in sets:
        row = [each["sets"][name] for each in results]
        cells = [f"{r['mistake_rate']:.1%} ({r['low']:.1%} to {r['high']:.1%})" for r in row]
        table.add_row(name, *cells)
    return _report(table, {"game": game.name, "players": results}, options.json)


def _solve(options: argparse.Namespace) -> int:
    import games

    game = games.make(options.game)
    files = options.positions, options.out
    given = sum(map(bool, (options.moves, any(files), options.suite)))
    if given > 1 or any(files) != all(files):
        raise ValueError("give MOVES, or --positions with --out, or --suite")
    if options.seed is not None and not options.suite:
        raise ValueError("--seed: only --suite draws positions")
    if not (any(files) or options.suite):
        return _solve_one(options, game)
    from workers.commands import solve

    with progress.bars() as report:
        if options.positions:
            solve.label(game, options.positions, options.out, report)
        if options.suite:
            solve.make_suite(game, options.suite, options.seed or 0, report)
    return 0


def _solve_one(options: argparse.Namespace, game: "Game") -> int:
    import numpy as np

    from games import solvers

    states = solvers.unfinished(game, [" ".join(options.moves)])
    with Console(stderr=True).status("solving; positions of few moves take minutes"):
        best, scores = (answer[0] for answer in solvers.scores(game, states))
    verdict = f"score {_signed(best)}: {_result(best)} for the player about to move"
    Console().print(f"{game.render(states[0])}\n{verdict}", markup=False, highlight=False)
    table = Table()
    _columns(table, "move", "score", "result")
    for action in np.flatnonzero(~np.isnan(scores)):
        style = "bold" if scores[action] == best else None
        row = game.action_to_text(int(action)), _signed(scores[action]), _result(scores[action])
        table.add_row(*row, style=style)
    return _report(table, {}, None)


def _games(options: argparse.Namespace) -> int:
    import games

    table = Table("game", "parameters", "description")
    for name, entry in games.registered().items():
        parameters = ", ".join(f"{key}={value}" for key, value in entry.parameters.items())
        table.add_row(name, parameters, entry.description)
    return _report(table, {}, None)


def _bench(options: argparse.Namespace) -> int:
    from workers import bench

    result = bench.run(options.what, options.overrides)
    table = Table(title=f"bench {options.what}")
    _columns(table, "figure", "value")
    several = {key: value for key, value in result.items() if isinstance(value, list)}
    for name, figure in _flat(result, several):
        table.add_row(name.replace("_", " "), _figure(figure))
    tables = [_side_by_side(key, rows) for key, rows in several.items()]
    return _report(Group(table, *tables), result, options.json)


def _side_by_side(title: str, rows: list[dict[str, Any]]) -> Table:
    """A column for each of ``rows``, whose keys are the same; the first one heads it."""
    table = Table(title=title.replace("_", " "), box=SIMPLE_HEAD, pad_edge=False)
    first, *others = (key for key in rows[0] if key not in HIDDEN)
    _columns(table, _shortened(first), *(_compact(row[first]) for row in rows))
    for key in others:
        figures = [row[key] for row in rows]
        if not isinstance(figures[0], dict):
            table.add_row(_shortened(key), *map(_compact, figures))
            continue
        table.add_row(f"[bold]{_shortened(key)}[/]")
        for name in figures[0]:
            table.add_row(f"  {_shortened(name)}", *(_compact(each[name]) for each in figures))
    return table


def _flat(figures: dict[str, Any], without: Container[str]) -> Iterator[tuple[str, Any]]:
    """Names and figures; those in a dictionary after the dictionary's own name."""
    for key, value in figures.items():
        if key in without:
            continue
        if not isinstance(value, dict):
            yield key, value
            continue
        for name, figure in value.items():
            yield f"{key}: {name}", figure


def _shortened(name: str) -> str:
    return name.replace("_per_second", "/s").replace("_", " ")


def _compact(value: float | str) -> str:
    """In at most six characters, so that eight figures find room beside each other."""
    if not isinstance(value, float):
        return str(value)
    if value >= 1e4:
        return f"{value / 1000:,.0f}k"
    return f"{value:,.0f}" if value >= 10 else f"{value:.2f}"


def _columns(table: Table, first: str, *others: str) -> None:
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")


def _report(table: RenderableType, result: Any, destination: str | None) -> int:
    """Print ``table``, and the figures as JSON; a pipe that reads the JSON gets nothing else."""
    Console(stderr=destination == "-").print(table)
    if destination == "-":
        print(json.dumps(result, indent=2))
    elif destination:
        Path(destination).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


def _result(score: float) -> str:
    return "win" if score > 0 else "loss" if score < 0 else "draw"


def _signed(value: float | None) -> str:
    if value is None:
        return "open"
    return f"{value:+.0f}" if round(value) else "0"


def _figure(value: float | str) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)


def _export(options: argparse.Namespace) -> int:
    from workers.runs import export

    card = export.export(options.run, options.to, options.half)
    size = (card.parent / export.WEIGHTS).stat().st_size
    print(f"{options.to} holds the agent ({size / 1e6:.2f} MB) and its model card, {card}")
    return 0


def _supervised(options: argparse.Namespace) -> int:
    if options.action == "tune":
        from workers.supervised import tune

        return tune.main(options)
    if options.action == "train":
        from alphazero.supervised import config

        settings = config.load(options.config, options.overrides)
        run_dir = run_directory.directory(
            Path(options.config).stem, options.run_dir, options.resume
        )
        from workers.supervised import train

        return train.main(settings, run_dir, options.resume, options.download, options.time_limit)
    from workers.supervised import train

    if options.action == "vectors":
        return train.learn_vectors(options.data, options.to, options.dimensions, options.seed)
    return _report(*train.answer(options), options.json)


def _serve(options: argparse.Namespace) -> int:
    from workers import serve

    return serve.main(options)


HANDLERS = {
    "train": _train,
    "play": _play,
    "arena": _arena,
    "ladder": _ladder,
    "evaluate": _evaluate,
    "solve": _solve,
    "games": _games,
    "bench": _bench,
    "export": _export,
    "supervised": _supervised,
    "serve": _serve,
}


if __name__ == "__main__":
    sys.exit(main())
