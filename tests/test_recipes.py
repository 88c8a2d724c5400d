"""The recipes for clusters in docs/recipes: their words, and each of them on made-up machines."""

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import made_up_machines
import pytest
import yaml
from made_up_machines import PRIVATE, Lab, Machine

import games
from alphazero import wire
from workers import cli

pytestmark = pytest.mark.timeout(1200)

ROOT = Path(__file__).parents[1]
RECIPES = ROOT / "docs" / "recipes"
SCRIPTS = sorted(RECIPES.glob("*.sh"))
MANIFEST = RECIPES / "kuberay.yaml"
SMALL = (
    "search.simulations=4 selfplay.games=8 network.blocks=1 network.channels=8 evaluation.games=0 "
    "replay.min_positions=100 training.steps=20 training.batch_size=16 training.precision=float32 "
    "inference.backend=torch inference.precision=float32"
)
"""Settings of a run that takes seconds."""
STORE = "--object-store-memory 100000000"
ONE_CORE = f"--num-cpus 1 {STORE}"
WITHOUT = made_up_machines.missing()
on_machines = pytest.mark.skipif(bool(WITHOUT), reason=f"no made-up machines: {WITHOUT}")


def stand_in(folder: Path, name: str, body: str) -> None:
    """A program that a recipe calls, in a folder that is first in its PATH."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
    (folder / name).chmod(0o755)


def recorded(tmp_path: Path, *words: str, **environment: str) -> list[list[str]]:
    """The arguments of each call of ``ray`` by a script, whose own programs are stand-ins."""
    programs, calls = tmp_path / "bin", tmp_path / "calls"
    record = f"""printf '%s\\0' "$@" >> {calls}; printf '\\n' >> {calls}"""
    stand_in(programs, "ray", record)
    stand_in(programs, "srun", 'while [[ $1 == --* ]]; do shift; done; "$@"')
    stand_in(programs, "scontrol", "printf 'first\\nsecond\\n'")
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(
        ["bash", *words], env=os.environ | {"PATH": path, "RAY_AUTH_TOKEN": "x"} | environment,
        cwd=tmp_path, check=True,
    )  # fmt: skip
    return [line.split("\0")[:-1] for line in calls.read_text().splitlines()]


def parse_start(words: list[str]) -> dict:
    """The options of ``ray start``, as the command of the installed Ray reads them."""
    from ray.scripts.scripts import start

    assert words[0] == "start"
    return start.make_context("start", words[1:]).params


def parse_train(words: list[str]) -> dict:
    assert words[0] == "alphazero"
    return vars(cli.build_parser(cli.command_modules()).parse_args(words[1:]))


def documents() -> dict[str, dict]:
    """The manifests of KubeRay's recipe by their kind."""
    return {entry["kind"]: entry for entry in yaml.safe_load_all(MANIFEST.read_text())}


def groups() -> list[dict]:
    spec = documents()["RayCluster"]["spec"]
    return [spec["headGroupSpec"], *spec["workerGroupSpecs"]]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_is_valid_stops_at_errors_and_says_how_it_is_called(script, tmp_path):
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
    assert "set -euo pipefail" in script.read_text()
    called = subprocess.run(
        ["bash", str(script)], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert called.returncode
    assert "usage: " in called.stderr
    assert os.access(script, os.X_OK)


def test_a_cluster_by_hand_is_started_with_options_that_ray_takes(tmp_path):
    script = str(RECIPES / "by_hand.sh")
    recorded(tmp_path, script, "head", "--num-cpus", "0")
    head, join = recorded(tmp_path, script, "join", "10.0.0.1")
    head, join = parse_start(head), parse_start(join)
    assert (head["head"], head["port"], head["num_cpus"]) == (True, 6379, 0)
    assert join["address"] == "10.0.0.1:6379"
    names = ["node_manager_port", "object_manager_port", "runtime_env_agent_port"]
    assert [head[name] for name in names] == [join[name] for name in names] == [6380, 6381, 6382]


def test_a_token_that_is_there_is_kept_and_the_line_says_so(tmp_path):
    script, file = str(RECIPES / "by_hand.sh"), tmp_path / "auth_token"
    file.write_text("ab" * 32)
    ended = subprocess.run(
        ["bash", script, "token"],
        env=os.environ | {"RAY_AUTH_TOKEN_PATH": str(file)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout == (
        f"the token is in {file} since before; for another one remove that file first\n"
    )
    assert file.read_text() == "ab" * 32


def test_a_job_is_submitted_with_the_users_folder(tmp_path):
    from ray.dashboard.modules.job.cli import submit

    (words,) = recorded(
        tmp_path, str(RECIPES / "job.sh"), "my_games", "/data/run", "my_game:MyGame", "seed=3"
    )
    options = submit.make_context("submit", words[2:]).params
    assert options["working_dir"] == "my_games"
    train = parse_train(list(options["entrypoint"]))
    assert (train["config"], train["overrides"]) == ("my_game:MyGame", ["seed=3"])
    assert (train["ray"], train["run_dir"]) == ("auto", Path("/data/run"))


def test_slurm_runs_one_ray_on_each_node_and_the_training_on_the_first(tmp_path):
    from ray.scripts import symmetric_run

    slurm = {"SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_JOB_NAME": "a"}
    words = str(RECIPES / "slurm.sh"), "connect_four", "seed=3"
    (call,) = recorded(tmp_path, *words, SLURM_CPUS_PER_TASK="8", **slurm)
    assert call[0] == "symmetric-run"
    place = call.index("--")
    start = symmetric_run.curate_and_validate_ray_start_args(call[1:place])
    assert parse_start(["start", *start])["num_cpus"] == 8
    context = symmetric_run.symmetric_run.make_context("run", call[1:])
    assert (context.params["address"], context.params["min_nodes"]) == ("first:6379", 2)
    train = parse_train(call[place + 1 :])
    assert (train["config"], train["ray"]) == ("connect_four", "first:6379")
    assert train["overrides"] == ["seed=3"]
    assert not train["resume"]


def test_each_pod_has_the_token_from_the_secret_and_enough_shared_memory():
    job = documents()["Job"]["spec"]["template"]["spec"]["containers"]
    pods = [group["template"]["spec"] for group in groups()]
    for container in [*job, *(pod["containers"][0] for pod in pods)]:
        environment = {entry["name"]: entry for entry in container["env"]}
        assert environment["RAY_AUTH_MODE"]["value"] == "token"
        token = environment["RAY_AUTH_TOKEN"]["valueFrom"]["secretKeyRef"]
        assert f"generic {token['name']} --from-literal={token['key']}=" in MANIFEST.read_text()
        assert container["image"] == job[0]["image"]
        assert all(isinstance(entry.get("value", ""), str) for entry in container["env"])
    for pod in pods:
        (volume,) = pod["volumes"]
        assert volume["emptyDir"]["medium"] == "Memory"
        (mount,) = pod["containers"][0]["volumeMounts"]
        assert mount == {"name": volume["name"], "mountPath": "/dev/shm"}
    ports = {entry["containerPort"] for entry in pods[0]["containers"][0]["ports"]}
    assert ports == {6379, 8265}


def test_the_manifest_has_options_and_a_command_that_ray_and_we_take():
    from ray.dashboard.modules.job.cli import submit

    for group in groups():
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        parse_start(["start", *start_words(group)])
    (container,) = documents()["Job"]["spec"]["template"]["spec"]["containers"]
    words = container["command"] + container["args"]
    assert words[:3] == ["ray", "job", "submit"]
    entry = submit.make_context("submit", words[3:]).params["entrypoint"]
    assert parse_train(list(entry))["ray"] == "auto"
    name = documents()["RayCluster"]["metadata"]["name"]
    address = next(e["value"] for e in container["env"] if e["name"].endswith("ADDRESS"))
    assert address == f"http://{name}-head-svc:8265"


def start_words(group: dict) -> list[str]:
    """The options of ``ray start`` that KubeRay makes of a group's ``rayStartParams``."""
    return [f"--{name}={value}" for name, value in group["rayStartParams"].items()]


def test_the_image_for_kuberay_has_the_ray_that_is_tested():
    version = re.search(r"^ray==(.*)$", (ROOT / "constraints.txt").read_text(), re.M)
    assert version
    assert f"rayproject/ray:{version[1]}-" in (RECIPES / "ray.Dockerfile").read_text()
    assert documents()["RayCluster"]["spec"]["rayVersion"] == version[1]


def test_a_machine_without_a_gpu_is_told_so(tmp_path):
    script = ["bash", str(RECIPES / "one_gpu.sh"), "tic_tac_toe", str(tmp_path / "run")]
    stand_in(tmp_path / "bin", "nvidia-smi", "exit 9")
    path = f"{tmp_path / 'bin'}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}/usr/bin:/bin"
    refused = subprocess.run(
        script, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
    )
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "no GPU" in refused.stderr


# On made-up machines


@pytest.fixture
def lab(tmp_path_factory):
    with Lab(tmp_path_factory.mktemp("lab")) as made:
        yield made


def give_token(source: Machine, *others: Machine) -> None:
    """Copy the token, as a user does it by hand."""
    for other in others:
        (other.private / "home/.ray").mkdir(mode=0o700)
        target = other.private / "home/.ray/auth_token"
        target.write_text((source.private / "home/.ray/auth_token").read_text())
        target.chmod(0o600)


def by_hand(lab: Lab, *names: str) -> list[Machine]:
    """A cluster of one-core machines, made by the recipe."""
    machines = [lab.add(name) for name in names]
    machines[0].run(f"{RECIPES}/by_hand.sh token")
    give_token(*machines)
    machines[0].run(f"{RECIPES}/by_hand.sh head {ONE_CORE}")
    for machine in machines[1:]:
        machine.run(f"{RECIPES}/by_hand.sh join {names[0]} {ONE_CORE}")
    return machines


def check_run(folder: Path, steps: int, nodes: int, game: str = "tic_tac_toe") -> None:
    """The run has all its steps, no game twice, and was played on so many machines."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, steps + 1))
    shards = sorted((folder / "games").glob("shard_*.bin"))
    made = games.make(game)
    games_of = [list(wire.read_shard(made, path, pytest.fail)) for path in shards]
    ids = [record.game_id for stored in games_of for _, record in stored if record]
    assert len(set(ids)) == len(ids) > 0
    assert max(line["nodes"] for line in lines) == nodes


def listening(machine: Machine) -> set[int]:
    """The ports at which a machine's processes wait for connections of other machines."""
    lines = machine.run("tail -qn +2 /proc/net/tcp /proc/net/tcp6").splitlines()
    fields = [line.split() for line in lines]
    waiting = [field[1] for field in fields if field[3] == "0A"]
    loopback = re.compile(r"0100007F:|0{24}01000000:|0{16}FFFF00000100007F:")
    return {int(local.rpartition(":")[2], 16) for local in waiting if not loopback.match(local)}


needs_dashboard = pytest.mark.skipif(
    find_spec("aiohttp_cors") is None or find_spec("grpc") is None,
    reason="jobs need the extra `cluster`",
)


@pytest.mark.slow
@on_machines
def test_a_cluster_by_hand_plays_on_all_machines_at_the_stated_ports(lab):
    head, other = by_hand(lab, "head", "other")
    head.run("alphazero cluster check head:6379 --game tic_tac_toe")  # fails if a test does
    command = f"alphazero train tic_tac_toe {SMALL} training.steps=150 --ray head:6379"
    process = head.start(f"{command} --run-dir run", lab.folder / "run.txt")
    metrics = lab.folder / "run/metrics.jsonl"
    playing = lambda: metrics.exists() and '"nodes": 2' in metrics.read_text()  # noqa: E731
    made_up_machines.wait_until(lambda: playing() or process.poll() is not None, "play", 120)
    stated = {*range(6379, 6385), *range(10001, 11000), 44217, 44227, 52365}
    for machine in (head, other):
        ports = listening(machine)
        assert {6380, 6381} <= ports
        assert ports - stated == set()
    assert process.wait(120) == 0, (lab.folder / "run.txt").read_text()
    check_run(lab.folder / "run", 150, nodes=2)
    for machine in (other, head):
        machine.run("ray stop")
        assert machine.find("raylet") == []


@pytest.mark.slow
@on_machines
def test_a_machine_without_the_token_is_told_to_copy_it(lab):
    status, text = lab.add("other").try_run(f"{RECIPES}/by_hand.sh join head")
    assert status == 2
    assert "no token" in text


@pytest.mark.slow
@on_machines
@needs_dashboard
def test_a_job_brings_the_users_own_game_to_all_machines(lab):
    head, _ = by_hand(lab, "head", "other")
    head.run("mkdir /mnt/games && cd /mnt/games && alphazero new my_game")
    text = head.run(
        f"{RECIPES}/job.sh {PRIVATE}/games {lab.folder}/run my_game:MyGame {SMALL} recipe=none", 240
    )
    assert "succeeded" in text
    lines = (lab.folder / "run/metrics.jsonl").read_text().splitlines()
    assert len(lines) == 20


@pytest.mark.slow
@on_machines
def test_slurms_nodes_become_a_cluster_for_one_run_that_is_continued(lab):
    lab.environment["HOME"] = str(lab.folder / "home")  # which Slurm's nodes share
    (lab.folder / "home").mkdir()
    nodes = [lab.add("first"), lab.add("second")]
    nodes[0].run("ray get-auth-token --generate")
    programs, call = lab.folder / "bin", lab.folder / "call"
    stand_in(programs, "scontrol", "printf 'first\\nsecond\\n'")
    # The stand-in of srun leaves its command for the test, which runs it on all machines.
    waiting = f"while [[ ! -e {call}.ended ]]; do sleep 0.1; done; exit $(cat {call}.ended)"
    stand_in(
        programs, "srun", f"printf '%q ' \"$@\" >{call}.part; mv {call}.part {call}; {waiting}"
    )
    slurm = {
        "SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_CPUS_PER_TASK": "1",
        "SLURM_JOB_NAME": "run", "PATH": f"{programs}:{nodes[0].environment()['PATH']}",
    }  # fmt: skip
    for steps in (400, 420):
        for path in lab.folder.glob("call*"):
            path.unlink()
        script = f"{RECIPES}/slurm.sh tic_tac_toe {SMALL} training.steps={steps}"
        batch = nodes[0].start(script, lab.folder / "batch.txt", **slurm)
        made_up_machines.wait_until(call.exists, "call of srun")
        command = re.sub(r"^(--\S+ )+", "", call.read_text())
        started = [node.start(command, lab.folder / f"{node.name}.txt") for node in nodes]
        statuses = [process.wait(240) for process in started]
        Path(f"{call}.ended").write_text(str(max(statuses)))
        assert batch.wait(10) == 0, (lab.folder / "first.txt").read_text()
        assert [node.find("raylet") for node in nodes] == [[], []]
    check_run(lab.folder / "runs/run", 420, nodes=2)


@pytest.mark.slow
@on_machines
@needs_dashboard
def test_the_pods_of_kuberay_run_the_job_of_the_manifest(lab):
    cluster = documents()["RayCluster"]
    head = lab.add(f"{cluster['metadata']['name']}-head-svc")
    pods = [head, lab.add("players")]
    secret = {"RAY_AUTH_TOKEN": "0123456789abcdef" * 4}
    small = [STORE, f"--num-cpus=1 {STORE}"]
    starts = ["--head", f"--address={head.name}:6379"]
    for pod, group, start, size in zip(pods, groups(), starts, small, strict=True):
        environment = group["template"]["spec"]["containers"][0]["env"]
        values = {entry["name"]: entry["value"] for entry in environment if "value" in entry}
        words = [*start_words(group), start, size]
        pod.run(f"ray start {' '.join(words)}", **values, **secret)
    (container,) = documents()["Job"]["spec"]["template"]["spec"]["containers"]
    values = {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}
    words = [*container["command"], *container["args"]]
    words[words.index("connect_four")] = "tic_tac_toe"
    words[-1] = f"file://{lab.folder}/storage"
    submit = lab.add("submit")
    text = submit.run(f"{' '.join(words)} {SMALL}", 240, **values, **secret)
    assert "succeeded" in text
    stored = (lab.folder / "storage/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in stored] == list(range(1, 21))
    assert {json.loads(line)["nodes"] for line in stored} == {1}
    refused, text = submit.try_run(" ".join(words), RAY_AUTH_TOKEN="f" * 64, **values)
    assert refused
    assert "token" in text.lower()


@pytest.mark.slow
def test_one_machine_trains_in_processes_and_continues_its_run(tmp_path):
    for program in ("nvidia-smi", "python"):  # here is no GPU
        stand_in(tmp_path / "bin", program, "exit 0")
    path = f"{tmp_path / 'bin'}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}/usr/bin:/bin"
    run = tmp_path / "run"
    for steps in (20, 30):
        ended = subprocess.run(
            ["bash", str(RECIPES / "one_gpu.sh"), "tic_tac_toe", str(run), *SMALL.split(),
             f"training.steps={steps}", "selfplay.processes=1"],
            env=os.environ | {"PATH": path, "MEASURE": "0", "WANDB_MODE": "disabled"},
            capture_output=True, text=True, check=False, timeout=240,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
    lines = (run / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, 31))
    assert "self-play in 1 search processes" in (run / "log.txt").read_text()
