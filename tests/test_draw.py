"""``alphazero draw``, and one board in the terminal, as SVG, as pixels and as PNG."""

import io
import re

import numpy as np
import pytest
from drawn_cells import SPECS, colours, positions, svg_cells, terminal_cells

import games
from alphazero.judging import saved_games, session
from games import pixels, raster, svg
from workers import cli

OTHER_LIBRARIES = {"open_spiel", "pettingzoo", "gymnasium"}
needs_raster = pytest.mark.skipif(
    bool(raster.missing()), reason="resvg-py or Pillow is not installed"
)


def test_every_registered_game_of_ours_is_compared():
    assert {games.named(spec)[0] for spec in SPECS} == set(games.registered()) - OTHER_LIBRARIES


@pytest.mark.parametrize("spec", SPECS)
def test_terminal_svg_and_pixels_show_the_same_in_every_cell(spec):
    pytest.importorskip("PIL")
    for drawing in positions(spec):
        terminal, picture = terminal_cells(drawing), svg_cells(drawing)
        owners = [owner for _, owner in terminal]
        assert owners == [owner for _, owner in picture]
        assert owners == colours(pixels.render(drawing), drawing, svg.UNIT)
        for cell, (shown, _), (text, _) in zip(drawing.cells, terminal, picture, strict=True):
            assert shown == cell.text
            if cell.shape not in (*svg.LINES, "dot"):
                assert text == (cell.piece or ("" if cell.player is not None else cell.label))


@needs_raster
@pytest.mark.parametrize("spec", ["connect_four", "chess", "hex:size=5", "go:size=5"])
def test_a_png_has_the_stones_of_the_drawing_in_their_places(spec):
    from PIL import Image

    *_, drawing = positions(spec)
    image = Image.open(io.BytesIO(raster.png(svg.render(drawing), zoom=2)))
    owners = [owner for _, owner in terminal_cells(drawing)]
    assert colours(np.asarray(image.convert("RGB")), drawing, 2 * svg.UNIT) == owners


@needs_raster
def test_letters_are_drawn_without_any_font_of_the_machine():
    from PIL import Image

    def ink(label):
        picture = svg.render(games.make("tic_tac_toe").drawing(state, None), caption=label)
        return int(
            (np.asarray(Image.open(io.BytesIO(raster.png(picture))).convert("L")) < 128).sum()
        )

    state = games.make("tic_tac_toe").initial(1)[0]
    assert ink("") < ink("a") < ink("a caption")


def test_the_lines_of_a_grid_end_at_its_border():
    drawing = games.make("go:size=3").drawing(games.make("go:size=3").initial(1)[0])
    sides = svg.lines(drawing)
    assert [sides[point] for point in (0, 1, 4, 8)] == ["ES", "ESW", "NESW", "NW"]
    assert (
        svg.lines(games.make("tic_tac_toe").drawing(games.make("tic_tac_toe").initial(1)[0])) == {}
    )


def test_draw_writes_the_svg_of_the_position_after_the_moves(tmp_path, capsys):
    file = tmp_path / "board.svg"
    assert cli.main(["draw", "connect_four", "4453", "--to", str(file)]) == 0
    played = session.after(games.make("connect_four"), "4453")
    expected = svg.render(played.game.drawing(played.states[0], played.actions[-1]))
    assert file.read_text() == expected + "\n"
    assert capsys.readouterr().out == f"{file}\n"


def test_draw_reads_a_saved_game(tmp_path):
    played = session.after(games.make("connect_four"), "4453")
    saved, file = tmp_path / "game.json", tmp_path / "board.svg"
    saved_games.write(played, saved)
    assert cli.main(["draw", "connect_four", "--load", str(saved), "--to", str(file)]) == 0
    expected = svg.render(played.game.drawing(played.states[0], played.actions[-1]))
    assert file.read_text() == expected + "\n"


@needs_raster
def test_a_gif_has_a_frame_per_position_all_of_one_size(tmp_path):
    from PIL import Image

    file = tmp_path / "game.gif"
    assert cli.main(["draw", "tic_tac_toe", "5 1 3", "--to", str(file), "--zoom", "0.5"]) == 0
    with Image.open(file) as image:
        assert (getattr(image, "n_frames", 1), image.info["loop"]) == (4, 0)
        frames = []
        for number in range(4):
            image.seek(number)
            frames.append(image.convert("RGB").tobytes())
    assert len(set(frames)) == 4


@needs_raster
def test_smaller_pictures_of_a_gif_stand_at_its_top_left():
    from PIL import Image

    box = '<svg xmlns="http://www.w3.org/2000/svg" width="{0}" height="{0}"><rect width="99" \
height="99"/></svg>'
    with Image.open(io.BytesIO(raster.gif([box.format(9), box.format(20.5)]))) as image:
        first = np.asarray(image.convert("L"))
    assert first.shape == (21, 21)
    assert (first[:9, :9] < 128).all()
    assert (first[9:] > 128).all()
    assert (first[:, 9:] > 128).all()


@needs_raster
def test_a_gif_of_too_many_pixels_is_refused_with_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(raster, "MOST_PIXELS", 1000)
    file = tmp_path / "game.gif"
    assert cli.main(["draw", "tic_tac_toe", "5 1 3", "--to", str(file)]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "4 pictures of" in error
    assert "a GIF of more than 1,000 is not made" in error
    assert not file.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tic_tac_toe", "55", "--to", "a.svg"], "move 2 of '55', '5', cannot be played"),
        (["tic_tac_toe", "--to", "a.bmp"], "its name ends in .svg, .png, .gif"),
        (["tic_tac_toe", "--to", "a.svg", "--zoom", "2"], "--zoom: an SVG has no size of its own"),
        (["tic_tac_toe", "5", "--load", "g", "--to", "a.svg"], "the file says which moves"),
        (["tic_tac_toe", "--load", "none.json", "--to", "a.svg"], "none.json: there is no such"),
        (["tic_tac_toe", "--to", "a.png", "--zoom", "99"], "is not a number from 0.1 to 10"),
    ],
)
def test_bad_input_is_one_line_and_status_2(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    try:
        status = cli.main(["draw", *arguments])
    except SystemExit as ended:
        status = ended.code
    assert status == 2
    assert message in re.sub(r"\s+", " ", capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named_with_the_extra_that_has_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(raster, "missing", lambda: ["resvg-py"])
    assert cli.main(["draw", "tic_tac_toe", "--to", str(tmp_path / "a.png")]) == 2
    assert "PNG and GIF need resvg-py: run python -m pip install" in capsys.readouterr().err
