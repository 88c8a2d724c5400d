"""The supervised loop against plain torch, hand computation and itself, interrupted."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from alphazero.nn import fit, layers, models, state, training
from alphazero.nn.device import PRECISIONS, cores
from alphazero.nn.divergence import Diverged, Losses
from alphazero.nn.fit import Examples, Hooks, Trainer
from alphazero.nn.settings import (
    CNN,
    MLP,
    EmbeddingSettings,
    FitSettings,
    OptimizerSettings,
    Recurrent,
    ResNet,
    ScheduleSettings,
    TextCNN,
    Transformer,
)
from alphazero.nn.training import Optimization, Progress, threads_per_batch
from alphazero.nn.weights import load

CONSTANT = ScheduleSettings(kind="constant", warmup_steps=0)
PLAIN = OptimizerSettings(
    name="sgd", learning_rate=0.1, l2=0.0, momentum=0.0, gradient_clip=0.0, schedule=CONSTANT
)
ADAM = OptimizerSettings(learning_rate=5e-3, schedule=CONSTANT)


def prepare(inputs, rng):
    """Pixels in [0, 1], in training with some noise from the generator."""
    planes = inputs.astype(np.float32) / 255
    return torch.from_numpy(planes + (rng.normal(0, 0.01, planes.shape) if rng else 0)).float()


def read(inputs, rng):
    return torch.from_numpy(inputs)


def quadrants(count: int = 120, seed: int = 0) -> Examples:
    """8×8 images with one bright quadrant of four, which is their class."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, count)
    images = rng.integers(0, 100, (count, 1, 8, 8))
    for image, label in zip(images, labels, strict=True):
        top, left = divmod(int(label), 2)
        image[0, 4 * top : 4 * top + 4, 4 * left : 4 * left + 4] += 60
    return Examples(images.astype(np.uint8), labels)


def sentences(count: int = 120, seed: int = 0) -> Examples:
    """Texts of 1 to 12 words, which contain the word 7, or not."""
    rng = np.random.default_rng(seed)
    tokens, lengths = rng.integers(8, 20, (count, 12)), rng.integers(1, 13, count)
    labels = rng.integers(0, 2, count)
    for row in range(count):
        tokens[row, rng.integers(lengths[row])] = 7 if labels[row] else 6
        tokens[row, lengths[row] :] = 0
    return Examples(tokens.astype(np.int32), labels)


def trainer(
    model=None, settings: FitSettings | None = None, optimizer=ADAM, seed: int = 0, **options
) -> Trainer:
    chosen = settings or FitSettings(**{"epochs": 4, "batch_size": 32, "device": "cpu"} | options)
    made = model or models.build(MLP(hidden=(16,)), (1, 8, 8), 4, seed=0)
    rows = len(quadrants().labels)
    return Trainer(made, prepare, optimizer, chosen, fit.planned_steps(rows, chosen), seed)


def without_minutes(history):
    return [{key: value for key, value in row.items() if key != "minutes"} for row in history]


def leaves(tree, prefix: str = "") -> dict:
    if isinstance(tree, dict | list | tuple):
        pairs = tree.items() if isinstance(tree, dict) else enumerate(tree)
        parts = [leaves(part, f"{prefix}.{key}") for key, part in pairs]
        return {name: leaf for part in parts for name, leaf in part.items()}
    return {} if prefix.endswith(".minutes") else {prefix: np.asarray(tree)}


def same(first, second) -> bool:
    one, other = leaves(first), leaves(second)
    return one.keys() == other.keys() and all(np.array_equal(one[key], other[key]) for key in one)


IMAGES = [
    MLP(hidden=(16,)),
    MLP(hidden=(16, 16), batch_norm=True, dropout=0.2, activation="leaky_relu"),
    CNN(channels=(4, 8), hidden=16),
    ResNet(blocks=1, channels=8, head_channels=4),
]
WORDS = EmbeddingSettings(dimensions=12)
TEXTS = [
    TextCNN(embedding=WORDS, channels=8, widths=(1, 2)),
    Recurrent(embedding=WORDS, hidden=8),
    Recurrent(embedding=WORDS, hidden=8, cell="gru"),
    Transformer(embedding=WORDS, heads=2, layers=1, feedforward=16, dropout=0.1),
]


