"""Plain words: the rules of CONTRIBUTING's "Words" that can be checked without a reader."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SELF = Path(__file__).relative_to(ROOT)
PACKAGES = ("alphazero", "games", "workers", "configs", "tests", "docs", "notebooks")
PROSE = {".py", ".md", ".yaml", ".yml", ".toml", ".ipynb"}

PERSONS = r"\b(?:who|any|every|some|no)(?:ever|body|soever)\b"
"""Modules are not persons; a sentence names the part of the program or the user that it means."""

UNIT = r"evaluations?|simulations?|games?|positions?|samples?|steps?|requests?|moves?|batch(?:es)?"
PER = r"second|minute|hour|simulation|core|position|game|move|batch|step|worker|node|epoch|ply"
RATE = rf"\b(?:{UNIT}|ms|milliseconds|seconds|minutes|bytes|MB) an? (?:{PER})\b"

PRIVATE = {
    "Memory", "Remembering", "Question", "_go_on", "_Seat", "Watchdog", "_wish", "_mend", "_tell",
    "_hear", "_judge", "Descent", "descend", "Course", "Copy", "TorchCopy", "OpenVINOCopy",
    "BucketedCopy", "AT_ONCE", "leaves_alone", "unsearching", "searching", "for_play", "prefer",
    "begin_with", "plant", "choosable", "BEHIND", "HOPELESS", "_called", "Met", "WORTH", "BEYOND",
    "heights", "aim", "artist", "critic", "_fool", "Asked", "Thought", "think", "crowded",
    "_knock", "found", "each", "asked", "told",
}  # fmt: skip
"""Names that had a meaning in this project only, and names that say nothing of their value."""


def tracked(*suffixes: str) -> list[Path]:
    """The files of the checkout with one of these endings, relative to its root."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    paths = (Path(line) for line in listed.stdout.splitlines())
    return [p for p in paths if p.suffix in suffixes and p != SELF and (ROOT / p).is_file()]


DATA = {Path("alphazero/supervised/corpus.py"): r'^\s+"'}
"""Lines of a file that are data, not prose: the sentences of a made-up text corpus."""


def lines(pattern: str) -> list[str]:
    """Every line of code and prose that matches, as ``path:number: line``."""
    expression = re.compile(pattern, re.IGNORECASE)
    return [
        f"{path}:{number}: {line.strip()}"
        for path in tracked(*PROSE)
        for number, line in enumerate((ROOT / path).read_text(encoding="utf-8").splitlines(), 1)
        if expression.search(line) and not (path in DATA and re.match(DATA[path], line))
    ]


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in tracked(".py"):
        yield path, ast.parse((ROOT / path).read_text(encoding="utf-8"))


def docstrings() -> Iterator[tuple[str, str]]:
    """Docstrings of modules, classes and functions, and texts that stand below an attribute."""
    for path, tree in trees():
        for node in ast.walk(tree):
            body = getattr(node, "body", [])
            for statement in body if isinstance(body, list) else []:
                value = getattr(statement, "value", None)
                if not (isinstance(statement, ast.Expr) and isinstance(value, ast.Constant)):
                    continue
                if isinstance(value.value, str):
                    yield f"{path}:{statement.lineno}", value.value


def bound_names() -> Iterator[tuple[str, str]]:
    """Every name that code of ours gives to a variable, parameter, function or class."""
    for path, tree in trees():
        for node in ast.walk(tree):
            match node:
                case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                    yield f"{path}:{node.lineno}", name
                case ast.Attribute(attr=name, ctx=ast.Store()):
                    yield f"{path}:{node.lineno}", name
                case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                    yield f"{path}:{node.lineno}", name
                case ast.AsyncFunctionDef(name=name):
                    yield f"{path}:{node.lineno}", name


def test_no_line_speaks_of_persons_that_are_not_there():
    assert lines(PERSONS) == []


def test_rates_say_per():
    assert lines(RATE) == []


def test_no_docstring_begins_with_words_that_need_the_name_above_it():
    wrong = [f"{place}: {text[:60]}" for place, text in docstrings()
             if re.match(r"\s*(?:Of|What|That) ", text)]  # fmt: skip
    assert wrong == []


def test_names_are_the_terms_of_the_field():
    assert [f"{place}: {name}" for place, name in bound_names() if name in PRIVATE] == []
