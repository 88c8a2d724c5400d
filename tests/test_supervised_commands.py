"""``alphazero supervised`` on the command line: its files, resuming, output and errors."""

import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")

from made_up_models import untrained

from alphazero import checkpoint
from alphazero.nn import gan
from alphazero.supervised import images
from alphazero.supervised.model import Predictor
from workers import cli
from workers.supervised import evaluate

SMALL = (
    "mlp", "data.limit=200", "model.hidden=[16]", "fit.epochs=2", "fit.batch_size=32", "fit.ema=0",
    "fit.device=cpu", "tracking.wandb=off",
)  # fmt: skip


def alphazero(*words: object) -> int:
    return cli.main(["supervised", *map(str, words)])


def refused(capsys, *words: object, status: int = 2) -> str:
    """The single line of the error with which a command ends."""
    capsys.readouterr()
    assert alphazero(*words) == status
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line]
    return line


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("supervised") / "run"
    assert alphazero("train", *SMALL, "--run-dir", folder) == 0
    return folder


@pytest.fixture(scope="module")
def reviews(tmp_path_factory):
    return untrained("textcnn", tmp_path_factory.mktemp("supervised") / "texts")


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    return untrained("gan", tmp_path_factory.mktemp("supervised") / "gan")


def test_a_training_writes_its_model_figures_and_pictures(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    tested = json.loads((run / "test.json").read_text())
    test = images.load(None, lambda line: None).test
    right = Predictor(run).predict(test.inputs).argmax(1) == test.labels
    assert tested["accuracy"] == lines[-1]["test_accuracy"] == right.mean()
    assert np.trace(tested["confusion"]) == right.sum()
    for name in ("history.png", "confusion.png"):
        assert (run / name).read_bytes().startswith(b"\x89PNG")


def test_a_resumed_training_continues_and_names_changed_settings(tmp_path, capsys):
    folder = tmp_path / "run"
    alphazero("train", *SMALL, "fit.epochs=1", "--run-dir", folder)
    capsys.readouterr()
    assert alphazero("train", *SMALL, "--run-dir", folder, "--resume") == 0
    assert "resuming with changed settings: fit.epochs" in capsys.readouterr().out
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]


@pytest.mark.parametrize(
    "change",
    ["model.hidden=[8]", "data.limit=100", "seed=1", "optimizer.name=sgd", "fit.batch_size=16"],
)
def test_a_setting_that_a_resumed_training_cannot_change_is_refused(run, capsys, change):
    before = (run / "config.yaml").read_text()
    line = refused(capsys, "train", *SMALL, change, "--run-dir", run, "--resume")
    assert line.startswith(f"alphazero: error: --resume: {change.partition('=')[0]} was ")
    assert (run / "config.yaml").read_text() == before


def test_a_training_is_not_resumed_on_data_with_other_words(tmp_path, capsys):
    for word in ("good", "fine"):
        rows = "".join(f"{label}\t{word} film {label}\n" for label in (0, 1) * 20)
        (tmp_path / f"{word}.tsv").write_text(rows)
    words = ("textcnn", "fit.epochs=1", "fit.device=cpu", "tracking.wandb=off")
    folder = tmp_path / "run"
    path = f"data.path={tmp_path}"
    assert alphazero("train", *words, f"{path}/good.tsv", "--run-dir", folder) == 0
    more = ("--run-dir", folder, "--resume")
    assert "data are not those" in refused(capsys, "train", *words, f"{path}/fine.tsv", *more)


def test_a_missing_file_is_named_in_one_line(run, reviews, tmp_path, capsys):
    nowhere = tmp_path / "nowhere"
    for words, named in (
        (("train", "cnn", f"data.path={nowhere}"), f"data.path: {nowhere} does not exist"),
        (("train", "lstm", f"model.embedding.vectors={nowhere}"), f"vectors: {nowhere} does not"),
        (("predict", run, "--image", nowhere), f"{nowhere}: no such file"),
        (("evaluate", reviews, "--data", nowhere), f"--data: {nowhere} does not exist"),
    ):
        assert named in refused(capsys, *words)
    (tmp_path / "train.tsv").write_text("1\tgood\n0\tbad\n")
    words = ("vectors", tmp_path, "--to", tmp_path / "vectors.txt")
    assert "has no unsup.tsv" in refused(capsys, *words)


