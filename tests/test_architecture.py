"""The rules of imports and sizes, checked on every file of the packages."""

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
"""Top-level packages that a package may not import."""

COMMAND = "alphazero.__main__"
"""``python -m alphazero`` is the command line: the one module that imports from above."""

FLOORS = (
    {"terminal"}, {"node"}, {"cluster"}, {"runs"}, {"supervised", "serve", "bench", "engines"},
    {"web"},
    {"commands"}, {"cli"},
)  # fmt: skip
"""The parts of ``workers``, lowest first: each imports from lower ones only."""

FRONT_DOOR = "alphazero"
"""``alphazero/__init__.py``: exports the judging functions to users."""

CLEAN = ("alphazero", "games", "alphazero.config", "alphazero.search", "alphazero.nn.settings",
         "workers.cli", "workers.commands.train")  # fmt: skip
"""Modules that must be imported without any of ``HEAVY``."""

LONGEST, LONGEST_WITH_REASON = 380, 800
"""Lines of a file; a kernel or the rules of a game may be longer where its docstring says why."""


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[str]:
    """Every module that ``path`` imports, at any depth; ``from a import b`` is ``a.b``."""
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
    name = module_name(path)
    room = name.partition(".")[0]
    wrong = {other for other in imports(path) if other.partition(".")[0] in FORBIDDEN[room]}
    assert name == COMMAND or not wrong


def floor(name: str) -> int | None:
    """The height of a module of ``workers``; None for one that belongs to no floor."""
    part = name.split(".")[1] if name.startswith("workers.") else None
    return next((height for height, parts in enumerate(FLOORS) if part in parts), None)


@each_file
def test_parts_of_workers_import_lower_parts_only(path):
    name = module_name(path)
    if (own := floor(name)) is None:
        return
    part = name.split(".")[1]
    wrong = {
        other for other in imports(path)
        if (height := floor(other)) is not None and height >= own and other.split(".")[1] != part
    }  # fmt: skip
    assert not wrong


def test_every_module_of_workers_has_a_floor():
    names = [module_name(path) for path in FILES if module_name(path).startswith("workers.")]
    assert [name for name in names if floor(name) is None] == []


@each_file
def test_the_algorithm_imports_the_contract_and_no_concrete_game(path):
    name = module_name(path)
    if name.partition(".")[0] != "alphazero":
        return
    allowed = {"games.base", "games.drawing", "games.history", "games.spec", "games.compiling"}
    if name.startswith("alphazero.judging"):  # with exact answers, and with pictures of positions
        allowed |= {"games.solvers", "games.svg"}
    if name == "alphazero.judging.environments":  # other libraries' learners play against players
        allowed |= {"games.as_gymnasium", "games.as_pettingzoo"}
    concrete = {
        other
        for other in imports(path)
        if other.startswith("games.")
        and is_module(".".join(other.split(".")[:2]))
        and ".".join(other.split(".")[:2]) not in allowed
    }
    assert not concrete


@each_file
def test_nothing_that_learns_imports_what_judges(path):
    name = module_name(path)
    if name == FRONT_DOOR or not name.startswith("alphazero."):
        return
    judging = {other for other in imports(path) if other.startswith("alphazero.judging")}
    assert name.startswith("alphazero.judging") or not judging


@each_file
def test_the_network_toolkit_and_what_is_built_on_it_alone_stay_apart(path):
    name, own = module_name(path), "alphazero.nn"
    if not name.startswith((own, "alphazero.supervised")):
        return
    below = (own, "alphazero.ranges")
    if name.startswith("alphazero.supervised"):
        below += ("alphazero.supervised", "alphazero.sealed", "alphazero.config_file",
                  "alphazero.config_folder", "alphazero.errors", "alphazero.packages",
                  "alphazero.plain_yaml", "alphazero.unpacking",
                  "alphazero.stored_config")  # fmt: skip
    wrong = {
        n for n in imports(path)
        if n.startswith("alphazero.") and not n.startswith(below) and is_module(n)
    }  # fmt: skip
    assert not wrong
    games = {n for n in imports(path) if n.partition(".")[0] == "games"}
    assert games <= {"games.compiling"}  # the decorator of compiled functions


@each_file
def test_no_package_imports_tests_or_notebooks(path):
    assert not {n for n in imports(path) if n.partition(".")[0] in ("tests", "notebooks")}


RUN = [
    *(ROOT / "alphazero").glob("*.py"), *(ROOT / "workers/cluster").glob("*.py"),
    *(
        ROOT / f"workers/bench/{name}.py"
        for name in ("fleet", "selfplay", "synthetic", "capacity", "transport")
    ),
]  # fmt: skip
"""Files that play, store or train for a run."""


@pytest.mark.parametrize(
    "path",
    [path for path in RUN if path.stem not in ("parts", "config", "config_checks")],
    ids=module_name,
)
def test_a_run_takes_its_game_and_its_search_from_one_module(path):
    """``alphazero.parts``, which can replace them for every process of a run."""
    makes = [
        node.lineno
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr) in {("games", "make"), ("config", "search"),
                                           ("chosen", "search"), ("settings", "search")}
    ]  # fmt: skip
    assert makes == []


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
    folders = {line.split("/")[0] for line in listed.stdout.splitlines() if "/" in line}
    assert {name for name in folders if not name.startswith(".")} <= FOLDERS


def may_be_long(path: Path) -> bool:
    """Whether the file is a kernel or a game's rules, and its docstring says why it is long."""
    reason = "long because" in " ".join((ast.get_docstring(tree(path)) or "").split()).lower()
    kernels = any("jit" in ast.unparse(d) for node in functions(path) for d in node.decorator_list)
    return reason and (kernels or path.parent.name == "games")


@each_file
def test_no_file_has_more_than_380_lines_of_at_most_100_characters_unless_it_says_why(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    longest = LONGEST_WITH_REASON if may_be_long(path) else LONGEST
    assert len(lines) <= longest
    assert not [number for number, line in enumerate(lines, 1) if len(line) > 100]


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if path.parent.name == "games" and path.name != "__init__.py"],
    ids=module_name,
)
def test_a_game_has_at_most_150_lines_unless_it_says_why(path):
    is_game = any(
        isinstance(node, ast.ClassDef) and any(getattr(b, "id", "") == "Game" for b in node.bases)
        for node in tree(path).body
    )
    short = len(path.read_text(encoding="utf-8").splitlines()) <= 150
    assert not is_game or short or may_be_long(path)


@each_file
def test_no_function_has_more_than_60_lines_or_5_required_parameters(path):
    for node in functions(path):
        assert length(node) <= 60, node.name
        given = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
        required = len([name for name in given if name not in ("self", "cls")])
        required -= len(node.args.defaults)
        decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
        # A kernel takes its arrays one by one: Numba compiles no records of arrays.
        kernel = any("jit" in decorator for decorator in decorators)
        assert kernel or required <= 5, f"{node.name} has {required} required parameters"


def test_most_functions_are_short():
    lengths = sorted(length(node) for path in FILES for node in functions(path))
    assert statistics.median(lengths) <= 10
    assert lengths[int(0.9 * len(lengths))] <= 30


def test_no_function_branches_more_than_ten_ways():
    command = [sys.executable, "-m", "ruff", "check", "--select", "C901", *ROOMS]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("module", CLEAN)
def test_modules_that_commands_load_first_import_no_heavy_library(module):
    code = f"import sys, {module}; print(*({HEAVY} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == []
