"""Checkpoints of supervised models: saving, loading, damage, and predictions."""

import json

import numpy as np
import pytest
import torch

from alphazero import agents, sealed
from alphazero.nn import fit, gan, models
from alphazero.supervised import config as configs
from alphazero.supervised import model, tasks
from alphazero.supervised.images import Brightness
from alphazero.supervised.model import Model, Predictor
from alphazero.supervised.vocabulary import Vocabulary

VOCABULARY = Vocabulary(("good", "film", "isn't"))
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 1, 8, 8), np.uint8)


def network(config: configs.SupervisedConfig, shape, classes: int):
    if config.model.kind == "gan":
        return gan.build(config.model, shape, classes, seed=1)[0]
    return models.build(config.model, shape, classes, seed=1)


def made(name: str, *overrides: str) -> tuple[Model, torch.nn.Module]:
    config = configs.load(name, overrides)
    of_texts = config.data.kind == "texts"
    shape, classes = ((5,), ("negative", "positive")) if of_texts else ((1, 8, 8), tuple("abc"))
    module = network(config, shape, len(classes))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(3)  # so that predictions differ clearly
    weights = {key: value.numpy() for key, value in module.state_dict().items()}
    vocabulary, bright = (VOCABULARY, None) if of_texts else (None, Brightness(33.0, 11.0))
    return Model(config, classes, shape, vocabulary, weights, bright), module


