"""A run in a storage, read back: complete or ignored, and never anything but a run's files."""

import json
import shutil
from itertools import count
from pathlib import Path, PurePosixPath

import pytest

from alphazero import sealed
from workers.runs import stored_run
from workers.runs.storage import Damaged, open_storage
from workers.runs.stored_run import Saved

NUMBERS = count()
OWN = [f"checkpoints/step_000020/{name}" for name in stored_run.CHECKPOINT]


@pytest.fixture
def storage():
    return open_storage(f"memory://stored{next(NUMBERS)}")


def store(storage, step, games=b"games"):
    """A complete checkpoint; its files are small, but its manifest is a real one."""
    name, folder = stored_run.name_of(step), Path(f"stored_{next(NUMBERS)}")
    files = {own: f"{own} {step}".encode() for own in stored_run.CHECKPOINT[:-1]}
    sealed.write(folder, files, {"step": step})
    stored = {}
    for path in sorted(folder.iterdir()):
        place = f"checkpoints/{name}/{path.name}"
        stored[place] = storage.write(place, [path.read_bytes()])
    for place, data in {
        "games/shard_000000.bin": games,
        f"state/{name}/shard_000001.bin": b"open",
        f"state/{name}/metrics.jsonl": f'{{"step": {step}}}\n'.encode(),
    }.items():
        stored[place] = storage.write(place, [data])
    stored_run.mark(storage, Saved(step), stored)
    return stored


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def fetch(storage, lines=None):
    """The fetched step and folder."""
    folder = Path(f"fetched_{next(NUMBERS)}")
    folder.mkdir()
    report = pytest.fail if lines is None else lines.append
    fetched = stored_run.fetch_newest(storage, folder, report)
    return (None if fetched is None else fetched[0]), folder


def test_the_newest_checkpoint_comes_back_with_its_games_and_metrics(storage):
    store(storage, 20)
    store(storage, 40)
    step, folder = fetch(storage)
    assert step == 40
    assert sealed.newest(folder / "checkpoints") == folder / "checkpoints" / "step_000040"
    assert (folder / "games" / "shard_000000.bin").read_bytes() == b"games"
    assert (folder / "games" / "shard_000001.bin").read_bytes() == b"open"
    assert (folder / "metrics.jsonl").read_bytes() == b'{"step": 40}\n'


def test_a_checkpoint_without_its_mark_is_ignored(storage):
    store(storage, 20)
    store(storage, 40)
    storage.delete("marks/step_000040.json")
    assert fetch(storage)[0] == 20
    storage.delete("marks/step_000020.json")
    assert fetch(storage)[0] is None


def _cut_mark(storage):
    data = storage.read("marks/step_000040.json", 2**20)
    storage.write("marks/step_000040.json", [data[:-1]])


def _empty_mark(storage):
    storage.write("marks/step_000040.json", [])


def _half_weights(storage):
    storage.write("checkpoints/step_000040/weights.safetensors", [b"weights.safe"])


def _altered_games(storage):
    storage.write("games/shard_000000.bin", [b"gamez"])


def _missing_file(storage):
    storage.delete("state/step_000040/metrics.jsonl")


def _nested_mark(storage):
    storage.write("marks/step_000040.json", [b"[" * 100_000])


