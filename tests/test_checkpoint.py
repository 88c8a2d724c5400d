"""Checkpoints: round trips, detection of damage, and what a kill or a full disk leaves."""

import collections
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from alphazero import checkpoint
from alphazero.config import Config, OptimizerSettings, SelfPlaySettings
from alphazero.nn.settings import ScheduleSettings
from alphazero.search.puct import PUCT

CONFIG = Config(
    game="connect_four",
    seed=7,
    search=PUCT(),
    selfplay=SelfPlaySettings(resign_value=0.9, processes=3),
    optimizer=OptimizerSettings(schedule=ScheduleSettings(kind="step", milestones=(0.5, 0.75))),
)


def weights(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "trunk.weight": rng.normal(size=(8, 2, 3, 3)).astype(np.float32),
        "transposed": rng.normal(size=(3, 5)).astype(np.float32).T,
        "norm.running_var": np.ones(8, np.float32),
        "norm.num_batches_tracked": np.array(12, np.int64),
    }


def state(step: int = 5) -> dict:
    board = np.dtype([("mine", "<u8"), ("theirs", "<u8")])
    return {
        "step": step,
        "moments": {"trunk.weight": torch.full((8, 2), 0.5), "steps": torch.tensor(3)},
        "rng": np.random.default_rng(3).bit_generator.state,
        "boards": np.array([(1, 2**63), (3, 4)], board),
        "policy": np.arange(6, dtype=np.float16).reshape(2, 3),
        "rate": np.float32(0.25),
        "games": [1, 2.5, None, True, "text", b"bytes", (1, 2)],
    }


def save(run: Path, step: int, **changes) -> Path:
    arguments = {"weights": weights(step), "state": state(step), "config": CONFIG} | changes
    return checkpoint.save(run, step, **arguments)


def newest(run: Path) -> tuple[Path | None, list[str]]:
    lines: list[str] = []
    return checkpoint.newest(run, lines.append), lines


