"""Run notebooks from top to bottom in a new kernel and save them with their outputs.

    python notebooks/execute.py                               # all of them, in place
    python notebooks/execute.py notebooks/07_your_own_game.ipynb

Times of execution and versions are left out of the files, and pictures are stored with a palette
of 64 colours, a third of their size, so that two runs of one notebook differ in little.
"""

import base64
import io
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

COLOURS = 64


def execute(path: Path) -> None:
    """Run the notebook at ``path`` in its own folder, and save it with the outputs.

    ``nbclient.exceptions.CellExecutionError``: a cell raised an error; nothing is saved.
    """
    notebook = nbformat.read(path, as_version=4)
    folder = {"metadata": {"path": str(path.parent)}}
    client = NotebookClient(
        notebook,
        timeout=900,
        kernel_name="python3",
        resources=folder,
        record_timing=False,
        coalesce_streams=True,
    )
    client.execute()
    notebook.metadata["language_info"] = {"name": "python"}
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            picture = output.get("data", {}).get("image/png")
            if picture:
                output["data"]["image/png"] = smaller(picture)
    path.write_text(nbformat.writes(notebook), encoding="utf-8", newline="\n")


def smaller(picture: str) -> str:
    """A PNG in base64 with at most ``COLOURS`` colours."""
    with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
        reduced = image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    file = io.BytesIO()
    reduced.save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


if __name__ == "__main__":
    named = [Path(argument) for argument in sys.argv[1:]]
    for notebook in named or sorted(Path(__file__).parent.glob("*.ipynb")):
        print(notebook, flush=True)
        execute(notebook.resolve())
