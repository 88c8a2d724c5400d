"""``alphazero draw``, and one board in the terminal, as SVG, as pixels and as PNG."""

import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest

import games
from alphazero.judging import board, session
from games import pixels, raster, svg
from workers import cli

SVG = "{http://www.w3.org/2000/svg}"
SPECS = [
    "tic_tac_toe", "connect_four", "othello:size=6", "go:size=5", "chess", "hex:size=5",
    "gomoku:size=7", "breakthrough:rows=6,columns=5", "dots_and_boxes",
]  # fmt: skip
OTHER_LIBRARIES = {"open_spiel", "pettingzoo", "gymnasium"}
needs_raster = pytest.mark.skipif(
    bool(raster.missing()), reason="resvg-py or Pillow is not installed"
)


def test_every_registered_game_of_ours_is_compared():
    assert {games.named(spec)[0] for spec in SPECS} == set(games.registered()) - OTHER_LIBRARIES


def positions(spec):
    """Drawings of a random game, every third ply and the last one."""
    game, rng = games.make(spec), np.random.default_rng(3)
    states, last, ply = game.initial(1), None, 0
    while True:
        over = bool(np.isfinite(game.result(states, ply)[0]))
        if ply % 3 == 0 or over:
            yield game.drawing(states[0], last)
        if over or ply > 30:
            return
        last = int(rng.choice(np.flatnonzero(game.legal(states)[0])))
        states, ply = game.step(states, np.array([last])), ply + 1


def terminal_cells(drawing):
    """Per cell its characters in the terminal and the player whose colour they have, or None."""
    text, layout = board.as_text(drawing), drawing.layout()
    stars = sorted(layout.spans[number][1] for number in drawing.line)
    inserted = [end for end in stars if layout.text[end : end + 1] != " "]
    shown = []
    for start, end in layout.spans:
        shift = sum(1 for place in inserted if place < end)
        styles = {
            str(span.style)
            for span in text.spans
            if span.start <= start + shift and end + shift <= span.end
        }
        owners = [
            player
            for player, colour in enumerate(board.COLOURS)
            if any(style.startswith(colour) for style in styles)
        ]
        shown.append((text.plain[start + shift : end + shift], owners[0] if owners else None))
    return shown


def svg_cells(drawing):
    """Per cell the text that an SVG has at its middle, and the player of its stone, or None."""
    root = ElementTree.fromstring(svg.render(drawing))
    texts, stones = {}, {}
    for element in root.iter(f"{SVG}text"):
        texts[element.get("x"), element.get("y")] = element.text
    for element in root.iter(f"{SVG}circle"):
        if element.get("fill") in svg.STONES:
            place = element.get("cx"), element.get("cy")
            stones[place] = svg.STONES.index(element.get("fill"))
    places = [(f"{cell.x * svg.UNIT:g}", f"{cell.y * svg.UNIT:g}") for cell in drawing.cells]
    return [(texts.get(place, ""), stones.get(place)) for place in places]


def colours(image, drawing, scale):
    """Per cell the player whose stone's colour is found above its middle, or None."""
    left = min(place.x for place in (*drawing.cells, *drawing.labels)) - svg.MARGIN
    top = min(place.y for place in (*drawing.cells, *drawing.labels)) - svg.MARGIN
    known = [tuple(bytes.fromhex(colour[1:])) for colour in svg.STONES]
    owners = []
    for cell in drawing.cells:
        # Beside a letter and inside of the ring of a last move.
        x, y = (cell.x - 0.22 - left) * scale, (cell.y - 0.22 - top) * scale
        pixel = tuple(int(part) for part in image[int(y), int(x)])
        near = [np.abs(np.subtract(pixel, colour)).max() < 8 for colour in known]
        owners.append(near.index(True) if any(near) else None)
    return owners


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
