"""The rungs of the board games: one command judges an agent against one outside opponent.

    python tests/benchmarks/rungs.py go_9x9 runs/MY_RUN --simulations 800
    python tests/benchmarks/rungs.py hex_7x7 runs/MY_RUN --simulations 400 --games-out games.sgf

AGENT is a player's text as for ``alphazero arena``. Printed are rows of a table: the games and
their 95 % interval (Wilson's, of the distinct games), the agent's simulations per move, minutes of
this machine, and the bar. ``go_5x5`` and ``hex_7x7`` add the values that the agent gives to the
openings, whose results are known; ``hex_7x7`` also those of its network alone.

In ``go_5x5`` and both of Gomoku the agent is always Black and begins on the empty board, and each
program plays with ever new seeds. In ``hex_7x7`` each game begins with another of the 49 openings,
and the agent plays the side that wins. Elsewhere each opening of two random moves (in Go: stones;
in Othello two to four plies, as only twelve openings have two) is played twice, with colours
swapped.
"""

import argparse
import shlex
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

import games
from alphazero.judging import arena, lock_step, mistakes, saved_games
from alphazero.judging.decisions import Player
from alphazero.judging.lines import Line
from alphazero.judging.openings import draw_openings
from alphazero.judging.players import parse
from alphazero.types import Stream
from games.base import Game
from games.spec import quoted
from workers.commands.arena import entrants
from workers.terminal import progress
from workers.terminal.options import count, natural, new_file
from workers.terminal.output import counted

OPPONENTS = (
    f"{shlex.quote(sys.executable)} {shlex.quote(str(Path(__file__).parent / 'opponents.py'))}"
)
GNU_GO = (
    "gnugo --mode gtp --level 10 --chinese-rules --positional-superko --capture-all-dead "
    "--never-resign"
)
HEX_WON = """
0000001
0010111
0111110
1111111
0111110
1110100
1000000
"""
"""Hex 7 x 7 without swap: 1 where the first stone wins under perfect play, row by row; the first
player joins top and bottom. All 49 were published by Hayward et al. 2003, "Solving 7 x 7 Hex:
virtual connections and game-state reduction"."""


class Rung(NamedTuple):
    """An opponent with the way in which games begin."""

    game: str
    command: str
    """The player's text, without the number of processes."""
    games: int
    bar: str
    begins: bool = False
    """Whether the agent begins every game on the empty board."""


RUNGS = {
    "go_5x5": Rung(
        "go:size=5,komi=24", f'gtp:cmd="{OPPONENTS} reseeded {GNU_GO}"',
        100, "95 %, opens in the centre, 25 signs", begins=True,
    ),
    "hex_7x7": Rung(
        "hex:size=7,swap=false",
        f'gtp:cmd="{OPPONENTS} open_spiel --game hex(board_size=7) --simulations 10000"',
        98, "95 %, 49 signs",
    ),
    "go_7x7": Rung("go:size=7,komi=9", f"gtp:cmd='{GNU_GO} --seed 1'", 200, "90 %"),
    "othello_rhino_3": Rung("othello", "gtp:cmd='gtp-rhino -l 3'", 200, "95 %"),
    "othello_rhino_4": Rung("othello", "gtp:cmd='gtp-rhino -l 4'", 200, "50 %"),
    "othello_alpha_beta": Rung(
        "othello", f'gtp:cmd="{OPPONENTS} rust_reversi --depth 7"', 200, "95 %"
    ),
    "breakthrough": Rung("breakthrough", "uci:cmd=fairy-stockfish,nodes=20000", 200, "90 %"),
    "gomoku_9x9": Rung(
        "gomoku:size=9",
        f'gtp:cmd="{OPPONENTS} open_spiel --game gomoku(size=9) --simulations 20000"',
        100, "no loss", begins=True,
    ),
    "gomoku_15x15": Rung(
        "gomoku:size=15",
        f'gtp:cmd="{OPPONENTS} open_spiel --game gomoku(size=15) --simulations 20000"',
        100, "-", begins=True,
    ),
    "go_9x9": Rung("go:size=9,komi=7", f"gtp:cmd='{GNU_GO} --seed 1'", 200, "90 %"),
}  # fmt: skip


class Group(NamedTuple):
    """Games in which the agent has the seats that ``lock_step.play_match`` gives to one player."""

    openings: list[Line]
    swap: bool
    agent_first: bool


class Played(NamedTuple):
    """The games of a rung from the agent's point of view."""

    tally: tuple[int, int, int]
    distinct: int
    forfeits: Counter
    """Games that a player lost without a legal move, by player and reason."""


