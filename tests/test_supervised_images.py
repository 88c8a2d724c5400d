"""Images: the IDX format and damaged files, MNIST, the digits, a network's input."""

import gzip
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from alphazero.supervised import images

MNIST = Path(__file__).parents[2] / "shared" / "data" / "mnist"
NAMES = tuple(images.MNIST)


def idx(values: np.ndarray) -> bytes:
    """The format as its page describes it, written by hand."""
    header = bytes((0, 0, 8, values.ndim))
    return header + b"".join(size.to_bytes(4, "big") for size in values.shape) + values.tobytes()


def content(seed: int = 0, counts=(30, 20), size=(5, 4)) -> dict[str, bytes]:
    rng = np.random.default_rng(seed)
    files = {}
    for part, count in zip(("train", "t10k"), counts, strict=True):
        files[f"{part}-images-idx3-ubyte"] = idx(rng.integers(256, size=(count, *size), dtype="u1"))
        files[f"{part}-labels-idx1-ubyte"] = idx(rng.integers(10, size=count, dtype="u1"))
    return files


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def quiet(line: str) -> None:
    pass


def error(folder: Path) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the callers look at the message)
        images.load(folder, quiet)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzipped"])
def test_idx_files_are_read_gzipped_or_not(tmp_path, packed):
    files = content()
    if packed:
        write(tmp_path, {f"{name}.gz": gzip.compress(data) for name, data in files.items()})
    else:
        write(tmp_path, files)
    dataset = images.load(tmp_path, quiet)
    pixels = np.frombuffer(files[NAMES[0]][16:], "u1").reshape(30, 1, 5, 4)
    assert dataset.train.inputs.dtype == np.uint8
    np.testing.assert_array_equal(dataset.train.inputs, pixels)
    np.testing.assert_array_equal(dataset.train.labels, list(files[NAMES[1]][8:]))
    assert dataset.train.labels.dtype == dataset.test.labels.dtype == np.int64
    assert dataset.test.inputs.shape == (20, 1, 5, 4)
    assert dataset.classes == tuple("0123456789")


