"""A whole run in miniature, through the function of the command: train, stop, resume, match."""

import json
import os
import re
import shutil
import signal
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from rich.console import Console
from test_wire import random_record

import games
from alphazero import checkpoint, config, local_run, loop, network, wire
from alphazero.nn.weights import arrays
from alphazero.packing import GameCounts
from alphazero.protocols import summarize
from alphazero.types import Ending
from workers import cli
from workers.node.plan import Machine
from workers.runs import matches, monitoring, pictures, run_directory, train
from workers.terminal import signals

TINY = [
    "search.simulations=4", "selfplay.games=8", "network.blocks=1", "network.channels=8",
    "replay.min_positions=100", "training.steps=30", "training.batch_size=16",
    "training.checkpoint_every=20", "training.precision=float32", "inference.backend=torch",
    "inference.precision=float32", "evaluation.games=2", "evaluation.opponent=random",
    "evaluation.simulations=4", "tracking.wandb=off",
    "training.time_limit_minutes=null",  # the learning rate would follow the clock
]  # fmt: skip


def tiny(*overrides):
    return config.load("tic_tac_toe", [*TINY, *overrides])


def run(directory, settings, resume=False, time_limit=None):
    return train.main(settings, directory, resume, "off", time_limit)


def metrics(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def test_a_run_writes_all_files_that_the_readme_names(tmp_path, capsys):
    assert run(tmp_path / "run", tiny()) == 0
    names = {path.name for path in (tmp_path / "run").iterdir()}
    documented = {"config.yaml", "metrics.jsonl", "games", "checkpoints", "environment.json"}
    assert documented | {"log.txt", "examples.txt"} <= names
    lines = metrics(tmp_path / "run")
    assert [line["step"] for line in lines] == list(range(1, 31))
    assert {"loss", "games", "positions", "learning_rate", "minutes"} <= lines[-1].keys()
    assert "elo" in lines[-1]
    resolved = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert resolved["ray"] == "off"
    assert resolved["training"]["threads"] == 1  # 16 rows are too few to share
    out = capsys.readouterr().out
    assert f"done: {checkpoint.newest(tmp_path / 'run')}" in (tmp_path / "run/log.txt").read_text()
    assert "against random" in out
    assert f"--player checkpoint:path={tmp_path}/run" in out.replace("\n", "")


def test_a_run_with_a_history_of_positions_trains_and_plays_its_match(tmp_path, capsys):
    assert run(tmp_path / "run", tiny("network.encoder=history:plies=2")) == 0
    weights = checkpoint.load(checkpoint.resolve(tmp_path / "run")).weights
    assert weights["tower.0.weight"].shape[1] == 2 * (1 + 2)
    assert metrics(tmp_path / "run")[-1]["step"] == 30
    assert "against random" in capsys.readouterr().out


def test_a_run_too_short_to_learn_reports_it(tmp_path, capsys):
    assert run(tmp_path, tiny("replay.min_positions=100000"), time_limit=0.001) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "nothing was learned: " in out
    assert "play against it" not in out
    assert "the first step needs 100,000" in out
    assert config.load(str(tmp_path / "config.yaml")).training.time_limit_minutes == 0.001
    assert "against random" not in out  # a network that has learned nothing plays no match


@pytest.mark.signals
def test_an_interrupted_run_saves_a_checkpoint_and_reaches_its_end_when_resumed(
    tmp_path, monkeypatch
):
    real = monitoring.Monitor.log

    def log(self, step, values):
        real(self, step, values)
        if step == 7:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(monitoring.Monitor, "log", log)
    assert run(tmp_path, tiny()) == run_directory.INTERRUPTED
    newest = checkpoint.newest(tmp_path)
    assert newest is not None
    assert newest.name == "step_000007"
    assert "stopped; " in (tmp_path / "log.txt").read_text()
    monkeypatch.setattr(monitoring.Monitor, "log", real)
    assert run(tmp_path, tiny(), resume=True) == 0
    assert [line["step"] for line in metrics(tmp_path)] == list(range(1, 31))


@pytest.mark.signals
def test_every_signal_ends_a_run_and_only_a_second_ctrl_c_ends_it_at_once():
    with signals.stop_on_signal(Console(quiet=True)) as received:
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.raise_signal(number)
        assert len(received) == 4
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.signals
def test_signals_are_handled_as_before_afterwards_and_an_ignored_hangup_stays_ignored():
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    earlier = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    before = [signal.getsignal(number) for number in numbers]
    with signals.handled(signals.interrupt):
        during = [signal.getsignal(number) for number in numbers]
    assert during == [signals.interrupt, signals.interrupt, signal.SIG_IGN]
    assert [signal.getsignal(number) for number in numbers] == before
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    with signals.handled(signals.interrupt):
        assert signal.getsignal(signal.SIGHUP) == signals.interrupt
    signal.signal(signal.SIGHUP, earlier)


def test_the_time_of_earlier_parts_counts_towards_the_limit(tmp_path, monkeypatch):
    assert run(tmp_path, tiny()) == 0
    state = checkpoint.load_state(checkpoint.newest(tmp_path))
    assert 0 < state["seconds"] < 300
    real = loop.resume
    monkeypatch.setattr(loop, "resume", lambda run, path: max(60.0, real(run, path)))
    assert run(tmp_path, tiny("training.steps=1000"), resume=True, time_limit=1.0) == 0
    assert 30 <= metrics(tmp_path)[-1]["step"] <= 31


def test_mistakes_are_counted_during_a_run_and_do_not_change_the_training(tmp_path):
    small = [*TINY, "evaluation.games=0", "replay.window_min=100", "selfplay.games=16"]
    for minutes in ("0", "1e-6"):
        settings = config.load(
            "connect_four", [*small, f"evaluation.suite_every_minutes={minutes}"]
        )
        assert run(tmp_path / minutes, settings) == 0
    without, counted = (
        checkpoint.load(checkpoint.newest(tmp_path / minutes)).weights for minutes in ("0", "1e-6")
    )
    assert all(np.array_equal(counted[name], array) for name, array in without.items())
    lines = metrics(tmp_path / "1e-6")
    names = {f"policy_mistakes/{name}" for name in matches.SAMPLED_SETS}
    assert names <= lines[0].keys()
    assert names <= lines[-1].keys()
    assert all(0 < lines[-1][name] < 1 for name in names)
    assert not any(names & line.keys() for line in metrics(tmp_path / "0"))


def test_a_run_of_a_game_without_a_suite_reports_it_and_continues(tmp_path, capsys):
    assert run(tmp_path, tiny("evaluation.suite_every_minutes=1")) == 0
    assert "no suite for tic_tac_toe" in capsys.readouterr().out


def test_a_run_killed_before_its_first_checkpoint_restarts_bit_for_bit(tmp_path, monkeypatch):
    assert run(tmp_path / "whole", tiny()) == 0

    def killed(self, step, values):
        if step == 9:
            raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(monitoring.Monitor, "log", killed)
        with pytest.raises(MemoryError):
            run(tmp_path / "broken", tiny())
    assert checkpoint.newest(tmp_path / "broken") is None
    assert run(tmp_path / "broken", tiny(), resume=True) == 0
    ends = [checkpoint.load(checkpoint.newest(tmp_path / name)) for name in ("whole", "broken")]
    for name, array in ends[0].weights.items():
        assert np.array_equal(array, ends[1].weights[name]), name


@pytest.mark.signals
def test_a_run_on_ray_trains_stops_resumes_and_finishes(tmp_path, ray_session, monkeypatch):
    """With the real network and its evaluators."""
    from workers.cluster.node_actor import LIVES

    real = monitoring.Monitor.log

    def log(self, step, values):
        real(self, step, values)
        if step == 12:
            os.kill(os.getpid(), signal.SIGINT)

    # So few samples per position that the resumed run needs more games than were on their way.
    few = "replay.samples_per_position=2"
    settings = tiny("selfplay.processes=1", "training.steps=120", few)
    with monkeypatch.context() as patch:
        patch.setattr(monitoring.Monitor, "log", log)
        assert train.main(settings, tmp_path, False, "local", None) == run_directory.INTERRUPTED
    assert train.main(settings, tmp_path, True, "auto", None) == 0  # auto: as the run was played
    lines = metrics(tmp_path)
    assert [line["step"] for line in lines] == list(range(1, 121))
    assert max(line["players"] for line in lines if "players" in line) == 1
    game = games.make("tic_tac_toe")
    ids = [
        record.game_id
        for path in (tmp_path / "games").glob("shard_*")
        for _, record in wire.read_shard(game, path, pytest.fail)
    ]
    assert len(ids) == len(set(ids))
    assert {number >> 32 for number in ids} == {1, 1 + LIVES}


def test_a_resume_with_another_network_or_optimizer_is_refused_in_one_line(tmp_path):
    assert run(tmp_path, tiny()) == 0
    for change, message in (
        ("network.blocks=2", "--resume: network.blocks was 1 and cannot become 2"),
        ("optimizer.name=sgd", "--resume: optimizer.name was adam and cannot become sgd"),
    ):
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            run(tmp_path, tiny(change), resume=True)


def test_changed_settings_are_named_on_resuming(tmp_path, capsys):
    assert run(tmp_path, tiny()) == 0
    assert run(tmp_path, tiny("optimizer.l2=0.01", "training.steps=31"), resume=True) == 0
    output = capsys.readouterr().out.replace("\n", " ")
    changes = "optimizer.l2 0.0001 -> 0.01, training.steps 30 -> 31"
    assert f"resuming with changed settings: {changes}" in " ".join(output.split())


def test_stored_settings_are_shown_as_they_are_where_a_resumed_run_changes_them(tmp_path, capsys):
    """A run's folder may be a stranger's: its texts are neither markup nor escape sequences."""
    hostile = "[/x][link=http://example.com]y[/link]\x1b[2J"
    assert run(tmp_path, tiny(f"tracking.project={json.dumps(hostile)}")) == 0
    capsys.readouterr()
    assert run(tmp_path, tiny("training.steps=31"), resume=True) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "tracking.project [/x][link=http://example.com]y[/link]?[2J -> " in shown


def test_a_run_can_start_from_the_weights_of_another_run(tmp_path):
    assert run(tmp_path / "first", tiny()) == 0
    first = checkpoint.load(checkpoint.resolve(tmp_path / "first"))
    start = f"training.initial_weights={tmp_path / 'first'}"
    console, resolved = train.Console(), local_run.resolve(tiny(start, "seed=3"), "off")
    with train._parts(resolved, tmp_path / "second", console) as parts:
        initial = parts.learner.weights()
    assert initial.keys() == first.weights.keys()
    assert all(np.array_equal(initial[name], first.weights[name]) for name in initial)
    with (
        pytest.raises(
            ValueError, match=r"000030 was trained with network.channels 8, these settings say 2"
        ),
        train._parts(
            local_run.resolve(tiny(start, "network.channels=2"), "off"), tmp_path / "third", console
        ),
    ):
        pass
    deeper = local_run.resolve(tiny(start, "network.blocks=2"), "off")
    with train._parts(deeper, tmp_path / "deeper", console) as parts:
        grown = parts.learner.weights()
    assert all(np.array_equal(grown[name], first.weights[name]) for name in initial)
    added = grown.keys() - initial.keys()
    assert {name.split(".")[1] for name in added} == {"4"}
    assert not grown["tower.4.body.4.weight"].any()


@pytest.mark.parametrize("name", ["connect_four_second", "go_9x9_second", "gomoku_15x15"])
def test_a_later_stage_without_a_first_one_says_where_that_comes_from(name, tmp_path, capsys):
    assert cli.main(["train", name, "--run-dir", str(tmp_path / "run")]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "training.initial_weights: no checkpoint in YOUR_FIRST_STAGE; give the folder" in said
    assert "the comment at the top of the configuration says where a first stage comes from" in said
    text = (config.FOLDER / f"{name}.yaml").read_text()
    comment = [line for line in text.splitlines() if line.startswith("#")]
    assert any(f"alphazero train {name} training.initial_weights=" in line for line in comment)


def test_a_run_can_start_from_a_run_on_a_smaller_board(tmp_path, capsys):
    assert run(tmp_path / "small", tiny("game=gomoku:size=3,length=3")) == 0
    first = checkpoint.load(checkpoint.resolve(tmp_path / "small")).weights
    initial = f"training.initial_weights={tmp_path / 'small'}"
    start = tiny("game=gomoku:size=4,length=3", initial)
    capsys.readouterr()
    with train._parts(local_run.resolve(start, "off"), tmp_path / "a", train.Console()) as parts:
        begun = parts.learner.weights()
    lines = " ".join(capsys.readouterr().out.split())
    for head in ("policy", "value"):
        assert f"initial_weights: the head {head} has other shapes there: it begins" in lines
    tower = [name for name in begun if name.startswith("tower.")]
    assert tower
    assert all(np.array_equal(begun[name], first[name]) for name in tower)
    assert run(tmp_path / "large", start) == 0


SQUARE, WIDER = "gomoku:size=3,length=3", "gomoku:size=4,length=3"


def trained_then(directory, game, other, *changes):
    """Settings of a run of ``other`` that begins with the weights of a run of ``game``."""
    assert run(directory, tiny(f"game={game}", "training.steps=1")) == 0
    return tiny(f"game={other}", f"training.initial_weights={directory}", *changes)


@pytest.mark.parametrize(
    ("game", "other", "changes", "line"),
    [
        (SQUARE, "tic_tac_toe", [], "was trained with game gomoku:size=3,length=3"),
        (SQUARE, WIDER, ["network.channels=2"], r"was trained with network\.channels 8"),
        (SQUARE, WIDER, ["network.value_hidden=3"], r"was trained with network\.value_hidden"),
        ("gomoku:size=3x4,length=3", "gomoku:size=4x3,length=3", [], "cells in another order"),
        ("hex:size=3", "hex:size=3,swap=false", [], "weights of another network"),
    ],
)
def test_weights_of_another_game_tower_or_order_of_cells_are_refused(
    tmp_path, game, other, changes, line
):
    given = trained_then(tmp_path / "first", game, other, *changes)
    with pytest.raises(ValueError, match=rf"^training\.initial_weights: .*{line}"):
        local_run.make_learner(given, resumed=False)


@pytest.mark.parametrize("change", ["search.simulations=3", "game=gomoku:size=3x4,length=3"])
def test_weights_of_other_settings_or_another_size_are_taken(tmp_path, change):
    local_run.make_learner(trained_then(tmp_path / "first", SQUARE, WIDER, change), resumed=False)


def test_a_perceptrons_weights_are_refused_on_another_board(tmp_path):
    game = games.make("gomoku:size=3,length=3")
    kind = "network={kind: perceptron, width: 8, layers: 1}"
    plain = [line for line in TINY if not line.startswith("network.")]
    first, second = (
        config.load("tic_tac_toe", [*plain, f"game=gomoku:size={size},length=3", kind])
        for size in (3, 4)
    )
    weights = arrays(network.build(game, first.network, 0).state_dict())
    checkpoint.save(tmp_path / "first", 1, weights, {}, first)
    start = replace(second.training, initial_weights=str(tmp_path / "first"))
    with pytest.raises(ValueError, match="weights of another network: tower"):
        local_run.make_learner(replace(second, training=start), resumed=False)


def test_the_game_in_which_initial_weights_were_trained_is_reported_where_it_differs(tmp_path):
    names = ("go:size=3,komi=1", "go:size=3,komi=2", "go:size=3,komi=1.0")
    assert run(tmp_path / "first", tiny(f"game={names[0]}", "training.steps=1")) == 0
    for name, expected in zip(names, ([], ["trained as go:size=3,komi=1"], []), strict=True):
        lines = []
        given = tiny(f"game={name}", f"training.initial_weights={tmp_path / 'first'}")
        local_run.make_learner(given, resumed=False, report=lines.append)
        assert lines == [f"training.initial_weights: {line}" for line in expected]


def test_a_resumed_run_does_not_need_its_initial_weights_again(tmp_path):
    assert run(tmp_path / "first", tiny("training.steps=2")) == 0
    start = f"training.initial_weights={tmp_path / 'first'}"
    assert run(tmp_path / "second", tiny(start, "training.steps=2")) == 0
    shutil.rmtree(tmp_path / "first")
    assert run(tmp_path / "second", tiny(start, "training.steps=4"), resume=True) == 0
    assert metrics(tmp_path / "second")[-1]["step"] == 4
    with pytest.raises(ValueError, match=r"--resume: training\.initial_weights was .* None"):
        run(tmp_path / "second", tiny("training.steps=6"), resume=True)


def test_two_runs_cannot_write_to_one_directory(tmp_path):
    settings = tiny()
    console = train.Console()
    resolved = local_run.resolve(settings, "off")
    with (
        train._parts(resolved, tmp_path, console),
        pytest.raises(ValueError, match="another run writes to"),
        train._parts(resolved, tmp_path, console),
    ):
        pass


def test_matches_are_played_at_the_first_checkpoint_after_each_interval(tmp_path):
    settings = tiny("evaluation.every=15", "training.checkpoint_every=10", "training.steps=40")
    assert run(tmp_path, settings) == 0
    assert [line["step"] for line in metrics(tmp_path) if "elo" in line] == [20, 30, 40]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("evaluation.opponent=mcts:simulations=abc", "evaluation.opponent"),
        ("evaluation.opponent=checkpoint:path=/nowhere", "no such file"),
        ("evaluation.simulations=1", "evaluation.simulations"),
        ("ray=x:y", "host:port"),
    ],
)
def test_settings_that_would_fail_at_the_first_match_are_refused_at_the_start(override, message):
    with pytest.raises(ValueError, match=message):
        matches.check(tiny(override))


