"""A program that speaks GTP or UCI and fails as it is told; started by the tests of engines.

``python made_up_engine.py gtp othello:size=4 late``, or ``uci over_uci late``, plays the first
legal move and, from its second move on, does what the last word says. ``FAILURES`` lists them.
"""

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import games
from alphazero.judging.engines import notation
from games.tic_tac_toe import TicTacToe


class OverUci(TicTacToe):
    """Tic-tac-toe that is written as chess is, so that a program can play it by UCI."""

    def to_uci(self, state, action):
        return f"a{action + 1}"

    def from_uci(self, state, text):
        return ["a1", "a2", "a3", "a4", "a5", "a6", "a7", "a8", "a9"].index(text)


FAILURES = {
    "late": lambda: time.sleep(600),
    "dies": lambda: sys.exit("a reason on the error output"),
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "stopped": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "nonsense": lambda: write("It is a nice day\n\n"),
    "escape": lambda: write(
        "bestmove \x1b[2J\n" if PROTOCOL == "uci" else f"={NUMBER} \x1b[2J\n\n"
    ),
    "floods": lambda: [write("info string x\n" * 1000) for _ in range(10**6)],
    "endless": lambda: [write("x" * 10_000) for _ in range(10**6)],
    "closes": lambda: (os.close(1), time.sleep(600)),
    "complains": lambda: sys.stderr.write("noise " * 100_000),
    "illegal": lambda: answer(0),
    "interrupts": lambda: (os.kill(os.getppid(), signal.SIGINT), time.sleep(600)),
    "none": lambda: write("bestmove (none)\n"),
    "resigns": lambda: write(f"={NUMBER} resign\n\n"),
}
"""By name, what happens instead of the answer to a request for a move."""
PROTOCOL, SPEC, FAILURE = (*sys.argv[1:], "", "", "")[:3]
NUMBER = ""


def write(text):
    sys.stdout.write(text)
    sys.stdout.flush()


def answer(action):
    """Answer the request for a move with ``action``, legal or not."""
    if PROTOCOL == "uci":
        write(f"info depth 1\nbestmove {notation.to_uci(GAME, state(), action)}\n")
    else:
        write(f"={NUMBER} {notation.to_gtp(GAME, state(), action)}\n\n")


def state():
    return STATES[-1][0]


def play(action):
    if not GAME.legal(STATES[-1])[0, action]:
        raise ValueError("illegal move")
    STATES.append(GAME.step(STATES[-1], np.array([action])))


def move():
    """Answer with the first legal move, or fail, at the second and each later request."""
    global REQUESTS
    REQUESTS += 1
    if FAILURE in FAILURES and REQUESTS > 1:
        FAILURES[FAILURE]()
        if FAILURE != "complains":
            return None
    action = int(GAME.legal(STATES[-1])[0].argmax())
    answer(action)
    return action


STATED = {
    "protocol_version": "3" if FAILURE == "version" else "2",
    "name": "made up",
    "version": "0.1",
    "list_commands": "boardsize\nclear_board\nplay\ngenmove" + "\nundo" * (FAILURE != "no_undo"),
    "time_settings": "",
    "time_left": "",
    "quit": "",
}
"""GTP commands whose answers never change."""


def gtp(words):
    """The answer to a GTP command; None where it was written already."""
    match words:
        case ["boardsize", size]:
            if int(size) != GAME.observation_shape[1] or FAILURE == "size":
                raise ValueError("unacceptable size")
        case ["clear_board"]:
            del STATES[1:]
        case ["play", _, vertex] if vertex != "pass":
            settle()
            play(notation.from_gtp(GAME, state(), vertex))
        case ["undo"] if FAILURE != "no_undo" and len(STATES) > 1:
            STATES.pop()
            while only_pass():
                STATES.pop()
        case ["genmove", _]:
            settle()
            if (action := move()) is not None:
                play(action)
            return None
        case [name, *_] if name in STATED:
            return STATED[name]
        case _:
            raise ValueError("unknown command")
    return ""


def made(path):
    """Whether the file is new, which another process has made otherwise."""
    try:
        open(path, "x").close()
    except FileExistsError:
        return False
    return True


def only_pass():
    legal = np.flatnonzero(GAME.legal(STATES[-1])[0])
    return len(legal) == 1 and GAME.action_to_text(int(legal[0])) == "pass"


def settle():
    """Play forced passes, which are not sent."""
    while only_pass():
        play(GAME.num_actions - 1)


def uci(words):
    match words:
        case ["uci"]:
            if FAILURE == "banner":
                write("Welcome\n")
            write("id name made up 0.1\noption name Hash type spin default 1 min 1 max 9\n")
            write("option name Style type combo default plain var plain var very wild\n")
            write("option name Clear type button\noption name \x1b[2J type button\n")
            if FAILURE != "no_variants":
                write("option name UCI_Variant type combo default chess var chess var other\n")
            write("uciok\n")
        case ["isready"]:
            write("readyok\n")
        case ["position", "startpos", *moves]:
            del STATES[1:]
            for text in moves[1:]:
                play(notation.from_uci(GAME, state(), text))
        case ["d"] if FAILURE == "ignores_variant":
            write("Fen: 8/8 w - - 0 1\n")
        case ["go", *_]:
            move()


if __name__ == "__main__":
    GAME = OverUci() if SPEC == "over_uci" else games.make(SPEC)
    STATES, REQUESTS = [GAME.initial(1)], 0
    if FAILURE.startswith("second_hangs=") and not made(FAILURE.removeprefix("second_hangs=")):
        os.kill(os.getppid(), signal.SIGINT)
        time.sleep(600)
    if FAILURE == "deaf":
        time.sleep(600)
    for line in sys.stdin:
        if FAILURE.startswith("log="):
            with open(FAILURE.removeprefix("log="), "a") as file:
                file.write(line)
        if PROTOCOL == "uci":
            uci(line.split())
            continue
        NUMBER, *words = line.split()
        try:
            if (text := gtp(words)) is not None:
                write(f"={'' if FAILURE == 'numberless' else NUMBER} {text}\n\n")
        except ValueError as error:
            write(f"?{NUMBER} {error}\n\n")
        if words == ["quit"]:
            break
