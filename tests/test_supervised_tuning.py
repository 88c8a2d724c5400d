"""Search for settings: candidates, folds and results, compared with scikit-learn's."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import GridSearchCV, StratifiedKFold, train_test_split

from alphazero.config_file import ConfigError
from alphazero.nn import fit, models
from alphazero.nn.settings import MLP, FitSettings, OptimizerSettings, ScheduleSettings
from alphazero.supervised import candidates, config, images, tuning
from alphazero.supervised.candidates import Choices, Range
from alphazero.supervised.tuning import Score

SHARED = (
    "data.shift=0", "data.limit=450", "model.hidden=[24]", "model.batch_norm=false", "seed=5",
    "fit.epochs=3", "fit.batch_size=32", "fit.patience=1", "fit.ema=0", "fit.device=cpu",
    "optimizer.schedule.warmup_steps=0",
)  # fmt: skip
"""Settings of trials that take some hundredths of a second."""
BASE = config.load("mlp", SHARED)


def silent(_: str) -> None:
    pass


def grid(*texts: str, shared=SHARED, name="mlp"):
    return candidates.grid(name, shared, candidates.axes(texts))


def planned(*texts: str, shared=SHARED, name="mlp", folds=3):
    base = config.load(name, shared)
    return tuning.plan(base, grid(*texts, shared=shared, name=name), folds, silent)


def errors(call) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        call()
    return caught.value.lines


class Network(ClassifierMixin, BaseEstimator):
    """The same training as a trial's, written by hand as a scikit-learn estimator."""

    def __init__(self, dropout=0.0, learning_rate=1e-3, name="adam"):
        self.dropout, self.learning_rate, self.name = dropout, learning_rate, name

    def fit(self, inputs, labels):
        self.classes_ = np.unique(labels)
        rows, held = train_test_split(np.arange(len(labels)), test_size=0.1, random_state=5)
        network = MLP(hidden=(24,), dropout=self.dropout)
        self.model_ = models.build(network, inputs.shape[1:], 10, 5)
        optimizer = OptimizerSettings(
            name=self.name,
            learning_rate=self.learning_rate,
            schedule=ScheduleSettings(warmup_steps=0),
        )
        settings = FitSettings(epochs=3, batch_size=32, patience=1, device="cpu", threads=1)
        steps = 3 * -(-len(rows) // 32)
        trainer = fit.Trainer(self.model_, images.prepare(0), optimizer, settings, steps, 5)
        parts = [fit.Examples(inputs[part], labels[part]) for part in (rows, held)]
        fit.fit(trainer, *parts)
        return self

    def predict(self, inputs):
        return fit.predict(self.model_, images.prepare(0), inputs).argmax(1)


def test_the_results_of_a_2x2x2_grid_with_3_folds_equal_scikit_learns_grid_search():
    rates, names = "optimizer.learning_rate=1e-3,1e-2", "optimizer.name=adam,rmsprop"
    ours = tuning.search(planned("model.dropout=0,0.4", rates, names))
    pool = tuning.load(BASE, silent).examples
    search = GridSearchCV(
        Network(),
        {"dropout": [0, 0.4], "learning_rate": [1e-3, 1e-2], "name": ["adam", "rmsprop"]},
        cv=StratifiedKFold(3, shuffle=True, random_state=5),
        refit=False,
        error_score="raise",
    )
    search.fit(pool.inputs, pool.labels)
    theirs, mean = search.cv_results_, {}
    for index, chosen in enumerate(theirs["params"]):
        (result,) = [
            result
            for result in ours
            if (float(result.values["model.dropout"]), result.values["optimizer.name"])
            == (chosen["dropout"], chosen["name"])
            and float(result.values["optimizer.learning_rate"]) == chosen["learning_rate"]
        ]
        folds = [theirs[f"split{fold}_test_score"][index] for fold in range(3)]
        assert list(result.accuracies) == folds
        assert result.mean == pytest.approx(theirs["mean_test_score"][index], abs=1e-12)
        assert result.deviation == pytest.approx(theirs["std_test_score"][index], abs=1e-12)
        mean[result.rank] = theirs["mean_test_score"][index]
    assert len(ours) == len(theirs["params"]) == 8
    assert len(set(theirs["mean_test_score"])) > 4, "nothing is compared where all are equal"
    ranking = [mean[rank] for rank in range(1, 9)]
    np.testing.assert_allclose(ranking, np.sort(theirs["mean_test_score"])[::-1], atol=1e-12)


def test_folds_measure_every_example_once_with_the_same_share_of_each_class():
    labels = np.random.default_rng(0).choice(4, 200, p=[0.5, 0.3, 0.15, 0.05]).astype(np.int64)
    folds = tuning.split(labels, tuning.Folds(count=5, seed=3))
    assert sorted(np.concatenate([held for _, held in folds])) == list(range(200))
    for rows, held in folds:
        assert sorted([*rows, *held]) == list(range(200))
        counts = np.bincount(labels[held], minlength=4)
        assert (np.abs(counts - np.bincount(labels) / 5) < 1).all()
    other = tuning.split(labels, tuning.Folds(count=5, seed=4))
    assert any((a[1] != b[1]).any() for a, b in zip(folds, other, strict=True))


def test_more_folds_than_a_class_has_examples_are_refused():
    labels = np.array([0, 0, 0, 0, 1, 1])
    with pytest.raises(ValueError, match="got 3, should be from 2 to 2"):
        tuning.split(labels, tuning.Folds(count=3))


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([0, 0, 0, 1], "folds: got 3, but class positive has only 1 example: add examples"),
        ([0, 0, 1, 1, 1], "folds: got 3, but class negative has only 2 examples: give at most 2"),
        ([0, 0, 0, 1, 1, 1], None),
        ([1, 1, 1], None),
    ],
)
def test_a_class_smaller_than_the_folds_is_named(labels, said):
    examples = fit.Examples(np.zeros((len(labels), 1, 2, 2), np.uint8), np.array(labels))
    pool = tuning.Pool("made up", examples, ("negative", "positive"), (1, 2, 2))
    if said is None:
        tuning.check_classes(pool, tuning.Folds(count=3))
        return
    with pytest.raises(ValueError, match=f"^{said}$"):
        tuning.check_classes(pool, tuning.Folds(count=3))


