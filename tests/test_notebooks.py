"""The notebooks run from top to bottom in a clean kernel, and each leaves its pictures."""

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
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PICTURE = re.compile(r'"(\d\d_\w+)(?:\.png)?"')
LONGEST_CELL = 46

# A process of its own: Jupyter's sockets and event loops warn in their own ways, and late.
EXECUTE = """
import sys
import nbformat
from nbclient import NotebookClient

notebook = nbformat.read(sys.argv[1], as_version=4)
folder = {"metadata": {"path": sys.argv[2]}}
NotebookClient(notebook, timeout=600, kernel_name="python3", resources=folder).execute()
"""


def each_notebook(test):
    return pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)(test)


def code(path: Path) -> list[str]:
    cells = nbformat.read(path, as_version=4).cells
    return [cell.source for cell in cells if cell.cell_type == "code"]


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


def shades(path: Path) -> int:
    """How many different colours a picture has."""
    pixels = (image.imread(path)[:, :, :3] * 255).astype(np.uint8)
    return len(np.unique(pixels.reshape(-1, 3), axis=0))


def test_there_are_seven_numbered_ones():
    assert [path.name[:3] for path in NOTEBOOKS] == [f"0{number}_" for number in range(1, 8)]


@pytest.mark.timeout(660)
@each_notebook
def test_it_runs_and_leaves_its_pictures(path, tmp_path):
    copied = shutil.copy(path, tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", EXECUTE, str(copied), str(tmp_path)],
        env=environment(tmp_path), capture_output=True, text=True, timeout=650, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-5000:]
    named = set(PICTURE.findall("\n".join(code(path))))
    written = {picture.stem: picture for picture in (tmp_path / "pictures").glob("*.png")}
    assert named
    assert named == written.keys()
    assert [name for name, picture in written.items() if shades(picture) < 30] == []


@each_notebook
def test_it_is_committed_without_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"
    found = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.id for cell in found if cell.outputs or cell.execution_count is not None] == []


@each_notebook
def test_its_cells_are_short_and_explained(path):
    notebook = nbformat.read(path, as_version=4)
    assert notebook.cells[0].cell_type == "markdown"
    assert notebook.cells[0].source.startswith(f"# {int(path.stem[:2])}. ")
    assert max(len(source.splitlines()) for source in code(path)) <= LONGEST_CELL
    explained = [cell for cell in notebook.cells if cell.cell_type == "markdown"]
    assert len(explained) >= len(code(path)) / 2


def test_their_code_keeps_to_the_house_style():
    for command in (["check"], ["format", "--check"]):
        found = subprocess.run(
            [sys.executable, "-m", "ruff", *command, *map(str, NOTEBOOKS)],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert found.returncode == 0, found.stdout + found.stderr
