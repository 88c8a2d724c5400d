"""The page of faults names tests and scripts that exist, with the options that the scripts take."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/robustness.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`(tests/test_\w+\.py)::(test_\w+)`( \(slow\))?", PAGE)


def functions(file: str) -> dict[str, bool]:
    """The functions of a file, and whether each is marked slow as a whole."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {
        node.name: "pytest.mark.slow" in map(ast.unparse, node.decorator_list)
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
    }


def test_every_test_that_the_page_names_exists():
    assert [f"{file}::{name}" for file, name, _ in NAMED if name not in functions(file)] == []


def test_the_page_says_which_tests_are_slow():
    wrong = [name for file, name, slow in NAMED if functions(file).get(name) is not bool(slow)]
    assert wrong == []


def test_every_row_names_a_test():
    rows = [line for line in PAGE.splitlines() if line.startswith("| **")]
    assert {letter for row in rows for letter in row[4]} == set("ABCDEFG")
    assert [row for row in rows if not re.search(r"`tests/test_\w+\.py::test_\w+`", row)] == []


def test_every_script_that_the_page_runs_exists_and_takes_its_options():
    commands = re.findall(r"python (tests/benchmarks/\w+\.py)(.*)", PAGE)
    assert len(commands) >= 6
    for script, words in commands:
        source = (ROOT / script).read_text(encoding="utf-8")
        assert [word for word in re.findall(r"--\w+", words) if f'"{word}"' not in source] == []