@pytest.mark.parametrize("settings", [*IMAGES, *TEXTS], ids=lambda model: model.kind)
def test_every_model_learns(settings):
    of_images = settings in IMAGES
    data, held = (
        (quadrants(), quadrants(60, 1)) if of_images else (sentences(200), sentences(60, 1))
    )
    shape, classes = ((1, 8, 8), 4) if of_images else ((20,), 2)
    chosen = FitSettings(epochs=12, batch_size=16, device="cpu")
    steps = fit.planned_steps(len(data.labels), chosen)
    model = models.build(settings, shape, classes, seed=0)
    optimizer = OptimizerSettings(learning_rate=1e-2, schedule=ScheduleSettings(warmup_steps=5))
    made = Trainer(model, prepare if of_images else read, optimizer, chosen, steps)
    history = fit.fit(made, data, held)
    assert max(row["validation_accuracy"] for row in history) > 0.9
    assert history[-1]["loss"] < history[0]["loss"]
    assert history[-1]["accuracy"] > history[0]["accuracy"]


def test_an_epoch_is_the_same_gradient_descent_as_by_hand():
    """Batches in the order given by ``batches``, plain torch steps, means over the rows."""
    model = models.build(MLP(hidden=(5,), activation="tanh"), (1, 8, 8), 4, seed=0)
    plain, data = copy.deepcopy(model), quadrants(70)
    made = trainer(model, optimizer=PLAIN, threads=1)
    row = made.epoch(data)
    rng, total, right = np.random.default_rng((0, 0)), 0.0, 0
    order = list(fit.batches(data.inputs, 32, rng))
    for rows in order:
        output = plain(prepare(data.inputs[rows], rng))
        labels = torch.from_numpy(data.labels[rows])
        loss = nn.functional.cross_entropy(output, labels)
        total += loss.item() * len(rows)
        right += int((output.argmax(dim=1) == labels).sum())
        for parameter, slope in zip(
            plain.parameters(), torch.autograd.grad(loss, plain.parameters()), strict=True
        ):
            parameter.data -= 0.1 * slope
    assert [len(rows) for rows in order] == [32, 32, 6]
    assert row["loss"] == pytest.approx(total / 70, rel=1e-5)
    assert row["accuracy"] == pytest.approx(right / 70)
    for own, other in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(own, other, atol=1e-5, rtol=1e-5)


def one_step(optimizer: OptimizerSettings, gradient: list[float]):
    """Weights ``(before, after)`` and figures of a step with this gradient."""
    module = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[2.0, -3.0]]))
    before = module.weight.detach().clone()
    made = Optimization(module, optimizer)

    def forward(own, slope):
        loss = (own.weight * slope).sum()
        return loss, {"loss": loss}

    figures = made.step(forward, [torch.tensor([gradient])], 0.5)
    return before[0].tolist(), module.weight[0].tolist(), figures


def with_(**changes) -> OptimizerSettings:
    kept = {"name": "sgd", "learning_rate": 0.1, "momentum": 0.0, "schedule": CONSTANT}
    return OptimizerSettings(**{"l2": 0.0, "gradient_clip": 0.0} | kept | changes)


