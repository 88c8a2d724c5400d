"""Pictures: their content, size and files, and drawing without pyplot."""

import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from alphazero.supervised import pictures

PNG = b"\x89PNG\r\n\x1a\n"
HISTORY = [
    {"epoch": 1, "loss": 2.0, "accuracy": 0.5, "validation_loss": 1.5, "validation_accuracy": 0.6},
    {"epoch": 2, "loss": 1.0, "accuracy": 0.7, "validation_loss": 1.2, "validation_accuracy": 0.8},
    {"epoch": 3, "loss": 0.5, "accuracy": 0.9, "validation_loss": 1.1, "validation_accuracy": 0.7},
]


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved, in their order."""
    figures, save = [], pictures._save

    def keep(figure, path):
        save(figure, path)
        figures.append(figure)

    monkeypatch.setattr(pictures, "_save", keep)
    return figures


def size(path) -> tuple[int, int]:
    content = path.read_bytes()
    assert content.startswith(PNG)
    return int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")


def test_curves_show_loss_and_accuracy_of_training_and_validation(tmp_path, drawn):
    pictures.curves(HISTORY, tmp_path / "curves.png")
    panels = drawn[0].axes
    shown = {
        (axes.get_title(), line.get_label()): line.get_xydata().tolist()
        for axes in panels
        for line in axes.get_lines()
    }
    assert shown == {
        ("loss", "training"): [[1, 2.0], [2, 1.0], [3, 0.5]],
        ("loss", "validation"): [[1, 1.5], [2, 1.2], [3, 1.1]],
        ("accuracy", "training"): [[1, 0.5], [2, 0.7], [3, 0.9]],
        ("accuracy", "validation"): [[1, 0.6], [2, 0.8], [3, 0.7]],
    }
    assert [axes.get_xlabel() for axes in panels] == ["epoch", "epoch"]


def test_curves_of_figures_that_were_not_measured_are_left_out(tmp_path, drawn):
    history = [{"epoch": 1, "generator_loss": 3.0}, {"epoch": 2, "generator_loss": None}]
    panels = {"loss": {"generator": "generator_loss", "other": "other_loss"}, "none": {"x": "x"}}
    pictures.curves(history, tmp_path / "curves.png", panels)
    (axes,) = drawn[0].axes
    assert [line.get_label() for line in axes.get_lines()] == ["generator"]
    assert axes.get_lines()[0].get_xydata().tolist() == [[1, 3.0]]
    with pytest.raises(ValueError, match="none of the figures of loss, accuracy"):
        pictures.curves(history, tmp_path / "curves.png")


def test_the_curves_of_a_gan_show_both_networks(tmp_path, drawn):
    row = {"epoch": 1, "loss": 2.0, "discriminator_loss": 0.5, "discriminator_accuracy": 0.75}
    pictures.curves([row], tmp_path / "curves.png")
    assert [axes.get_title() for axes in drawn[0].axes] == ["loss", "discriminator"]


def test_a_confusion_matrix_has_the_truth_in_rows_and_counts_in_cells(tmp_path, drawn):
    counts = np.array([[8, 2, 0], [1, 1200, 0], [0, 0, 0]])
    pictures.confusion(counts, ["cat", "dog", "cow"], tmp_path / "confusion.png")
    axes = drawn[0].axes[0]
    written = {text.get_position(): text.get_text() for text in axes.texts}
    assert written == {
        (0, 0): "8", (1, 0): "2", (2, 0): "", (0, 1): "1", (1, 1): "1,200", (2, 1): "",
        (0, 2): "", (1, 2): "", (2, 2): "",
    }  # fmt: skip
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "truth")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "dog", "cow"]
    shares = axes.images[0].get_array()
    np.testing.assert_allclose(shares, [[0.8, 0.2, 0], [1 / 1201, 1200 / 1201, 0], [0, 0, 0]])
    assert axes.get_title() == "1,208 of 1,211 right"


def test_a_large_matrix_has_colours_but_no_figures(tmp_path, drawn):
    classes = [str(index) for index in range(40)]
    pictures.confusion(np.eye(40, dtype=np.int64), classes, tmp_path / "confusion.png")
    assert not drawn[0].axes[0].texts


def test_a_heat_map_shows_each_value_at_its_row_and_column(tmp_path, drawn):
    values = np.array([[0.5, 0.75, np.nan], [0.25, 1.0, 0.125]])
    rows, columns = ("name", ["adam", "sgd"]), ("rate", ["1e-3", "1e-2", "1e-1"])
    pictures.heat_map(values, rows, columns, tmp_path / "map.png", "accuracy of digits")
    axes = drawn[0].axes[0]
    written = {text.get_position(): text.get_text() for text in axes.texts}
    for (row, column), value in np.ndenumerate(values):
        assert written[column, row] == ("" if np.isnan(value) else f"{value:.4f}")
    assert [label.get_text() for label in axes.get_xticklabels()] == columns[1]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("rate", "name")
    assert axes.images[0].get_clim() == (0.125, 1.0)


def test_parallel_coordinates_place_numbers_by_size_and_words_in_order(tmp_path, drawn):
    values = {
        "optimizer.learning_rate": ["1e-4", "1e-3", "1e-2"],
        "model.dropout": ["0", "0.1", "0.4"],
        "optimizer.name": ["sgd", "adam", "sgd"],
        "fit.epochs": ["5", "5", "5"],
    }
    pictures.parallel_coordinates(values, [0.9, 0.7, 0.8], tmp_path / "parallel.png")
    axes = drawn[0].axes[0]
    lines = [line.get_ydata() for line in axes.get_lines() if len(line.get_ydata()) == 5]
    # The worst first, the best on top of all.
    np.testing.assert_allclose(
        np.array(lines),
        [[0.5, 0.25, 1, 0.5, 0], [1, 1, 0, 0.5, 0.5], [0, 0, 0, 0.5, 1]],
        atol=1e-12,
    )
    written = {text.get_text() for text in axes.texts}
    assert written == {"1e-4", "1e-3", "1e-2", "0", "0.1", "0.4", "sgd", "adam", "5",
                       "0.9000", "0.7000", "0.8000"}  # fmt: skip
    assert axes.get_xticklabels()[-1].get_text() == "accuracy"


def test_an_axis_of_many_numbers_names_only_some_with_both_ends(tmp_path, drawn):
    texts = [str(number) for number in range(101)]
    pictures.parallel_coordinates({"seed": texts}, np.linspace(0, 1, 101), tmp_path / "many.png")
    written = [text.get_text() for text in drawn[0].axes[0].texts]
    assert {"0", "100"} < set(written)
    assert len(written) <= 2 * pictures.LABELLED


def test_images_stand_row_by_row_with_a_white_line_between(tmp_path, drawn):
    images = np.arange(5 * 2 * 3, dtype=np.uint8).reshape(5, 1, 2, 3)
    pictures.images(images, tmp_path / "images.png", columns=3, names=["a", "b", "c"])
    expected = np.full((5, 11), 255, np.uint8)
    for index in range(5):
        for row in range(2):
            for column in range(3):
                place = (index // 3) * 3 + row, (index % 3) * 4 + column
                expected[place] = images[index, 0, row, column]
    axes = drawn[0].axes[0]
    np.testing.assert_array_equal(axes.images[0].get_array(), expected)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("shape", "kind"), [((2, 3, 4), np.uint8), ((2, 1, 3, 4), float), ((2, 3, 4, 4), np.uint8)]
)
def test_images_of_another_shape_or_type_are_refused(tmp_path, shape, kind):
    with pytest.raises(ValueError, match="should be uint8"):
        pictures.images(np.zeros(shape, kind), tmp_path / "images.png")


def test_pictures_are_small_and_wide_enough_to_read(tmp_path):
    pictures.curves(HISTORY, tmp_path / "curves.png")
    pictures.confusion(np.eye(10, dtype=np.int64) * 100, list("0123456789"), tmp_path / "k.png")
    pictures.images(np.zeros((100, 1, 28, 28), np.uint8), tmp_path / "images.png")
    for name in ("curves.png", "k.png", "images.png"):
        width, height = size(tmp_path / name)
        assert 500 <= width <= 1400
        assert 300 <= height <= 1400
        assert (tmp_path / name).stat().st_size < 60_000


def test_the_same_figures_make_the_same_file(tmp_path):
    for name in ("a.png", "b.png"):
        pictures.curves(HISTORY, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_drawing_opens_no_window_and_imports_no_pyplot(tmp_path):
    code = (
        "import sys, pathlib; from alphazero.supervised import pictures\n"
        "assert 'matplotlib' not in sys.modules\n"
        "pictures.curves([{'epoch': 1, 'loss': 2.0}], pathlib.Path(sys.argv[1]))\n"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "x.png")]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "False"
    assert size(tmp_path / "x.png")


def test_without_matplotlib_one_line_names_the_command_that_installs_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ValueError, match=r"pictures need matplotlib: run python -m pip install"):
        pictures.curves(HISTORY, tmp_path / "curves.png")
