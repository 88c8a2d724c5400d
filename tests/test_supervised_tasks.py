"""Configurations and their data: training examples, validation, test, vocabulary."""

import numpy as np
import pytest

from alphazero import config_file, config_folder
from alphazero.config_file import ConfigError
from alphazero.supervised import config as configs
from alphazero.supervised import images, tasks
from alphazero.supervised.config import Images, SupervisedConfig, Texts


def quiet(line: str) -> None:
    pass


def reviews(folder, count: int = 20, tested: int = 4):
    """Tables in which each review has a word of its own."""
    for name, rows in (("train", count), ("test", tested)):
        lines = [f"{row % 2}\tthe film {name}{chr(97 + row)}\n" for row in range(rows)]
        (folder / f"{name}.tsv").write_text("".join(lines))
    return str(folder)


def of_texts(path: str, *overrides: str, **data) -> SupervisedConfig:
    loaded = configs.load("textcnn", overrides)
    return configs.SupervisedConfig(
        data=Texts(**{"path": path, "length": 5} | data), model=loaded.model, seed=loaded.seed
    )


@pytest.mark.parametrize("name", config_folder.names(configs.FOLDER))
def test_every_configuration_survives_being_written_out(name, tmp_path):
    config = configs.load(name)
    (tmp_path / "again.yaml").write_text(config_file.as_yaml(config))
    assert configs.load(str(tmp_path / "again.yaml")) == config


@pytest.mark.parametrize(
    ("name", "override", "said"),
    [
        ("mlp", "data={kind: texts}", "model.kind mlp is for data.kind images, not for texts"),
        ("lstm", "data={kind: images}", "model.kind recurrent is for data.kind texts"),
        ("textcnn", "model.widths=[]", "model.widths"),
        ("mlp", "optimizer.momentum=1", "optimizer.momentum: got 1"),
    ],
)
def test_an_impossible_configuration_is_refused_in_one_line(name, override, said):
    with pytest.raises(ConfigError) as caught:
        configs.load(name, [override])
    (line,) = caught.value.lines
    assert said in line
    assert ": : " not in line


def test_models_and_data_of_two_kinds_do_not_make_a_configuration_in_python_either():
    with pytest.raises(
        ValueError, match=r"model\.kind mlp is for data\.kind images, not for texts"
    ):
        SupervisedConfig(data=Texts())


def test_words_of_validation_and_test_texts_are_not_in_the_vocabulary(tmp_path):
    task = tasks.load(of_texts(reviews(tmp_path), validation=0.25), quiet)
    assert [len(part.labels) for part in (task.train, task.validation, task.test)] == [15, 5, 4]
    the, film = (2 + task.vocabulary.words.index(word) for word in ("the", "film"))
    unknown = 1
    assert (task.train.inputs > unknown).sum(axis=1).tolist() == [3] * 15
    for part in (task.validation, task.test):
        assert part.inputs[:, :3].tolist() == [[the, film, unknown]] * len(part.labels)
    assert task.shape == (len(task.vocabulary),) == (2 + 2 + 15,)
    own = [task.vocabulary.words[number - 2] for number in task.train.inputs[:, 2]]
    assert [(ord(word[-1]) - 97) % 2 for word in own] == task.train.labels.tolist()


def test_every_training_example_is_either_trained_on_or_held_back():
    pytest.importorskip("sklearn")
    whole = images.load(None, quiet).train
    config = SupervisedConfig(data=Images(validation=0.2), seed=3)
    task = tasks.load(config, quiet)
    assert len(task.validation.labels) == round(0.2 * len(whole.labels))
    rows = {(image.tobytes(), label) for image, label in zip(*whole, strict=True)}
    parts = [
        {(image.tobytes(), label) for image, label in zip(*part, strict=True)}
        for part in (task.train, task.validation)
    ]
    assert parts[0] | parts[1] == rows
    assert not parts[0] & parts[1]
    again, other = (tasks.load(SupervisedConfig(seed=seed), quiet) for seed in (3, 4))
    assert not np.array_equal(again.train.labels, other.train.labels)
    few = tasks.load(SupervisedConfig(data=Images(validation=0.2, limit=50), seed=3), quiet)
    assert [len(few.train.labels), len(few.validation.labels)] == [40, 10]
    np.testing.assert_array_equal(few.test.inputs, task.test.inputs)


@pytest.mark.parametrize("data", [Images(limit=1), Images(limit=9, validation=0.99)])
def test_holding_back_all_examples_is_refused(data):
    pytest.importorskip("sklearn")
    with pytest.raises(ValueError, match="training examples held back leave none"):
        tasks.load(SupervisedConfig(data=data), quiet)


def test_test_examples_are_read_as_they_were_in_training(tmp_path):
    config = of_texts(reviews(tmp_path))
    task = tasks.load(config, quiet)
    test, name = tasks.load_test(config, task.vocabulary, quiet)
    np.testing.assert_array_equal(test.inputs, task.test.inputs)
    np.testing.assert_array_equal(test.labels, task.test.labels)
    assert name == task.name == tmp_path.name


def test_pretrained_vectors_bring_their_words_and_their_numbers(tmp_path):
    (tmp_path / "vectors.txt").write_text("film 1 2\ntesta 3 4\nelsewhere 5 6\n")
    path = f"model.embedding.vectors={tmp_path / 'vectors.txt'}"
    config = of_texts(reviews(tmp_path), path)
    task = tasks.load(config, quiet)
    values = tasks.pretrained(config, task.vocabulary, quiet)
    for word, numbers in (("film", [1, 2]), ("testa", [3, 4]), ("elsewhere", [5, 6])):
        row = 2 + task.vocabulary.words.index(word)
        assert values[row].tolist() == numbers
    assert (task.test.inputs == 2 + task.vocabulary.words.index("testa")).sum() == 1
    assert tasks.with_dimensions(config, 2).model.embedding.dimensions == 2
    assert tasks.pretrained(of_texts(reviews(tmp_path)), task.vocabulary, quiet) is None