def test_a_supervised_model_is_not_loaded_as_an_agent(run, tmp_path):
    with pytest.raises(ValueError, match=r"supervised model \(mlp\), not an agent"):
        checkpoint.load(run)


@pytest.mark.signals
def test_a_training_stopped_in_its_first_epoch_is_resumed_from_the_beginning(tmp_path, capsys):
    folder, count = tmp_path / "run", 0

    def stopping(*_):
        nonlocal count
        count += 1
        if count == 1:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.MonkeyPatch.context() as patched:
        from alphazero.nn.fit import Trainer

        step = Trainer._step
        patched.setattr(Trainer, "_step", lambda *given: (stopping(), step(*given))[1])
        assert alphazero("train", *SMALL, "--run-dir", folder) == 130
    assert "continues after the last epoch" in capsys.readouterr().out
    assert alphazero("train", *SMALL, "--run-dir", folder, "--resume") == 0
    assert "holds no checkpoint yet: starting from the beginning" in capsys.readouterr().out


def test_a_training_that_diverges_ends_with_one_line(tmp_path, capsys):
    words = ("train", *SMALL, "optimizer.learning_rate=1e30", "--run-dir", tmp_path / "run")
    assert "diverged at step" in refused(capsys, *words, status=1)


def test_data_of_another_size_than_the_model_takes_are_refused(tmp_path, capsys):
    folder = untrained("mlp", tmp_path, side=9)
    line = f"digits: images of 8×8 pixels, {folder} takes 9×9"
    assert line in refused(capsys, "evaluate", folder)


def test_a_generator_alone_is_evaluated_with_a_classifier_of_images(
    run, reviews, generator, tmp_path, capsys
):
    assert "--judge RUN" in refused(capsys, "evaluate", generator)
    assert "should be one of images" in refused(capsys, "evaluate", generator, "--judge", reviews)
    line = f"--judge: {generator} is a generator, should be a classifier"
    assert line in refused(capsys, "evaluate", generator, "--judge", generator)
    larger = untrained("mlp", tmp_path, side=12)
    line = f"--judge: {larger} takes images of 12×12 pixels, the generator makes 8×8"
    assert line in refused(capsys, "evaluate", generator, "--judge", larger)
    assert "--data: none does not exist" in refused(capsys, "evaluate", run, "--data", "none")
    line = f"{generator} is a generator of images, should be a classifier"
    assert line in refused(capsys, "predict", generator, "--image", "a.png")
    assert "is for generators" in refused(capsys, "evaluate", run, "--judge", run)


def test_a_generators_figures_are_counts_of_the_classifiers_probabilities(
    tmp_path, generator, capsys, monkeypatch
):
    classifier = untrained("mlp", tmp_path, side=8)
    images = gan.generate(Predictor(generator).network, 1000, 0)
    probabilities = Predictor(classifier).predict(images)
    largest, predicted = probabilities.max(axis=1), probabilities.argmax(axis=1)
    limit = float(np.median(largest))  # half of the images lie above it
    monkeypatch.setattr(evaluate, "CONFIDENT", limit)
    assert alphazero("evaluate", generator, "--judge", classifier, "--json", "-") == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["examples"] == 1000
    confident = largest > limit
    assert 0.3 < confident.mean() < 0.7
    assert figures["confident"] == pytest.approx(confident.mean())
    conditions = np.arange(1000) % 10
    assert figures["as_conditioned"] == pytest.approx((predicted == conditions).mean())
    counts = np.bincount(predicted[confident], minlength=10)
    assert list(figures["classes"].values()) == counts.tolist()


TEXTS = ["a good one [/b]", "[red]bad"]


def test_texts_are_classified_in_order_and_shown_as_they_were_given(reviews, capsys):
    assert alphazero("predict", reviews, "--text", *TEXTS) == 0
    shown = capsys.readouterr().out
    assert all(text in shown for text in TEXTS)
    assert alphazero("predict", reviews, "--text", *TEXTS, "--json", "-") == 0
    predictions = json.loads(capsys.readouterr().out)
    rows = Predictor(reviews).predict(TEXTS)
    assert [prediction["input"] for prediction in predictions] == TEXTS
    assert [list(p["probabilities"].values()) for p in predictions] == rows.tolist()