def steps(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").iterdir())


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A run with two checkpoints; tests restore the files that they damage."""
    run = tmp_path_factory.mktemp("run")
    save(run, 1)
    save(run, 2)
    return run


def test_a_checkpoint_is_loaded_bit_for_bit_as_it_was_saved(tmp_path):
    path = save(tmp_path, 123)
    assert path == tmp_path / "checkpoints" / "step_000123"
    loaded = checkpoint.load(path)
    assert (loaded.path, loaded.step, loaded.config) == (path, 123, CONFIG)
    assert loaded.weights.keys() == weights().keys()
    for name, array in weights(123).items():
        assert loaded.weights[name].dtype == array.dtype
        assert np.array_equal(loaded.weights[name], array)


def test_the_training_state_keeps_types_arrays_and_tensors(tmp_path):
    before, after = state(), checkpoint.load_state(save(tmp_path, 5))
    assert after.keys() == before.keys()
    assert torch.equal(after["moments"].pop("trunk.weight"), before["moments"].pop("trunk.weight"))
    for name in ("boards", "policy"):
        array = before.pop(name)
        assert after[name].dtype == array.dtype
        assert np.array_equal(after.pop(name), array)
    assert after == before


def test_the_configuration_is_readable_yaml(saved):
    text = (saved / "checkpoints" / "step_000001" / "config.yaml").read_text()
    assert yaml.safe_load(text)["selfplay"]["resign_value"] == 0.9
    assert text.startswith("game: connect_four\n")


def test_a_runs_folder_stands_for_its_newest_checkpoint(saved):
    expected = saved / "checkpoints" / "step_000002"
    for given_path in (saved, saved / "checkpoints", expected, str(saved)):
        assert checkpoint.resolve(given_path) == expected
    assert checkpoint.load(saved).step == 2
    assert checkpoint.load_state(saved)["step"] == 2


def test_a_renamed_checkpoint_can_be_loaded(saved, tmp_path):
    shutil.copytree(saved / "checkpoints" / "step_000001", tmp_path / "best")
    assert checkpoint.load(tmp_path / "best").step == 1


@pytest.mark.parametrize("given_path", [".", "missing"])
def test_a_folder_without_a_checkpoint_is_an_error_of_one_line(tmp_path, given_path):
    assert checkpoint.newest(tmp_path / given_path) is None
    with pytest.raises(ValueError, match=r"no checkpoint in .*checkpoints/step_NNNNNN") as caught:
        checkpoint.load(tmp_path / given_path)
    assert "\n" not in str(caught.value)


def test_a_missing_checkpoint_is_an_error_of_one_line(saved):
    with pytest.raises(ValueError, match=r"step_000009 is not a usable checkpoint: MANIFEST"):
        checkpoint.load(saved / "checkpoints" / "step_000009")


@settings(max_examples=120, deadline=None)
@given(
    name=st.sampled_from(sorted(["MANIFEST.json", "weights.safetensors", "config.yaml"])),
    place=st.floats(0, 1, exclude_max=True),
    flip=st.integers(1, 255),
)
def test_any_changed_byte_is_detected_and_the_earlier_checkpoint_is_used(saved, name, place, flip):
    path = saved / "checkpoints" / "step_000002"
    whole = (path / name).read_bytes()
    damaged = bytearray(whole)
    damaged[int(place * len(damaged))] ^= flip
    (path / name).write_bytes(damaged)
    try:
        path_used, lines = newest(saved)
        assert path_used == saved / "checkpoints" / "step_000001"
        assert len(lines) == 1
        assert f"skipped damaged checkpoint {path}: {name}" in lines[0]
        with pytest.raises(ValueError, match=name):
            checkpoint.load(path)
    finally:
        (path / name).write_bytes(whole)


@pytest.mark.parametrize("name", ["training.pt", "weights.safetensors", "MANIFEST.json"])
@pytest.mark.parametrize("how", ["flipped", "cut", "empty", "gone"])
def test_every_kind_of_damage_to_every_file_is_reported_with_its_name(saved, name, how):
    path = saved / "checkpoints" / "step_000002" / name
    whole = path.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 4]) + whole[middle + 1 :]
    path.write_bytes({"flipped": flipped, "cut": whole[:-1], "empty": b"", "gone": b""}[how])
    if how == "gone":
        path.unlink()
    try:
        path_used, lines = newest(saved)
        assert path_used == saved / "checkpoints" / "step_000001"
        assert len(lines) == 1
        assert name in lines[0]
        with pytest.raises(ValueError, match=name):
            checkpoint.load_state(path.parent)
    finally:
        path.write_bytes(whole)


def test_the_newest_checkpoints_and_the_first_after_each_power_of_two_are_kept(tmp_path):
    for step in (8, 9, 10, 11):
        save(tmp_path, step, keep=2)
    assert steps(tmp_path) == ["step_000008", "step_000010", "step_000011"]
    save(tmp_path, 1_000_000, keep=1)
    assert steps(tmp_path) == ["step_000008", "step_000011", "step_1000000"]


def test_the_last_checkpoint_before_a_jump_of_the_loss_is_kept(tmp_path):
    for step in (8, 9, 10, 11, 12):
        save(tmp_path, step, keep=2, jump=10 if step > 9 else None)
    assert steps(tmp_path) == [f"step_{step:06}" for step in (8, 9, 11, 12)]


def test_the_checkpoint_just_written_is_kept_though_a_later_damaged_one_exists(tmp_path):
    damaged = save(tmp_path, 500)
    (damaged / "training.pt").write_bytes(b"")
    fresh = save(tmp_path, 450, keep=1)
    assert newest(tmp_path)[0] == fresh


def test_a_checkpoint_may_be_written_again(tmp_path):
    save(tmp_path, 3)
    path = save(tmp_path, 3, weights={"other": np.zeros(2, np.float32)})
    assert list(checkpoint.load(path).weights) == ["other"]
    assert steps(tmp_path) == ["step_000003"]


def test_leftovers_of_an_interrupted_save_are_ignored_and_deleted_by_the_next(tmp_path):
    save(tmp_path, 1)
    for leftover in (".saving-step_000002", ".replaced-step_000001"):
        shutil.copytree(tmp_path / "checkpoints/step_000001", tmp_path / "checkpoints" / leftover)
    path_used, lines = newest(tmp_path)
    assert path_used == tmp_path / "checkpoints" / "step_000001"
    assert lines == []
    save(tmp_path, 2)
    assert steps(tmp_path) == ["step_000001", "step_000002"]


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (lambda: 0, "lambda"),
        (open(os.devnull), "TextIOWrapper"),  # noqa: SIM115
        (Path("x"), "pathlib"),
        (CONFIG, "Config"),
        (collections.deque(), "deque"),
        (np.array([CONFIG], object), "Config"),
    ],
    ids=["function", "file", "path", "record", "deque", "array of objects"],
)
def test_a_state_that_could_not_be_read_again_is_refused_before_anything_is_written(
    tmp_path, value, named
):
    save(tmp_path, 1)
    with pytest.raises(ValueError, match=f"the training state .*{named}") as caught:
        save(tmp_path, 2, state={"fine": 1, "wrong": [value]})
    assert "\n" not in str(caught.value)
    assert steps(tmp_path) == ["step_000001"]


def test_a_full_disk_is_an_error_of_one_line_and_leaves_the_earlier_checkpoint(tmp_path):
    save(tmp_path, 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The kernel takes a part of the first file and then refuses.
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))
    try:
        with pytest.raises(OSError, match=r"step_000002 could not be saved: File too") as caught:
            save(tmp_path, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    assert steps(tmp_path) == ["step_000001"]
    assert newest(tmp_path) == (tmp_path / "checkpoints" / "step_000001", [])


SAVER = """
import os
import sys
from pathlib import Path
import numpy as np
import torch
from alphazero import checkpoint
from alphazero.config import Config

# Many processes forked from one interpreter, because importing torch takes longer than all their
# work: each saves until it is killed.
run, rounds = Path(sys.argv[1]), int(sys.argv[2])
for life in range(rounds):
    child = os.fork()
    if child == 0:
        for step in range(100 * life, 10**6):
            weights = {"step": np.full(20_000, step, np.int64)}
            checkpoint.save(run, step, weights, {"step": step}, Config(game="x"), keep=2)
            if step == 100 * life + 1:
                print(os.getpid(), flush=True)
    os.waitpid(child, 0)
    print("dead", flush=True)
    sys.stdin.readline()
"""


def test_killing_a_process_that_saves_in_a_loop_leaves_a_whole_newest_checkpoint(tmp_path):
    rounds = 10
    process = subprocess.Popen(
        [sys.executable, "-c", SAVER, str(tmp_path), str(rounds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )
    rng = np.random.default_rng(0)
    before = -1
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(rounds):
            saver = int(process.stdout.readline())
            time.sleep(rng.uniform(0, 0.05))
            os.kill(saver, signal.SIGKILL)
            assert process.stdout.readline() == "dead\n"
            path, lines = newest(tmp_path)
            assert lines == []
            assert path is not None
            loaded = checkpoint.load(path)
            assert loaded.step > before
            assert (loaded.weights["step"] == loaded.step).all()
            assert checkpoint.load_state(path)["step"] == loaded.step
            before = loaded.step
            process.stdin.write("\n")
            process.stdin.flush()
    assert process.returncode == 0
