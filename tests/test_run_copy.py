"""The thread that copies a run's folder to a storage: what it stores, retries, deletes and says."""

import logging
import shutil
import threading
import time
from contextlib import suppress
from itertools import count

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from alphazero import sealed
from workers.runs import run_copy, stored_run, work_folder
from workers.runs.run_copy import RunCopy
from workers.runs.storage import open_storage

NUMBERS = count()


class Failing(MemoryFileSystem):
    """A storage whose next ``failures`` attempts to write a file fail; it waits for ``gate``."""

    protocol = "failing"
    failures = 0.0
    written: list[str]
    gate = threading.Event()

    def _open(self, path, mode="rb", **options):
        if mode == "wb":
            Failing.gate.wait()
            if Failing.failures > 0:
                Failing.failures -= 1
                raise ConnectionResetError(104, "Connection reset by peer")
            Failing.written.append(path.partition("/run/")[2])
        return super()._open(path, mode, **options)


@pytest.fixture
def url(monkeypatch):
    fsspec.register_implementation("failing", Failing, clobber=True)
    monkeypatch.setattr(run_copy, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(run_copy, "LAST_PAUSE", 0.01)
    Failing.failures, Failing.written = 0.0, []
    Failing.gate.set()
    return f"failing://copy{next(NUMBERS)}/run"


def add_step(folder, step):
    """Add the files of a checkpoint, games, and metrics up to it, as a run does."""
    files = {name: f"{name} {step}".encode() for name in stored_run.CHECKPOINT[:-1]}
    sealed.write(folder / "checkpoints" / stored_run.name_of(step), files, {"step": step})
    (folder / "games").mkdir(exist_ok=True)
    with (folder / "games" / "shard_000000.bin").open("ab") as file:
        file.write(b"game" * step)
    with (folder / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": %d}\n' % step)


def until_stored(url, *steps):
    """Wait for the thread; the time limit of the test ends what never comes."""
    while stored_run.steps(open_storage(url)) != list(steps):
        time.sleep(0.001)


def fetched(url, folder):
    """The newest step that another machine gets; its files are in ``folder``."""
    folder.mkdir()
    newest = stored_run.fetch_newest(open_storage(url), folder, pytest.fail)
    return None if newest is None else newest[0]


def test_a_checkpoint_is_marked_after_all_its_files_and_old_ones_are_deleted_after_that(
    url, tmp_path
):
    local, storage = tmp_path / "local", open_storage(url)
    local.mkdir()
    for step in (10, 20, 30, 40, 50, 60, 70, 80):
        copy = RunCopy(storage, local, {})
        copy.start(step - 10, None, keep=2)
        add_step(local, step)
        copy.saved(step, jump=45)
        assert copy.close()
    # The first at or after 16, 32 and 64; the last before the jump; the newest two; and 8.
    assert stored_run.steps(storage) == [10, 20, 40, 70, 80]
    for folder in ("checkpoints", "state"):
        assert stored_run.steps(storage, folder) == [10, 20, 40, 70, 80]
    (mark,) = [name for name in Failing.written if name.startswith("marks/step_000080-")]
    last = Failing.written.index(mark)
    of_last = [n for n, name in enumerate(Failing.written) if "/step_000080-" in name and n != last]
    assert max(of_last) < last
    assert len(of_last) == len(stored_run.CHECKPOINT) + 2
    assert fetched(url, tmp_path / "other") == 80
    assert (tmp_path / "other/games/shard_000000.bin").read_bytes() == b"game" * 360


def test_a_shard_grows_while_it_is_copied_and_comes_back_as_it_was_at_the_checkpoint(url, tmp_path):
    local = tmp_path / "local"
    add_step(local, 10)
    copy = RunCopy(open_storage(url), local)
    copy.start(0, None, keep=2)
    Failing.gate.clear()
    copy.saved(10, None)
    with (local / "games/shard_000000.bin").open("ab") as file:
        file.write(b"half a ga")
    with (local / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 11')
    Failing.gate.set()
    assert copy.close()
    assert fetched(url, tmp_path / "other") == 10
    assert (tmp_path / "other/games/shard_000000.bin").read_bytes() == b"game" * 10
    assert (tmp_path / "other/metrics.jsonl").read_bytes() == b'{"step": 10}\n'


def test_closed_shards_are_stored_once_and_listed_by_later_marks(url, tmp_path):
    local, storage = tmp_path / "local", open_storage(url)
    add_step(local, 10)
    (local / "games/shard_000001.bin").write_bytes(b"second")
    copy = RunCopy(storage, local)
    copy.start(0, None, keep=2)
    copy.saved(10, None)
    assert copy.close()
    folder = tmp_path / "other"
    folder.mkdir()
    _, files = stored_run.fetch_newest(storage, folder, pytest.fail)
    add_step(folder, 20)
    (folder / "games/shard_000001.bin").write_bytes(b"second, longer")
    (folder / "games/shard_000002.bin").write_bytes(b"third")
    copy = RunCopy(storage, folder, files)
    Failing.written.clear()
    copy.start(10, None, keep=2)
    copy.saved(20, None)
    assert copy.close()
    assert not [name for name in Failing.written if name.startswith("games/shard_000000")]
    own = stored_run.writer_id((folder / run_copy.LOCAL).read_bytes())
    assert f"games/shard_000001-{own}.bin" in Failing.written
    assert fetched(url, tmp_path / "third") == 20
    games = tmp_path / "third/games"
    assert [(games / f"shard_00000{n}.bin").read_bytes() for n in (1, 2)] == [
        b"second, longer", b"third",
    ]  # fmt: skip


def test_a_storage_that_fails_for_a_while_is_reported_once_and_holds_everything_in_the_end(
    url, tmp_path, caplog
):
    local = tmp_path / "local"
    add_step(local, 10)
    copy = RunCopy(open_storage(url), local)
    copy.start(0, None, keep=2)
    Failing.failures = 5
    copy.saved(10, None)
    with caplog.at_level(logging.WARNING, "workers"):
        assert copy.close()
    assert [record.message for record in caplog.records] == [
        f"not stored: {url}: Connection reset by peer; it is tried again, the run goes on",
        f"{url}: what was missing is stored now",
    ]
    assert Failing.failures == 0
    assert fetched(url, tmp_path / "other") == 10


def test_what_is_not_stored_at_the_end_is_named_with_a_command_and_stored_by_a_later_run(
    url, tmp_path, capsys
):
    local, storage = tmp_path / "local", open_storage(url)
    add_step(local, 10)
    copy = RunCopy(storage, local, patience=0.2)
    copy.start(0, None, keep=2)
    Failing.failures = float("inf")
    copy.saved(10, None)
    assert not copy.close()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: step 10 and its games: not stored at {url}: {url}: Connect")
    assert f"the same command with `--resume --run-dir {url} --work-dir {local}` goes on" in line
    Failing.failures = 0
    with work_folder.opened(url, local, resume=True) as copy:
        assert (copy.folder, copy.is_fetched) == (local, False)
        copy.start(10, None, keep=2)
    assert fetched(url, tmp_path / "other") == 10


def test_a_checkpoint_that_no_hook_named_is_stored_at_the_end(url, tmp_path):
    local = tmp_path / "local"
    local.mkdir()
    copy = RunCopy(open_storage(url), local)
    copy.start(0, None, keep=2)
    add_step(local, 10)
    assert copy.close()
    assert fetched(url, tmp_path / "other") == 10


def test_a_checkpoint_that_the_run_has_deleted_meanwhile_is_left_out(url, tmp_path):
    local = tmp_path / "local"
    add_step(local, 10)
    copy = RunCopy(open_storage(url), local)
    copy.start(0, None, keep=2)
    Failing.gate.clear()
    copy.saved(10, None)
    copy.saved(10, None)  # the thread may hold the first already
    shutil.rmtree(local / "checkpoints/step_000010")
    Failing.gate.set()
    assert copy.close()
    assert stored_run.steps(open_storage(url)) == []


def test_a_checkpoint_that_changed_on_the_local_disk_is_not_marked(url, tmp_path, capsys):
    local = tmp_path / "local"
    add_step(local, 10)
    (local / "checkpoints/step_000010/training.pt").write_bytes(b"training.pt 11")
    copy = RunCopy(open_storage(url), local, patience=0.2)
    copy.start(0, None, keep=2)
    copy.saved(10, None)
    assert not copy.close()
    assert "training.pt was altered on this machine" in capsys.readouterr().err
    assert stored_run.steps(open_storage(url)) == []


def test_checkpoints_that_were_set_aside_after_a_divergence_are_deleted_there_too(url, tmp_path):
    local = tmp_path / "local"
    copy = RunCopy(open_storage(url), local)
    local.mkdir()
    copy.start(0, None, keep=2)
    add_step(local, 10)
    copy.saved(10, None)
    until_stored(url, 10)
    add_step(local, 20)
    copy.saved(20, None)
    until_stored(url, 10, 20)
    assert sealed.set_aside(local / "checkpoints", 15) == local / "checkpoints" / "step_000010"
    assert copy.close()
    assert fetched(url, tmp_path / "other") == 10


def test_a_run_that_was_resumed_elsewhere_takes_the_storage_from_the_one_before(
    url, tmp_path, capsys
):
    """The one before goes on where only its network was lost: it stores nothing more."""
    local, storage = tmp_path / "local", open_storage(url)
    add_step(local, 10)
    old = RunCopy(storage, local)
    old.start(0, None, keep=2)
    old.saved(10, None)
    until_stored(url, 10)
    with work_folder.opened(url, tmp_path / "other", resume=True) as new:
        assert new.is_fetched
        new.start(10, None, keep=2)
    add_step(local, 20)
    old.saved(20, None)
    assert not old.close()
    assert f"not stored, another run writes to {url}" in capsys.readouterr().err
    assert stored_run.steps(storage) == [10]
    with pytest.raises(ValueError, match="an older state of this run"):
        work_folder.opened(url, local, resume=True).__enter__()


def _files(storage):
    """The contents of all files in the storage, by name."""
    names = storage._files.find(storage._root)
    return {name.partition("/run/")[2]: storage._files.cat(name) for name in names}


@pytest.fixture
def superseded(url, tmp_path, monkeypatch):
    """A run with step 10 stored, its thread not running, and the one that has taken over."""
    monkeypatch.setattr(threading.Thread, "start", lambda thread: None)
    add_step(tmp_path / "local", 10)
    old = RunCopy(open_storage(url), tmp_path / "local")
    old.start(0, None, keep=1)
    old.saved(10, None)
    old._copy_due()

    folder = tmp_path / "other"
    folder.mkdir()
    _, files = stored_run.fetch_newest(open_storage(url), folder, pytest.fail)

    def take_over():
        new = RunCopy(open_storage(url), folder, files)
        new.start(10, None, keep=1)
        add_step(folder, 20)
        (folder / "games/shard_000001.bin").write_bytes(b"the new run's")
        (folder / "games/shard_000002.bin").write_bytes(b"open")
        new.saved(20, None)
        return new

    return old, take_over


def _make_pending(old, pending):
    """Something that the run before has still to do, which failed until now."""
    if pending == "closed shard":
        (old.folder / "games/shard_000001.bin").write_bytes(b"the old run's")
        (old.folder / "games/shard_000002.bin").write_bytes(b"open")
    elif pending == "equal step":
        add_step(old.folder, 20)
        old.saved(20, None)
    else:
        old._marked = run_copy.snapshot(old.folder, 10, None)


@pytest.mark.parametrize("pending", ["closed shard", "equal step", "tidy"])
def test_what_a_run_had_still_to_do_changes_nothing_after_another_has_taken_over(
    superseded, pending, url, tmp_path
):
    old, take_over = superseded
    _make_pending(old, pending)
    new = take_over()
    Failing.failures = 0
    for name in ("games/shard_000001.bin", "checkpoints/step_000030-0123456789ab/training.pt"):
        new._storage.write(name, [b"half copied"])
    new._write(f"checkpoints/step_000040-{new._id}/training.pt", iter([b"half copied"]))
    before = _files(new._storage)
    with pytest.raises(run_copy.Superseded):
        old._copy_due()
    assert _files(new._storage) == before
    new._copy_due()
    assert fetched(url, tmp_path / "third") == 20
    assert (tmp_path / "third/games/shard_000001.bin").read_bytes() == b"the new run's"


@pytest.mark.parametrize(
    ("pending", "at"),
    [("closed shard", 0), *(("equal step", at) for at in range(9)), ("tidy", 0), ("tidy", 1)],
)
def test_a_takeover_between_the_look_and_the_write_leaves_the_new_runs_files_whole(
    superseded, pending, at, url, tmp_path, monkeypatch
):
    """The other machine takes over, and stores a checkpoint, just after look ``at``."""
    old, take_over = superseded
    _make_pending(old, pending)
    look, new, looks = old._check_writer, None, count()
    old._storage.write("checkpoints/step_000005-0123456789ab/training.pt", [b"half copied"])

    def interrupted():
        nonlocal new
        look()
        if next(looks) == at:
            new = take_over()
            new._copy_due()

    monkeypatch.setattr(old, "_check_writer", interrupted)
    with suppress(run_copy.Superseded):
        old._copy_due()
    assert new is not None
    files = stored_run.read_mark(new._storage, stored_run.Saved(20, new._id))
    for name, content in files.items():
        new._storage.download(name, tmp_path / "whole", content)
    assert fetched(url, tmp_path / "third") == 20
    assert (tmp_path / "third/games/shard_000001.bin").read_bytes() == b"the new run's"


def test_a_mark_that_came_just_after_the_takeover_is_deleted_by_the_next_checkpoint(
    superseded, url
):
    old, take_over = superseded
    for step in (20, 30):
        add_step(old.folder, step)
        files = {}
        old._copy(run_copy.snapshot(old.folder, step, None), files)
    late = {name: data for name, data in _files(old._storage).items() if "step_000030-" in name}
    stored_run.delete(old._storage, stored_run.Saved(30, old._id))
    stored_run.delete(old._storage, stored_run.Saved(20, old._id))
    new = take_over()
    for name, data in late.items():
        new._storage.write(name, [data])
    assert stored_run.steps(new._storage) == [10, 30]
    new._copy_due()
    assert {one.writer for one in stored_run.saved(new._storage) if one.step > 10} == {new._id}
    assert 30 not in stored_run.steps(new._storage, "checkpoints")


def test_a_resumed_run_replaces_the_later_checkpoints_that_it_did_not_continue(url, tmp_path):
    local, storage = tmp_path / "local", open_storage(url)
    for step in (10, 20):
        add_step(local, step)
        copy = RunCopy(storage, local)
        copy.start(step - 10, None, keep=2)
        copy.saved(step, None)
        assert copy.close()
    own = stored_run.writer_id((local / run_copy.LOCAL).read_bytes())
    storage.write(f"checkpoints/step_000020-{own}/training.pt", [b"damaged"])
    with work_folder.opened(url, tmp_path / "other", resume=True) as copy:
        copy.start(10, None, keep=2)
        add_step(tmp_path / "other", 30)
    assert stored_run.steps(storage) == [10, 30]
    assert stored_run.steps(storage, "checkpoints") == [10, 30]


def test_work_folders_are_free_ones_and_an_interrupted_fetch_begins_again(
    url, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(ValueError, match="there is no run at failing://"):
        work_folder.opened(url, None, resume=True).__enter__()
    with work_folder.opened(url, None, resume=False) as copy:
        copy.start(0, None, keep=2)
        add_step(copy.folder, 10)
    first = copy.folder
    assert first.parent == tmp_path / "cache/alphazero/runs"
    assert f"the run works in {first}, and its copy is kept at {url}" in capsys.readouterr().out
    with pytest.raises(ValueError, match="is not empty: --resume continues"):
        work_folder.opened(url, None, resume=False).__enter__()
    (first / run_copy.LOCAL).write_text("another writer")
    second = first.with_name(f"{first.name}-2")
    (second / "games").mkdir(parents=True)
    (second / "games" / "shard_000099.bin").write_bytes(b"from an earlier attempt")
    (second / work_folder.FETCHING).touch()
    with work_folder.opened(url, None, resume=True) as copy:
        assert copy.folder == second
        assert not (second / work_folder.FETCHING).exists()
    assert [path.name for path in (second / "games").glob("*.bin")] == ["shard_000000.bin"]


def test_a_resume_that_is_refused_leaves_a_folder_that_the_next_one_fetches_again(url, tmp_path):
    with work_folder.opened(url, tmp_path / "first", resume=False) as copy:
        copy.start(0, None, keep=2)
        add_step(copy.folder, 10)
    work = tmp_path / "work"
    with pytest.raises(ValueError, match="refused"), work_folder.opened(url, work, resume=True):
        raise ValueError("refused")
    with work_folder.opened(url, work, resume=True) as copy:
        assert copy.is_fetched
        copy.start(10, None, keep=2)
    assert not (work / work_folder.FETCHING).exists()
