"""Files below a URL: what is written, what is refused, and how a storage's errors are reported."""

import hashlib
import os
import sys
from itertools import count

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from workers.runs.storage import Content, Damaged, StorageError, open_storage

NUMBERS = count()


@pytest.fixture(params=["file", "memory"])
def storage(request, tmp_path):
    """An empty storage in a folder that does not exist yet."""
    place = {"file": f"file://{tmp_path}/deep/run", "memory": f"memory://store{next(NUMBERS)}/run"}
    return open_storage(place[request.param])


def test_a_file_that_was_written_is_listed_and_read_until_it_is_deleted(storage, tmp_path):
    data = bytes(range(256)) * 100
    content = storage.write("games/a.bin", [data[:7], data[7:]])
    assert content == Content(25600, hashlib.sha256(data).hexdigest())
    assert storage.names() == ["games"]
    assert storage.names("games") == ["a.bin"]
    assert storage.read("games/a.bin", 25600) == data
    storage.download("games/a.bin", tmp_path / "here", content)
    assert (tmp_path / "here").read_bytes() == data
    storage.write("games/a.bin", [b"shorter"])
    assert storage.read("games/a.bin", 7) == b"shorter"
    storage.delete("games")
    storage.delete("games")
    assert storage.names("games") == []
    with pytest.raises(FileNotFoundError):
        storage.read("games/a.bin", 7)


def test_a_folder_that_is_missing_has_no_names(storage):
    assert storage.names() == []
    assert storage.names("games") == []


def test_no_more_than_the_limit_is_read(storage, tmp_path):
    storage.write("long", [b"0123456789"])
    with pytest.raises(Damaged, match="long has over 9 bytes"):
        storage.read("long", 9)
    for expected in (Content(9, "00"), Content(10, "00"), Content(11, "00")):
        with pytest.raises(Damaged):
            storage.download("long", tmp_path / "here", expected)


def test_the_root_of_a_storage_can_hold_a_run():
    storage = open_storage("memory://")
    storage.write(f"root{next(NUMBERS)}", [b"x"])
    assert storage.read(f"root{next(NUMBERS) - 1}", 1) == b"x"


def test_links_and_pipes_in_a_shared_folder_are_refused(tmp_path):
    (tmp_path / "secret").write_bytes(b"x")
    (tmp_path / "run").mkdir()
    os.mkfifo(tmp_path / "run" / "pipe")
    storage = open_storage(f"file://{tmp_path}/run")
    with pytest.raises(Damaged, match="pipe is no regular file"):
        storage.read("pipe", 1)
    (tmp_path / "run" / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(Damaged, match="link is no regular file"):
        storage.read("link", 1)
    with pytest.raises(ValueError, match="link is a link"):
        storage.names()


class Odd(MemoryFileSystem):
    """A storage that raises what no one expects, or keeps only a part of what is written."""

    protocol = "odd"
    error: Exception | None = None

    def _open(self, path, mode="rb", **options):
        if self.error is not None:
            raise self.error
        return super()._open(path, mode, **options)

    def info(self, path, **options):
        entry = super().info(path, **options)
        return entry | {"size": entry["size"] // 2} if entry["type"] == "file" else entry


@pytest.mark.parametrize(
    "error",
    [KeyError("bucket"), TimeoutError("read\ntimed out"), FileNotFoundError(2, "No such bucket")],
)
def test_whatever_a_storage_raises_becomes_one_line_with_its_url(error, monkeypatch):
    fsspec.register_implementation("odd", Odd, clobber=True)
    monkeypatch.setattr(Odd, "error", error)
    with pytest.raises(StorageError) as raised:
        open_storage("odd://run").write("a", [b"x"])
    assert str(raised.value).startswith("odd://run: ")
    assert "\n" not in str(raised.value)


def test_a_storage_that_kept_only_a_part_is_noticed():
    fsspec.register_implementation("odd", Odd, clobber=True)
    with pytest.raises(StorageError, match="a has 2 of 4 bytes"):
        open_storage("odd://run").write("a", [b"1234"])


def test_a_missing_package_is_named_with_the_extra_that_brings_it(monkeypatch):
    for package in ("s3fs", "gcsfs"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=r"^s3:// needs s3fs: run .*'\.\[storage\]'"):
        open_storage("s3://bucket/run")
    with pytest.raises(ValueError, match=r"^gs:// needs gcsfs"):
        open_storage("gs://bucket/run")


@pytest.mark.parametrize("url", ["no_such_kind://x", "simplecache::memory://x", "memory://a::b"])
def test_what_is_no_url_of_a_known_kind_is_refused_in_one_line(url):
    with pytest.raises(ValueError, match=r"cannot be used|is no URL") as raised:
        open_storage(url)
    assert "\n" not in str(raised.value)
