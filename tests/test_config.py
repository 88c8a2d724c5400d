"""Configurations: what is read, and what is said of those that cannot be."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from alphazero import config, config_file, config_folder
from alphazero.config import Config, ConfigError
from alphazero.network_settings import NetworkSettings
from alphazero.search.gumbel import Gumbel
from alphazero.search.puct import PUCT
from alphazero.supervised import config as supervised


def write(folder: Path, text: str) -> str:
    path = folder / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def errors(name: str, *overrides: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        config.load(name, overrides)
    return caught.value.lines


@pytest.mark.parametrize("name", config_folder.names(config.FOLDER))
def test_every_configuration_that_ships_is_valid(name):
    assert isinstance(config.load(name), Config)


def test_a_name_is_found_from_any_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert config.load("tic_tac_toe").game == "tic_tac_toe"


@pytest.mark.parametrize("name", config_folder.names(config.FOLDER))
def test_a_description_reads_back_as_the_same_configuration(tmp_path, name):
    overrides = ["ray=off", "optimizer.l2=1e-5", "optimizer.schedule.milestones=[0.5, 0.9]"]
    original = config.load(name, overrides)
    assert config.load(write(tmp_path, config_file.as_yaml(original))) == original


def test_overrides_replace_the_files_values_and_the_last_one_counts(tmp_path):
    path = write(tmp_path, "game: tic_tac_toe\ntraining: {steps: 5, batch_size: 8}\n")
    loaded = config.load(path, ["training.steps=6", "training.steps=7", "seed=3"])
    assert (loaded.training.steps, loaded.training.batch_size, loaded.seed) == (7, 8, 3)


def test_an_overrides_value_may_contain_an_equals_sign():
    loaded = config.load("tic_tac_toe", ["evaluation.opponent=mcts:simulations=7"])
    assert loaded.evaluation.opponent == "mcts:simulations=7"


@pytest.mark.parametrize(
    ("override", "value"),
    [("1e-4", 1e-4), ("1e-04", 1e-4), ("0.0001", 1e-4), ("1", 1.0), ("'1e-4'", 1e-4)],
)
def test_numbers_may_be_written_as_python_writes_them(override, value):
    assert config.load("tic_tac_toe", [f"optimizer.l2={override}"]).optimizer.l2 == value


def test_off_is_a_word_and_not_a_truth_value(tmp_path):
    path = write(tmp_path, "game: tic_tac_toe\nray: off\ntracking: {wandb: off}\n")
    loaded = config.load(path)
    assert (loaded.ray, loaded.tracking.wandb) == ("off", "off")


def test_an_empty_section_is_one_of_defaults(tmp_path):
    path = write(tmp_path, "game: tic_tac_toe\ntraining:\n  # steps: 5\n")
    assert config.load(path, ["recipe=none"]).training == Config(game="tic_tac_toe").training


def test_a_search_without_a_kind_is_of_the_default_kind():
    assert config.load("tic_tac_toe", ["search={simulations: 9}"]).search == Gumbel(simulations=9)


def test_the_kind_of_search_can_be_switched_by_an_override():
    loaded = config.load("tic_tac_toe", ["search.kind=puct", "search.simulations=20"])
    assert loaded.search == PUCT(simulations=20)


def test_keys_of_the_other_kind_of_search_are_explained(tmp_path):
    path = write(tmp_path, "game: tic_tac_toe\nsearch:\n  kind: gumbel\n  value_scale: 0.5\n")
    (line,) = errors(path, "search.kind=puct")
    assert line == (
        f"{path}:4: search.value_scale: belongs to search.kind=gumbel, but search.kind is puct "
        "(command line); take the key out, or replace the whole section: 'search={kind: puct}'"
    )
    assert isinstance(config.load(path, ["search={kind: puct}"]).search, PUCT)


def test_every_error_is_reported_at_once_with_its_place(tmp_path):
    path = write(
        tmp_path,
        "game: conect_four\nselfplay:\n  temprature: 1\n  processes: lots\n"
        "training: {steps: many}\nreplay: 5\n",
    )
    lines = errors(path, "network.blocks=0", "training.device=gpu", "device=cpu", "seed")
    for start in (
        f"{path}:1: game: unknown game 'conect_four'; did you mean 'connect_four'",
        f"{path}:3: selfplay.temprature: unknown key; did you mean selfplay.temperature?",
        f"{path}:4: selfplay.processes: got 'lots', should be a whole number",
        f"{path}:5: training.steps: got 'many', should be a whole number",
        f"{path}:6: replay: got 5, should be a section",
        "command line: network.blocks: got 0, should be greater than or equal to 1",
        "command line: training.device: got 'gpu', should be auto, cpu,",
        "command line: device: unknown key; did you mean training.device or inference.device?",
        "command line: 'seed': should be key.sub=value",
    ):
        assert [line for line in lines if line.startswith(start)], (start, lines)
    assert len(lines) == 9


def test_a_key_may_be_shortened_to_its_last_parts_where_no_other_ends_in_them():
    short = config.load("tic_tac_toe", ["schedule.kind=step", "window_exponent=0.5"])
    full = ["optimizer.schedule.kind=step", "replay.window_exponent=0.5"]
    assert short == config.load("tic_tac_toe", full) != config.load("tic_tac_toe")


def test_the_value_of_a_union_is_named_once():
    (line,) = errors("tic_tac_toe", "selfplay.processes=lots")
    assert line.count("lots") == 1
    assert line.endswith("or should be 'auto'")


@pytest.mark.parametrize(
    ("override", "part"),
    [
        (
            "search.kind=pukt",
            "search.kind: got 'pukt', should be one of puct, gumbel, or the",
        ),
        ("ray=loca", "ray: got 'loca', should be off, local, auto or an address"),
        (
            "selfplay.random_opening_plies=9",
            "leave nothing to train on: games of tic_tac_toe last at most 9",
        ),
        ("training.initial_weights=''", "should have at least 1 character"),
        ("device=cpu", "did you mean training.device or inference.device?"),
        ("game.size=4", "game is a value, not a section"),
        ("network={blocks: 2", "the value is not YAML"),
        ("optimizer.schedule.milestones=[0.5, 2]", "optimizer.schedule.milestones[1]: got 2"),
        ("optimizer.learning_rate=.nan", "optimizer.learning_rate: got nan"),
        ("=5", "should be key.sub=value"),
    ],
)
def test_an_override_that_will_not_do_is_explained(override, part):
    (line,) = errors("tic_tac_toe", override)
    assert part in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("game: tic_tac_toe\nseed: 1\nseed: 2\n", ":3: seed: given twice, first at"),
        ("game: a: b\n", ":1: not YAML"),
        ("- game\n", "should hold lines of the form 'key: value'"),
        ("", "game: has no value and no default"),
        ("seed: 1\n", "game: has no value and no default"),
    ],
)
def test_a_file_that_will_not_do_is_explained(tmp_path, text, part):
    (line,) = errors(write(tmp_path, text))
    assert part in line


def test_an_unknown_name_suggests_the_nearest():
    (line,) = errors("tictactoe")
    assert line == "there is no configuration 'tictactoe'; did you mean tic_tac_toe?"


@pytest.mark.parametrize(
    "text", ["hex:size=5", "go:size=5,komi=24", "open_spiel:y(board_size=3)", "chess:", "othello"]
)
def test_a_game_in_place_of_a_configuration_is_trained_by_the_recipe(tmp_path, text):
    settings = config.load(text)
    assert settings == config.load(write(tmp_path, f"game: '{text}'\n"))
    assert settings.network.attention == "global_pooling"
    assert settings.training.time_limit_minutes == 30


def test_a_game_that_cannot_be_made_is_one_error():
    (line,) = errors("hex:size=99")
    assert line == "command line: game: hex: size must be 3 to 19, not 99"


def test_the_recipe_fills_only_what_is_not_given(tmp_path):
    text = "game: hex:size=5\nnetwork: {channels: 16}\nsearch: {simulations: 8}\n"
    settings = config.load(write(tmp_path, text), ["samples_per_position=2"])
    by_recipe = config.load("hex:size=5")
    assert settings.network == replace(by_recipe.network, channels=16)
    assert settings.search == replace(by_recipe.search, simulations=8)
    assert settings.replay == replace(by_recipe.replay, samples_per_position=2)
    assert settings.selfplay == by_recipe.selfplay


def test_a_folder_of_the_name_of_a_game_does_not_hide_it(tmp_path, monkeypatch):
    (tmp_path / "othello").mkdir()
    monkeypatch.chdir(tmp_path)
    assert config.load("othello").game == "othello"


def test_a_missing_file_with_a_colon_is_no_game():
    (line,) = errors("C:run.yaml")
    assert line.startswith("there is no file 'C:run.yaml'")


def test_a_recipe_without_a_value_is_refused(tmp_path):
    (line,) = errors(write(tmp_path, "game: othello\nrecipe:\n"))
    assert ":2: recipe: got None, should be 'default' or 'none'" in line


def test_what_stays_open_in_a_resumed_run_is_as_in_its_folder(tmp_path):
    earlier = replace(config.load("hex:size=5"), network=NetworkSettings(blocks=3, channels=8))
    (tmp_path / "config.yaml").write_text(config_file.as_yaml(earlier), encoding="utf-8")
    again = config.load("hex:size=5", ["seed=0", "publish_every=7"], tmp_path)
    assert again == replace(earlier, training=replace(earlier.training, publish_every=7))
    assert config.load("hex:size=5", ["recipe=none"], tmp_path).network == NetworkSettings()


def test_a_damaged_configuration_of_a_resumed_run_is_one_error(tmp_path):
    (tmp_path / "config.yaml").write_text("a: b: c", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"config\.yaml: not YAML") as caught:
        config.load("hex:size=5", (), tmp_path)
    assert len(caught.value.lines) == 1


def test_a_section_of_another_kind_takes_nothing_of_the_recipe():
    settings = config.load("hex:size=5", ["search={kind: puct}"])
    assert settings.search == PUCT()


def test_without_the_recipe_open_settings_have_their_defaults():
    assert config.load("hex:size=5", ["recipe=none"]) == Config(game="hex:size=5", recipe="none")


def test_a_run_of_given_steps_has_no_time_limit_of_the_recipe():
    training = config.load("hex:size=5", ["training.steps=7"]).training
    assert (training.steps, training.time_limit_minutes) == (7, None)


def test_the_stored_form_of_a_configuration_leaves_nothing_to_the_recipe(tmp_path):
    stored = config_file.as_yaml(Config(game="hex:size=5"))
    assert config.load(write(tmp_path, stored)) == Config(game="hex:size=5")


def test_a_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    (line,) = errors(str(path))
    assert "cannot be read as text" in line


def test_loading_a_configuration_imports_no_heavy_library():
    code = (
        "import sys; from alphazero import config; config.load('connect_four');"
        "print(*({'torch', 'ray', 'wandb'} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == []


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ("lr=1e-3", "optimizer.learning_rate"),
        ("batch=128", "training.batch_size or inference.batch_size"),
        ("sims=3", "search.simulations or evaluation.simulations"),
        ("training.blocks=3", "network.blocks"),
    ],
)
def test_an_abbreviation_or_a_key_of_another_section_leads_to_the_key_that_is_meant(
    override, meant
):
    (line,) = errors("tic_tac_toe", override)
    assert line == f"command line: {override.partition('=')[0]}: unknown key; did you mean {meant}?"


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (["network.channels=1000000"], "got 1000000, should be less than or equal to 8192"),
        (
            ["network.blocks=256", "network.channels=8192"],
            "command line: network: blocks=256 with channels=8192 are 309,237,645,312 weights",
        ),
        (["training.batch_size=10000000"], "should be less than or equal to 1048576"),
        (["seed=99999999999"], "should be less than or equal to 4294967295"),
        (["optimizer.l2=1e300"], "optimizer.l2: got 1e+300, should be less than"),
        (["selfplay.cache=3000"], "should be a power of two: 2048 or 4096"),
        (["selfplay.memory=2QB"], "got '2QB', should be bytes, as in 2000000000, 2GB or 2GiB"),
    ],
)
def test_a_number_that_nothing_could_hold_is_refused_before_anything_is_allocated(
    overrides, problem
):
    (line,) = errors("tic_tac_toe", *overrides)
    assert problem in line


@pytest.mark.parametrize(
    ("text", "number"),
    [("2GB", 2 * 10**9), ("2GiB", 2**31), ("1.5 MiB", 3 * 2**19), ("500", 500), ("7B", 7)],
)
def test_memory_may_have_a_unit(text, number):
    assert config.load("tic_tac_toe", [f"selfplay.memory={text}"]).selfplay.memory == number


def test_the_home_folder_is_expanded_in_paths_that_settings_name(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    loaded = config.load("tic_tac_toe", ["training.initial_weights=~/runs/x"])
    assert loaded.training.initial_weights == "/home/someone/runs/x"
    data = supervised.load("mlp", ["data.path=~/mnist"]).data
    assert data.path == "/home/someone/mnist"


def test_long_inputs_are_cut_and_control_characters_are_shown_as_escapes(tmp_path):
    (line,) = errors("tic_tac_toe", f"search.simulations={'x' * 5000}")
    assert len(line) < 300
    (line,) = errors(write(tmp_path, 'game: tic_tac_toe\n"\\e[2J\\nx": 1\n'))
    assert line.isprintable()


def test_of_thousands_of_errors_some_are_named_and_the_others_counted():
    lines = errors("tic_tac_toe", *(f"nothing{number}=1" for number in range(3000)))
    assert len(lines) == 21
    assert lines[-1] == "2,980 more errors"


def test_a_folder_is_no_configuration_but_may_hold_one(tmp_path):
    assert errors(str(tmp_path)) == (f"{tmp_path} is a folder",)
    (tmp_path / "config.yaml").write_text("game: tic_tac_toe\n")
    assert errors(str(tmp_path))[0].endswith(f"did you mean {tmp_path / 'config.yaml'}?")


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    assert errors(str(tmp_path / "pipe.yaml")) == (f"{tmp_path / 'pipe.yaml'} is no file",)


def test_a_name_of_the_other_kind_of_training_names_its_command():
    assert errors("cnn") == (
        "there is no configuration 'cnn'; did you mean alphazero supervised train cnn?",
    )
    with pytest.raises(ConfigError, match="did you mean alphazero train connect_four"):
        supervised.load("connect_four")
    with pytest.raises(ConfigError, match="mnist is mentioned in mlp; the names are cnn, gan"):
        supervised.load("mnist")
    with pytest.raises(ConfigError, match=r"'training\.steps=3', which is a setting: the config"):
        config.load("training.steps=3")


def test_a_game_with_parameters_that_is_unknown_is_answered_with_the_games():
    assert errors("hexx:size=5") == ("there is no game 'hexx'; did you mean 'hex'?",)
    for text in (
        "s3://b/x=1/c.yaml",
        "hex:size=7.yaml",
        "my.mod:Game:size=5.yaml",
        "runs:a=1/x.yaml",
    ):
        assert "there is no game" not in errors(text)[0]
    assert errors("nothing:size=5")[0].startswith("there is no game 'nothing'; the games are tic_")


def test_a_file_whose_ending_was_left_out_is_suggested(tmp_path):
    (tmp_path / "mine.yaml").write_text("game: tic_tac_toe\n")
    with pytest.raises(ConfigError, match=r"did you mean \S*/mine\.yaml\?"):
        config.load(str(tmp_path / "mine"))


def test_keys_of_earlier_versions_are_dropped_from_stored_files_and_refused_in_others(tmp_path):
    stored = tmp_path / "config.yaml"
    text = config_file.as_yaml(config.load("tic_tac_toe"))
    old = text.replace("selfplay:\n", "selfplay:\n  workers: 7\n")
    old = old.replace("inference:\n", "inference:\n  servers: 2\n")
    stored.write_text(old, encoding="utf-8")
    assert old.count("\n") == text.count("\n") + 2
    read = config_file.parse(Config, old, "config.yaml", obsolete=config.OBSOLETE)
    assert read == config.load("tic_tac_toe")
    filled = config.load("tic_tac_toe", ["recipe=default"], resumed=tmp_path)
    assert filled.selfplay == read.selfplay
    with pytest.raises(ConfigError, match=r"selfplay\.workers: unknown key"):
        config.load(str(stored))


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("none.yaml", ""),
        ("runs/none.yaml", ""),
        ("runs/nothing", ""),
        ("connect_for.yaml", "; did you mean connect_four?"),
    ],
)
def test_a_path_without_a_file_is_no_word_to_search_for(text, hint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(config.ConfigError) as refused:
        config.load(text)
    assert str(refused.value) == f"there is no file {text!r}{hint}"