def test_the_prediction_of_one_text_is_a_list_of_one(reviews, capsys):
    assert alphazero("predict", reviews, "--text", "good", "--json", "-") == 0
    assert len(json.loads(capsys.readouterr().out)) == 1


def test_a_png_file_is_classified_as_its_pixels_and_any_other_file_is_refused(
    run, tmp_path, capsys
):
    from PIL import Image

    pixels, rng = tmp_path / "a.png", np.random.default_rng(0)
    grey = rng.integers(0, 256, (8, 8), np.uint8)
    Image.fromarray(grey).save(pixels)
    assert alphazero("predict", run, "--image", pixels, "--json", "-") == 0
    (prediction,) = json.loads(capsys.readouterr().out)
    expected = Predictor(run).predict(grey[None, None])[0]
    assert list(prediction["probabilities"].values()) == expected.tolist()
    for name, image in (
        ("deep", rng.integers(0, 2**16, (8, 8)).astype(np.uint16)),
        ("clear", rng.integers(0, 256, (8, 8, 4), np.uint8)),
        ("large", rng.integers(0, 256, (9, 8), np.uint8)),
    ):
        path = tmp_path / f"{name}.png"
        Image.fromarray(image).save(path)
        assert f"{path}: " in refused(capsys, "predict", run, "--image", path)
    assert "no such file" in refused(capsys, "predict", run, "--image", "none.png")


def test_dark_digits_on_light_ground_are_warned_of(run, tmp_path, capsys):
    """The issue's case: a "7" in black on white is read as 2 with 0.82, without a word."""
    from PIL import Image

    digits = images.load(None).test
    light, dark = digits.inputs[:20], 255 - digits.inputs[:20]
    folder = tmp_path / "inverted"
    folder.mkdir()
    for part in ("train", "t10k"):
        (folder / f"{part}-images-idx3-ubyte").write_bytes(idx(dark[:, 0]))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(digits.labels[:20].astype("u1")))
    Image.fromarray(light[0, 0]).save(tmp_path / "light.png")
    Image.fromarray(dark[0, 0]).save(tmp_path / "dark.png")
    capsys.readouterr()
    assert alphazero("predict", run, "--image", tmp_path / "light.png", tmp_path / "dark.png") == 0
    (line,) = capsys.readouterr().err.splitlines()
    said = f"alphazero: warning: {tmp_path / 'dark.png'}: light and dark look exchanged: the mean"
    assert line.startswith(said)
    assert alphazero("evaluate", run) == 0
    assert capsys.readouterr().err == ""
    assert alphazero("evaluate", run, "--data", folder) == 0
    assert f"warning: {folder}: light and dark look exchanged" in capsys.readouterr().err


def idx(values):
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return bytes((0, 0, 8, values.ndim)) + sizes + values.tobytes()


@pytest.mark.parametrize("words", [(), ("--text", "a"), ("--image", "a.png", "--text", "a")])
def test_a_model_of_images_is_given_images_only(run, capsys, words):
    assert "takes images: give --image" in refused(capsys, "predict", run, *words)


@pytest.mark.parametrize("more", [("--dimensions", "0"), ("--to", "/nowhere/vectors.txt")])
def test_bad_options_of_vectors_are_refused_before_vectors_are_learned(tmp_path, capsys, more):
    with pytest.raises(SystemExit) as ended:
        alphazero("vectors", tmp_path, "--to", tmp_path / "vectors.txt", *more)
    assert ended.value.code == 2
    assert more[1].removesuffix("/vectors.txt") in capsys.readouterr().err


@pytest.mark.parametrize("words", [("train", "mlp", "a=1"), ("tune", "mlp", "--grid", "a=1,2")])
def test_a_bad_setting_is_reported_before_torch_is_imported(tmp_path, words):
    more = ("--to", str(tmp_path / "new")) if words[0] == "tune" else ()
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "workers.cli", "supervised", *words, *more],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = [line for line in ended.stderr.splitlines() if not line.startswith("import time")]
    assert ended.returncode == 2
    assert lines == [
        "alphazero: error: command line: a: unknown key; known here: data, model, optimizer, fit, "
        "tracking, seed"
    ]
    imported = set(re.findall(r"\| +(\w+)$", ended.stderr, re.MULTILINE))
    assert "yaml" in imported
    assert not imported & {"torch", "ray", "wandb"}
