"""The house rules of imports and sizes, checked on every file of the three rooms."""

import ast
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("games", "alphazero", "workers")
FOLDERS = {*ROOMS, "configs", "tests", "notebooks", "docs"}
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "manager"}
FILES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
HEAVY = {"torch", "ray", "wandb"}

FORBIDDEN = {
    "games": {"alphazero", "workers", *HEAVY},
    "alphazero": {"workers", "ray", "wandb"},
    "workers": set(),
}
"""Top-level packages that a room may not import; everyone may import what is below."""

SOLVERS_WELCOME = {
    "alphazero.judging.players",
    "alphazero.judging.mistakes",
    "alphazero.judging.ladder",
}
"""Judges compare with exact answers; nothing that learns may see them."""

CLEAN = ("games", "alphazero.config", "alphazero.search", "alphazero.nn.settings", "workers.cli")
"""What must be imported without any of ``HEAVY``."""


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[str]:
    """Every module ``path`` imports, at any depth; ``from a import b`` counts as ``a.b`` too."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            source = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{source}.{alias.name}" for alias in node.names)


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def each_file(test):
    return pytest.mark.parametrize("path", FILES, ids=module_name)(test)


@each_file
def test_imports_point_down(path):
    room = module_name(path).partition(".")[0]
    wrong = {name for name in imports(path) if name.partition(".")[0] in FORBIDDEN[room]}
    assert not wrong


@each_file
def test_the_algorithm_knows_the_contract_and_no_concrete_game(path):
    name = module_name(path)
    if name.partition(".")[0] != "alphazero":
        return
    allowed = {"games.base", "games.spec"}
    allowed |= {"games.solvers"} if name in SOLVERS_WELCOME else set()
    concrete = {
        other
        for other in imports(path)
        if other.startswith("games.")
        and is_module(".".join(other.split(".")[:2]))
        and ".".join(other.split(".")[:2]) not in allowed
    }
    assert not concrete


@each_file
def test_the_network_toolkit_and_what_is_built_on_it_alone_stay_apart(path):
    name, own = module_name(path), "alphazero.nn"
    if not name.startswith((own, "alphazero.supervised")):
        return
    below = (own,)
    if name.startswith("alphazero.supervised"):
        below += ("alphazero.supervised", "alphazero.sealed", "alphazero.config_file")
    wrong = {
        n for n in imports(path)
        if n.startswith("alphazero.") and not n.startswith(below) and is_module(n)
    }  # fmt: skip
    assert not wrong
    assert not {n for n in imports(path) if n.partition(".")[0] == "games"}


@each_file
def test_nobody_imports_tests_or_notebooks(path):
    assert not {n for n in imports(path) if n.partition(".")[0] in ("tests", "notebooks")}


def test_no_cycle_of_imports_when_modules_load():
    """Imports inside functions and for type checkers are not followed: they run later or never."""
    graph = {module_name(path): set() for path in FILES}
    for path in FILES:
        for node in tree(path).body:
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                continue
            for name in names:
                target = name if name in graph else name.rpartition(".")[0]
                graph[module_name(path)] |= {target} & set(graph)
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join([*trail, name])
        if name not in done:
            for other in graph[name] - {name}:
                visit(other, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


@each_file
def test_a_modules_name_says_what_it_is_about(path):
    assert not VAGUE & set(path.relative_to(ROOT).with_suffix("").parts)


def test_only_the_folders_of_the_design_exist():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    found = {line.split("/")[0] for line in listed.stdout.splitlines() if "/" in line}
    assert {name for name in found if not name.startswith(".")} <= FOLDERS


LONGER = {"alphazero.search.kernels"}
"""Files that say in their first lines why they are not split."""


@each_file
def test_no_file_has_more_than_400_lines_of_at_most_100_characters(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 400 or module_name(path) in LONGER
    assert not [number for number, line in enumerate(lines, 1) if len(line) > 100]


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if path.parent.name == "games" and path.name != "__init__.py"],
    ids=module_name,
)
def test_a_game_has_at_most_150_lines(path):
    is_game = any(
        isinstance(node, ast.ClassDef) and any(getattr(b, "id", "") == "Game" for b in node.bases)
        for node in tree(path).body
    )
    assert not is_game or len(path.read_text(encoding="utf-8").splitlines()) <= 150


@each_file
def test_no_function_has_more_than_60_lines_or_5_required_parameters(path):
    for node in functions(path):
        assert length(node) <= 60, node.name
        given = [each.arg for each in (*node.args.posonlyargs, *node.args.args)]
        required = len([name for name in given if name not in ("self", "cls")])
        required -= len(node.args.defaults)
        decorators = {ast.unparse(each) for each in node.decorator_list}
        # A kernel takes its arrays one by one: Numba compiles no records of arrays.
        kernel = any("jit" in each for each in decorators)
        assert kernel or required <= 5, f"{node.name} has {required} required parameters"


def test_most_functions_are_short():
    lengths = sorted(length(node) for path in FILES for node in functions(path))
    assert statistics.median(lengths) <= 10
    assert lengths[int(0.9 * len(lengths))] <= 30


def test_no_function_branches_more_than_ten_ways():
    command = [sys.executable, "-m", "ruff", "check", "--select", "C901", *ROOMS]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("module", CLEAN)
def test_what_answers_at_once_imports_no_heavy_library(module):
    code = f"import sys, {module}; print(*({HEAVY} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
