"""The README's commands run, its command lines parse, its lists are complete."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import games
from alphazero import config
from alphazero.judging import players
from alphazero.supervised import config as supervised
from workers.cli import build_parser
from workers.supervised import tune

pytestmark = pytest.mark.timeout(1200)  # the first test waits for every tested block

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SUPERVISED = (ROOT / "docs/supervised.md").read_text(encoding="utf-8")
BLOCK = re.compile(
    r"(?:<!-- (?P<mark>.*?) -->\n)?```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.M | re.S
)
BLOCKS = [match.groupdict() for match in BLOCK.finditer(README)]
TESTED = [block["text"] for block in BLOCKS if block["mark"] == "tested"]


def command_lines() -> list[list[str]]:
    """The arguments of every ``alphazero`` in a shell block or in a line of text."""
    every = README + SUPERVISED
    found = (match.groupdict() for match in BLOCK.finditer(every))
    blocks = "\n".join(block["text"] for block in found if block["kind"] == "bash")
    spans = "\n".join(re.findall(r"`(alphazero [^`]*)`", BLOCK.sub("", every)))
    calls = re.findall(r"^(?:.* \| )?alphazero (.+)$", f"{blocks}\n{spans}", re.M)
    return [shlex.split(call, comments=True) for call in calls if "COMMAND" not in call]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A fresh folder in which the files of the README lie and its blocks have been run."""
    folder = tmp_path_factory.mktemp("readme")
    for block in BLOCKS:
        if block["mark"] and block["mark"].startswith("file: "):
            (folder / block["mark"].removeprefix("file: ")).write_text(block["text"])
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "WANDB_MODE": "disabled",
    }
    for text in TESTED:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
    return folder


def test_every_block_marked_as_tested_runs(folder):
    assert len(TESTED) >= 6
    assert {"arena.json", "mistakes.json", "runs"} <= {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("words", command_lines(), ids=" ".join)
def test_every_command_line_is_one_the_program_takes(words):
    options = build_parser().parse_args(words)
    if options.command == "train" and options.config in config.names():
        config.load(options.config, options.overrides)
    if getattr(options, "action", "") in ("train", "tune") and options.config in supervised.names():
        supervised.load(options.config, options.overrides)
    if getattr(options, "action", "") == "tune":
        tune._candidates(options)
    for spec in [*getattr(options, "players", []), getattr(options, "player", None) or "random"]:
        players.parse(spec)
    if getattr(options, "game", "my_game").partition(":")[0] != "my_game":
        games.make(options.game)


@pytest.mark.parametrize("run", ["tried", "mlp"])
def test_every_metric_of_a_run_is_explained(folder, run):
    lines = (folder / f"runs/{run}/metrics.jsonl").read_text().splitlines()
    section = README.partition("### Metrics")[2].partition("\n## ")[0]
    metrics = {key for line in lines for key in json.loads(line)} - {"step", "time"}
    assert metrics <= set(re.findall(r"`([\w/]+)`", section))


@pytest.mark.parametrize(
    ("file", "command"),
    [
        ("arena.json", "arena"),
        ("rating.json", "ladder"),
        ("mistakes.json", "evaluate"),
        ("test.json", "supervised evaluate"),
        ("answers.json", "supervised predict"),
    ],
)
def test_every_json_key_is_named(folder, file, command):
    found = json.loads((folder / file).read_text())
    result = found[0] if isinstance(found, list) else found
    line = next(line for line in README.splitlines() if line.startswith(f"| `{command}` |"))
    assert result.keys() <= set(re.findall(r"`(\w+)`", line))


def test_every_file_of_the_house_is_on_the_map():
    text = README.partition("## The map of the house")[2].partition("\n## ")[0]
    rooms = [*(ROOT / "workers").glob("*.py"), *(ROOT / "alphazero").glob("*.py")]
    files = {path.name for path in (*rooms, *(ROOT / "games").glob("*.py"))} - {"__init__.py"}
    assert files <= set(re.findall(r"\w+\.py", text))


def test_every_file_that_is_referred_to_exists():
    links = re.findall(r"\]\(([^):#]+)\)", README)
    tests = [f"tests/{name}" for name in re.findall(r"`(test_\w+\.py)`", README)]
    assert [path for path in links + tests if not (ROOT / path).exists()] == []