def test_the_pool_is_all_training_data_and_no_test_data():
    pool = tuning.load(replace(BASE, data=config.Images()), silent)
    known = images.load(None, silent)
    assert len(pool.examples.labels) == len(known.train.labels)
    every = {image.tobytes() for image in known.train.inputs}
    assert {image.tobytes() for image in pool.examples.inputs} == every


def test_a_grid_has_every_combination_and_the_last_key_changes_fastest():
    tried = grid("optimizer.name=adam,sgd", "model.hidden=[32, 16],[8]")
    assert [candidate.name for candidate in tried] == [
        "optimizer.name=adam model.hidden=[32, 16]",
        "optimizer.name=adam model.hidden=[8]",
        "optimizer.name=sgd model.hidden=[32, 16]",
        "optimizer.name=sgd model.hidden=[8]",
    ]
    names = [candidate.config.optimizer.name for candidate in tried]
    assert names == ["adam", "adam", "sgd", "sgd"]
    assert tried[2].config.model == replace(BASE.model, hidden=(32, 16))


def test_values_are_split_at_commas_but_not_within_brackets_or_quotes():
    (axis,) = candidates.axes(["key = [1, 2],{a: 1, b: [2, 3]}, 'x,y' ,1e-3"])
    assert axis == Choices("key", ("[1, 2]", "{a: 1, b: [2, 3]}", "'x,y'", "1e-3"))


def test_all_errors_of_a_grid_are_reported_at_once_before_any_training():
    lines = errors(
        lambda: grid("dropout=0,1", "optimizer.name=adm,adam", "fit.epochs=0,1", "seed=1,2")
    )
    assert sorted(line.split(": ")[1] for line in lines) == [
        "dropout", "fit.epochs", "optimizer.name"
    ]  # fmt: skip
    assert "did you mean model.dropout" in "\n".join(lines)


@pytest.mark.parametrize(
    ("texts", "part"),
    [
        (["optimizer.name"], "should be key.sub=value,value"),
        (["optimizer.name="], "should be key.sub=value,value"),
        (["=adam"], "should be key.sub=value,value"),
        (["optimizer.name=adam,,sgd"], "expected the node content"),
        (["model.hidden=[3"], "should be key.sub=value,value"),
        (["optimizer.name=adam,adam"], "a value is given twice"),
        (["seed=1,2", "seed=3"], "seed: given twice"),
        (["optimizer.learning_rate=1e-3,0.001"], "are the same settings"),
        (["tracking.wandb=off,online"], "are the same settings"),
        (["data.limit=100,200"], "data.limit: must be the same for all"),
        (["data.path=a,b"], "data.path: must be the same for all"),
        (["model={kind: mlp},{kind: gan}"], "a gan is no classifier"),
        (["seed=" + ",".join(map(str, range(10_001)))], "10,001 combinations"),
    ],
)  # fmt: skip
def test_a_grid_that_cannot_be_tried_is_refused(texts, part):
    (line,) = errors(lambda: grid(*texts))
    assert part in line


