"""Memory that processes share: its size, and that it has no name and no limit of a folder."""

import os
from pathlib import Path

import node_doubles as doubles
import numpy as np
import pytest
from test_node_fleet import CONFIG, PLAN

from alphazero import memory_files
from alphazero.shared_rows import SharedRows
from workers.node import node
from workers.node.fleet import task_of
from workers.node.shared import SharedArrays

linux = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="the files are Linux's memfd")


@pytest.fixture
def file():
    descriptor = memory_files.create()
    yield descriptor
    os.close(descriptor)


def test_a_file_keeps_its_bytes_when_more_are_reserved_and_never_shrinks(file):
    memory_files.reserve(file, 10)
    os.pwrite(file, b"0123456789", 0)
    memory_files.reserve(file, 5000)
    memory_files.reserve(file, 20)
    assert os.fstat(file).st_size == 5000
    assert os.pread(file, 11, 0) == b"0123456789\0"


@linux
def test_reserved_bytes_occupy_memory_at_once(file):
    memory_files.reserve(file, 2**20)
    assert os.fstat(file).st_blocks * 512 >= 2**20


@linux
def test_a_file_is_in_memory_and_not_in_the_folder_of_shared_memory(file):
    assert Path(os.readlink(f"/proc/self/fd/{file}")).name.startswith("memfd:alphazero")
    shared = Path("/dev/shm")
    assert not shared.is_dir() or os.fstat(file).st_dev != shared.stat().st_dev


def test_sizes_are_rounded_up_to_whole_cache_lines():
    assert [memory_files.aligned(size) for size in (0, 1, 64, 65)] == [0, 64, 64, 128]


@linux
def test_too_large_a_size_is_an_error_at_once_for_arrays_and_for_rows(monkeypatch):
    def full(descriptor, offset, size):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "posix_fallocate", full)
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="No space left"):
        SharedArrays({"array": ((100,), np.dtype(np.int8))})
    assert set(os.listdir("/proc/self/fd")) == before, "the descriptor of the file is still open"
    rows = SharedRows(memory_files.create())
    with pytest.raises(OSError, match="No space left"):
        rows.write({"column": np.zeros(100, np.int8)})
    rows.close()


@linux
def test_a_node_without_memory_for_its_weights_leaves_no_descriptor_open(monkeypatch):
    def full(weights):
        raise OSError(28, "No space left on device")

    started = node.Node(PLAN, task_of(CONFIG, PLAN, doubles.hashing), iter(range(9)))
    monkeypatch.setattr(node, "PublishedWeights", full)
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="too little memory for 4 requests of 8 positions"):
        started.publish(doubles.weights(0), 0)
    assert set(os.listdir("/proc/self/fd")) == before
    started.close()