@pytest.mark.parametrize(
    ("machine", "processes"),
    [((2, 0), 0), ((4, 0), 0), ((8, 0), 4), ((2, 1), 1), ((16, 1), 14)],
)
def test_small_machines_without_a_gpu_play_in_the_process_of_the_run(
    monkeypatch, machine, processes
):
    monkeypatch.setattr(train, "this_machine", lambda: Machine(*machine))
    assert train.choose_processes(tiny()).selfplay.processes == processes
    given = tiny("selfplay.processes=3")
    assert train.choose_processes(given) is given


def test_ray_is_used_where_an_address_is_in_the_environment(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert train.choose_ray() == "off"
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert train.choose_ray() == "10.0.0.1:6379"
    for other in ("auto", "ray://10.0.0.1:10001", "10.0.0.1"):
        monkeypatch.setenv("RAY_ADDRESS", other)
        with pytest.raises(ValueError, match=f"RAY_ADDRESS={other}: should be an address host"):
            train.choose_ray()


@pytest.mark.parametrize("stored", ["evil.example:6379", "10.0.0.2:6379"])
def test_a_resumed_run_plays_on_the_cluster_of_the_environment_not_of_its_folder(
    monkeypatch, stored
):
    start = SimpleNamespace(config=replace(tiny(), ray=stored))
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert train._resolve(tiny(), start, "auto").ray == "10.0.0.1:6379"
    monkeypatch.delenv("RAY_ADDRESS")
    with pytest.raises(ValueError, match="or set RAY_ADDRESS"):
        train._resolve(tiny(), start, "auto")


@pytest.mark.parametrize(
    ("words", "place"),
    [([], "auto"), (["--ray", "auto"], "10.0.0.1:6379"), (["--ray", "off"], "off")],
)
def test_what_ray_says_on_the_command_line_is_not_left_to_the_run_that_is_resumed(
    tmp_path, monkeypatch, words, place
):
    given = []
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    monkeypatch.setattr(train, "main", lambda *arguments: given.append(arguments[3]) or 0)
    assert cli.main(["train", "tic_tac_toe", "--run-dir", str(tmp_path / "run"), *words]) == 0
    assert given == [place]


@pytest.mark.parametrize(("cores", "batch", "threads"), [(2, 512, 2), (64, 512, 8), (4, 32, 1)])
def test_each_thread_of_the_learner_has_at_least_64_rows(monkeypatch, cores, batch, threads):
    monkeypatch.setattr(local_run, "cores", lambda: cores)
    settings = local_run.resolve(tiny(f"training.batch_size={batch}"), "off")
    assert settings.training.threads == threads
    on_ray = local_run.resolve(tiny(f"training.batch_size={batch}"), "local")
    assert (on_ray.training.threads, on_ray.ray) == (1, "local")


def test_the_command_and_the_function_look_for_the_newest_checkpoint_in_one_way(tmp_path, capsys):
    lines = []
    assert local_run.newest_checkpoint(tmp_path, lines.append) is None
    assert lines == [f"{tmp_path} holds no checkpoint yet: starting from step 0"]
    assert train.newest_checkpoint(tmp_path, tiny(), train.Console(width=500)) is None
    assert capsys.readouterr().out == f"{lines[0]}\n"
    assert run(tmp_path, tiny("training.steps=2")) == 0
    start = local_run.newest_checkpoint(tmp_path, pytest.fail)
    assert start is not None
    assert (start.path, start.step) == (checkpoint.newest(tmp_path), 2)


class Lines:
    """A dashboard that keeps its messages."""

    def __init__(self):
        self.messages = []

    def message(self, text):
        self.messages.append(text)


def test_the_first_games_that_reach_the_longest_length_are_reported_once():
    learner, lines = SimpleNamespace(step=0), Lines()
    run = SimpleNamespace(config=tiny(), learner=learner, replay=SimpleNamespace(positions=1000),
                          fleet=SimpleNamespace(stats=dict))  # fmt: skip
    monitor = monitoring.Monitor(run, None, lines, 0.0)

    def collect(*endings):
        monitor.games(summarize([GameCounts(0, 9, ending) for ending in endings], None))

    collect(Ending.RULES, Ending.PROVEN, Ending.RESIGNED)
    collect()
    assert lines.messages == []
    collect(Ending.LENGTH, Ending.RULES, Ending.LENGTH)
    collect(Ending.LENGTH)
    assert lines.messages == ["2 of 6 games reached max_plies = 9 and ended by adjudication"]


def test_until_the_first_step_the_positions_that_it_needs_and_the_rate_are_shown(monkeypatch):
    """20 of 100 positions are stored after 2 s, in which 3 games were played, and 60 after 10 s;
    the first step is taken at 100."""
    now, shown, replay = [0.0], [], SimpleNamespace(positions=0)
    monkeypatch.setattr(monitoring.time, "monotonic", lambda: now[0])
    dashboard = SimpleNamespace(filling=lambda *given: shown.append(given),
                                update=lambda step, row: None)  # fmt: skip
    tracker = SimpleNamespace(log=lambda step, row: None)
    fleet = SimpleNamespace(stats=lambda: {"nodes": float(now[0] > 0)})
    run = SimpleNamespace(config=tiny(), learner=SimpleNamespace(step=0), replay=replay,
                          fleet=fleet)  # fmt: skip
    monitor = monitoring.Monitor(run, tracker, dashboard, 0.0)
    monitor.fill()
    played = summarize([GameCounts(0, 7, Ending.RULES)] * 3, None)
    for seconds, positions in ((2.0, 20), (10.0, 60), (11.0, 100)):
        now[0], replay.positions = seconds, positions
        monitor.games(played)
    monitor.log(1, {})
    replay.positions = 0
    monitor.games(played)
    assert shown == [(0, 100, 0.0, True), (20, 100, 1.5, False), (60, 100, 0.6, False)]


def test_rates_and_example_are_those_of_the_collected_games(tmp_path, monkeypatch):
    """3 games of 20 positions in all, in 10 s: 0.3 games/s and 2 positions/s."""
    now, rows, examples = [0.0], [], []
    monkeypatch.setattr(monitoring.time, "monotonic", lambda: now[0])
    tracker = SimpleNamespace(log=lambda step, row: rows.append(row),
                              example=lambda *example: examples.append(example))  # fmt: skip
    dashboard = SimpleNamespace(update=lambda step, row: None)
    stored = SimpleNamespace(positions=1000)
    run = SimpleNamespace(config=tiny(), learner=SimpleNamespace(step=0), replay=stored,
                          fleet=SimpleNamespace(stats=dict))  # fmt: skip
    monitor = monitoring.Monitor(run, tracker, dashboard, 0.0)
    record = random_record(games.make("tic_tac_toe"), 7)
    counts = [GameCounts(0, positions, Ending.RULES) for positions in (5, 7, 8)]
    monitor.games(summarize(counts, record))
    monitor.games(summarize([], None))
    now[0] = 10.0
    monitor.log(1, {})
    assert (rows[0]["games_per_second"], rows[0]["positions_per_second"]) == (0.3, 2.0)
    monitor.saved(1, tmp_path)
    game = games.make("tic_tac_toe")
    assert examples == [(1, matches.game_as_text(game, record), pictures.of_game(game, record))]


def test_a_run_does_not_need_git(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert run_directory.environment()["git"] is None