def random_stones(game: Game, count: int, seed: int) -> list[Line]:
    """``count`` openings of two random moves, none of them a pass, to different positions."""
    drawn = draw_openings(game, 2 * count + 20, seed, 2)
    placed = [line for line in drawn if "pass" not in map(game.action_to_text, line)]
    return [placed[index % len(placed)] for index in range(count)]


def hex_won() -> list[bool]:
    """``[49]``: whether the player wins who begins at each cell."""
    return [mark == "1" for mark in "".join(HEX_WON.split())]


def groups(name: str, game: Game, number: int, seed: int) -> list[Group]:
    """How ``number`` games of a rung begin."""
    if RUNGS[name].begins:
        return [Group([()] * number, False, True)]
    if name == "hex_7x7":
        won = hex_won()
        order = np.random.default_rng([seed, Stream.OPENINGS]).permutation(len(won)).tolist()
        cells = [order[index % len(won)] for index in range(number)]
        return [
            Group([(cell,) for cell in cells if won[cell] == first], False, first)
            for first in (True, False)
        ]
    drawn = random_stones(game, -(-number // 2), seed)
    return [Group([drawn[index // 2] for index in range(number)], True, True)]


def play(
    name: str, game: Game, agent: Player, opponent: Player, options: argparse.Namespace
) -> Played:
    """The games of a rung, written to ``options.games_out`` where that is given."""
    tally, lines, forfeits = np.zeros(3, int), set(), Counter()
    with progress.games() as report:
        for group in groups(name, game, options.games, options.seed):
            if not group.openings:
                continue
            pair = (agent, opponent) if group.agent_first else (opponent, agent)
            first = len(lines)
            seeds = [[options.seed, Stream.MATCH, first, row] for row in range(len(group.openings))]
            done = arena.games_done(report, int(tally.sum()), options.games)
            match = lock_step.play_match(game, pair, group.openings, seeds, done, group.swap)
            tally += np.array(match.tally()[:: 1 if group.agent_first else -1])
            lines.update(match.lines)
            forfeits += lost(match, pair)
            if options.games_out:
                write(game, pair, group.openings, match, options.games_out)
    won, drawn, beaten = tally.tolist()
    return Played((won, drawn, beaten), len(lines), forfeits)


def lost(match: lock_step.Match, pair: tuple[Player, Player]) -> Counter:
    """The forfeited games by the loser's name and reason."""
    return Counter((pair[loser].name, reason) for loser, reason in match.forfeited())


def write(
    game: Game,
    pair: tuple[Player, Player],
    openings: Sequence[Line],
    match: lock_step.Match,
    path: Path,
) -> None:
    """Add the games of a match to a file, in the format of its name."""
    text = saved_games.writer(game, path)
    names = pair[0].name, pair[1].name
    with path.open("a", encoding="utf-8") as file:
        for played in lock_step.games_as_dicts(game, names, openings, match):
            file.write(text(played))


def row(name: str, agent: Player, played: Played, minutes: float) -> str:
    """A line of the table."""
    won, drawn, beaten = played.tally
    number = won + drawn + beaten
    score = (won + drawn / 2) / number
    low, high = mistakes.wilson(score * played.distinct, played.distinct)
    return (
        f"| {name} | {won} won, {drawn} drawn, {beaten} lost | {score:.1%} "
        f"| {low:.1%} to {high:.1%} | {number} | {played.distinct} "
        f"| {agent.simulations or '-'} | {minutes:.1f} | {RUNGS[name].bar} |"
    )


HEAD = """\
| rung | games won, drawn, lost | score | 95 % | games | distinct | simulations | minutes | bar |
|---|---|---|---|---|---|---|---|---|"""


def opening_values(game: Game, player: Player) -> np.ndarray:
    """The values that a player gives to the positions after each first stone, for who placed it."""
    lines = [
        (action,) for action in range(game.num_actions) if game.action_to_text(action) != "pass"
    ]
    states = game.step(game.initial(len(lines)), np.array([line[0] for line in lines]))
    rngs = [np.random.default_rng([0, index]) for index in range(len(lines))]
    value = player(states, rngs, lines=lines).value
    assert value is not None
    return -value


def signs(game: Game, player: Player, won: Sequence[bool]) -> str:
    """How many openings have the right sign, and those that do not, with their values."""
    values = opening_values(game, player)
    wrong = [
        f"{game.action_to_text(action)} {value:+.2f}"
        for action, value in enumerate(values)
        if (value > 0) != won[action] or value == 0
    ]
    right = len(won) - len(wrong)
    listed = f"; wrong: {', '.join(wrong)}" if wrong else ""
    return f"{player.name}: {right} of {len(won)} openings have the right sign{listed}"


def first_move(game: Game, player: Player) -> str:
    """The player's move on the empty board, with its value."""
    decision = player(game.initial(1), [np.random.default_rng(0)], lines=[()])
    move = game.action_to_text(int(decision.action[0]))
    value = "" if decision.value is None else f", value {decision.value[0]:+.2f}"
    return f"{player.name}: opens at {move}{value}"


def remarks(name: str, game: Game, agent: Player, allow: Sequence[str]) -> list[str]:
    """The values of the openings, where their results are known."""
    if name == "go_5x5":
        centre = [point == 12 for point in range(25)]
        return [first_move(game, agent), signs(game, agent, centre)]
    if name != "hex_7x7":
        return []
    lines = [signs(game, agent, hex_won())]
    if parse(agent.name)[0] == "checkpoint":
        network = mistakes.suite_players(agent.name)[0]
        with entrants([network], game, allow) as (alone,):
            lines.append(signs(game, alone, hex_won()))
    return lines


def with_simulations(text: str, simulations: int | None) -> str:
    """The agent's text with that number of simulations; ``ValueError``: it has one already."""
    kind, chosen = parse(text)
    if simulations is None:
        return text
    if "simulations" in chosen:
        raise ValueError(f"{text} has simulations already: leave --simulations out")
    chosen["simulations"] = str(simulations)
    return f"{kind}:" + ",".join(f"{key}={quoted(value)}" for key, value in chosen.items())


def with_processes(rung: Rung, processes: int) -> str:
    """The opponent's text."""
    return f"{rung.command},processes={processes}"


def judge(name: str, options: argparse.Namespace) -> None:
    """Play a rung and print its row and the remarks."""
    rung = RUNGS[name]
    game = games.make(rung.game)
    options.games = options.games or rung.games
    if options.games % 2 and not rung.begins and name != "hex_7x7":
        raise ValueError(f"--games must be even, not {options.games}: colours are swapped")
    if options.games_out:
        saved_games.writer(game, options.games_out)  # an unsuitable format is refused at once
    texts = [with_simulations(options.agent, options.simulations)]
    texts.append(with_processes(rung, options.processes))
    with entrants(texts, game, options.allow) as (agent, opponent):
        print(f"{agent.name} ({agent.inference or 'no network'}) against {opponent.program}\n")
        for line in remarks(name, game, agent, options.allow):
            print(line, flush=True)
        begun = time.monotonic()
        played = play(name, game, agent, opponent, options)
        minutes = (time.monotonic() - begun) / 60
        for (loser, reason), number in played.forfeits.items():
            print(f"{loser} lost {counted(number, 'game')}: it {reason}")
        print(f"\n{HEAD}\n{row(name, agent, played, minutes)}")


def main() -> None:
    listed = "\n".join(
        f"  {name:20} {rung.game}, {rung.games} games, bar: {rung.bar}"
        for name, rung in RUNGS.items()
    )
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"rungs:\n{listed}\n\nThe opponents must be installed: gnugo, gtp-rhino (Debian's "
        "grhino), fairy-stockfish,\nor the extras of Python that CONTRIBUTING.md names.",
    )  # fmt: skip
    parser.add_argument("rung", choices=RUNGS, metavar="RUNG", help="one of those below")
    parser.add_argument("agent", metavar="AGENT", help="a player's text, or a run's folder")
    parser.add_argument("--games", type=count, metavar="N", help="instead of the rung's own number")
    parser.add_argument("--simulations", type=count, metavar="N",
                        help="of the agent, per move; default: 600 for a bundled agent, "
                        "for a run those of its training")  # fmt: skip
    parser.add_argument("--processes", type=count, default=2, metavar="N",
                        help="of the opponent; default 2")  # fmt: skip
    parser.add_argument("--seed", type=natural, default=0, metavar="N",
                        help="of openings and games; default 0")  # fmt: skip
    parser.add_argument("--games-out", type=new_file, metavar="FILE", help=".sgf, or lines of JSON")
    parser.add_argument("--allow", action="append", default=[], metavar="module:Class",
                        help="an address that the agent's configuration may import")  # fmt: skip
    options = parser.parse_args()
    try:
        judge(options.rung, options)
    except ValueError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
