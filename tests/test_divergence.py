"""Trainings that diverge: where they stop, and which checkpoints are kept."""

import itertools
import math
import re

import pytest
from test_train import metrics, run, tiny

from alphazero import checkpoint, sealed
from alphazero.errors import RunFailed
from alphazero.nn import divergence
from alphazero.nn.divergence import Diverged, Losses
from workers import cli


def stop_of(losses, made=None, first=0):
    """The step at which ``losses`` end a training, and the step that the error names."""
    made = made or Losses()
    for step, loss in enumerate(losses, first):
        try:
            made.add(step, loss, 1.0)
        except Diverged as error:
            return step, error.step
    return None


def test_a_loss_over_ten_times_its_median_for_twenty_steps_has_diverged():
    good = [2.0, 1.5, 1.8] * 10  # the median is 1.8
    assert stop_of(good + [18.1] * 20) == (49, 30)
    assert stop_of(good + [17.9] * 500) is None
    assert stop_of(good + ([18.1] * 19 + [1.8]) * 20) is None
    assert stop_of([*good, math.nan]) == (30, 30)
    assert stop_of(good + [90.0] * 3 + [math.inf]) == (33, 30)
    assert stop_of([2.0] + [1e15] * 20) == (20, 1)


def test_a_slow_fall_and_a_slow_rise_are_no_divergence():
    assert stop_of([1000 * 0.9**step for step in range(200)]) is None
    assert stop_of([1.02**step for step in range(500)]) is None


def test_a_loss_near_zero_may_grow_tenfold():
    assert stop_of([1e-6] * 50 + [0.09] * 100) is None
    assert stop_of([1e-6] * 50 + [0.11] * 20) == (69, 50)


def test_losses_resume_in_the_middle_of_a_jump():
    for cut in (10, 35, 45):
        losses = [2.0] * 30 + [99.0] * 20
        first, second = Losses(), Losses()
        assert stop_of(losses[:cut], first) is None
        second.restore(first.state())
        assert stop_of(losses[cut:], second, cut) == (49, 30)
        assert second.state() == stopped(losses).state()


@pytest.mark.parametrize(
    "change",
    [{"recent": ["x"]}, {"recent": [math.nan]}, {"recent": [1.0] * 101}, {"recent": 3},
     {"recent": [10**400]}, {"high": -1}, {"high": 20}, {"high": "x"}, {"jump": 1.5}],
    ids=range(9),
)  # fmt: skip
def test_losses_that_no_training_stores_are_refused(change):
    good = {"recent": [1.0, 2.0], "high": 3, "jump": 7}
    divergence.check(good)
    divergence.check(Losses().state())
    with pytest.raises(ValueError, match="recent losses"):
        divergence.check(good | change)


def stopped(losses):
    made = Losses()
    assert stop_of(losses, made) is not None
    return made


def test_pruning_keeps_the_newest_those_at_powers_of_two_and_the_last_before_a_jump():
    kept: list[int] = []
    for step in range(500, 5001, 500):
        kept.append(step)
        for old in sealed.surplus(kept, 2, 3200 if step > 3200 else None):
            kept.remove(old)
    assert kept == [500, 1000, 1500, 2500, 3000, 4500, 5000]


def test_pruning_never_leaves_the_newest_alone():
    assert sealed.surplus([5, 6, 7, 1000, 1001], 1) == [6, 7]
    assert sealed.surplus([600, 700, 800], 1) == []  # 600 is the first after 512


def test_many_checkpoints_leave_few():
    kept: list[int] = []
    for step in range(1, 4000):
        kept.append(step)
        for old in sealed.surplus(kept, 5):
            kept.remove(old)
        assert len(kept) <= 5 + step.bit_length()
    assert {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048} <= set(kept)


EARLY = ("training.steps=20", "training.checkpoint_every=5")
LATE = ("training.steps=400", "training.checkpoint_every=5", "optimizer.learning_rate=1e6")