@pytest.mark.parametrize(
    "place",
    [
        lambda name: f"{name.replace('-idx', '.idx')}",
        lambda name: f"{name.replace('-idx', '.idx')}.gz",
        lambda name: f"{name}/{name}",
        lambda name: f"MNIST/raw/{name}",
        lambda name: f"FashionMNIST/raw/{name}.gz",
        lambda name: f"raw/{name}",
    ],
    ids=["kaggle", "kaggle.gz", "folders", "torchvision", "fashion", "raw"],
)
def test_the_files_are_found_as_kaggle_and_torchvision_have_them(tmp_path, place):
    files = content()
    for name, data in files.items():
        path = tmp_path / place(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    expected = np.frombuffer(files[NAMES[0]][16:], "u1").reshape(30, 1, 5, 4)
    np.testing.assert_array_equal(images.load(tmp_path, quiet).train.inputs, expected)


def test_an_archive_of_kaggle_is_read_in_place(tmp_path):
    path = tmp_path / "archive.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content().items():
            archive.writestr(name.replace("-idx", ".idx"), data)
    assert images.load(path, quiet).train.inputs.shape == (30, 1, 5, 4)


def test_of_two_sets_of_torchvision_one_must_be_named(tmp_path):
    for name in ("MNIST", "FashionMNIST"):
        (tmp_path / name / "raw").mkdir(parents=True)
        write(tmp_path / name / "raw", content())
    fashion, mnist = (tmp_path / name / "raw" for name in ("FashionMNIST", "MNIST"))
    said = f"{tmp_path}: holds several sets of images: give one of {fashion} and {mnist}"
    assert error(tmp_path) == said
    assert images.load(tmp_path / "MNIST", quiet).train.inputs.shape == (30, 1, 5, 4)


def test_other_images_in_mnists_format_are_read_and_not_called_mnist(tmp_path):
    lines = []
    dataset = images.load(write(tmp_path, content()), lines.append)
    assert dataset.name == "idx"
    (line,) = lines
    assert str(tmp_path) in line
    assert all(name in line for name in NAMES)


@settings(deadline=None)
@given(arrays.arrays(np.uint8, arrays.array_shapes(max_dims=3, min_side=0)))
def test_any_array_of_bytes_survives_the_idx_format(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("idx") / "file"
    path.write_bytes(idx(values))
    read = images.read_idx(path).values
    assert read.shape == values.shape
    np.testing.assert_array_equal(read, values)


@settings(deadline=None)
@given(data=st.binary(max_size=40))
def test_any_bytes_are_an_array_or_refused_in_one_line(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("idx") / "file"
    path.write_bytes(data)
    try:
        said = idx(images.read_idx(path).values)
    except ValueError as problem:
        said = str(problem)
    assert said == data or (str(path) in said and "\n" not in said)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("flaw", "said"),
    [
        (lambda data: data[:-1], "values where its header says"),
        (lambda data: data + b"\0", "holds more values where its header says"),
        (lambda data: data[:6], "not an IDX file"),
        (lambda data: b"", "not an IDX file"),
        (lambda data: b"\x00\x00\x09" + data[3:], "not an IDX file"),
        (lambda data: idx(np.zeros((2, 2), "u1")), "dimensions"),
        (lambda data: data[:4] + bytes(4 * data[3]), "shape"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, name, flaw, said):
    files = content()
    write(tmp_path, files | {name: flaw(files[name])})
    message = error(tmp_path)
    assert str(tmp_path / name) in message
    assert said in message


@pytest.mark.parametrize("cut", [5, 30])
def test_a_gzip_file_cut_short_is_named(tmp_path, cut):
    files = {f"{name}.gz": gzip.compress(data) for name, data in content().items()}
    name = f"{NAMES[2]}.gz"
    write(tmp_path, files | {name: files[name][:-cut]})
    assert error(tmp_path).startswith(f"{tmp_path / name}: not a whole gzip file")


def test_a_label_above_nine_is_refused(tmp_path):
    write(tmp_path, content() | {NAMES[3]: idx(np.array([10] * 20, "u1"))})
    assert error(tmp_path) == f"{tmp_path / NAMES[3]}: label 10, should be 0 to 9"


def test_each_image_has_one_label(tmp_path):
    write(tmp_path, content() | {NAMES[1]: idx(np.zeros(29, "u1"))})
    assert "30 images" in error(tmp_path)
    assert "29 labels" in error(tmp_path)


def test_training_and_test_images_are_of_one_size(tmp_path):
    write(tmp_path, content() | {NAMES[2]: idx(np.zeros((20, 6, 4), "u1"))})
    assert "training images are 5×4, test images 6×4" in error(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    write(tmp_path, content())
    (tmp_path / NAMES[3]).unlink()
    assert NAMES[3] in error(tmp_path)
    assert NAMES[0] in error(tmp_path / "nowhere")


def test_mnist_is_recognised():
    if not MNIST.is_dir():
        pytest.skip(f"needs MNIST's files in {MNIST}")
    lines = []
    dataset = images.load(MNIST, lines.append)
    assert (dataset.name, lines) == ("mnist", [])
    assert dataset.train.inputs.shape == (60_000, 1, 28, 28)
    assert dataset.test.inputs.shape == (10_000, 1, 28, 28)
    # As counted on MNIST's page: how often each digit occurs in the training set.
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    np.testing.assert_array_equal(np.bincount(dataset.train.labels), counts)
    pixels = images.prepare(0)(dataset.train.inputs[:6000], None)
    assert abs(pixels.mean()) < 0.02
    assert abs(pixels.std() - 1) < 0.02


def test_without_a_folder_scikit_learns_digits_are_used():
    datasets = pytest.importorskip("sklearn.datasets")
    dataset, again = images.load(None), images.load(None)
    assert dataset.name == "digits"
    original = datasets.load_digits()
    every = np.concatenate([dataset.train.inputs, dataset.test.inputs])[:, 0]
    scaled = {tuple(image.ravel()) for image in np.rint(original.images * 15.9375).astype(int)}
    assert {tuple(image.ravel()) for image in every.astype(int)} == scaled
    assert len(every) == 1797
    assert every.max() == 255
    np.testing.assert_array_equal(dataset.train.inputs, again.train.inputs)
    np.testing.assert_array_equal(dataset.test.labels, again.test.labels)


def test_a_missing_scikit_learn_is_reported_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    expected = r"need scikit-learn: run python -m pip install --editable '\.\[supervised\]' in the"
    with pytest.raises(ValueError, match=expected):
        images.load(None)


def test_each_digit_has_the_same_share_in_training_and_test():
    pytest.importorskip("sklearn")
    dataset = images.load(None)
    train, test = (np.bincount(part.labels) for part in (dataset.train, dataset.test))
    assert (np.abs(test - 0.2 * (train + test)) <= 1).all()


def test_labels_of_the_digits_belong_to_their_images():
    """The nearest image has the same label for nearly all; mixed labels would agree in a tenth."""
    neighbors = pytest.importorskip("sklearn.neighbors")
    dataset = images.load(None)
    model = neighbors.KNeighborsClassifier(1).fit(
        dataset.train.inputs.reshape(len(dataset.train.inputs), -1), dataset.train.labels
    )
    tested = dataset.test.inputs.reshape(len(dataset.test.inputs), -1)
    assert model.score(tested, dataset.test.labels) > 0.95


@pytest.mark.parametrize(
    ("shift", "most_down", "most_right"),
    [(0, 0, 0), (0.2, 1, 1), (0.35, 2, 2), (0.6, 4, 3), (1, 6, 5)],
)
def test_a_shifted_image_is_the_image_somewhere_else(shift, most_down, most_right):
    """Against a loop that looks where each pixel comes from."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(256, size=(20, 1, 6, 5), dtype=np.uint8)
    moved = images.shift_images(pictures, shift, rng)
    assert moved.shape == pictures.shape
    for before, after in zip(pictures[:, 0], moved[:, 0], strict=True):
        possible = []
        for down in range(-most_down, most_down + 1):
            for right in range(-most_right, most_right + 1):
                image = np.zeros_like(before)
                for row in range(6):
                    for column in range(5):
                        if 0 <= row - down < 6 and 0 <= column - right < 5:
                            image[row, column] = before[row - down, column - right]
                possible.append(image)
        assert any((after == image).all() for image in possible)


def test_every_shift_occurs_and_images_of_a_batch_move_apart():
    pictures = np.zeros((2000, 1, 5, 5), np.uint8)
    pictures[:, 0, 2, 2] = 255
    moved = images.shift_images(pictures, 0.2, np.random.default_rng(0))
    places = np.argwhere(moved[:, 0])[:, 1:] - 2
    shifts, counts = np.unique(places, axis=0, return_counts=True)
    assert len(shifts) == 9
    assert counts.min() > 2000 / 9 * 0.7


def test_images_are_scaled_and_moved_only_while_training():
    pictures = np.arange(2 * 36, dtype=np.uint8).reshape(2, 1, 6, 6) * 3
    expected = (pictures.astype(np.float64) - 33.3) / 78.6
    for shift, rng in ((0, None), (0.3, None), (0, np.random.default_rng(0))):
        scaled = images.prepare(shift)(pictures, rng)
        assert scaled.dtype == torch.float32
        np.testing.assert_allclose(scaled.numpy(), expected, rtol=1e-5)
    trained = images.prepare(0.3)(pictures, np.random.default_rng(1))
    assert not np.allclose(trained.numpy(), expected)
    again = images.prepare(0.3)(pictures, np.random.default_rng(1))
    assert torch.equal(trained, again)


@pytest.mark.parametrize(
    ("mean", "deviation", "count", "seen", "said"),
    [
        (33, 11, 1, 222, True),  # an inverted digit of MNIST
        (33, 11, 1, 101, False),  # the lightest one
        (33, 11, 1, 126, False),  # nearer to the training images
        (222, 11, 1, 33, True),  # trained on dark digits, given light ones
        (73, 42, 1, 182, False),  # a light coat among clothes of every brightness
        (73, 42, 100, 182, True),  # a hundred of them
        (127, 20, 100, 128, False),  # inverted images would be as bright
    ],
)
def test_images_whose_brightness_is_that_of_inverted_training_images_are_named(
    mean, deviation, count, seen, said
):
    given = np.full((count, 1, 4, 4), seen, np.uint8)
    line = images.warn_of_inversion(given, images.Brightness(mean, deviation))
    assert (line is not None) == said
    if line:
        assert f"the mean grey level is {seen}, that of the training images {mean};" in line


def test_brightness_is_that_of_single_images():
    pictures = np.array([[0, 10], [20, 30]], np.uint8).reshape(2, 1, 1, 2)
    assert images.brightness(pictures) == (15.0, 10.0)


def test_no_digit_is_taken_for_an_inverted_one_and_each_inverted_one_is_found():
    pytest.importorskip("sklearn")
    dataset = images.load(None)
    trained = images.brightness(dataset.train.inputs)
    for image in dataset.test.inputs[:, None]:
        assert images.warn_of_inversion(image, trained) is None
        assert images.warn_of_inversion(255 - image, trained)


def test_preparing_changes_no_image():
    pictures = np.full((3, 1, 4, 4), 7, np.uint8)
    pictures.setflags(write=False)
    images.prepare(1)(pictures, np.random.default_rng(0))
    images.prepare(1)(pictures, None)
    assert (pictures == 7).all()


def test_a_header_with_more_values_than_the_file_has_is_refused(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(struct.pack(">HBB3I", 0, 8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1))
    with pytest.raises(ValueError, match="holds 0 values where its header says"):
        images.read_idx(path)