@pytest.mark.parametrize(
    "damage",
    [_cut_mark, _empty_mark, _half_weights, _missing_file, _nested_mark],
    ids=lambda damage: damage.__name__,
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_is_used(damage, storage):
    store(storage, 20)
    store(storage, 40)
    damage(storage)
    lines = []
    step, folder = fetch(storage, lines)
    assert step == 20
    (line,) = lines
    assert line.startswith("skipped damaged checkpoint step_000040 of memory://")
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["step_000020"]
    assert (folder / "metrics.jsonl").read_bytes() == b'{"step": 20}\n'


def test_a_run_of_which_no_checkpoint_is_whole_does_not_begin_again_unnoticed(storage):
    store(storage, 40)
    _altered_games(storage)
    with pytest.raises(ValueError, match=r"no checkpoint of memory://.* is whole"):
        fetch(storage, [])


def test_a_whole_copy_of_a_checkpoint_that_was_damaged_before_is_not_used(storage):
    stored = store(storage, 20)
    name = "checkpoints/step_000020/training.pt"
    stored_run.mark(storage, Saved(20), stored | {name: storage.write(name, [b"other"])})
    with pytest.raises(ValueError, match="is whole"):
        fetch(storage, [])


def test_a_file_of_a_mark_has_one_place_in_the_runs_folder():
    for name, place in {
        "checkpoints/step_000100-0123456789ab/training.pt": "checkpoints/step_000100/training.pt",
        "state/step_000100-0123456789ab/metrics.jsonl": "metrics.jsonl",
        "state/step_000100-0123456789ab/shard_000007.bin": "games/shard_000007.bin",
        "games/shard_1000000-ba9876543210.bin": "games/shard_1000000.bin",
        "games/shard_1000000.bin": "games/shard_1000000.bin",
    }.items():
        assert stored_run.place(name, Saved(100, "0123456789ab")) == PurePosixPath(place)
    for name, place in {  # those of earlier versions
        "checkpoints/step_000100/training.pt": "checkpoints/step_000100/training.pt",
        "state/step_000100/metrics.jsonl": "metrics.jsonl",
        "state/step_000100/shard_000007.bin": "games/shard_000007.bin",
        "games/shard_1000000.bin": "games/shard_1000000.bin",
    }.items():
        assert stored_run.place(name, Saved(100)) == PurePosixPath(place)


TRICKS = (
    "../x", "/etc/passwd", "games/../../x", "games/shard_000001.bin/../../x", "games\\shard.bin",
    "games//shard_000001.bin", "./games/shard_000001.bin", "games/shard_1.bin", "games/.lock",
    "games/shard_٠٠٠٠٠١.bin", "games/shard_000001.bin\n", "games/shard_0000001.bin", "config.yaml",
    "state/step_000020/../../config.yaml", "state/step_000020/.stored", "state/step_000020/x.py",
    "state/step_000021/log.txt", "checkpoints/step_000021/training.pt", "C:/x", "", "games/",
    "checkpoints/step_000020/other", "checkpoints/step_000020/training.pt/", "\x00",
    "games/shard_000001-0123456789AB.bin", "games/shard_000001-0123456789ab.bin/../x",
    "games/shard_0000001-0123456789ab.bin", "games/shard_000001-.bin", "games/shard_000001-..bin",
    "checkpoints/step_000020-0123456789ab/training.pt", "state/step_000020-/log.txt",
    "state/step_000020/shard_000001-0123456789ab.bin", "games/shard_000001-0123456789ab\n.bin",
)  # fmt: skip


@pytest.mark.parametrize("name", TRICKS)
def test_no_other_name_in_a_mark_leads_anywhere(name, storage):
    with pytest.raises(Damaged, match="is no file of a run"):
        stored_run.place(name, Saved(20))
    stored = store(storage, 20)
    stored_run.mark(storage, Saved(20), stored | {name: stored[OWN[0]]})
    before = sorted(Path().resolve().parent.rglob("*"))
    with pytest.raises(ValueError, match="is whole"):
        fetch(storage, [])
    made = set(Path().resolve().parent.rglob("*")) - set(before)
    assert {path.name.partition("_")[0] for path in made} == {"fetched"}


def _mark(files, step=20):
    return json.dumps({"format": 1, "step": step, "files": files}).encode()


ONE = {"bytes": 1, "sha256": "0" * 64}
WHOLE = dict.fromkeys(OWN, ONE)


@pytest.mark.parametrize(
    "text",
    [
        b"", b"null", b"[]", b"{}", b"\xff", _mark(WHOLE, 21), _mark({}), _mark({OWN[0]: ONE}),
        _mark(WHOLE | {OWN[0]: {"bytes": -1, "sha256": "0" * 64}}),
        _mark(WHOLE | {OWN[0]: {"bytes": 2**32 + 1, "sha256": "0" * 64}}),
        _mark(WHOLE | {OWN[0]: {"bytes": 1.5, "sha256": "0" * 64}}),
        _mark(WHOLE | {OWN[0]: {"bytes": 1, "sha256": "x" * 64}}),
        _mark(WHOLE | {"games/shard_000000.bin": {"bytes": 2**27 + 1, "sha256": "0" * 64}}),
        _mark(WHOLE | {f"{folder}/shard_000003.bin": ONE for folder in
                       ("games", "state/step_000020")}),
        _mark(WHOLE | {f"games/shard_000003{of}.bin": ONE for of in
                       ("-0123456789ab", "-ba9876543210")}),
        _mark(WHOLE)[:-1], _mark(WHOLE) + b"}", _mark(WHOLE).replace(b"format", b"formal"),
    ],
)  # fmt: skip
def test_what_is_no_mark_of_its_step_is_damaged(text, storage):
    storage.write("marks/step_000020.json", [text])
    with pytest.raises(Damaged):
        stored_run.read_mark(storage, Saved(20))
    storage.write("marks/step_000020.json", [_mark(WHOLE)])
    assert set(stored_run.read_mark(storage, Saved(20))) == set(OWN)


def test_only_steps_are_read_from_the_names_that_a_storage_lists(storage, monkeypatch):
    names = [
        "step_000020.json", "step_000003", "step_20.json", "..", "../step_000040.json",
        "step_-00001", "step_٠٠٠٠٤٠.json", "step_000040.json.json", "step_0000040.json",
        "step_000040\n", "", "step_000005-0123456789ab.json", "step_000006-0123456789AB.json",
        "step_000007-.json", "step_000008-0123456789ab\n", "step_000003-0123456789ab",
    ]  # fmt: skip
    monkeypatch.setattr(storage, "names", lambda folder: names)
    assert stored_run.steps(storage) == [3, 5, 20]


def test_what_has_no_room_is_not_fetched(storage, monkeypatch):
    store(storage, 20)
    usage = shutil.disk_usage(".")._replace(free=10)
    monkeypatch.setattr(stored_run.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(ValueError, match="has 10 bytes free"):
        fetch(storage)


def test_of_two_marks_of_one_step_that_of_the_last_writer_is_used(storage):
    texts = [b"one writer", b"another writer"]
    for text in texts:
        one, old = Saved(20, stored_run.writer_id(text)), Saved(20)
        files = store(storage, 20, games=b"games of " + text)
        own = {name.replace(old.name, one.name): name for name in files}
        own |= {f"games/shard_000000-{one.writer}.bin": own.pop("games/shard_000000.bin")}
        stored_run.mark(storage, one, {
            name: storage.write(name, [storage.read(before, 2**20)]) for name, before in own.items()
        })  # fmt: skip
        stored_run.delete(storage, old)
    for text in texts:
        storage.write(stored_run.WRITER, [text])
        step, folder = fetch(storage)
        assert step == 20
        assert (folder / "games" / "shard_000000.bin").read_bytes() == b"games of " + text
