"""The grammar of the command line: every command, its options and its help."""

import argparse
from importlib import metadata
from pathlib import Path
from typing import Any

from workers import serve
from workers.supervised import arguments
from workers.terminal.options import add_command, add_json, add_run, file_path, new_file

PLAYERS = """\
a player is kind[:key=value,...]:
  random                                          any legal move
  mcts:simulations=800                            tree search with random rollouts
  minimax:depth=5                                 full-width search to a depth
  solver:slack=0,errors=0                         perfect play, where a solver exists; slack: also
                                                  moves that keep the result so many stones later
                                                  or sooner; errors: share of moves made blindly
  checkpoint:path=runs/x,simulations=200          a trained agent; a run directory means its
                                                  newest valid checkpoint, no path the agent
                                                  that comes with the program
  policy:path=runs/x                              a trained network without search"""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="alphazero",
        description="Train, play and judge AlphaZero agents for board games.",
        epilog="ALPHAZERO_TRACEBACK=1 in the environment shows where an error came from.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"alphazero {_version()}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in (
        _add_train, _add_play, _add_arena, _add_evaluate, _add_solve, _add_games, _add_bench,
        _add_export, _add_ladder, arguments.add, _add_serve,
    ):  # fmt: skip
        add(commands)
    return parser


def _add_train(commands: Any) -> None:
    command = add_command(
        commands, "train", "train an agent",
        "examples:\n"
        "  alphazero train connect_four_quick\n"
        "  alphazero train connect_four network.blocks=10 seed=7 --ray local --time-limit 2h\n"
        "  alphazero train connect_four --resume          # goes on with its newest run\n\n"
        "a run directory holds config.yaml, metrics.jsonl, log.txt, games/ and checkpoints/",
    )  # fmt: skip
    command.add_argument("config", metavar="CONFIG", help="a name in configs/ or a YAML file")
    add_run(command)
    command.add_argument(
        "--ray", metavar="off|local|ADDRESS", help="where self-play runs; default: the config's ray"
    )


def _add_play(commands: Any) -> None:
    command = add_command(
        commands, "play", "play against an agent in the terminal",
        "examples:\n"
        "  alphazero play connect_four\n"
        "  alphazero play connect_four --player mcts:simulations=400 --hints\n\n" + PLAYERS,
    )  # fmt: skip
    command.add_argument("game", metavar="GAME", help="see `alphazero games`")
    command.add_argument(
        "--player",
        metavar="PLAYER",
        help="your opponent; default: the agent that comes with the program, where GAME has one, "
        "else mcts:simulations=1000",
    )
    command.add_argument("--hints", action="store_true", help="show what the agent thinks")
    command.add_argument("--second", action="store_true", help="let the agent begin")
    command.add_argument(
        "--about", action="store_true", help="show how GAME's own agent was trained, and leave"
    )


def _add_arena(commands: Any) -> None:
    command = add_command(
        commands, "arena", "let players meet and rate them",
        "example:\n  alphazero arena mcts:simulations=200 minimax:depth=5 "
        "--game connect_four --games 100\n\n" + PLAYERS,
    )  # fmt: skip
    command.add_argument("players", metavar="PLAYER", nargs="+", help="two or more")
    command.add_argument("--game", required=True, metavar="GAME", help="see `alphazero games`")
    command.add_argument(
        "--games", type=int, default=100, metavar="N", help="a pairing, seats swapped; default 100"
    )
    command.add_argument(
        "--opening-plies",
        type=int,
        default=2,
        metavar="N",
        help="random moves a game begins with; default 2",
    )
    command.add_argument(
        "--fixed-seats",
        action="store_true",
        help="the player named first begins every game of a pair; default: each begins half",
    )
    _add_seed(command)
    add_json(command)


def _add_ladder(commands: Any) -> None:
    command = add_command(
        commands, "ladder", "rate a player against opponents whose Elo is fixed",
        "examples:\n"
        "  alphazero ladder connect_four                  # shows the opponents\n"
        "  alphazero ladder connect_four minimax:depth=5 --games 100\n\n" + PLAYERS,
    )  # fmt: skip
    command.add_argument("game", metavar="GAME", help="one that has a ladder: connect_four")
    command.add_argument("player", metavar="PLAYER", nargs="?", help="who is to be rated")
    command.add_argument(
        "--games",
        type=int,
        metavar="N",
        help="in all, against the opponents nearest in strength; default 200",
    )
    command.add_argument(
        "--calibrate",
        type=file_path,
        metavar="FILE",
        help="let the opponents meet and be rated anew; goes on with a FILE begun before",
    )
    command.add_argument("--seed", type=int, metavar="S", help="of PLAYER's games; default 0")
    add_json(command)