def test_a_steps_penalties_and_clipping_equal_the_hand_computation():
    _, after, figures = one_step(with_(), [3.0, 4.0])
    assert after == pytest.approx([2 - 0.3, -3 - 0.4])
    assert figures["gradient_norm"] == pytest.approx(5)
    _, after, figures = one_step(with_(gradient_clip=1.0), [3.0, 4.0])
    assert after == pytest.approx([2 - 0.06, -3 - 0.08], rel=1e-4)
    assert figures["gradient_norm"] == pytest.approx(5)
    _, after, _ = one_step(with_(l2=0.5), [0.0, 0.0])
    assert after == pytest.approx([2 - 0.1, -3 + 0.15])
    _, after, _ = one_step(with_(l1=0.5), [0.0, 0.0])
    assert after == pytest.approx([2 - 0.05, -3 + 0.05])
    _, after, _ = one_step(with_(l1=0.5, gradient_clip=1.0), [3.0, 4.0])
    assert after == pytest.approx([2 - 0.06 - 0.05, -3 - 0.08 + 0.05], rel=1e-4)


def test_the_learning_rate_follows_the_share_of_the_steps_that_is_done():
    schedule = ScheduleSettings(kind="cosine", warmup_steps=0, final_factor=0.0)
    optimizer = OptimizerSettings(name="sgd", learning_rate=0.1, schedule=schedule)
    history = fit.fit(trainer(optimizer=optimizer, epochs=4), quadrants(120))
    # Of 16 steps the last ones of the epochs have 3, 7, 11 and 15 before them.
    expected = [0.05 * (1 + math.cos(math.pi * done / 16)) for done in (3, 7, 11, 15)]
    assert [row["learning_rate"] for row in history] == pytest.approx(expected)


