"""The documentation's commands run, its links lead somewhere, its lists and pages are complete."""

import argparse
import json
import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

import games
from alphazero import config, config_folder
from alphazero.judging import players
from alphazero.supervised import config as supervised
from workers import cli
from workers.commands.supervised import tune_options
from workers.supervised import tune

pytestmark = pytest.mark.timeout(1200)

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [*ROOT.glob("*.md"), ROOT / "notebooks/README.md", *(ROOT / "docs").rglob("*.md")],
    key=lambda path: path.relative_to(ROOT).as_posix(),
)
BLOCK = re.compile(
    r"(?:<!-- (?P<mark>[^\n]*?) -->\n)?```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.M | re.S
)
SPAN = r"`(alphazero [^`]*[^a-z `][^`]*)`"
"""A command in a line of text, with arguments and not only with its name."""


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: Path) -> list[dict[str, str]]:
    matches = BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [match.groupdict(default="") for match in matches]


TESTED = [page for page in PAGES if any(block["mark"] == "tested" for block in blocks(page))]
"""Pages with a block that is run."""


def command_lines() -> Iterator[list[str]]:
    """The arguments of every ``alphazero`` in a shell block or in a line of text."""
    for page in PAGES:
        if "decisions" in page.parts or page.name in ("experiments.md", "CHANGELOG.md"):
            continue  # they name the commands of their time
        shell = "\n".join(block["text"] for block in blocks(page) if block["kind"] == "bash")
        spans = "\n".join(re.findall(SPAN, BLOCK.sub("", page.read_text(encoding="utf-8"))))
        lines = f"{shell}\n{spans}".replace("\\\n", " ")
        for call in re.findall(r"^(?:.* \| |\S*/)?alphazero (.+)$", lines, re.M):
            if not re.search(r"COMMAND|CONFIG|\bRUN\b|--help|\.\.\.|\|", call):
                yield shlex.split(call, comments=True)


LINES = {" ".join(words): words for words in command_lines()}
WRITTEN = {
    block["mark"].removeprefix("file: ").removesuffix(".py")
    for page in PAGES
    for block in blocks(page)
    if block["mark"].startswith("file: ") and block["mark"].endswith(".py")
}
"""Modules that the pages write; there are none of them where a command line is only parsed."""


LONG = {
    "docs/agents.md",
    "docs/supervised.md",
    "docs/tutorials/other_libraries.md",
    "docs/tutorials/your_own_network.md",
    "docs/tutorials/your_own_search.md",
}
"""Pages whose commands take a minute and more."""


def names_written_module(text: str) -> bool:
    return any(re.search(rf"\b{module}:\w", text) for module in WRITTEN)


@pytest.fixture(scope="module")
def run_page(tmp_path_factory):
    """Runs a page in a fresh folder, which is returned; once per page.

    In the page's order, a block after ``<!-- file: NAME -->`` is written to a file, one after
    ``<!-- more of: NAME -->`` is appended to it, and one after ``<!-- tested -->`` is run.
    """
    folders: dict[Path, Path] = {}

    def run(page: Path) -> Path:
        if page not in folders:
            folders[page] = tmp_path_factory.mktemp(page.stem)
            for block in blocks(page):
                _process(block, folders[page])
        return folders[page]

    return run


def _process(block: dict[str, str], folder: Path) -> None:
    kind, _, file = block["mark"].partition(": ")
    if kind == "file":
        (folder / file).write_text(block["text"], encoding="utf-8")
    elif kind == "more of":
        with (folder / file).open("a", encoding="utf-8") as opened:
            opened.write("\n" + block["text"])
    elif kind == "tested":
        _run(block["text"], folder)


def _run(commands: str, folder: Path) -> None:
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "WANDB_MODE": "disabled",
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[pytest.mark.slow] * (name(page) in LONG), id=name(page))
        for page in TESTED
    ],
)
def test_the_commands_of_a_page_run(run_page, page):
    run_page(page)


def test_the_pages_for_a_new_user_have_commands_that_run():
    tutorials = {path for path in PAGES if path.parent.name == "tutorials"}
    assert tutorials | {ROOT / "README.md"} <= set(TESTED)


@pytest.mark.parametrize("words", LINES.values(), ids=LINES.keys())
def test_every_command_line_is_one_that_the_program_takes(words):
    options = cli.build_parser(cli.command_modules()).parse_args(words)
    if (
        options.command == "train"
        and options.config in config_folder.names(config.FOLDER)
        and not names_written_module(" ".join(options.overrides))
    ):
        config.load(options.config, options.overrides)
    action = words[1] if options.command == "supervised" else ""
    known = config_folder.names(supervised.FOLDER)
    if action in ("train", "tune") and options.config in known:
        supervised.load(options.config, options.overrides)
    if action == "tune":
        tune.choose_candidates(tune_options(options))
    for spec in [*getattr(options, "players", []), getattr(options, "player", None) or "random"]:
        players.parse(spec)
    game = getattr(options, "game", None)
    if game and not names_written_module(game):
        games.make(game)


def test_the_page_of_commands_has_the_options_of_the_commands_on_it_and_no_others():
    lines = [line for line in text("docs/reference/commands.md").splitlines() if line[:3] == "| `"]
    wrong = []
    for command, parser in parsers(cli.build_parser(cli.command_modules())):
        rows = [line for line in lines if line.startswith((f"| `{command} ", f"| `{command}`"))]
        written = set(re.findall(r"--[a-z][a-z-]*", " ".join(row.split(" | ")[0] for row in rows)))
        taken = set(parser._option_string_actions) - {"-h", "--help", "--version"}
        wrong += [f"{command} {option}" for option in sorted(written ^ taken) if rows]
    assert wrong == []


