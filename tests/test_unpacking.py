"""Compressed files: nothing is unpacked beyond what a header says or a limit allows."""

import bz2
import gzip
import io
import lzma
import os
import struct
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from alphazero import unpacking
from alphazero.supervised import images, tables, texts, vectors

PACK = {".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress}
MEBIBYTE = 1 << 20


def packed(folder: Path, name: str, content: bytes, ending: str) -> Path:
    path = folder / f"{name}{ending}"
    if ending == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, content)
    else:
        path.write_bytes(PACK[ending](content))
    return path


def refusal(call, *arguments) -> str:
    """The message of a ``ValueError``; fails where more than 20 MB were needed on the way."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError) as caught:  # noqa: PT011 (the callers look at the message)
            call(*arguments)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def read_all(path: Path) -> int:
    with unpacking.open_unpacked(path) as file:
        return sum(len(piece) for piece in iter(lambda: file.read(MEBIBYTE), b""))


@pytest.mark.parametrize("ending", [*PACK, ".zip"])
def test_a_file_is_unpacked_up_to_the_limit_and_not_beyond(tmp_path, ending, monkeypatch):
    monkeypatch.setattr(unpacking, "FREE_BYTES", MEBIBYTE)
    assert read_all(packed(tmp_path, "most", bytes(MEBIBYTE), ending)) == MEBIBYTE
    path = packed(tmp_path, "more", bytes(MEBIBYTE + 1), ending)
    said = f"{path}: unpacks to more than 1,048,576 bytes, 50 times its size; if that is right"
    assert refusal(read_all, path).startswith(said)


def test_what_compresses_as_texts_do_has_no_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "FREE_BYTES", 1)
    content = os.urandom(2 * MEBIBYTE).hex().encode()
    assert read_all(packed(tmp_path, "a", content, ".gz")) == len(content)


@pytest.mark.parametrize("ending", [*PACK, ".zip"])
def test_idx_is_read_as_far_as_its_header_says_and_one_byte_more(tmp_path, ending, monkeypatch):
    sizes = []
    opened = unpacking.open_unpacked

    class Counted(io.BytesIO):
        def read(self, size: int | None = -1):
            sizes.append(size)
            return super().read(size)

    def count(path):
        with opened(path) as file:
            return Counted(file.read(MEBIBYTE))

    header = struct.pack(">HBB3I", 0, 8, 3, 10, 28, 28)
    path = packed(tmp_path, "a", header + bytes(10 * 28 * 28 + 2 * MEBIBYTE), ending)
    monkeypatch.setattr(unpacking, "open_unpacked", count)
    said = f"{path}: holds more values where its header says 7,840"
    assert refusal(images.read_idx, path) == said
    assert sizes == [4, 12, 7841]


def test_a_header_that_announces_more_than_there_is_needs_no_memory(tmp_path):
    header = struct.pack(">HBB3I", 0, 8, 3, 2**31, 2**31, 2**31)
    path = packed(tmp_path, "a", header + bytes(100), ".gz")
    said = "holds 100 values where its header says 9,903,520,314,283,042,199,192,993,792"
    assert said in refusal(images.read_idx, path)


@pytest.mark.parametrize("ending", [".gz", ".zip"])
def test_a_line_without_end_in_a_table_is_refused(tmp_path, ending):
    path = packed(tmp_path, "a.tsv", b"1\tgood\n0\t" + b"x" * (30 * MEBIBYTE), ending)
    assert refusal(tables.read, path) == f"{path}:2: longer than 1,048,576 bytes"


def test_a_line_without_end_in_word_vectors_is_refused(tmp_path):
    path = packed(tmp_path, "a.txt", b"the 1 2\n" + b"1 " * (20 * MEBIBYTE), ".gz")
    assert refusal(vectors.words, path) == f"{path}:2: longer than 1,048,576 bytes"


def test_a_long_name_in_an_archive_is_not_read_into_memory(tmp_path):
    """tarfile reads the names of a PAX header whole, whatever size the archive states."""
    path = tmp_path / "a.tar.gz"
    member = tarfile.TarInfo("pax")
    member.type, member.size = tarfile.XHDTYPE, 40 * MEBIBYTE
    path.write_bytes(gzip.compress(member.tobuf() + bytes(40 * MEBIBYTE)))
    said = "41,943,040 bytes, should be 1,048,576 at most"
    assert said in refusal(texts.load, path)


def test_only_regular_files_are_read(tmp_path):
    """A pipe would be waited for without end, a device read without end."""
    os.mkfifo(tmp_path / "pipe.tsv")
    (tmp_path / "zero.tsv").symlink_to("/dev/zero")
    for name in ("pipe.tsv", "zero.tsv"):
        path = tmp_path / name
        assert refusal(unpacking.open_unpacked, path) == f"{path}: not a regular file"
        assert refusal(vectors.words, path) == f"{path}: not a regular file"
    folder = tmp_path / "aclImdb" / "train" / "pos"
    folder.mkdir(parents=True)
    os.mkfifo(folder / "0_9.txt")
    assert refusal(texts.load, tmp_path) == f"{folder / '0_9.txt'}: not a regular file"


def test_a_huge_review_in_a_folder_is_refused_by_its_size(tmp_path):
    file = tmp_path / "train" / "pos" / "0_9.txt"
    file.parent.mkdir(parents=True)
    with file.open("wb") as opened:
        opened.truncate(1 << 33)
    assert refusal(texts.load, tmp_path) == f"{file}: 1,048,577 bytes, should be 1,048,576 at most"


@pytest.mark.parametrize("kind", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compression_that_zipfile_cannot_unpack_in_pieces_is_not_read(tmp_path, kind):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", kind) as archive:
        archive.writestr("a.txt", bytes(MEBIBYTE))
    assert refusal(vectors.words, path).startswith(
        f"{path}: no such file in the archive, which has"
    )


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"PK\x05\x06" + bytes(18) + b"more"])
def test_a_damaged_zip_is_named(tmp_path, data):
    path = tmp_path / "a.zip"
    path.write_bytes(data)
    assert refusal(vectors.words, path).startswith(str(path))
