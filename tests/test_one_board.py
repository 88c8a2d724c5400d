"""One board in the terminal, as SVG, as PNG, in a notebook and at Weights & Biases."""

import dataclasses
import io
import re

import numpy as np
import pytest
from drawn_cells import SPECS, colours, svg_cells, svg_rings, terminal_cells
from made_up_rows import random_record

import alphazero
import games
from games import raster, svg
from workers import cli
from workers.runs import pictures

ZOOM = 2
MOST_PLIES = 60


def shown_plies(record):
    """The plies before which a board of the game is sent to Weights & Biases."""
    last = len(record.rows) - 1
    return np.unique(np.linspace(0, last, pictures.BOARDS).round().astype(int)).tolist()


@pytest.mark.skipif(bool(raster.missing()), reason="resvg-py or Pillow is not installed")
@pytest.mark.parametrize("spec", SPECS)
def test_every_picture_of_a_board_has_the_cells_that_the_terminal_shows(spec, tmp_path, capsys):
    from PIL import Image

    game = games.make(spec)
    record = random_record(game, 5)
    record = dataclasses.replace(
        record, actions=record.actions[:MOST_PLIES], rows=record.rows[:MOST_PLIES]
    )
    sent = re.findall("<svg.*?</svg>", pictures.of_game(game, record).page)
    assert len(sent) == pictures.BOARDS
    for tracked, ply in zip(sent, shown_plies(record), strict=True):
        moves = [int(action) + 1 for action in record.actions[:ply]]
        last = moves[-1] - 1 if moves else None
        drawing = game.drawing(record.rows["state"][ply], last)
        owners = [owner for _, owner in terminal_cells(drawing)]
        files = [tmp_path / f"{ply}.svg", tmp_path / f"{ply}.png"]
        for file, zoom in zip(files, ([], ["--zoom", str(ZOOM)]), strict=True):
            played = " ".join(map(str, moves))
            assert cli.main(["draw", spec, played, "--to", str(file), *zoom]) == 0
        notebook = alphazero.show(game, moves)._repr_svg_()
        assert notebook
        texts = [text for text, _ in svg_cells(drawing)]
        for picture in (files[0].read_text(), notebook, tracked):
            assert svg_cells(drawing, picture) == list(zip(texts, owners, strict=True))
            assert svg_rings(drawing, picture) == sorted(set(drawing.last))
        image = np.asarray(Image.open(io.BytesIO(files[1].read_bytes())).convert("RGB"))
        assert colours(image, drawing, ZOOM * svg.UNIT) == owners
        shown = [text for text, _ in terminal_cells(drawing)]
        assert shown == [cell.text for cell in drawing.cells]
    assert capsys.readouterr().err == ""