def parsers(
    parser: argparse.ArgumentParser, path: str = ""
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every command without subcommands of its own, as it is typed, and its parser."""
    choices = [a.choices for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    for word, below in (item for choice in choices for item in choice.items()):
        yield from parsers(below, f"{path} {word}".strip())
    if not choices:
        yield path, parser


@pytest.mark.parametrize(
    ("page", "run"),
    [
        ("docs/tutorials/first_agent.md", "tried"),
        pytest.param("docs/supervised.md", "mlp", marks=pytest.mark.slow),
    ],
)
def test_every_metric_of_a_run_is_explained(run_page, page, run):
    lines = (run_page(ROOT / page) / f"runs/{run}/metrics.jsonl").read_text().splitlines()
    metrics = {key for line in lines for key in json.loads(line)}
    assert metrics <= set(re.findall(r"`([\w/]+)`", text("docs/reference/metrics.md")))


@pytest.mark.parametrize(
    ("page", "file", "command"),
    [
        pytest.param("docs/agents.md", "info.json", "agents info", marks=pytest.mark.slow),
        ("docs/reference/commands.md", "arena.json", "arena"),
        ("docs/reference/commands.md", "rating.json", "ladder"),
        ("docs/reference/commands.md", "mistakes.json", "evaluate"),
        pytest.param(
            "docs/supervised.md", "test.json", "supervised evaluate", marks=pytest.mark.slow
        ),
        pytest.param(
            "docs/supervised.md", "answers.json", "supervised predict", marks=pytest.mark.slow
        ),
    ],
)
def test_every_json_key_is_named(run_page, page, file, command):
    content = json.loads((run_page(ROOT / page) / file).read_text())
    result = content[0] if isinstance(content, list) else content
    lines = text("docs/reference/commands.md").splitlines()
    line = next(line for line in lines if line.startswith(f"| `{command}` |"))
    assert result.keys() <= set(re.findall(r"`(\w+)`", line))


def test_the_pages_of_settings_are_current():
    maker = runpy.run_path(str(ROOT / "docs/settings_page.py"))
    for path, (kind, introduction) in maker["PAGES"].items():
        assert path.read_text(encoding="utf-8") == maker["page"](kind, introduction), (
            f"{path.name} is out of date: run python docs/settings_page.py"
        )


def test_every_setting_has_a_meaning():
    rows = [row for page in PAGES if page.name.endswith("settings.md") for row in _rows(page)]
    assert [row for row in rows if row.endswith("|  |") and not row.startswith("| `kind`")] == []


def _rows(page: Path) -> list[str]:
    return [line for line in page.read_text(encoding="utf-8").splitlines() if line[:3] == "| `"]


def test_the_board_in_the_readme_is_drawn_from_the_agents_analysis():
    maker = runpy.run_path(str(ROOT / "docs/board_picture.py"))
    stones, columns = maker["analyse"](maker["MOVES"])
    drawn, committed = (
        ElementTree.fromstring(source)
        for source in (maker["draw"](stones, columns), text("docs/board.svg"))
    )
    assert (stones > 0).sum() == len(maker["MOVES"])
    assert [column.is_best for column in columns].count(True) == 1
    # The values may differ in the last digit between machines; all else may not.
    assert len(drawn) == len(committed)
    assert [part.attrib for part in drawn.iter("{*}circle")] == [
        part.attrib for part in committed.iter("{*}circle")
    ]


def test_the_map_names_the_files_of_the_source_and_no_others():
    page = text("docs/design.md").partition("A map of the source")[2].partition("\n## ")[0]
    on_map, folder = set(), ""
    for line in page.splitlines():
        if re.match(r"[a-z]\S*/", line):
            folder = line.split()[0]
        elif re.match(r"  \w+\.py ", line):
            on_map.add(folder + line.split()[0])
    files = (
        path for room in ("games", "alphazero", "workers") for path in (ROOT / room).rglob("*.py")
    )
    source = {name(file) for file in files if file.parent != ROOT / "workers/commands"}
    assert on_map <= source
    assert {file for file in source - on_map if not file.endswith("__init__.py")} == set()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_file_that_a_page_refers_to_exists(page):
    content = BLOCK.sub("", page.read_text(encoding="utf-8"))
    links = re.findall(r"\]\(([^):#]+)(?:#[^)]*)?\)", content)
    tests = re.findall(r"`(test_\w+\.py)`", content)
    missing = [link for link in links if not (page.parent / link).exists()]
    missing += [test for test in tests if not (ROOT / "tests" / test).exists()]
    if not {"decisions", "changelog.md"} & {*page.parts} and page.name != "CHANGELOG.md":
        paths = re.findall(
            r"`((?:alphazero|workers|games|configs|docs|tests)/[a-z0-9_./]+)`", content
        )
        missing += [path for path in paths if not (ROOT / path).exists()]
    assert missing == []


def test_the_readme_is_short():
    assert len(text("README.md").splitlines()) <= 200


def test_the_site_builds_without_a_warning(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "tutorials/your_own_game/index.html").exists()
    assert "fonts.googleapis" not in (tmp_path / "index.html").read_text(encoding="utf-8")