def _add_evaluate(commands: Any) -> None:
    command = add_command(
        commands, "evaluate", "count a player's mistakes in solved positions",
        "examples:\n"
        "  alphazero evaluate tic_tac_toe --positions all --player mcts\n"
        "  alphazero evaluate connect_four --suite --player checkpoint:path=runs/x minimax\n\n"
        "FILE is CSV with the columns moves,best,c1..cA: 1-based moves from the start, the best\n"
        "score and the score of each move; the suite is six such files, opening_easy to end_easy\n"
        "\n" + PLAYERS,
    )  # fmt: skip
    # argparse would show GAME last, where it is taken for a player.
    command.usage = (
        "alphazero evaluate GAME (--positions FILE|all | --suite) --player PLAYER [PLAYER ...] "
        "[--seed S] [--json FILE]"
    )
    command.add_argument("game", metavar="GAME", help="see `alphazero games`")
    where = command.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--positions",
        metavar="FILE|all",
        help="solved positions; all: every unfinished one, for small games",
    )
    where.add_argument(
        "--suite",
        action="store_true",
        help="the six sets of 1,000 positions in the source's tests/data; of a checkpoint the "
        "network alone and its search, with 600 simulations unless it says otherwise",
    )
    command.add_argument(
        "--player",
        dest="players",
        nargs="+",
        action="extend",
        required=True,
        metavar="PLAYER",
        help="one, or with --suite any number; after GAME, which would be taken for one of them",
    )
    _add_seed(command)
    add_json(command)


def _add_solve(commands: Any) -> None:
    command = add_command(
        commands, "solve", "exact scores of positions and of each of their moves",
        "examples:\n  alphazero solve connect_four 4453\n  alphazero solve tic_tac_toe 159\n"
        "  alphazero solve connect_four --positions moves.txt --out solved.csv\n\n"
        "scores are seen by the player about to move: positive wins, 0 draws, negative loses;\n"
        "in Connect Four the stones the winner has left count too. Ctrl-C keeps what is solved,\n"
        "and the same command goes on",
    )  # fmt: skip
    command.add_argument("game", metavar="GAME", help="see `alphazero games`")
    command.add_argument(
        "moves",
        metavar="MOVES",
        nargs="*",
        help="1-based actions from the start: one word of digits where there are fewer than 10 "
        "actions, else a word each; none: the starting position",
    )
    command.add_argument(
        "--positions",
        type=Path,
        metavar="FILE",
        help="solve these: MOVES a line, or CSV whose first column is `moves`",
    )
    command.add_argument(
        "--out",
        type=new_file,
        metavar="FILE",
        help="a new file to write them to, as CSV that `evaluate` reads; .csv.gz packs",
    )
    command.add_argument(
        "--suite",
        type=Path,
        metavar="DIR",
        help="draw and solve the six sets of `evaluate --suite` there: 25 minutes of one core",
    )
    command.add_argument("--seed", type=int, metavar="S", help="of --suite; default 0")


def _add_games(commands: Any) -> None:
    add_command(
        commands, "games", "registered games and their parameters",
        "parameters follow the name: alphazero play othello:size=6",
    )  # fmt: skip


def _add_bench(commands: Any) -> None:
    command = add_command(
        commands, "bench", "measure this machine",
        "examples:\n"
        "  alphazero bench search simulations=200\n"
        "  alphazero bench selfplay config=connect_four threads=2 seconds=30 --json -\n"
        "  alphazero bench selfplay ray=local\n"
        "  alphazero bench fleet max_workers=16 latency_ms=2\n\n"
        "search: tree search alone; inference: the network alone; selfplay: both, with the share\n"
        "of the network-only ceiling reached; train: optimizer steps; move: one game at a time,\n"
        "as play asks for moves; fleet: all of Ray's part with 1, 2, 4, ... workers and a\n"
        "pretended device: messages, bytes, cores, the first bottleneck",
    )  # fmt: skip
    choices = ("search", "inference", "selfplay", "train", "move", "fleet")
    command.add_argument("what", choices=choices)
    command.add_argument(
        "overrides", metavar="key=value", nargs="*", help="an unknown key lists the known ones"
    )
    add_json(command)


def _add_export(commands: Any) -> None:
    command = add_command(
        commands, "export", "make a folder of a run's agent, to keep or to give away",
        "example:\n  alphazero export runs/MY_RUN --to my_agent\n"
        "  alphazero play connect_four --player checkpoint:path=my_agent\n\n"
        "the folder holds the averaged weights, the configuration, their checksums and a model\n"
        "card; nothing that only training needs",
    )  # fmt: skip
    command.add_argument("run", type=Path, metavar="RUN", help="a run directory or a checkpoint")
    command.add_argument(
        "--to", type=Path, required=True, metavar="FOLDER", help="an agent in it is replaced"
    )
    command.add_argument(
        "--half", action="store_true", help="weights as float16: half the size, almost the same"
    )


def _add_seed(command: argparse.ArgumentParser) -> None:
    command.add_argument("--seed", type=int, default=0, metavar="S", help="default 0")


def _version() -> str:
    try:
        return metadata.version("alphazero")
    except metadata.PackageNotFoundError:
        return "(not installed)"


def _add_serve(commands: Any) -> None:
    purpose = "answer over HTTP with a trained agent or network"
    serve.add_arguments(add_command(commands, "serve", purpose, serve.MORE))
