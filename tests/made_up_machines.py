"""Machines that are made up: namespaces of Linux instead of computers, in one private network.

Each machine has its own host name, network interface, processes, shared memory and temporary
folder; the program, the Python environment and the lab's folder are the same files everywhere. So a
command of Ray or of ours runs as on a computer of its own: every machine can use the same ports,
`ray stop` reaches the processes of its machine only, and the loss of a machine is the loss of all
of them in one moment. Nothing is left when the lab ends, however it ends.

    with Lab(folder) as lab:
        head, other = lab.add("head"), lab.add("other")
        head.run("ray start --head")

Needs util-linux, iproute2, and root or a system that lets users make namespaces.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from workers.node.processes import PROC, children

ROOT = Path(__file__).parents[1]
PRIVATE = "/mnt"
"""The folder of every machine that no other one sees: HOME and Ray's temporary folder are there."""
BRIDGE = "10.0.0.254"
MEMORY = "512m"
"""Size of a machine's shared memory, and of its private folder."""
NAMESPACES = ("--user", "--net", "--mount", "--pid")
ENDED = "setpriv", "--pdeathsig", "KILL", "--"
"""Ends a process with the one that started it."""
NEW = "unshare", "--pid", "--fork", "--kill-child", "--net", "--mount", "--mount-proc"
SET_UP = f"""
set -e
hostname "$1"
mount -t tmpfs -o size="$3" tmpfs /dev/shm
mount -t tmpfs -o size="$4" tmpfs {PRIVATE}
mkdir {PRIVATE}/home
ip link set lo up
while ! ip link show eth0 >/dev/null 2>&1; do sleep 0.02; done
ip address add "$2/24" dev eth0
ip link set eth0 up
ip route add default via {BRIDGE}
touch {PRIVATE}/ready
sleep infinity &
wait  # the machine's first process takes the exit statuses of all that lost their parents
"""
NAMES = f"""
set -e
for file in hosts resolv.conf nsswitch.conf; do mount --bind "$1/$file" "/etc/$file"; done
ip link set lo up
ip link add br0 type bridge
ip address add {BRIDGE}/24 dev br0
ip link set br0 up
touch "$1/ready"
exec sleep infinity
"""
LONGEST = 60.0
"""Seconds that the making of a machine may take."""


def missing() -> str:
    """Why there can be no made-up machines here; empty where there can."""
    for program in ("unshare", "nsenter", "setpriv", "ip"):
        if shutil.which(program) is None:
            return f"there is no program {program}"
    words = [*NEW, "--user", "--map-root-user", "ip", "link", "add", "br0", "type", "bridge"]
    tried = subprocess.run(words, capture_output=True, text=True, check=False)
    return tried.stderr.strip() if tried.returncode else ""


