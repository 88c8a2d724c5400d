"""The package: its name, the wheel that users install, the editable install, line ends."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import alphazero
from alphazero import agents, checkpoint

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PACKAGES = ("alphazero", "configs", "games", "workers")
FILES = {".py", ".typed", ".yaml", ".json", ".md", ".safetensors"}
"""Kinds of files that a wheel holds."""


def build(kind: str, source: Path, to: Path) -> zipfile.ZipFile:
    """Build a wheel offline, with the hatchling of this environment."""
    pytest.importorskip("hatchling", reason="hatchling comes with the extra dev")
    code = f"import sys; from hatchling.build import {kind}; print({kind}(sys.argv[1]))"
    command = [sys.executable, "-c", code, str(to)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return zipfile.ZipFile(to / done.stdout.split()[-1])


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of the source after some use: with compiled files, a run and a test in it."""
    source = tmp_path_factory.mktemp("source")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        for folder in {path.parent for path in (source / name).rglob("*.py")}:
            (folder / "__pycache__").mkdir()
            (folder / "__pycache__/compiled.cpython-311.pyc").touch()
            (folder / "__pycache__/kernels.step-1.py311.1.nbc").touch()
    for path in ("runs/first/config.yaml", "tests/test_first.py", "wandb/log.py", "build/lib.py"):
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).touch()
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, source)
    return source


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory):
    with build("build_wheel", source, tmp_path_factory.mktemp("wheel")) as wheel:
        yield wheel


def metadata(wheel: zipfile.ZipFile):
    (name,) = (name for name in wheel.namelist() if name.endswith("dist-info/METADATA"))
    return message_from_bytes(wheel.read(name))


def test_the_wheel_holds_every_file_of_the_four_packages_and_nothing_else(source, wheel):
    expected = {
        path.relative_to(source).as_posix()
        for name in PACKAGES
        for path in (source / name).rglob("*")
        if path.suffix in (*FILES, ".js") or (path.is_file() and "page" in path.parts)
    }
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == expected
    assert "workers/runs/__init__.py" in packed  # what is ignored is the folder runs/ at the top
    assert {f"{name}/py.typed" for name in ("alphazero", "games", "workers")} <= packed


def test_the_agents_are_in_the_wheel(wheel):
    packed = set(wheel.namelist())
    for folder in map(agents.find, agents.names()):
        files = (checkpoint.WEIGHTS, checkpoint.CONFIG, checkpoint.MANIFEST, agents.CARD)
        assert {f"alphazero/agents/{folder.name}/{file}" for file in files} <= packed


def test_the_distribution_has_a_name_of_its_own_and_the_version_of_the_import(wheel):
    result = metadata(wheel)
    assert result["Name"] == "distributed-alphazero"
    assert result["Version"] == alphazero.__version__
    assert result["Requires-Python"] == ">=3.11"
    assert result["License-Expression"] == "Apache-2.0"
    assert "Typing :: Typed" in result.get_all("Classifier")
    (name,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "alphazero = alphazero.__main__:main" in wheel.read(name).decode()


def test_an_extra_that_includes_another_names_this_distribution():
    texts = [text for extra in PROJECT["optional-dependencies"].values() for text in extra]
    requirements = [Requirement(text) for text in texts]
    own = [requirement for requirement in requirements if "alphazero" in requirement.name]
    assert own
    for requirement in own:
        assert requirement.name == PROJECT["name"]
        assert requirement.extras <= PROJECT["optional-dependencies"].keys()


def test_the_package_index_accepts_the_wheel(wheel):
    pytest.importorskip("twine", reason="twine comes with the extra dev")
    command = [sys.executable, "-m", "twine", "check", "--strict", wheel.filename]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_editable_install_is_one_path_without_an_import_hook(source, tmp_path):
    with build("build_editable", source, tmp_path) as wheel:
        (path,) = (name for name in wheel.namelist() if ".dist-info/" not in name)
        assert path.endswith(".pth")
        assert Path(wheel.read(path).decode().strip()) == source


def test_no_text_tells_to_install_the_project_of_the_same_name_from_the_package_index():
    paths = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "Makefile"]
    for folder in (*PACKAGES, "docs", "notebooks", "tests"):
        paths += (path for path in (ROOT / folder).rglob("*") if path.suffix in (*FILES, ".ipynb"))
    wrong = re.compile(r"(?<![-\w])alphazero\[|pip install (-\S+ )*['\"]?alphazero\b")
    for path in paths:
        if path != Path(__file__) and path.suffix != ".safetensors":
            assert not wrong.search(path.read_text(encoding="utf-8")), path


def test_the_constraints_pin_every_dependency_inside_its_range():
    pins = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        name, _, version = line.partition("==")
        pins[canonical(name)] = version
    extras = PROJECT["optional-dependencies"].values()
    for text in [*PROJECT["dependencies"], *(text for extra in extras for text in extra)]:
        requirement = Requirement(text)
        if requirement.name != PROJECT["name"]:
            assert requirement.specifier.contains(pins[canonical(requirement.name)]), text


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def attributes(*paths: str) -> dict[tuple[str, str], str]:
    """Git's attributes ``text`` and ``eol`` of the paths."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "check-attr", "text", "eol", "--", *paths]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    rows = (line.rsplit(": ", 2) for line in done.stdout.splitlines())
    return {(path, name): value for path, name, value in rows}


def test_git_leaves_hashed_files_alone_and_gives_executed_ones_unix_line_ends():
    hashed = [
        (Path("alphazero/agents") / agents.find(name).name / file).as_posix()
        for name in agents.names()
        for file in (checkpoint.WEIGHTS, checkpoint.CONFIG, checkpoint.MANIFEST)
    ]
    executed = [".ci/run", "Makefile", "README.md", "Dockerfile", "notebooks/02_mnist.ipynb"]
    result = attributes(*hashed, *executed)
    assert {result[path, "text"] for path in hashed} == {"unset"}
    assert {result[path, "eol"] for path in executed} == {"lf"}