@pytest.mark.parametrize("text", ["a", "a=1", "a=1..", "a=2..1", "a=1..1", "a=1..x", "a=0..inf"])
def test_a_range_without_two_ends_is_refused(text):
    (line,) = errors(lambda: candidates.axes([], [text]))
    assert line.startswith(f"--range {text}: should be key.sub=low..high")


def test_the_errors_of_several_axes_are_reported_together():
    assert len(errors(lambda: candidates.axes(["a=", "b=1,1"], ["c=1"]))) == 3


def drawn(axis: Range, count: int = 2000) -> np.ndarray:
    rng = np.random.default_rng(1)
    return np.array([float(axis.draw(rng)) for _ in range(count)])


def test_a_positive_range_of_decades_is_drawn_from_evenly_in_the_logarithm():
    values = drawn(Range("key", 1e-4, 1e-1, False))
    assert 1e-4 <= values.min() < 1.1e-4
    assert 0.9e-1 < values.max() <= 1e-1
    counts = np.histogram(np.log10(values), bins=[-4, -3, -2, -1])[0]
    assert (np.abs(counts / 2000 - 1 / 3) < 0.05).all()


@pytest.mark.parametrize("ends", [(0.0, 0.5), (0.2, 0.7), (-1.0, 1.0)])
def test_any_other_range_is_drawn_from_evenly(ends):
    low, high = ends
    values = drawn(Range("key", low, high, False))
    assert low <= values.min()
    assert values.max() <= high
    counts = np.histogram(values, bins=4, range=ends)[0]
    assert (np.abs(counts / 2000 - 1 / 4) < 0.05).all()


@pytest.mark.parametrize("ends", [(1, 5), (-2, 2), (1, 20)])
def test_whole_ends_give_whole_numbers_and_both_ends_occur(ends):
    (axis,) = candidates.axes([], [f"key={ends[0]}..{ends[1]}"])
    rng = np.random.default_rng(0)
    texts = {axis.draw(rng) for _ in range(2000)}
    assert texts == {str(number) for number in range(ends[0], ends[1] + 1)}


def test_random_candidates_differ_and_fewer_are_the_first_of_more():
    axes = candidates.axes(["optimizer.name=adam,sgd"], ["optimizer.learning_rate=1e-4..1e-1"])
    many = candidates.draw("mlp", SHARED, axes, 12, seed=7)
    assert len({one.name for one in many}) == 12
    few = candidates.draw("mlp", SHARED, axes, 5, seed=7)
    assert [one.values for one in few] == [one.values for one in many[:5]]
    assert few[0].config.optimizer.learning_rate == float(few[0].values["optimizer.learning_rate"])
    other = candidates.draw("mlp", SHARED, axes, 5, seed=8)
    assert [one.values for one in few] != [one.values for one in other]


def test_random_candidates_can_be_all_combinations_but_not_more():
    axes = candidates.axes(["optimizer.name=adam,sgd", "data.shift=0,0.1,0.2"])
    tried = candidates.draw("mlp", SHARED, axes, 6, seed=0)
    every = grid("optimizer.name=adam,sgd", "data.shift=0,0.1,0.2")
    assert {candidate.name for candidate in tried} == {candidate.name for candidate in every}
    (line,) = errors(lambda: candidates.draw("mlp", SHARED, axes, 7, seed=0))
    assert "only 6 different combinations" in line


def test_random_candidates_with_equal_settings_are_refused_as_in_a_grid():
    axes = candidates.axes(["optimizer.learning_rate=1e-3,0.001", "seed=1"])
    (line,) = errors(lambda: candidates.draw("mlp", SHARED, axes, 2, seed=0))
    assert line.endswith("are the same settings")


def test_random_candidates_are_all_checked_first():
    axes = candidates.axes(["optimizer.name=adam,adm"], ["fit.ema=0.5..1.5"])
    lines = errors(lambda: candidates.draw("mlp", SHARED, axes, 20, seed=0))
    assert any("'adm'" in line for line in lines)
    assert any("fit.ema" in line for line in lines)


