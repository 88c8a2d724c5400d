"""Check that ``games``, ``configs`` and ``workers`` are the packages installed with this one.

Their names are common: a folder or a file of the same name that Python finds first would be
imported instead. ``sys.path`` begins with the folder of the script, or with the current folder in
a notebook and for ``python -m``; Ray puts both at the front in its processes.
"""

import sys
from collections.abc import Iterable
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[1]
"""The folder in which ``alphazero`` and the packages beside it lie."""
BESIDE = ("games", "configs", "workers")
BAD_INPUT = 2
"""Exit status of a command for bad input."""


def check(*names: str) -> None:
    """``ImportError``, one line, where the first package of such a name is not ours.

    Nothing is imported. In the command ``alphazero`` and in ``python -m alphazero`` the line ends
    the program with exit status 2, without a traceback.
    """
    for name in names:
        if problem := _problem(name, _spec(name)):
            if _is_command():
                print(f"alphazero: error: {problem}", file=sys.stderr)
                raise SystemExit(BAD_INPUT)
            raise ImportError(problem, name=name)


def check_folders(folders: Iterable[str | Path], names: Iterable[str] = BESIDE) -> None:
    """``ValueError``, one line, where a package in one of ``folders`` would hide one of ours.

    For processes that search ``folders`` before everything else. A folder without an
    ``__init__.py`` hides nothing: a regular package further down the path is preferred.
    """
    paths = [str(folder) for folder in folders]
    for name in names:
        spec = PathFinder.find_spec(name, paths)
        if spec is not None and spec.origin is not None and (problem := _problem(name, spec)):
            raise ValueError(problem)


def _spec(name: str) -> ModuleSpec | None:
    try:
        return find_spec(name)
    except ValueError:  # a module made by hand is imported under this name: it has no spec
        return ModuleSpec(name, None, origin="a module of this process")


def _problem(name: str, spec: ModuleSpec | None) -> str:
    """The problem with the package that an import of ``name`` would give; "" for ours."""
    if spec is None:
        return f"the package {name!r}, which belongs to alphazero, is not installed beside it"
    places = list(spec.submodule_search_locations or ()) or [spec.origin or "a module"]
    if len(places) == 1 and _same(Path(places[0]), ROOT / name):
        return ""
    return (
        f"{places[0]} hides the package {name!r} of alphazero: "
        "rename it, or run this in another folder"
    )


def _same(one: Path, other: Path) -> bool:
    return one == other or one.resolve() == other.resolve()


def _is_command() -> bool:
    """Whether this process was started as ``alphazero`` or as ``python -m alphazero``.

    While ``python -m`` looks for the module, its name is not in ``sys.argv`` yet.
    """
    program = Path(sys.argv[0] if sys.argv else "")
    if program == Path("-m"):
        return "alphazero" in sys.orig_argv
    return program.stem == "alphazero" or program == ROOT / "alphazero" / "__main__.py"
