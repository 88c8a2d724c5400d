"""Pictures of the commands in a real terminal, to be looked at.

    python tests/benchmarks/terminal_pictures.py pictures --columns 60 100

Each scene types lines into a shell in tmux, each as soon as the screen shows what it waits for, and
makes a PNG with Chromium at its end. Both programs must be installed; runs are written to a
temporary folder.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.ansi import AnsiDecoder
from rich.console import Console

ROOT = Path(__file__).parents[2]
ROWS = 36
PATIENCE = 240.0
"""Seconds after which a scene shows what there is."""
MOVE, SHELL = r"to move.* > $", r"\$ $"
TINY = (
    "network.blocks=1 network.channels=8 replay.min_positions=600 training.steps=150 "
    "evaluation.games=0"
)
SCENES: dict[str, list[tuple[str, str]]] = {
    "play": [("alphazero play connect_four --hints", MOVE), ("4", MOVE)],
    "play_help": [("alphazero play connect_four", MOVE), ("?", MOVE)],
    "play_error": [("alphazero play connect_four", MOVE), ("9", MOVE)],
    "play_blunder": [
        ("alphazero play connect_four --hints --moves 445445 --player minimax:depth=6", MOVE),
        ("1", MOVE),
    ],
    "play_won": [
        ("alphazero play connect_four --player random --moves 414242", MOVE),
        ("4", r"quit > $"),
    ],
    "play_clock": [("alphazero play othello:size=6 --player mcts --clock 5m+3s", MOVE)],
    "play_left": [("alphazero play tic_tac_toe", MOVE), ("5", MOVE), ("q", SHELL)],
    "games": [("alphazero games", SHELL)],
    "help": [("alphazero play --help", SHELL)],
    "solve": [("alphazero solve tic_tac_toe 159", SHELL)],
    "arena": [
        ("alphazero arena random mcts:simulations=50 solver --game tic_tac_toe --games 20", SHELL)
    ],
    "evaluate": [
        ("alphazero evaluate tic_tac_toe --positions all --player mcts:simulations=20", SHELL)
    ],
    "train": [(f"alphazero train tic_tac_toe {TINY}", r"value loss(.|\n)*$")],
    "trained": [(f"alphazero train tic_tac_toe {TINY}", SHELL)],
    "supervised": [("alphazero supervised train mlp epochs=2", SHELL)],
}
"""Per scene, the lines that are typed, each with a pattern of the screen that it leads to."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--columns", type=int, nargs="+", default=[60, 100])
    parser.add_argument("--scenes", nargs="+", default=list(SCENES), choices=list(SCENES))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for columns in options.columns:
        for scene in options.scenes:
            screen = play(SCENES[scene], columns)
            draw(screen, columns, options.folder / f"{scene}_{columns}.png")
            print(f"{scene}, {columns} columns", flush=True)


def play(lines: list[tuple[str, str]], columns: int) -> str:
    """The screen, with its colours as escape sequences, after ``lines`` were typed."""
    with tempfile.TemporaryDirectory() as folder:
        tmux("new-session", "-d", "-x", str(columns), "-y", str(ROWS), "-c", folder, shell(folder))
        try:
            wait(SHELL)
            for line, pattern in lines:
                before = tmux("capture-pane", "-p")
                tmux("send-keys", "-l", line)
                tmux("send-keys", "Enter")
                wait(pattern, before)
            return tmux("capture-pane", "-p", "-e")
        finally:
            tmux("kill-server")


def shell(folder: str) -> str:
    """A shell whose command ``alphazero`` is this source's."""
    start = Path(folder, "start.sh")
    start.write_text(
        f"PS1='$ '; export PYTHONPATH={ROOT}\nalphazero() {{ {sys.executable} -m alphazero $@; }}\n"
    )
    return f"bash --noprofile --rcfile {start} -i"


def wait(pattern: str, before: str = "") -> None:
    """Return when the screen differs from ``before``, matches ``pattern``, and stays the same."""
    last, end = before, time.monotonic() + PATIENCE
    while time.monotonic() < end:
        time.sleep(0.5)
        screen = tmux("capture-pane", "-p")
        text = screen.rstrip("\n")
        if screen == last != before and re.search(pattern, text + " " * text.endswith((">", "$"))):
            return
        last = screen


def tmux(*words: str) -> str:
    """The output of a command to a server of this script's own."""
    command = ["tmux", "-L", f"pictures{os.getpid()}", "-f", "/dev/null", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def draw(screen: str, columns: int, path: Path) -> None:
    """Make a picture of a screen with escape sequences."""
    with open(os.devnull, "w") as nowhere, tempfile.TemporaryDirectory() as folder:
        console = Console(file=nowhere, record=True, width=columns)
        for line in AnsiDecoder().decode(screen):
            console.print(line, no_wrap=True, crop=False, overflow="ignore")
        page = Path(folder, "page.html")
        style = "body {{ background: white; width: {}ch; border: 1px solid; {} }}"
        font = "font: 15px/1.25 'DejaVu Sans Mono'; margin: 4px"
        head = (
            f"<style>{style.format(columns, font)} pre {{ margin: 0 }}</style><meta charset=utf8>"
        )
        lines = console.export_html(inline_styles=True, code_format="<pre>{code}</pre>")
        page.write_text(head + lines, encoding="utf-8")
        size = f"--window-size={10 * columns + 30},{19 * ROWS + 30}"
        command = ["chromium", "--headless", "--no-sandbox", "--hide-scrollbars", size]
        subprocess.run(
            [*command, f"--screenshot={path.absolute()}", str(page)],
            capture_output=True,
            check=True,
        )


if __name__ == "__main__":
    main()