def test_a_run_that_diverges_stops_and_names_its_last_good_checkpoint(tmp_path):
    """The learning rate is good for 20 steps; the checkpoint of step 20 is the last good one."""
    assert run(tmp_path, tiny(*EARLY)) == 0
    good = [path.name for path in sealed.steps(tmp_path / "checkpoints")]
    with pytest.raises(RunFailed) as ended:
        run(tmp_path, tiny(*LATE), resume=True)
    pattern = (
        r"training diverged at step \d+: the loss is \S+ and has been over 10 times its recent "
        r"median of \S+ for 20 steps; lower optimizer\.learning_rate and resume: the last good "
        rf"checkpoint is {re.escape(str(tmp_path))}/checkpoints/(step_\d+)"
    )
    named = re.fullmatch(pattern, str(ended.value))
    assert named, str(ended.value)
    newest = checkpoint.newest(tmp_path)
    assert newest is not None
    assert newest.name == named[1]
    assert set(good) <= {path.name for path in sealed.steps(tmp_path / "checkpoints")}
    assert run(tmp_path, tiny("training.steps=60"), resume=True) == 0
    assert metrics(tmp_path)[-1]["step"] == 60


def test_a_run_that_ends_in_a_jump_says_so_and_keeps_the_checkpoint_before(tmp_path, capsys):
    assert run(tmp_path, tiny(*EARLY)) == 0
    late = ("training.steps=30", "training.checkpoint_every=5", "optimizer.learning_rate=1e6")
    assert run(tmp_path, tiny(*late), resume=True) == 0
    out = " ".join(capsys.readouterr().out.split())
    jump, step = re.search(r"jumped at step (\d+) .* at step 30: \S+/step_0*(\d+) is", out).groups()
    assert 20 <= int(step) < int(jump) <= 25


def test_a_supervised_training_that_diverges_names_its_last_good_checkpoint(tmp_path, capsys):
    words = ["supervised", "train", "mlp", "data.limit=200", "model.hidden=[16]", "fit.device=cpu",
             "fit.batch_size=32", "fit.patience=0", "tracking.wandb=off",
             "--run-dir", str(tmp_path)]  # fmt: skip
    assert cli.main([*words, "fit.epochs=4"]) == 0
    capsys.readouterr()
    wrong = ["fit.epochs=40", "optimizer.learning_rate=1e4", "--resume"]
    assert cli.main([*words, *wrong]) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line]
    good = re.search(r"for 20 steps; .* resume: the last good checkpoint is (\S+)", line)[1]
    assert good == str(sealed.newest(tmp_path / "checkpoints", pytest.fail))
    assert cli.main([*words, "fit.epochs=8", "--resume"]) == 0
    assert metrics(tmp_path)[-1]["epoch"] == 8


def test_a_run_that_diverges_before_its_first_checkpoint_starts_again(tmp_path):
    with pytest.raises(RunFailed, match="start again: no checkpoint was saved before"):
        run(tmp_path, tiny("training.steps=400", "optimizer.learning_rate=1e6"))
    assert checkpoint.newest(tmp_path) is None


def test_no_checkpoint_is_saved_while_the_loss_is_above_its_limit(tmp_path, monkeypatch):
    """Every loss from step 23 to 36 is said to be 1000: 25, 30 and 35 are not saved."""
    real, steps = Losses.add, itertools.count()

    def add(self, step, loss, gradient):
        next(steps)
        real(self, step, 1000.0 if 23 <= step < 37 else loss, gradient)

    monkeypatch.setattr(Losses, "add", add)
    settings = tiny("training.steps=60", "training.checkpoint_every=5",
                    "training.keep_checkpoints=2")  # fmt: skip
    assert run(tmp_path, settings) == 0
    kept = [int(path.name[5:]) for path in sealed.steps(tmp_path / "checkpoints")]
    # The first at or after 4, 8, 16, 32 and 64; 20 is the last one before the jump; the newest two.
    assert kept == [5, 10, 20, 40, 55, 60]


def test_the_checkpoint_of_the_first_bad_step_is_set_aside_and_the_one_before_is_named(tmp_path):
    for step in (1, 2, 3, 4):
        sealed.save_step(tmp_path, step, {"a": b"x"}, {}, keep=5)
    assert sealed.set_aside(tmp_path, 3) == tmp_path / "step_000002"
    assert [path.name for path in sealed.steps(tmp_path)] == ["step_000001", "step_000002"]
    assert sealed.set_aside(tmp_path, 1) is None
