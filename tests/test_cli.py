"""The command line: what it accepts, what it says, how it ends."""

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import games
from alphazero import config, config_folder
from alphazero.config import Config
from alphazero.supervised import config as supervised
from workers import cli, commands
from workers.terminal import options

COMMANDS = cli.command_modules()


def alphazero(*words: str, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, *options.pop("python", ()), "-m", "workers.cli", *words]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.run(command, capture_output=True, text=True, env=environment, **options)


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """Runs in an empty folder with a ``train.main`` that only remembers how it was called."""
    from workers.runs import train

    calls = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(train, "main", lambda *call: calls.append(call) or 0)
    return calls


def test_a_bad_configuration_ends_in_exit_2_before_anything_heavy_is_imported(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("game: tic_tac_toe\ntraining: {stepz: 5}\nseed: many\n")
    ended = alphazero("train", str(path), "ema=2", python=("-X", "importtime"), cwd=tmp_path)
    said = [line for line in ended.stderr.splitlines() if not line.startswith("import time")]
    assert ended.returncode == 2
    assert len(said) == 3
    start = f"alphazero: error: {path}:2: training.stepz: unknown key; did you mean"
    assert any(line.startswith(start) for line in said)
    imported = set(re.findall(r"\| +(\w+)$", ended.stderr, re.MULTILINE))
    assert "yaml" in imported
    assert not imported & {"torch", "ray", "wandb"}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "words",
    [
        ("solve", "connect_four", "48"),
        ("solve", "othello:size=6", ""),
        ("solve", "tic_tac_toe", "14253"),
        ("arena", "random", "--game", "tic_tac_toe"),
        ("evaluate", "tic_tac_toe", "--player", "random", "--positions", "nowhere.csv"),
        ("evaluate", "tic_tac_toe", "--player", "random", "random", "--positions", "all"),
        ("evaluate", "tic_tac_toe", "--player", "random", "--suite"),
        ("solve", "connect_four", "--positions", "nowhere.txt", "--out", "x.csv"),
        ("solve", "connect_four", "--out", "x.csv"),
        ("solve", "connect_four", "4", "--suite", "there"),
        ("solve", "tic_tac_toe", "--suite", "there"),
        ("solve", "connect_four", "--suite", "there", "--positions", "moves.txt", "--out", "x.csv"),
        ("solve", "tic_tac_toe", "14", "--seed", "3"),
        ("train", "tic_tac_toe", "seed"),
        ("train", "tic_tac_toe", "--resume", "--run-dir", "nowhere"),
        ("bench", "search", "speed=5"),
        ("bench", "search", "seconds=0"),
    ],
)
def test_bad_input_gets_exit_2_and_one_line_a_mistake(words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(words) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines
    assert all(line.startswith("alphazero: error: ") for line in lines)


@pytest.mark.parametrize(
    "words",
    [
        ("tran",),
        ("train",),
        ("train", "tic_tac_toe", "--time-limit", "5"),
        ("train", "tic_tac_toe", "--timelimit=5m"),
        ("games", "chess"),
        ("solve", "connect_for", "4"),
        ("arena", "random", "minmax", "--game", "tic_tac_toe"),
        ("train", "tic_tac_toe", "--ray", "nowhere"),
        ("arena", "random", "random", "--game", "tic_tac_toe", "--json", "nowhere/x.json"),
        ("arena", "random", "random", "--game", "tic_tac_toe", "--json", "."),
        ("solve", "connect_four", "--positions", "moves.txt", "--out", "-"),
        ("solve", "connect_four", "--positions", "moves.txt", "--out", "."),
        ("evaluate", "--positions", "all", "--player", "random", "tic_tac_toe"),
    ],
)
def test_words_the_grammar_does_not_know_are_refused_with_exit_2(words, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    assert ended.value.code == 0
    assert f"usage: alphazero {command}" in capsys.readouterr().out


def test_every_documented_command_is_found():
    assert set(COMMANDS) == {
        "agents", "analyse", "arena", "bench", "check", "cluster", "configs", "draw", "evaluate",
        "export", "games", "gate", "gtp", "ladder", "new", "play", "records", "serve", "solve",
        "supervised", "track", "train", "uci", "web",
    }  # fmt: skip


def test_a_command_is_added_by_one_file(monkeypatch, tmp_path, capsys):
    (tmp_path / "greet.py").write_text(
        'HELP, EPILOG = "print a greeting", ""\n'
        'def add_options(parser): parser.add_argument("name")\n'
        'def run(options): print("hello", options.name); return 0\n'
    )
    monkeypatch.setattr(commands, "__path__", [*commands.__path__, str(tmp_path)])
    assert cli.main(["greet", "you"]) == 0
    assert capsys.readouterr().out == "hello you\n"
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert "print a greeting" in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_its_help_options_and_function_in_its_own_module(command):
    module = COMMANDS[command]
    assert module.HELP
    assert module.HELP[0].islower()
    assert isinstance(module.EPILOG, str)
    assert {"add_options", "run"} <= set(vars(module))


@pytest.mark.parametrize(("text", "expected"), [("90s", 1.5), ("60m", 60), ("2h", 120)])
def test_a_duration_is_read_in_minutes(text, expected):
    assert options.minutes(text) == expected


def test_a_time_limit_beyond_all_bounds_is_refused(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["train", "tic_tac_toe", "--time-limit", "99999h"])
    assert ended.value.code == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.endswith("argument --time-limit: '99999h' is more than 1,000,000 minutes")


def test_train_hands_over_what_was_asked_for(trained, tmp_path):
    words = ["train", "tic_tac_toe", "--run-dir", "here", "seed=7", "--ray", "local"]
    assert cli.main([*words, "--time-limit", "90s", "training.steps=3"]) == 0
    ((settings, run_dir, resume, ray, limit, copy),) = trained
    assert isinstance(settings, Config)
    assert (settings.seed, settings.training.steps) == (7, 3)
    assert (run_dir, resume, ray, limit) == (Path("here"), False, "local", 1.5)
    assert copy is None


def test_train_takes_ray_from_the_configuration_and_names_the_run_after_it(trained):
    assert cli.main(["train", "tic_tac_toe", "ray=off"]) == 0
    ((_, run_dir, _, ray, limit, _),) = trained
    assert re.fullmatch(r"runs/tic_tac_toe-\d{8}-\d{6}", str(run_dir))
    assert (ray, limit) == ("off", None)


def test_train_refuses_a_run_directory_that_holds_something(trained, tmp_path, capsys):
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").touch()
    assert cli.main(["train", "tic_tac_toe", "--run-dir", "used"]) == 2
    assert "--resume" in capsys.readouterr().err
    assert cli.main(["train", "tic_tac_toe", "--run-dir", "used", "--resume"]) == 0
    assert [call[1:3] for call in trained] == [(Path("used"), True)]


def test_resume_picks_the_newest_run_of_that_configuration_and_says_so(trained, tmp_path, capsys):
    assert cli.main(["train", "tic_tac_toe", "--resume"]) == 2
    for name in ("tic_tac_toe-20260102-030405", "tic_tac_toe-20260102-030406", "other-20270101"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    assert cli.main(["train", "tic_tac_toe", "--resume"]) == 0
    assert trained[0][1] == Path("runs/tic_tac_toe-20260102-030406")
    assert "resuming runs/tic_tac_toe-20260102-030406" in capsys.readouterr().out


def test_games_lists_every_registered_game(capsys):
    assert cli.main(["games"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("tic_tac_toe", "connect_four", "othello", "size=8"))


def test_solve_gives_the_score_of_the_position_and_of_each_move(capsys):
    # X on 1 and 2, O on 4 and 5, X to move: 3 wins at once, 9 lets O win at 6.
    assert cli.main(["solve", "tic_tac_toe", "1425"]) == 0
    printed = capsys.readouterr().out
    assert "score +1: win for the player about to move" in printed
    assert re.search(r"^ 3 +\+1 +win *$", printed, re.M)
    assert re.search(r"^ 9 +-1 +loss *$", printed, re.M)


def test_arena_says_how_many_games_were_adjudicated(capsys, monkeypatch):
    monkeypatch.setattr(type(games.make("connect_four")), "max_plies", 6)
    words = ["arena", "random", "random", "--game", "connect_four", "--games", "4", "--json", "-"]
    assert cli.main(words) == 0
    captured = capsys.readouterr()
    # Six plies are too few for four stones in a row.
    assert "4 games, 4 ended by the limit on moves" in " ".join(captured.err.split())
    printed = json.loads(captured.out)
    assert (printed["adjudicated"], printed["players"][0]["draws"]) == (4, 4)


def test_arena_reports_the_figures_of_the_design_as_json(capsys, tmp_path):
    words = ["arena", "random", "minimax:depth=9", "--game", "tic_tac_toe", "--games", "10"]
    assert cli.main([*words, "--json", str(tmp_path / "x.json")]) == 0
    assert "minimax:depth=9" in capsys.readouterr().out
    assert cli.main([*words, "--json", "-"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "x.json").read_text())
    keys = {"game", "games", "players", "distinct_games", "adjudicated", "pairings"}
    assert set(printed) == {*keys, "forfeits", "programs", "opening_plies", "sprt"}
    perfect = printed["players"][1]
    keys = {"name", "wins", "draws", "losses", "score", "elo", "elo_low", "elo_high"}
    assert set(perfect) == keys
    assert perfect["wins"] + perfect["draws"] + perfect["losses"] == 10


def test_evaluate_reports_the_figures_of_the_design_as_json(capsys, tmp_path):
    path = tmp_path / "positions.csv"
    # X wins at 3; every other move of the second line draws or loses.
    path.write_text("moves,best,c1,c2,c3,c4,c5,c6,c7,c8,c9\n1425,1,,,1,,,0,-1,-1,-1\n")
    words = ["evaluate", "tic_tac_toe", "--positions", str(path), "--player", "minimax:depth=9"]
    assert cli.main([*words, "--json", "-"]) == 0
    printed = json.loads(capsys.readouterr().out)
    keys = {"positions", "mistakes", "mistake_rate", "low", "high", "optimal_rate", "simulations"}
    assert keys <= set(printed)
    assert (printed["positions"], printed["mistakes"]) == (1, 0)


def test_evaluate_takes_players_in_one_list_or_in_several_and_says_where_the_game_goes(capsys):
    parse = cli.build_parser(COMMANDS).parse_args
    for words in (
        "othello --suite --player random minimax",
        "--player random minimax --suite othello",
        "othello --player random --player minimax --suite",
    ):
        options = parse(["evaluate", *words.split()])
        assert (options.game, options.players) == ("othello", ["random", "minimax"])
    with pytest.raises(SystemExit):
        parse(["evaluate", "--suite", "--player", "random", "mcts"])
    assert "usage: alphazero evaluate GAME (" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        parse(["evaluate", "othello", "--siute", "--player", "random"])
    assert "there is no option --siute; did you mean --suite?" in capsys.readouterr().err


def test_evaluate_gives_every_players_mistakes_in_every_set_of_the_suite(capsys):
    words = ["evaluate", "connect_four", "--suite", "--player", "random", "minimax:depth=1"]
    assert cli.main([*words, "--json", "-"]) == 0
    said = capsys.readouterr()
    printed = json.loads(said.out)
    assert [player["name"] for player in printed["players"]] == ["random", "minimax:depth=1"]
    blind, greedy = ({n: s["mistakes"] for n, s in p["sets"].items()} for p in printed["players"])
    assert len(blind) == 6
    assert all(greedy[name] < blind[name] for name in blind)
    assert all(name in said.err for name in blind)


@pytest.mark.parametrize(
    ("what", "keys"),
    [
        ("search", {"simulations_per_second"}),
        ("inference", {"evaluations_per_second"}),
        (
            "selfplay",
            {
                "simulations_per_second",
                "positions_per_second",
                "evaluations_per_second",
                "ceiling_evaluations_per_second",
                "fraction_of_ceiling",
            },
        ),
        ("train", {"samples_per_second", "plain_samples_per_second", "ratio"}),
    ],
)
def test_bench_reports_its_rates_as_json(what, keys, capsys):
    small = [
        "seconds=0.05",
        "threads=1",
        "games=4",
        "simulations=4",
        "batch=8",
        "blocks=1",
        "channels=8",
    ]
    assert cli.main(["bench", what, "config=tic_tac_toe", *small, "--json", "-"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert keys <= set(printed)
    assert all(printed[key] > 0 for key in keys)


def test_ctrl_c_ends_in_one_polite_line_and_exit_130(monkeypatch, capsys):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(COMMANDS["games"], "run", interrupted)
    assert cli.main(["games"]) == 130
    assert capsys.readouterr().err.splitlines() == ["", "alphazero: stopped"]


@pytest.mark.parametrize(("name", "shown"), [(("runs/x",), "runs/x: "), ((), "")])
def test_a_full_disk_is_one_line_and_exit_1(name, shown, monkeypatch, capsys):
    def full(_):
        raise OSError(28, "No space left on device", *name)

    monkeypatch.setattr(COMMANDS["games"], "run", full)
    assert cli.main(["games"]) == 1
    assert capsys.readouterr().err == f"alphazero: error: {shown}No space left on device\n"


def test_a_reader_that_goes_away_is_no_error_message():
    script = (
        "import os, sys; reader, writer = os.pipe(); os.close(reader); os.dup2(writer, 1);"
        "from workers import cli; from workers.commands import games;"
        "games.run = lambda _: print('x' * 100_000) or 0;"
        "sys.exit(cli.main(['games']))"
    )
    ended = subprocess.run([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    assert (ended.returncode, ended.stderr) == (141, "")


def test_the_version_is_printed():
    assert re.fullmatch(r"alphazero \S+\n", alphazero("--version").stdout)


@pytest.mark.parametrize(
    ("words", "usage", "message"),
    [
        ("trian x", "alphazero", "there is no 'trian'; did you mean 'train'?"),
        ("", "alphazero", "COMMAND; for example: alphazero train connect_four_quick"),
        (
            "train",
            "alphazero train",
            "required: CONFIG; for example: alphazero train connect_four_q",
        ),
        ("bench", "alphazero bench", "required: WHAT; for example: alphazero bench search"),
        ("bench serch", "alphazero bench", "there is no 'serch'; did you mean 'search'?"),
        (
            "train tic_tac_toe --steps 100",
            "alphazero train",
            "no option --steps; settings are written without dashes: training.steps=100",
        ),
        (
            "train tic_tac_toe --lr=1e-3 seed=3",
            "alphazero train",
            "settings are written without dashes: optimizer.learning_rate=1e-3",
        ),
        (
            "supervised train mlp --epoch 3",
            "alphazero supervised train",
            "settings are written without dashes: fit.epochs=3",
        ),
        ("train tic_tac_toe --resum", "alphazero train", "did you mean --resume?"),
        ("play tic_tac_toe --opponent random", "alphazero play", "did you mean --player?"),
        ("train tic_tac_toe --ray yes", "alphazero train", "argument --ray: got 'yes', should be"),
        ("play othello:8", "alphazero play", "argument GAME: othello: parameters are written"),
        ("play othello:8", "alphazero play", "did you mean 'othello:size=8'?"),
        (
            "play connect_four --player runs/x",
            "alphazero play",
            "argument --player: player 'runs/x': there is no file or folder 'runs/x'; choose from",
        ),
        ("play connect_four --player minmax", "alphazero play", "did you mean 'minimax'?"),
        (
            "supervised",
            "alphazero supervised",
            "required: ACTION; for example: alphazero supervise",
        ),
        ("supervised tran", "alphazero supervised", "did you mean 'train'?"),
        ("tune mlp", "alphazero", "no 'tune'; did you mean 'alphazero supervised tune'?"),
        ("predict x", "alphazero", "did you mean 'alphazero supervised predict'?"),
        ("vector x", "alphazero", "did you mean 'alphazero supervised vectors'?"),
        (
            "arena random random --gmae tic_tac_toe",
            "alphazero arena",
            "there is no option --gmae; did you mean --game?",
        ),
        ("train --lr=1e-3", "alphazero train", "without dashes: optimizer.learning_rate=1e-3"),
        ("arena random random --games -3", "alphazero arena", "arguments are required: --game"),
        ("train tic_tac_toe --epochs 3", "alphazero train", "dashes: training.steps=3"),
    ],
)
def test_a_mistake_is_one_line_with_the_nearest_right_thing_under_the_commands_usage(
    words, usage, message, capsys
):
    with pytest.raises(SystemExit) as ended:
        cli.main(words.split())
    assert ended.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(f"usage: {usage} [-h]")
    assert lines[-1].startswith(f"{usage}: error: ")
    assert message in lines[-1]
    assert sum("error" in line for line in lines) == 1


def test_a_move_that_is_none_is_answered_with_what_moves_are(capsys):
    assert cli.main(["solve", "connect_four", "d4"]) == 2
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert line.endswith("move 1 of 'd4', 'd', cannot be played; possible are 1 2 3 4 5 6 7")


@pytest.mark.parametrize("key", ["epoch", "epochs", "training.epochs"])
def test_epochs_lead_to_the_steps_of_self_play_training(key, trained, capsys):
    assert cli.main(["train", "tic_tac_toe", f"{key}=3"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f"{key}: unknown key; did you mean training.steps?")
    assert trained == []


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from parsers(inner)


@pytest.mark.parametrize("width", [60, 80])
def test_every_help_fits_into_80_columns(width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    helps = {inner.prog: inner.format_help() for inner in parsers(cli.build_parser(COMMANDS))}
    assert len(helps) == len(COMMANDS) + 1 + 5 + 3  # actions of supervised and agents
    wide = [line for text in helps.values() for line in text.splitlines() if len(line) > 80]
    assert wide == []


def test_the_description_of_a_configuration_ends_before_its_commands(capsys):
    assert cli.main(["configs"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "alphazero agents get" not in shown
    assert "alphazero train" not in shown


def test_configs_lists_every_configuration_and_shows_one(capsys):
    assert cli.main(["configs"]) == 0
    listed = capsys.readouterr().out
    for folder in (config.FOLDER, supervised.FOLDER):
        assert all(f" {name} " in listed for name in config_folder.names(folder))
    assert cli.main(["configs", "mlp"]) == 0
    assert capsys.readouterr().out == (supervised.FOLDER / "mlp.yaml").read_text()
    assert cli.main(["configs", "tictactoe"]) == 2
    assert "did you mean tic_tac_toe?" in capsys.readouterr().err


def test_the_home_folder_is_expanded_behind_an_equals_sign(trained, monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    assert cli.main(["train", "tic_tac_toe", "--run-dir=~/run"]) == 0
    assert trained[0][1] == Path("/home/someone/run")