def test_the_time_limit_drives_the_learning_rate_and_ends_an_epoch_early(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("alphazero.nn.training.time.monotonic", lambda: now[0])
    schedule = ScheduleSettings(kind="cosine", warmup_steps=0, final_factor=0.0)
    optimizer = OptimizerSettings(name="sgd", learning_rate=0.1, schedule=schedule)
    made = trainer(optimizer=optimizer, epochs=100, time_limit_minutes=1.0)
    seen = []

    def tick(count: int) -> None:
        seen.append(count)
        now[0] += 10

    history = fit.fit(made, quadrants(120), hooks=Hooks(batch=tick))
    assert seen == [32, 32, 32, 24, 32, 32]
    assert [row["epoch"] for row in history] == [1, 2]
    assert history[-1]["minutes"] == pytest.approx(1.0)
    assert history[-1]["learning_rate"] == pytest.approx(0.05 * (1 + math.cos(math.pi * 5 / 6)))
    assert made.progress.finished


def test_the_averaged_weights_are_validated_kept_and_left_in_the_model():
    model = models.build(MLP(hidden=(16,)), (1, 8, 8), 4, seed=0)
    made, held = trainer(model, ema=0.9), quadrants(60, 1)
    made.epoch(quadrants())
    raw = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    averaged = made.weights()
    assert not np.allclose(averaged["1.weight"], raw["1.weight"])
    other = models.build(MLP(hidden=(16,)), (1, 8, 8), 4, seed=0)
    load(other, averaged)
    probabilities = fit.predict(other, prepare, held.inputs)
    figures = made.validate(held)
    right = probabilities[np.arange(60), held.labels]
    assert figures["validation_loss"] == pytest.approx(-np.log(right).mean(), rel=1e-5)
    accuracy = (probabilities.argmax(axis=1) == held.labels).mean()
    assert figures["validation_accuracy"] == pytest.approx(accuracy)
    assert all(torch.equal(raw[key], tensor) for key, tensor in model.state_dict().items())


class Scripted:
    """A trainer with given validation figures; its weights are the number of the epoch."""

    def __init__(self, accuracies, losses=None, patience=0, epochs=100):
        self.settings = FitSettings(epochs=epochs, patience=patience)
        self.progress = Progress(self.settings, 10**9)
        self.accuracies, self.validated = accuracies, losses or [1.0] * len(accuracies)
        self.losses = Losses()
        self.now = 0.0

    def epoch(self, train, progress):
        progress(len(train.labels))
        self.progress.epochs += 1
        self.now = float(self.progress.epochs)
        return {"loss": 1.0}

    def validate(self, examples):
        index = self.progress.epochs - 1
        return {
            "validation_loss": self.validated[index],
            "validation_accuracy": self.accuracies[index],
        }

    def weights(self):
        return {"epoch": np.array(self.now)}

    def load(self, weights):
        self.now = float(weights["epoch"])

    def state(self):
        return {"course": self.progress.state()}

    def restore(self, state):
        self.progress.restore(state["course"])


@pytest.mark.parametrize(
    ("patience", "accuracies", "epochs", "best"),
    [
        (0, [0.5, 0.4, 0.3, 0.2], 4, 1),
        (2, [0.5, 0.6, 0.6, 0.6, 0.9], 4, 2),
        (2, [0.5, 0.6, 0.5, 0.7, 0.6, 0.6, 0.9], 6, 4),
        (1, [0.5, 0.4, 0.9], 2, 1),
        (3, [0.1, 0.2, 0.3, 0.4], 4, 4),
    ],
)
def test_training_stops_without_improvement_and_keeps_the_best(patience, accuracies, epochs, best):
    made = Scripted(accuracies, patience=patience, epochs=len(accuracies))
    history = fit.fit(made, quadrants(4), quadrants(4))
    assert len(history) == epochs
    assert made.now == best == fit.best_epoch(history)


def test_among_equal_accuracies_the_lowest_loss_is_best_and_counts_as_improvement():
    made = Scripted([0.5, 0.5, 0.5, 0.5, 0.5], [1.0, 0.9, 0.8, 0.8, 0.7], patience=1, epochs=5)
    assert len(fit.fit(made, quadrants(4), quadrants(4))) == 4
    assert made.now == 3


def test_without_validation_the_last_epochs_weights_are_kept():
    made = Scripted([0.0] * 3, patience=1, epochs=3)
    assert len(fit.fit(made, quadrants(4))) == 3
    assert made.now == 3


def test_patience_and_the_best_weights_survive_a_resumption():
    accuracies, saved = [0.5, 0.7, 0.6, 0.6, 0.9], []
    first = Scripted(accuracies, patience=2, epochs=5)
    fit.fit(first, quadrants(4), quadrants(4), Hooks(saved=saved.append))
    assert [len(state["history"]) for state in saved] == [1, 2, 3, 4]
    for resumed in saved[1:3]:
        second = Scripted(accuracies, patience=2, epochs=5)
        history = fit.fit(second, quadrants(4), quadrants(4), state=resumed)
        assert [row["epoch"] for row in history] == [1, 2, 3, 4]
        assert second.now == 2


@pytest.mark.parametrize("settings", [IMAGES[1], IMAGES[2], TEXTS[1], TEXTS[3]])
@pytest.mark.parametrize(("count", "precision"), [(1, "auto"), (2, "float32"), (2, "bfloat16")])
def test_two_epochs_and_two_resumed_ones_equal_four_bit_for_bit(settings, count, precision):
    of_images = settings in IMAGES
    data, held = (quadrants(), quadrants(60, 1)) if of_images else (sentences(), sentences(60, 1))
    shape, classes = ((1, 8, 8), 4) if of_images else ((20,), 2)
    chosen = FitSettings(
        epochs=4, batch_size=32, ema=0.9, precision=precision, device="cpu", threads=count
    )

    def build(seed: int) -> Trainer:
        steps = fit.planned_steps(len(data.labels), chosen)
        model = models.build(settings, shape, classes, seed=seed)
        return Trainer(model, prepare if of_images else read, ADAM, chosen, steps, seed=3)

    whole, states = build(0), []
    expected = fit.fit(whole, data, held, Hooks(saved=lambda s: states.append(state.dump(s))))
    second = build(1)
    history = fit.fit(second, data, held, state=state.load(states[1]))
    assert without_minutes(history) == without_minutes(expected)
    assert same(second.weights(), whole.weights())
    again = []
    third = build(2)
    fit.fit(third, data, held, Hooks(saved=again.append), state.load(states[1]))
    assert same(again[-1], state.load(states[-1]))


@pytest.mark.parametrize("faster", PRECISIONS)
def test_auto_chooses_the_faster_precision_and_restore_keeps_it(faster, monkeypatch):
    timed = []

    def seconds(replicas, *_):
        timed.append(replicas)
        return float(replicas._weights.dtype != PRECISIONS[faster])

    monkeypatch.setattr(training, "_seconds", seconds)
    first, second = trainer(precision="auto"), trainer(precision="auto")
    first.epoch(quadrants())
    assert first.state()["descent"]["precision"] == faster
    second.restore(first.state())
    second.epoch(quadrants())
    assert second.state()["descent"]["precision"] == faster
    assert len(timed) == len(PRECISIONS)


def test_timing_the_precisions_does_not_change_the_initial_state(monkeypatch):
    really = training._seconds

    def seconds(replicas, *batch):
        really(replicas, *batch)
        return float(replicas._weights.dtype != torch.float32)

    monkeypatch.setattr(training, "_seconds", seconds)
    model, trainers = MLP(hidden=(16,), batch_norm=True, dropout=0.3), []
    for precision in ("auto", "float32"):
        network = models.build(model, (1, 8, 8), 4, seed=0)
        trainers.append(trainer(network, precision=precision, epochs=1))
        trainers[-1].epoch(quadrants())
    assert same(trainers[0].state()["descent"], trainers[1].state()["descent"])


def test_another_seed_gives_another_order_and_another_dropout():
    def loss(seed: int) -> float:
        model = models.build(MLP(hidden=(16,), dropout=0.5), (1, 8, 8), 4, seed=0)
        return trainer(model, seed=seed).epoch(quadrants())["loss"]

    assert loss(0) == loss(0)
    assert loss(0) != loss(1)


def test_training_does_not_draw_from_the_global_generators():
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    trainer(models.build(CNN(channels=(2,)), (1, 8, 8), 4, seed=0)).epoch(quadrants())
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002


def test_a_stop_in_the_middle_of_an_epoch_loses_that_epoch_only():
    whole = trainer(epochs=3)
    expected = fit.fit(whole, quadrants(), quadrants(60, 1))
    calls, states = [], []

    def stop() -> bool:
        calls.append(None)
        return len(calls) == 6  # an epoch has four batches

    made = trainer(epochs=3)
    history = fit.fit(made, quadrants(), quadrants(60, 1), Hooks(stop=stop, saved=states.append))
    assert len(history) == len(states) == 1
    resumed = trainer(epochs=3)
    history = fit.fit(resumed, quadrants(), quadrants(60, 1), state=states[-1])
    assert without_minutes(history) == without_minutes(expected)


def test_the_hooks_are_called_for_every_batch_and_every_epoch():
    counts, rows = [], []
    history = fit.fit(
        trainer(epochs=2), quadrants(), quadrants(9), Hooks(batch=counts.append, epoch=rows.append)
    )
    assert counts == [32, 32, 32, 24] * 2
    assert rows == history
    assert set(history[0]) == {
        *("epoch", "minutes", "loss", "accuracy", "validation_loss", "validation_accuracy"),
        *("learning_rate", "gradient_norm"),
    }


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_an_input_that_is_not_finite_is_refused_with_its_number_and_changes_nothing(poison):
    model = models.build(MLP(hidden=(4,), batch_norm=True), (1, 8, 8), 4, seed=0)
    inputs = quadrants(30).inputs.astype(np.float32)
    inputs[17, 0, 3, 3] = poison
    made = trainer(model)
    before = made.state()
    with pytest.raises(ValueError, match="input 17 holds numbers that are not finite"):
        made.epoch(Examples(inputs, quadrants(30).labels))
    assert same(made.state(), before)
    with pytest.raises(ValueError, match="input 17 holds numbers that are not finite"):
        fit.predict(model, prepare, inputs)


def test_a_loss_that_is_not_finite_stops_the_training_with_its_step():
    model = models.build(MLP(hidden=(4,)), (1, 8, 8), 4, seed=0)
    made = trainer(model)
    made.epoch(quadrants())
    with torch.no_grad():
        next(model.parameters()).fill_(math.inf)
    with pytest.raises(Diverged, match=r"diverged at step 4: .* lower optimizer\.learning_rate"):
        made.epoch(quadrants())


def test_missing_labels_and_a_single_example_are_refused():
    data = quadrants(4)
    for bad in (Examples(data.inputs, data.labels[:3]), Examples(data.inputs[:1], data.labels[:1])):
        with pytest.raises(ValueError, match="two examples at least and a label for each"):
            trainer().epoch(bad)
    with pytest.raises(ValueError, match="labels are int32, should be int64"):
        trainer().epoch(Examples(data.inputs, data.labels.astype(np.int32)))


@pytest.mark.parametrize("rows", [2, 9, 10, 11, 12, 20, 21, 1001])
def test_each_epoch_has_every_example_once_and_no_batch_of_one(rows):
    for inputs in (np.zeros((rows, 1, 4, 4), np.uint8), np.ones((rows, 7), np.int32)):
        order = list(fit.batches(inputs, 10, np.random.default_rng(0)))
        assert sorted(np.concatenate(order)) == list(range(rows))
        assert {len(batch) for batch in order} <= {*range(2, 12)}
        assert len(order) == fit.planned_steps(rows, FitSettings(epochs=1, batch_size=10))


def test_the_texts_of_a_batch_have_similar_lengths_and_batches_come_in_random_order():
    lengths = np.random.default_rng(0).integers(1, 101, 3000)
    inputs = (np.arange(100) < lengths[:, None]).astype(np.int32)
    order = list(fit.batches(inputs, 10, np.random.default_rng(0)))
    spreads = [np.ptp(lengths[rows]) for rows in order]
    assert np.mean(spreads) < 10
    means = [lengths[rows].mean() for rows in order]
    assert abs(np.corrcoef(means[:-1], means[1:])[0, 1]) < 0.2


def test_predictions_are_the_softmax_in_evaluation_mode_for_any_batches_and_threads():
    model = models.build(CNN(channels=(3,), dropout=0.5), (1, 8, 8), 4, seed=0)
    inputs = quadrants(70).inputs
    with torch.no_grad():
        expected = torch.softmax(copy.deepcopy(model).eval()(prepare(inputs, None)), dim=1)
    for options in ({}, {"batch_size": 16}, {"batch_size": 16, "threads": 3}):
        predicted = fit.predict(model, prepare, inputs, **options)
        assert predicted.dtype == np.float32
        np.testing.assert_allclose(predicted, expected.numpy(), atol=1e-6)
        assert model.training  # as it was


def test_predictions_of_texts_are_in_the_order_of_the_texts():
    model = models.build(TEXTS[1], (20,), 2, seed=0)
    inputs = sentences(50).inputs
    one_by_one = np.concatenate([fit.predict(model, read, inputs[i : i + 1]) for i in range(50)])
    predicted = fit.predict(model, read, inputs, batch_size=8, threads=2)
    np.testing.assert_allclose(predicted, one_by_one, atol=1e-6)


def test_the_confusion_matrix_has_a_row_per_true_class():
    labels, predicted = np.array([0, 0, 1, 2, 2, 2]), np.array([0, 2, 1, 2, 1, 1])
    expected = np.zeros((4, 4), int)
    for truth, prediction in zip(labels, predicted, strict=True):
        expected[truth, prediction] += 1
    got = fit.confusion(labels, predicted, 4)
    assert got.dtype == np.int64
    assert np.array_equal(got, expected)


def test_label_smoothing_applies_in_training_and_not_in_validation():
    made = trainer(label_smoothing=0.9, optimizer=with_(learning_rate=1e-9), threads=1)
    figures = made.epoch(quadrants())
    plain = made.validate(quadrants())["validation_loss"]
    probabilities = fit.predict(made._optimization.module, prepare, quadrants().inputs)
    right = -np.log(probabilities[np.arange(120), quadrants().labels]).mean()
    smooth = 0.1 * right - 0.9 * np.log(probabilities).mean()
    assert plain == pytest.approx(right, rel=1e-5)
    assert figures["loss"] == pytest.approx(smooth, rel=1e-3)  # its inputs have some noise


def test_a_model_learns_by_the_squared_error_too():
    made = trainer(loss="mse", epochs=15, batch_size=16, optimizer=with_(learning_rate=2.0))
    history = fit.fit(made, quadrants(), quadrants(60, 1))
    assert history[-1]["validation_accuracy"] > 0.8
    probabilities = fit.predict(made._optimization.module, prepare, quadrants(60, 1).inputs)
    squares = (probabilities - np.eye(4)[quadrants(60, 1).labels]) ** 2
    best = history[fit.best_epoch(history) - 1]
    assert best["validation_loss"] == pytest.approx(squares.mean(), rel=1e-4)


def test_dropout_is_on_in_training_and_off_in_validation():
    model = models.build(MLP(hidden=(64,), dropout=0.9), (1, 8, 8), 4, seed=0)
    made = trainer(model, optimizer=with_(learning_rate=1e-9))
    losses = [made.epoch(quadrants())["loss"] for _ in range(2)]
    assert losses[0] != losses[1]
    validated = [made.validate(quadrants())["validation_loss"] for _ in range(2)]
    assert validated[0] == pytest.approx(validated[1], abs=1e-9)


def test_batchnorms_statistics_equal_those_of_the_batches_by_hand():
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 4))
    made = trainer(model, optimizer=with_(learning_rate=1e-9), threads=1)
    data, mean, rng = quadrants(), np.zeros(64), np.random.default_rng((0, 0))
    made.epoch(data)
    for rows in fit.batches(data.inputs, 32, rng):
        batch = prepare(data.inputs[rows], rng).flatten(1).double().numpy()
        mean = 0.9 * mean + 0.1 * batch.mean(axis=0)
    np.testing.assert_allclose(model[1].running_mean.numpy(), mean, rtol=1e-4)


