"""The notebooks run from top to bottom in a clean kernel, and are committed with their outputs."""

import ast
import base64
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
image = pytest.importorskip("matplotlib.image")

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "notebooks"
SCRIPT = FOLDER / "execute.py"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
PICTURE = re.compile(r'"(\d\d_\w+)(?:\.png)?"')
MACHINE = re.compile(r"(?<![\w.])/(?:work|tmp|root|home|Users|usr|opt|mnt|var|private)/|[A-Z]:\\\\")
"""The beginning of a path that exists on one machine only."""
LONGEST_CELL = 46
LARGEST = 450_000
"""Bytes of a notebook with its pictures."""

for_each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(path: Path) -> list:
    cells = nbformat.read(path, as_version=4).cells
    return [cell for cell in cells if cell.cell_type == "code"]


def code(path: Path) -> list[str]:
    return [cell.source for cell in code_cells(path)]


def environment(folder: Path) -> dict[str, str]:
    """Small settings, one thread, no data but what comes along, nothing left in the home folder."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("ALPHAZERO_")}
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return kept | {
        "ALPHAZERO_NOTEBOOK_SMALL": "1",
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(folder / "jupyter"),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(paths),
    }


def shades(picture: Path | io.BytesIO) -> int:
    """How many different colours a picture has."""
    pixels = (image.imread(picture, "png")[:, :, :3] * 255).astype(np.uint8)
    return len(np.unique(pixels.reshape(-1, 3), axis=0))


def calls(source: str) -> set[str]:
    """The names of the functions that a cell calls itself, outside of functions it defines."""
    nodes, names = [ast.parse(source)], set()
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda):
            continue
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            names.add(node.func.id)
        nodes += ast.iter_child_nodes(node)
    return names


def printed(cell) -> str:
    """The text on stdout among the outputs of a cell."""
    streams = [output for output in cell.outputs if output.output_type == "stream"]
    return "".join(output.text for output in streams if output.name == "stdout")


def pictures(cell) -> list[bytes]:
    """The PNG files among the outputs of a cell."""
    data = [output.data for output in cell.outputs if "data" in output]
    return [base64.b64decode(item["image/png"]) for item in data if "image/png" in item]


def has_board(cell) -> bool:
    """Whether one of the outputs of a cell is a picture of a board."""
    return any("image/svg+xml" in output.get("data", {}) for output in cell.outputs)


def texts(output) -> list[str]:
    """Everything in an output that is not a picture."""
    data = output.get("data", {})
    return [output.get("text", ""), *(str(data[kind]) for kind in data if kind != "image/png")]


def test_there_are_seven_numbered_notebooks():
    assert [path.name[:3] for path in NOTEBOOKS] == [f"0{number}_" for number in range(1, 8)]


@pytest.mark.slow
@pytest.mark.timeout(660)
@for_each_notebook
def test_a_notebook_runs_and_saves_its_pictures(path, tmp_path):
    copied = shutil.copy(path, tmp_path)
    # In a process of its own: Jupyter's sockets and event loops warn in their own ways, and late.
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(copied)],
        env=environment(tmp_path), capture_output=True, text=True, timeout=650, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-5000:]
    named = set(PICTURE.findall("\n".join(code(path))))
    written = {picture.stem: picture for picture in (tmp_path / "pictures").glob("*.png")}
    assert named
    assert named == written.keys()
    assert [name for name, picture in written.items() if shades(picture) < 30] == []
    check_outputs(copied)
    if not any("ALPHAZERO_NOTEBOOK_SMALL" in source for source in code(path)):
        # The same settings as in the committed notebook, so that outputs of older code are seen.
        before, after = code_cells(path), code_cells(copied)
        assert [printed(cell) for cell in after] == [printed(cell) for cell in before]


@for_each_notebook
def test_a_notebook_is_committed_with_its_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"
    assert path.stat().st_size <= LARGEST
    check_outputs(path)


def check_outputs(path: Path) -> None:
    """Each cell was run in order, and left what it prints and plots, and nothing else."""
    cells = code_cells(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        called = calls(cell.source)
        assert bool(printed(cell)) == ("print" in called), cell.id
        assert has_board(cell) == ("alphazero.show(" in cell.source), cell.id
        assert bool(pictures(cell)) == bool({"keep", "Image"} & called), cell.id
        assert [file for file in pictures(cell) if shades(io.BytesIO(file)) < 20] == [], cell.id
        for output in cell.outputs:
            assert output.output_type != "error", cell.id
            assert output.get("name") != "stderr", (cell.id, output.text)
            wrong = [text for text in texts(output) if MACHINE.search(text)]
            assert wrong == [], cell.id
        assert cell.metadata == {}, cell.id


@for_each_notebook
def test_the_cells_of_a_notebook_are_short_and_explained(path):
    notebook = nbformat.read(path, as_version=4)
    assert notebook.cells[0].cell_type == "markdown"
    assert notebook.cells[0].source.startswith(f"# {int(path.stem[:2])}. ")
    assert max(len(source.splitlines()) for source in code(path)) <= LONGEST_CELL
    explained = [cell for cell in notebook.cells if cell.cell_type == "markdown"]
    assert len(explained) >= len(code(path)) / 2


def test_games_are_trained_and_analysed_by_the_public_functions():
    used = {path.name[:2]: "\n".join(code(path)) for path in NOTEBOOKS}
    for name in ("load_config", "train", "load_agent", "play_match"):
        assert f"alphazero.{name}(" in used["05"]
        assert f"alphazero.{name}(" in used["07"]
    assert "alphazero.register_game(" in used["07"]
    for number in ("05", "06", "07"):
        assert ".analyse(" in used[number]
        for part in ("Learner", "Replay", "LocalFleet", "loop.Run", "NetworkEvaluator"):
            assert part not in used[number]


def test_the_code_of_the_notebooks_keeps_to_the_style_of_the_project():
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, *map(str, NOTEBOOKS), str(SCRIPT)],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("text", "is_path"),
    [
        ("loaded /tmp/pytest-1/run", True), ("in '/home/me/runs'", True), ("/root/x", True),
        ("File /work/main/games/base.py", True), ("runs/chomp", False), ("1/2 of /s", False),
        ("a/tmp/b", False),
    ],
)  # fmt: skip
def test_a_path_of_a_machine_is_recognized(text, is_path):
    assert bool(MACHINE.search(text)) == is_path


def test_only_the_calls_that_a_cell_makes_itself_count():
    source = "def f():\n    print(1)\nfor x in y:\n    keep(x)\nresult.print(2)\n"
    assert calls(source) == {"keep"}