@pytest.mark.parametrize("name", ["mlp", "textcnn", "gan"])
def test_a_model_reads_back_as_it_was_saved(name, tmp_path):
    saved, _ = made(name)
    state = {"trainer": {"step": 7}, "best": {"weights": np.arange(3)}}
    path = model.save(tmp_path, 7, saved, state)
    for place in (tmp_path, path):
        loaded = model.load(place)
        assert model.is_supervised(place)
        assert (loaded.config, loaded.classes, loaded.shape) == (
            saved.config, saved.classes, saved.shape,
        )  # fmt: skip
        assert loaded.vocabulary == saved.vocabulary
        assert loaded.brightness == saved.brightness
        assert loaded.weights.keys() == saved.weights.keys()
        assert all(np.array_equal(loaded.weights[key], saved.weights[key]) for key in saved.weights)
    assert model.load_state(path)["best"]["weights"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("name", ["mlp", "cnn", "textcnn"])
def test_a_predictor_computes_what_the_saved_network_computes(name, tmp_path):
    saved, module = made(name)
    model.save(tmp_path, 1, saved, {})
    predictor, inputs = Predictor(tmp_path), IMAGES
    raw = IMAGES
    if saved.vocabulary:
        inputs = ["A good film", "It isn't", ""]
        raw = saved.vocabulary.encode(inputs, saved.config.data.length)
    with torch.no_grad():
        expected = torch.softmax(module.eval()(tasks.prepare(saved.config)(raw, None)), dim=1)
    probabilities = predictor.predict(inputs)
    # The predictor's layout of memory sums in another order: 1.4e-6 on processors without AVX-512.
    np.testing.assert_allclose(probabilities, expected.numpy(), atol=1e-5)
    assert np.ptp(probabilities, axis=0).max() > 1e-3
    assert predictor.kind == saved.config.data.kind
    assert predictor.predict(inputs[:0]).shape == (0, len(saved.classes))
    # Two threads may call at once: neither may put the network into training mode.
    assert not any(part.training for part in predictor.network.modules())


def test_inputs_that_a_model_does_not_take_are_refused(tmp_path):
    model.save(tmp_path / "texts", 1, made("textcnn")[0], {})
    with pytest.raises(ValueError, match="one text was given, should be a list of texts"):
        Predictor(tmp_path / "texts").predict("A good film")
    model.save(tmp_path / "images", 1, made("mlp")[0], {})
    predictor = Predictor(tmp_path / "images")
    for bad in (IMAGES[:, :, 1:], IMAGES / 255, IMAGES[0]):
        with pytest.raises(ValueError, match="this model takes 1×8×8 uint8"):
            predictor.predict(bad)


@pytest.mark.parametrize("value", [-1.0, np.nan])
def test_weights_that_give_no_finite_results_are_refused(tmp_path, value):
    saved, _ = made("mlp")
    name = next(name for name in saved.weights if name.endswith("running_var"))
    saved.weights[name][0] = value
    model.save(tmp_path, 1, saved, {})
    with pytest.raises(ValueError, match=f"not finite or variances below 0: {name}$"):
        Predictor(tmp_path)


def test_a_generator_is_refused_as_a_classifier(tmp_path):
    model.save(tmp_path, 1, made("gan")[0], {})
    predictor = Predictor(tmp_path)
    with pytest.raises(ValueError, match="generates images, it is not a classifier"):
        predictor.predict(IMAGES)
    assert gan.generate(predictor.network, 4, seed=0).shape == (4, 1, 8, 8)


def test_word_vectors_are_stored_in_the_model_and_their_file_is_not_needed(tmp_path):
    gone = f"model.embedding={{vectors: {tmp_path / 'gone.txt'}, frozen: true, dimensions: 4}}"
    saved, _ = made("textcnn", gone)
    saved.weights["embedding.0.weight"] = np.random.default_rng(0).normal(size=(5, 4)).astype("f4")
    model.save(tmp_path, 1, saved, {})
    stored = Predictor(tmp_path).network.state_dict()["embedding.0.weight"]
    np.testing.assert_array_equal(stored.numpy(), saved.weights["embedding.0.weight"])


def test_a_games_checkpoint_is_refused():
    path = agents.find("tic_tac_toe")
    assert not model.is_supervised(path)
    with pytest.raises(ValueError, match="is a game's checkpoint, not a supervised model's"):
        model.load(path)


@pytest.mark.parametrize("name", ["weights.safetensors", "model.json", "vocabulary.txt"])
def test_a_damaged_file_is_named(name, tmp_path):
    path = model.save(tmp_path, 1, made("textcnn")[0], {})
    data = bytearray((path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (path / name).write_bytes(data)
    with pytest.raises(ValueError, match=f"is not a usable checkpoint: {name} was altered"):
        Predictor(path)


def test_a_file_beside_those_of_the_manifest_is_not_read(tmp_path):
    path = model.save(tmp_path, 1, made("mlp")[0], {})
    (path / "vocabulary.txt").write_text(VOCABULARY.to_text())
    assert model.load(path).vocabulary is None
    assert Predictor(path).predict(IMAGES).shape == (3, 3)


@pytest.mark.parametrize("name", ["../other", "/etc/hostname", "deeper/file"])
def test_a_manifest_names_files_of_its_own_folder_only(name, tmp_path):
    path = model.save(tmp_path, 1, made("mlp")[0], {})
    fields = json.loads((path / sealed.MANIFEST).read_bytes())
    files = fields.pop("files") | {name: {"bytes": 0, "sha256": ""}}
    del fields["sha256"]
    (path / sealed.MANIFEST).write_bytes(sealed._dump_manifest(fields | {"files": files}))
    with pytest.raises(ValueError, match="which is not in the folder itself"):
        model.load(path)


def test_weights_of_another_network_are_refused(tmp_path):
    saved, _ = made("mlp")
    saved.weights["1.weight"] = saved.weights["1.weight"][:, 1:]
    model.save(tmp_path, 1, saved, {})
    with pytest.raises(ValueError, match=r"1\.weight has shape \(128, 63\)"):
        Predictor(tmp_path)


def test_a_few_lines_of_python_train_a_network_and_classify_with_it():
    pytest.importorskip("sklearn")
    config = configs.load("mlp", ["fit.epochs=4", "fit.ema=0", "optimizer.schedule.warmup_steps=0"])
    task = tasks.load(config, lambda line: None)
    module = models.build(config.model, task.shape, len(task.classes), config.seed)
    steps = fit.planned_steps(len(task.train.labels), config.fit)
    trainer = fit.Trainer(module, tasks.prepare(config), config.optimizer, config.fit, steps)
    fit.fit(trainer, task.train, task.validation)
    probabilities = fit.predict(module, tasks.prepare(config), task.test.inputs)
    assert (probabilities.argmax(axis=1) == task.test.labels).mean() > 0.8
