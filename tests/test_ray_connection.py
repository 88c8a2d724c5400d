"""The connection to Ray: only with a token that is proven, and every refusal is one line."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
import ray

from alphazero.errors import RunFailed
from workers.cluster import authentication, connection

ROOT = Path(__file__).parents[1]
OPEN_CLUSTER = """
import os, ray
ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
print("cluster", ray.get_runtime_context().gcs_address, flush=True)
from workers.cluster.connection import connect
try:
    connect("local")
except ValueError as error:
    print("refused", error, flush=True)
input()
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A new home folder in an environment without a token."""
    for name in (authentication.MODE, authentication.TOKEN, authentication.TOKEN_PATH):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def rights(path: Path) -> int:
    return path.stat().st_mode & 0o777


def one_line(error) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("mode", [None, "", "disabled", "k8s"])
def test_a_cluster_of_others_is_refused_without_token_mode(mode):
    with pytest.raises(ValueError, match="needs token authentication") as refusal:
        authentication.require_token("10.0.0.1:6379", mode)
    one_line(refusal)
    authentication.require_token("10.0.0.1:6379", "token")


@pytest.mark.parametrize("mode", ["", "disabled", "DISABLED", "k8s"])
def test_an_environment_that_disables_the_token_is_refused_before_ray_starts(
    mode, home, no_ray, monkeypatch
):
    monkeypatch.setenv("RAY_AUTH_MODE", mode)
    with pytest.raises(ValueError, match=f"RAY_AUTH_MODE={mode} in the environment") as refusal:
        connection.connect("local")
    one_line(refusal)
    assert not (home / ".ray").exists()


@pytest.mark.parametrize("mode", [None, "token", "TOKEN"])
def test_for_a_local_cluster_the_mode_is_unset_or_token(mode):
    authentication.require_token("local", mode)


def test_a_new_token_lies_in_a_file_and_a_folder_that_only_their_owner_reads(home):
    before = os.umask(0)
    try:
        authentication.keep_token()
    finally:
        os.umask(before)
    path = home / ".ray" / "auth_token"
    assert (rights(path), rights(path.parent)) == (0o600, 0o700)
    assert len(path.read_text()) == 64
    assert [entry.name for entry in path.parent.iterdir()] == ["auth_token"]


def test_a_token_that_others_could_read_is_kept_and_closed(home):
    path = home / ".ray" / "auth_token"
    path.parent.mkdir(mode=0o755)
    path.write_text("ab" * 32)
    path.chmod(0o644)
    authentication.keep_token()
    assert (rights(path), rights(path.parent)) == (0o600, 0o700)
    assert path.read_text() == "ab" * 32


def test_of_two_processes_that_write_a_token_both_use_the_first(home):
    authentication.keep_token()
    path = home / ".ray" / "auth_token"
    first = path.read_text()
    authentication._write_new(path)
    assert path.read_text() == first
    assert [entry.name for entry in path.parent.iterdir()] == ["auth_token"]


def test_without_a_home_folder_the_token_lies_in_a_temporary_one(home, monkeypatch):
    (home / ".ray").write_text("a file where the folder should be")
    monkeypatch.setenv(authentication.TOKEN_PATH, "")  # restored after the test
    authentication.keep_token()
    path = Path(os.environ[authentication.TOKEN_PATH])
    assert (rights(path), rights(path.parent)) == (0o600, 0o700)
    path.unlink()
    path.parent.rmdir()


def test_a_token_in_the_environment_is_left_alone(home, monkeypatch):
    monkeypatch.setenv(authentication.TOKEN, "ab" * 32)
    authentication.keep_token()
    assert not (home / ".ray").exists()


def test_a_call_without_the_token_is_refused_by_a_cluster_that_is_started_here(ray_session):
    address = ray_session.get_runtime_context().gcs_address
    authentication.prove_token.cache_clear()
    authentication.prove_token(address)
    assert connection.connect("local") is False


@pytest.mark.parametrize(
    ("ended", "error", "text"),
    [
        (subprocess.CompletedProcess([], 0, "", ""), ValueError, "without the token"),
        (subprocess.CompletedProcess([], 1, "", "x\nImportError: y"), RunFailed, "ImportError: y"),
        (subprocess.TimeoutExpired("x", 60.0), RunFailed, "no answer in 60 s"),
    ],
)
def test_anything_but_a_refused_call_proves_nothing(monkeypatch, ended, error, text):
    def call(*args, **settings):
        assert not {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & set(settings["env"])
        assert settings["env"]["RAY_AUTH_MODE"] == "disabled"
        if isinstance(ended, Exception):
            raise ended
        return ended

    monkeypatch.setattr(subprocess, "run", call)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "ab" * 32)
    with pytest.raises(error, match=text) as refusal:
        authentication.prove_token("192.0.2.1:1")
    one_line(refusal)


def test_a_cluster_with_another_token_than_here_is_recognised(ray_session, monkeypatch):
    address = ray_session.get_runtime_context().gcs_address
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    assert not authentication.has_other_token(address)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "cd" * 32)
    assert authentication.has_other_token(address)


def test_another_token_is_refused_before_ray_joins_and_repeats_its_attempts(monkeypatch, no_ray):
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setattr(connection.ray, "init", lambda **settings: pytest.fail("Ray was started"))
    monkeypatch.setattr(connection, "_check_reachable", lambda address: None)
    monkeypatch.setattr(authentication, "has_other_token", lambda address: True)
    with pytest.raises(ValueError, match="the token here is not that of the cluster") as refusal:
        connection.connect("10.0.0.1:6379")
    one_line(refusal)


def test_ray_on_this_machine_has_the_cores_that_this_process_may_use(monkeypatch, no_ray, home):
    """Ray itself counts all cores of the machine, also those that ``taskset`` takes away."""
    given = {}

    def start(**settings):
        given.update(settings)
        raise RuntimeError("enough")

    monkeypatch.setattr(connection.ray, "init", start)
    monkeypatch.setattr(connection, "cores", lambda: 3)
    with pytest.raises(RunFailed, match="enough"):
        connection.connect("local")
    assert given["num_cpus"] == 3


def test_a_node_that_was_lost_meanwhile_is_left_out_of_the_comparison_of_versions(ray_session):
    connection.check_versions(["ab" * 28], connection.versions())


@pytest.mark.slow
def test_a_cluster_that_answers_without_the_token_is_refused(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", OPEN_CLUSTER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"RAY_AUTH_MODE": "disabled", "PYTHONPATH": str(ROOT)},
    ) as process:
        lines = iter(process.stdout.readline, "")
        address = next(line.split()[1] for line in lines if line.startswith("cluster"))
        assert "answers calls without the token" in next(lines)
        with pytest.raises(ValueError, match="answers calls without the token"):
            authentication.prove_token(address)
        process.stdin.close()


def test_ray_is_started_and_joined_in_one_place():
    calls = set()
    for path in [*ROOT.glob("workers/**/*.py"), *ROOT.glob("alphazero/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "ray.init":
                calls.add(path.relative_to(ROOT).as_posix())
    assert calls == {"workers/cluster/connection.py"}


@pytest.mark.parametrize("name", ["TMPDIR", "RAY_TMPDIR"])
def test_a_temporary_folder_with_too_long_a_name_is_named_in_one_line(name, tmp_path):
    folder = tmp_path / ("long" * 20)
    folder.mkdir()
    environment = {k: v for k, v in os.environ.items() if k not in ("TMPDIR", "RAY_TMPDIR")}
    code = "from workers.cluster.connection import connect; connect('local')"
    ended = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=environment | {name: str(folder), "PYTHONPATH": str(ROOT)},
    )
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("ValueError: ray local: ")
    assert f"{name}={folder}" in last
    assert "set RAY_TMPDIR to a folder with a short name" in last


def test_a_cluster_with_another_ray_or_python_is_refused_with_both_versions(monkeypatch, no_ray):
    from ray._private.utils import check_version_info

    def mismatch(**settings):
        check_version_info({"ray_version": "2.9.1", "python_version": "3.9.7"}, "node 10.0.0.2")

    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setattr(connection.ray, "init", mismatch)
    monkeypatch.setattr(connection, "_check_reachable", lambda address: None)
    monkeypatch.setattr(authentication, "has_other_token", lambda address: False)
    with pytest.raises(ValueError, match="Version mismatch") as refusal:
        connection.connect("10.0.0.1:6379")
    line = one_line(refusal)
    for version in ("2.9.1", "3.9.7", ray.__version__, sys.version.split()[0]):
        assert version in line


def test_a_ray_that_does_not_start_is_one_line(monkeypatch, no_ray, home):
    def slow(**settings):
        raise Exception("The current node timed out during startup.\nThis could happen because")

    monkeypatch.setattr(connection.ray, "init", slow)
    with pytest.raises(RunFailed, match="ray local: Ray did not start: The current") as failure:
        connection.connect("local")
    one_line(failure)


def test_a_node_with_other_versions_is_refused_with_both(ray_session):
    node = ray_session.get_runtime_context().get_node_id()
    connection.check_versions([node], connection.versions())
    with pytest.raises(ValueError, match=f"has Ray {ray.__version__}, .* but .* Ray 2.9") as error:
        connection.check_versions([node], "Ray 2.9.1, Python 3.9.7, alphazero 1")
    one_line(error)


SMALL_CONTAINER = """
import sys, time
import numpy as np, ray
from workers import cli
from workers.cluster.connection import connect
connect("local")
assert ray.get(ray.remote(lambda array: array.sum()).remote(np.ones(10**7))) == 10**7
time.sleep(3)  # Ray sends events of calls to gcs_server once per second
assert ray.timeline() == []
sys.exit(cli.main(sys.argv[1:]))
"""
"""80 MB go through the object store; gcs_server keeps no event of a call: with those of a run it
would grow by 9 MB per minute."""


@pytest.mark.slow
def test_a_run_needs_no_large_shared_memory_and_no_address_or_proxy_of_the_environment(tmp_path):
    inside = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
    small = "mount -t tmpfs -o size=64m tmpfs /dev/shm"
    if subprocess.run([*inside, small], capture_output=True, check=False).returncode:
        pytest.skip("this system does not let a test mount a small /dev/shm")
    words = ["train", "tic_tac_toe", "--run-dir", "run", "--ray", "local", "training.steps=5"]
    words += ["evaluation.games=0", "tracking.wandb=off", "replay.min_positions=300"]
    nowhere = "http://192.0.2.1:9"
    ended = subprocess.run(
        [*inside, f'{small} && exec "$@"', "sh", sys.executable, "-c", SMALL_CONTAINER, *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ
        | {"PYTHONPATH": str(ROOT), "RAY_ADDRESS": "192.0.2.1:6379"}
        | dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "grpc_proxy"), nowhere),
    )
    assert ended.returncode == 0, ended.stderr
    assert "step 5 of 5" in ended.stdout


OWN_GAME = """\
from games.tic_tac_toe import TicTacToe


class Broken(TicTacToe):
    calls = 0

    def advance(self, states, actions):
        Broken.calls += 1
        if Broken.calls % 2000 == 0:
            raise IndexError("no such square")
        return super().advance(states, actions)
"""


@pytest.mark.slow
def test_an_own_game_that_raises_in_some_games_ends_a_run_on_ray_with_the_place(tmp_path):
    (tmp_path / "own_game.py").write_text(OWN_GAME)
    (tmp_path / "own.yaml").write_text("game: own_game:Broken\n")
    words = ["train", "own.yaml", "--run-dir", "run", "--ray", "local", "training.steps=100000"]
    words += ["evaluation.games=0", "tracking.wandb=off", "selfplay.games=8"]
    ended = subprocess.run(
        [sys.executable, "-m", "alphazero", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert ended.returncode == 1, ended.stderr
    reason = "self-play worker 0 failed: IndexError: no such square (own_game.py, line 10)"
    assert ended.stderr.splitlines()[-1] == f"alphazero: error: {reason}"
    assert f"ERROR workers.cluster.supervisor: {reason}" in (tmp_path / "run/log.txt").read_text()
    assert list((tmp_path / "run" / "games").glob("shard_*.bin"))
