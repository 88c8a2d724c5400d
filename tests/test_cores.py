"""The number of cores: affinity and the quotas of control groups, as containers have them."""

import math
import os
import subprocess
import sys

import pytest

from alphazero.nn import device


def machine(root, groups, files):
    """A file system below ``root`` with /proc/self/cgroup and files of /sys/fs/cgroup."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(groups)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("groups", "files", "quota"),
    [
        # docker run --cpus=1.5 with version 2: the container has a name space of its own.
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, math.inf),
        # Without a name space the path is the host's; only the root is mounted.
        ("0::/docker/abc\n", {"cpu.max": "200000 100000\n"}, 2.0),
        # A limit of a group above counts, too: the smallest.
        (
            "0::/user.slice/job\n",
            {"user.slice/cpu.max": "50000 100000", "user.slice/job/cpu.max": "400000 100000"},
            0.5,
        ),
        # Version 1, where the folder of the controllers has the shorter name as a link.
        (
            "4:cpu,cpuacct:/docker/abc\n3:memory:/docker/abc\n",
            {"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"},
            3.0,
        ),
        (
            "4:cpuacct,cpu:/\n0::/\n",
            {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
            math.inf,
        ),
        ("1:cpuset:/\n", {"cpu/cpu.cfs_quota_us": "1", "cpu/cpu.cfs_period_us": "1"}, math.inf),
        ("0::/\n", {"cpu.max": "nonsense"}, math.inf),
        ("0::/\n", {"cpu.max": "100000 0"}, math.inf),
        ("nonsense\n", {}, math.inf),
        ("0::../..\n", {"cpu.max": "100000 100000"}, 1.0),
    ],
)
def test_the_quota_is_read_from_control_groups_of_both_versions(groups, files, quota, tmp_path):
    assert device.quota(machine(tmp_path, groups, files)) == quota


def test_a_machine_without_control_groups_has_no_quota(tmp_path):
    assert device.quota(tmp_path) == math.inf


@pytest.mark.parametrize(("quota", "cores"), [(math.inf, 8), (2.0, 2), (1.5, 2), (0.1, 1), (64, 8)])
def test_a_quota_lowers_the_number_of_cores_to_the_next_whole_one(quota, cores, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.setattr(device, "quota", lambda: quota)
    assert device.cores() == cores


def test_torch_starts_no_more_threads_than_there_are_cores():
    code = (
        "import os, pathlib\n"
        "import torch; torch.set_num_threads(16)\n"
        "os.sched_getaffinity = lambda process: {0, 1, 2}\n"
        "import alphazero.nn.device\n"
        "print(torch.get_num_threads())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "3\n"