def wait_until(condition: Callable[[], object], what: str, seconds: float = LONGEST) -> float:
    """Wait until ``condition`` holds; the seconds that it took, or ``TimeoutError``."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            raise TimeoutError(f"no {what} within {seconds:g} s")
        time.sleep(0.05)
    return time.monotonic() - began


def _first(process: subprocess.Popen) -> int:
    """The first process of the namespace that was made below ``process``; 0 while there is none."""
    pid = process.pid
    while below := children(pid):
        pid = below[0]
        status = (PROC / str(pid) / "status").read_text()
        if re.search(r"^NSpid:.*\s1$", status, re.M):
            return pid
    return 0


class Machine:
    """One made-up machine of a lab."""

    def __init__(self, lab: "Lab", name: str, number: int, memory: str, disk: str):
        self.name, self.address, self._lab = name, f"10.0.0.{number}", lab
        self.interface = f"machine{number}"
        """The other end of the machine's network, in that of the lab."""
        words = [*lab.entered("mount", "pid"), *NEW, "--uts", "sh", "-c", SET_UP, "sh"]
        self._outer = lab.make([*words, name, self.address, memory, disk])
        wait_until(lambda: _first(self._outer), name)
        self.pid = _first(self._outer)
        """The machine's first process, as it is seen from outside."""

    @staticmethod
    def _command(pid: int) -> str:
        try:
            return (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
        except OSError:
            return ""

    @property
    def private(self) -> Path:
        """The machine's private folder, as it is seen from outside."""
        return PROC / str(self.pid) / "root" / PRIVATE.lstrip("/")

    def environment(self, **more: str) -> dict[str, str]:
        """The environment of its commands, without settings of Ray that are set here."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "PYTEST_"))}
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        python = os.pathsep.join([str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
        ours = {
            "PATH": path, "PYTHONPATH": python.rstrip(os.pathsep), "HOME": f"{PRIVATE}/home",
            "RAY_TMPDIR": PRIVATE, "RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_worker_niceness": "0",
            "WANDB_MODE": "disabled", "COLUMNS": "100", "XDG_CACHE_HOME": f"{PRIVATE}/cache",
        }  # fmt: skip
        return kept | ours | self._lab.environment | more

    def start(self, command: str, output: Path, **environment: str) -> subprocess.Popen:
        """A shell command that goes on; what it prints is appended to ``output``."""
        words = ["nsenter", "--target", str(self.pid), *NAMESPACES, "--uts"]
        with output.open("ab") as file:
            process = subprocess.Popen(
                [*ENDED, *words, f"--wd={self._lab.folder}", "bash", "-c", command],
                stdout=file, stderr=file, stdin=subprocess.DEVNULL,
                env=self.environment(**environment), start_new_session=True,
            )  # fmt: skip
        return self._lab.keep(process)

    def run(self, command: str, timeout: float = 120.0, **environment: str) -> str:
        """The output of a shell command; ``AssertionError`` with it where the command fails."""
        status, text = self.try_run(command, timeout, **environment)
        assert status == 0, f"{self.name}: {command}\n{text}"
        return text

    def try_run(self, command: str, timeout: float = 120.0, **environment: str) -> tuple[int, str]:
        """The exit status of a shell command, and what it prints."""
        output = self._lab.folder / f"output_{self.name}_{time.monotonic_ns()}"
        process = self.start(command, output, **environment)
        try:
            process.wait(timeout)
        finally:
            self.kill(process)
        text = output.read_text(errors="replace")
        output.unlink()
        return process.returncode, text

    def kill(self, process: subprocess.Popen, number: int = signal.SIGKILL) -> None:
        """Send a signal to a command that ``start`` started, not to what it started itself."""
        if process.poll() is None and (below := children(process.pid)):
            os.kill(below[0], number)

    def processes(self) -> dict[int, str]:
        """The command lines of all processes of the machine, by their ids seen from outside."""
        namespace = self._namespace(self.pid)
        pids = [int(path.name) for path in PROC.iterdir() if path.name.isdigit()]
        return {pid: self._command(pid) for pid in pids if self._namespace(pid) == namespace}

    @staticmethod
    def _namespace(pid: int) -> str:
        try:
            return os.readlink(PROC / str(pid) / "ns" / "pid")
        except OSError:
            return str(pid)

    def find(self, words: str) -> list[int]:
        """The processes whose command line contains ``words``."""
        return [pid for pid, command in self.processes().items() if words in command]

    def cut(self) -> None:
        """End the machine as a power cut does: others get no message that a connection ended.

        Nothing happens to a machine that has ended.
        """
        if self._outer.poll() is not None:
            return
        self._lab.network("ip", "link", "delete", self.interface)
        os.kill(self.pid, signal.SIGKILL)
        self._outer.wait()


class Lab:
    """A private network with a bridge; ``folder`` is seen by all its machines."""

    def __init__(self, folder: Path, **environment: str):
        """``environment``: variables of all commands."""
        self.folder, self.environment, self._number = folder, environment, 0
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "hosts").write_text("127.0.0.1 localhost\n")
        (folder / "resolv.conf").write_text("")
        (folder / "nsswitch.conf").write_text("hosts: files\n")
        words = [*NEW, "--user", "--map-root-user", "sh", "-c", NAMES, "sh", str(folder)]
        self._started: list[subprocess.Popen] = []
        self._outer = self.make(words)
        wait_until(lambda: (folder / "ready").exists() or self._outer.poll(), "network")
        self.pid = _first(self._outer)

    def __enter__(self) -> "Lab":
        return self

    def __exit__(self, *_: object) -> None:
        self._outer.kill()  # and with it the first process of all namespaces
        for process in self._started:
            process.kill()
            process.wait()

    def make(self, words: list[str]) -> subprocess.Popen:
        """Start a program that makes a part of the lab; its errors are in a file of ``folder``."""
        with (self.folder / "errors.txt").open("ab") as file:
            return self.keep(subprocess.Popen([*ENDED, *words], stderr=file))

    def keep(self, process: subprocess.Popen) -> subprocess.Popen:
        """The same process, which ends with the lab."""
        self._started.append(process)
        return process

    def entered(self, *namespaces: str) -> list[str]:
        """The words before a command that runs in the lab's network and these namespaces."""
        options = [f"--{name}" for name in ("user", "net", *namespaces)]
        return ["nsenter", "--target", str(self.pid), *options]

    def network(self, *words: str) -> None:
        """Run a command in the lab's network, with the ids of processes as seen from outside."""
        subprocess.run([*self.entered(), *words], check=True)

    def add(self, name: str, memory: str = MEMORY, disk: str = MEMORY, delay: float = 0) -> Machine:
        """A new machine; ``memory`` and ``disk`` are the sizes of its shared memory and private
        folder; ``delay``: seconds by which each of its packets is late, in both directions."""
        self._number += 1
        machine = Machine(self, name, self._number, memory, disk)
        with (self.folder / "hosts").open("a") as file:
            file.write(f"{machine.address} {name}\n")
        inner = ["eth0", "netns", str(machine.pid)]
        if delay:
            relay = [sys.executable, str(Path(__file__).parent / "slow_network.py")]
            words = [*relay, str(machine.pid), machine.interface, str(delay)]
            self.make([*self.entered(), *words])
            wait_until(lambda: (machine.private / "ready").exists(), f"network of {name}")
        else:
            pair = ["type", "veth", "peer", "name"]
            self.network("ip", "link", "add", machine.interface, *pair, *inner)
        self.network("ip", "link", "set", machine.interface, "master", "br0", "up")
        wait_until(lambda: (machine.private / "ready").exists(), f"network of {name}")
        return machine