def test_a_network_that_does_not_fit_the_images_is_refused_before_any_training():
    deep = "model.channels=[4],[4, 4, 4, 4],[4, 4, 4, 4, 4]"
    lines = errors(lambda: planned(deep, shared=("data.limit=200",), name="cnn"))
    assert len(lines) == 2
    assert lines[0].startswith("model.channels=[4, 4, 4, 4]: ")


def scored(plan, accuracies) -> dict[str, Score]:
    return {
        trial.key: Score(trial.key, float(accuracy), 1, 0.5)
        for row, figures in zip(plan.trials, accuracies, strict=True)
        for trial, accuracy in zip(row, figures, strict=True)
    }


def test_results_are_ranked_by_mean_and_equal_ones_stay_in_order():
    plan = planned("data.shift=0,0.1,0.2,0.3", folds=2)
    table = np.array([[0.5, 0.7], [0.9, 0.9], [0.7, 0.5], [0.95, 0.85]])
    results = tuning.rank(plan, scored(plan, table))
    assert [result.values["data.shift"] for result in results] == ["0.1", "0.3", "0", "0.2"]
    assert [result.rank for result in results] == [1, 2, 3, 4]
    order = [1, 3, 0, 2]
    np.testing.assert_allclose([result.mean for result in results], table.mean(1)[order])
    np.testing.assert_allclose([result.deviation for result in results], table.std(1)[order])
    assert [result.seconds for result in results] == [1.0] * 4


def test_a_known_score_is_not_computed_again():
    plan = planned("optimizer.learning_rate=1e-3,1e-2", folds=2)
    everything = scored(plan, [[0.1, 0.2], [0.3, 0.4]])
    first = plan.trials[0][1]
    known = {key: score for key, score in everything.items() if key != first.key}
    run, new = [], []

    def run_all(function, trials, pools):
        run.extend(trials)
        return map(function, trials, pools)

    results = tuning.search(plan, run_all, known, new.append)
    assert run == [first]
    assert [score.key for score in new] == [first.key]
    assert results == tuning.rank(plan, known | {first.key: new[0]})


def test_scores_may_come_in_any_order():
    plan = planned("optimizer.learning_rate=1e-3,1e-2", folds=2)

    def backwards(function, trials, pools):
        return reversed(list(map(function, trials, pools)))

    in_order, reverse = tuning.search(plan), tuning.search(plan, backwards)
    assert [r.accuracies for r in in_order] == [r.accuracies for r in reverse]


def test_a_trials_key_depends_on_everything_that_its_score_depends_on_and_nothing_else():
    def key(*more, fold=0, folds=3):
        return planned("data.shift=0.1", shared=(*SHARED, *more), folds=folds).trials[0][fold].key

    assert key() == key("tracking.wandb=off")
    others = [
        key(fold=1), key(folds=4), key("fit.epochs=4"), key("seed=6"), key("data.limit=449"),
        key("data.validation=0.2"),
    ]  # fmt: skip
    assert len({key(), *others}) == 7


def test_a_searched_seed_changes_the_training_and_not_the_folds():
    plan = planned("seed=1,2", folds=2)
    first, second = (row[0] for row in plan.trials)
    assert first.folds == second.folds
    assert plan.pools[0] is plan.pools[1]
    assert first.key != second.key
    assert (first.config.seed, second.config.seed) == (1, 2)


def test_a_training_that_diverges_is_ranked_last_with_its_reason():
    results = tuning.search(planned("optimizer.learning_rate=1e30,1e-2", folds=2))
    assert [result.values["optimizer.learning_rate"] for result in results] == ["1e-2", "1e30"]
    assert results[1].mean == 0.0
    assert "diverged" in results[1].failures[0]
    assert not results[0].failures


def test_texts_are_tuned_with_the_vocabulary_of_each_candidate():
    shared = (
        "data.limit=60", "data.length=20", "fit.epochs=1", "fit.device=cpu", "model.channels=4",
        "model.embedding.dimensions=4",
    )  # fmt: skip
    plan = planned("data.vocabulary=10,40", shared=shared, name="textcnn", folds=2)
    small, large = plan.pools
    assert small.shape[0] < large.shape[0]
    np.testing.assert_array_equal(small.examples.labels, large.examples.labels)
    assert small.examples.inputs.max() < small.shape[0]
    assert len(tuning.search(plan)) == 2


def test_candidates_are_checked_without_importing_torch():
    code = "import sys, alphazero.supervised.candidates; print('torch' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "False"
