"""``alphazero new``: the written game, configuration and test work as they are."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from workers import cli
from workers.commands.new import TEMPLATE, class_name

TINY = ("training.steps=5 training.batch_size=32 selfplay.games=16 search.simulations=8 "
        "replay.min_positions=200 evaluation.games=2 evaluation.opponent=random "
        "--ray off")  # fmt: skip
ADDED = {
    "alphazero check": "--games 20 --json checked.json",
    "alphazero train": TINY,
    "alphazero play": "<<< $'c3\\nq'",
}
"""Words behind the commands that ``new`` prints: less work, or moves."""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shell(command):
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "WANDB_MODE": "disabled",
    }
    done = subprocess.run(
        ["bash", "-c", command], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_commands_that_it_prints_run_on_what_it_wrote(folder, capsys):
    assert cli.main(["new", "five_by_five"]) == 0
    printed = capsys.readouterr().out
    commands = [line.strip() for line in printed.splitlines() if line.startswith("  ")]
    assert commands == [
        "alphazero check five_by_five:FiveByFive", "pytest test_five_by_five.py",
        "alphazero train five_by_five.yaml --run-dir runs/five_by_five",
        "alphazero play five_by_five:FiveByFive --player checkpoint:path=runs/five_by_five",
    ]  # fmt: skip
    output = {}
    for command in commands:
        start = " ".join(command.split()[:2])
        output[start] = shell(f"{command} {ADDED.get(start, '-p no:cacheprovider')}")
    assert "five_by_five:FiveByFive keeps the contract" in output["alphazero check"]
    assert "8 passed" in output["pytest test_five_by_five.py"]
    assert "done: runs/five_by_five" in output["alphazero train"]
    assert "c3" in output["alphazero play"]
    assert "--player" in output["alphazero train"]


def test_no_name_of_the_template_is_left(folder):
    assert cli.main(["new", "a_MyGame"]) == 0
    names = {"a_MyGame.py", "a_MyGame.yaml", "test_a_MyGame.py"}
    assert {path.name for path in folder.iterdir()} == names
    for path in folder.iterdir():
        text = path.read_text()
        rest = text.replace("a_MyGame", "").replace("AMyGame", "")
        assert "my_game" not in rest
        assert "MyGame" not in rest
        if path.suffix == ".py":
            compile(text, path, "exec")


def test_a_note_stands_before_every_method_of_the_game():
    text = (TEMPLATE / "my_game.py").read_text()
    (game,) = (node for node in ast.parse(text).body if isinstance(node, ast.ClassDef))
    methods = [node for node in game.body if isinstance(node, ast.FunctionDef)]
    lines = text.splitlines()
    without = [m.name for m in methods if not lines[m.lineno - 2].strip().startswith("#")]
    assert without == ["render"]  # which the note before ``drawing`` names


@pytest.mark.parametrize(("name", "kind"), [
    ("my_game", "MyGame"), ("hex", "Hex"), ("Hex", "Hex"), ("go_9x9", "Go9x9"), ("a__b_", "AB"),
])  # fmt: skip
def test_a_class_is_named_after_its_module(name, kind):
    assert class_name(name) == kind


@pytest.mark.parametrize("name", ["3x3", "my-game", "my.game", "a b", "", "_x", "jeu_été", "../x"])
def test_a_name_that_no_module_can_have_is_refused(name, folder, capsys):
    refused(name, "cannot be the name of a module", folder, capsys)


@pytest.mark.parametrize(("name", "words"), [
    ("class", "is a word of Python"), ("none", "is a word of Python"),
    ("game", "the class 'Game' would hide another one"),
    ("exception", "the class 'Exception' would hide another one"),
    ("random", "a module 'random' exists already"), ("numpy", "a module 'numpy' exists already"),
    ("games", "a module 'games' exists already"), ("support", "a module 'test_support' exists"),
    ("othello", "there is a game 'othello' already"),
])  # fmt: skip
def test_a_name_that_hides_something_is_refused(name, words, folder, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "test_support", sys)
    refused(name, words, folder, capsys)


def refused(name, words, folder, capsys):
    assert cli.main(["new", "--", name]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("suffix", ["{}.py", "{}.yaml", "test_{}.py"])
def test_nothing_is_overwritten(suffix, folder, capsys):
    file = folder / suffix.format("mine")
    file.write_text("mine")
    assert cli.main(["new", "mine"]) == 2
    assert capsys.readouterr().err.strip().endswith("already: nothing is overwritten")
    assert file.read_text() == "mine"
    assert list(folder.iterdir()) == [file]