def test_auto_is_one_thread_per_core_with_32_rows_each_at_least():
    assert threads_per_batch(FitSettings(batch_size=16, device="cpu")) == 1
    assert threads_per_batch(FitSettings(batch_size=32 * 1024, device="cpu")) == cores()
    assert threads_per_batch(FitSettings(batch_size=64, device="cpu")) == min(2, cores())
    assert threads_per_batch(FitSettings(batch_size=16, device="cpu", threads=3)) == 3


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "rmsprop"])
def test_every_optimizer_learns(name):
    rate = 0.1 if name == "sgd" else 5e-3
    optimizer = OptimizerSettings(name=name, learning_rate=rate, schedule=CONSTANT)
    history = fit.fit(trainer(optimizer=optimizer, epochs=10), quadrants())
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]


def test_every_epoch_has_another_order():
    seen = []

    def recording(inputs, rng):
        seen.append(inputs.copy())
        return prepare(inputs, rng)

    made, data = trainer(), quadrants(32)
    made._prepare = recording
    for _ in range(2):
        made.epoch(data)
    assert [len(inputs) for inputs in seen] == [32, 32]
    assert not np.array_equal(*seen)


def test_no_two_shares_and_no_two_steps_have_the_same_dropout():
    model = nn.Sequential(nn.Flatten(), layers.Dropout(0.5), nn.Linear(64, 4))
    made = trainer(model, threads=2, batch_size=32)
    masks = []

    def forward(module, inputs, labels, rows):
        result = original(module, inputs, labels, rows)
        masks.append(module[1](torch.ones(500)))
        return result

    original, made._forward = made._forward, forward
    for _ in range(2):
        made.epoch(quadrants(32))
    assert len({tuple(mask.tolist()) for mask in masks}) == 4
