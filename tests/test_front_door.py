"""``import alphazero``: its functions, its cost, and folders that would hide its packages."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

import alphazero
from alphazero import checkpoint, config, local_run, loop, packages
from alphazero.judging import agent as agents
from alphazero.judging import session
from alphazero.search.gumbel import Gumbel
from alphazero.types import Limits, SearchResult
from workers.runs import export
from workers.runs import train as train_command

ROOT = Path(__file__).parents[1]
TINY = [
    "search.simulations=4", "selfplay.games=8", "network.blocks=1", "network.channels=8",
    "replay.min_positions=100", "training.steps=20", "training.batch_size=16",
    "training.checkpoint_every=10", "training.precision=float32", "inference.backend=torch",
    "inference.precision=float32", "training.time_limit_minutes=null",
]  # fmt: skip
HIDES = "hides the package 'games' of alphazero: rename it, or run this in another folder"


@pytest.fixture(scope="module")
def settings():
    return alphazero.load_config("tic_tac_toe", TINY)


@pytest.fixture(scope="module")
def run(settings, tmp_path_factory):
    """A finished run of 20 steps, and what its callbacks were called with."""
    directory = tmp_path_factory.mktemp("runs") / "finished"
    logged, saved = [], []
    path = alphazero.train(
        settings,
        directory,
        on_log=lambda step, metrics: logged.append((step, metrics)),
        on_checkpoint=lambda step, path: saved.append((step, path)),
    )
    return directory, path, logged, saved


@pytest.fixture(scope="module")
def bundled():
    return alphazero.load_agent("tic_tac_toe", simulations=40)


def metrics(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def python(folder, *arguments, **environment):
    """A Python process in ``folder``, in which nothing but the installation leads to us."""
    given = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder, env=given | environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def script(folder, text):
    (folder / "script.py").write_text(text)
    return python(folder, "script.py")


# What the front door offers


def test_every_public_name_is_there_and_has_a_docstring():
    for name in alphazero.__all__:
        value = getattr(alphazero, name)
        assert name == "__version__" or value.__doc__, name
    assert set(alphazero.__all__) <= set(dir(alphazero))
    assert set(alphazero.__all__) - {"__version__"} == alphazero._SOURCES.keys()
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = alphazero.nothing


def test_an_import_takes_neither_torch_nor_the_libraries_of_one_command(tmp_path):
    done = script(
        tmp_path,
        "import sys, alphazero\n"
        "assert alphazero.__version__\n"
        "print(*{'torch', 'ray', 'wandb', 'numba', 'numpy', 'pydantic'} & set(sys.modules))\n"
        "alphazero.make_game('tic_tac_toe')\n"
        "print(*{'torch', 'ray', 'wandb'} & set(sys.modules))\n",
    )
    assert (done.stdout.split(), done.stderr) == ([], "")


def test_ten_lines_load_analyse_play_and_train(tmp_path):
    done = script(
        tmp_path,
        """\
import alphazero

agent = alphazero.load_agent("connect_four")
analysis = agent.analyse("4453")
print(f"best move {analysis.move}, value {analysis.value:+.2f}")
for move in analysis.moves:
    print(move.move, f"{move.probability:.1%}", move.visits, move.value)

game = alphazero.make_game("tic_tac_toe")
print(alphazero.play_match(game, ["minimax:depth=9", "random"], games=20))

config = alphazero.load_config("tic_tac_toe", ["training.steps=10", "replay.min_positions=500"])
alphazero.train(config, "runs/mine")
""",
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("best move 3, value -0.")
    assert len(lines) == 9
    assert lines[-1].startswith("ArenaResult(game='tic_tac_toe', games=20")
    assert done.stderr == ""
    assert (tmp_path / "runs/mine/checkpoints/step_000010").is_dir()


def test_an_analysis_is_seen_by_the_player_about_to_move(bundled):
    winning = bundled.analyse("1425")  # X has 1 and 2, O has 4 and 5: X plays 3 and wins
    assert (winning.move, winning.action, winning.value, winning.proven) == ("3", 2, 1.0, True)
    lost = bundled.analyse("15937")  # O stops one of 4 and 8 alone
    assert (lost.value, lost.proven) == (-1.0, True)
    moves = winning.moves
    assert moves[0].move == winning.move
    assert {move.action for move in moves} == {2, 5, 6, 7, 8}
    assert sum(move.probability for move in moves) == pytest.approx(1, abs=1e-5)
    assert moves[0].value == 1.0
    assert all(move.value is None or -1 <= move.value <= 1 for move in moves)
    assert all((move.value is None) == (move.visits == 0) for move in moves)


def test_an_analysis_agrees_with_the_search_that_it_reports(bundled):
    game = bundled.game
    states = session.unfinished(game, "51").states
    result = bundled.search_positions(
        states, leaves=agents.leaves_for_single_game(bundled.search.simulations)
    )
    analysis = bundled.analyse("51")
    assert analysis.value == result.value[0]
    for move in analysis.moves:
        assert move.visits == result.visits[0, move.action]
        assert move.probability == result.policy[0, move.action]
    assert bundled.analyse("51") == analysis


def test_an_analysis_has_the_line_that_the_search_expects(bundled):
    assert bundled.analyse("1425").variation == ("3",)
    expected = bundled.analyse("152")
    assert expected.variation[:1] == (expected.move,) == ("3",)  # O must stop the first row
    session.after(bundled.game, ["1", "5", "2", *expected.variation])


def test_an_analysis_by_time_has_no_other_limit(bundled, monkeypatch):
    calls, search = [], agents.strongest_moves

    def recorded(*call):
        calls.append(call[5])
        return search(*call[:5], Limits(simulations=8), *call[6:])

    monkeypatch.setattr(agents, "strongest_moves", recorded)
    assert bundled.analyse("5", seconds=0.25).moves
    assert bundled.analyse("5").moves
    assert calls == [Limits(None, 0.25), Limits()]
    for seconds in (0, -1, float("nan"), float("inf"), "2"):
        with pytest.raises(ValueError, match="seconds must be above 0 and finite") as refused:
            bundled.analyse("5", seconds=seconds)
        assert str(refused.value).endswith(f"not {seconds!r}")


def test_moves_are_a_text_or_a_list_of_numbers_and_of_moves_in_the_games_notation():
    game, othello = alphazero.make_game("connect_four"), alphazero.make_game("othello")
    first = session.unfinished(game, "4453").states
    assert (session.unfinished(game, [4, "4", 5, 3]).states == first).all()
    assert (session.unfinished(game, "").states == game.initial(1)).all()
    move = othello.text_to_action("d3")
    after = othello.step(othello.initial(1), np.array([move]))
    for moves in ("d3", ["d3"], [move + 1], str(move + 1)):
        assert (session.unfinished(othello, moves).states == after).all()


@pytest.mark.parametrize(
    ("moves", "message"),
    [
        ("99", "move 2 of '99', '9', cannot be played"),
        ("14253", "the game is over after '14253'"),
        ("1x", "move 2 of '1x', 'x', cannot be played; possible are 2 3 4"),
        ([0], "move 1 of '0', '0', cannot be played"),
        ([12], "move 1 of '12', '12', cannot be played; possible are 1 2 3"),
        (44, r"moves are a text or a list, as '44' or \[4, 4\], not 44"),
        (None, "not None"),
        (b"44", "not b'44'"),
        ({4: 4}, "not {4: 4}"),
        (np.array(4), r"not array\(4\)"),
        ([4.5], "a move is a whole number, counted from 1, or a text, not 4.5"),
        ([None], "not None"),
        ([True], "not True"),
        (np.array([[4]]), r"not array\(\[4\]\)"),
    ],
)
def test_moves_that_cannot_be_played_are_named_in_one_line(bundled, moves, message):
    with pytest.raises(ValueError, match=message) as error:
        bundled.analyse(moves)
    assert "\n" not in str(error.value)


def test_arrays_of_actions_are_lists_of_moves():
    game = alphazero.make_game("tic_tac_toe")
    moves = np.array([5, 1], np.int16)
    for given in (moves, tuple(moves), list(moves)):
        assert session.unfinished(game, given).actions == [4, 0]


def test_players_of_another_kind_than_the_three_are_refused_in_one_line():
    game = alphazero.make_game("tic_tac_toe")
    with pytest.raises(ValueError, match=r"players are a list, such as .'random', 'random'."):
        alphazero.play_match(game, "random")
    with pytest.raises(ValueError, match=r"a player is an Agent, a Player or a text.*not 5"):
        alphazero.play_match(game, ["random", 5])
    with pytest.raises(ValueError, match="an agent is named by a text or a path, not 5"):
        alphazero.load_agent(5)


def test_the_bundled_agent_searches_with_600_simulations_unless_told_otherwise():
    agent = alphazero.load_agent("tic_tac_toe")
    assert agent.search.simulations == 600
    assert agent.game.name == "tic_tac_toe"
    assert alphazero.load_agent("tic_tac_toe", simulations=7).search.simulations == 7


@pytest.mark.parametrize("simulations", [0, 1, -5])
def test_too_few_simulations_are_refused_in_one_line(simulations):
    message = f"^simulations={simulations}: should be greater than or equal to 2$"
    with pytest.raises(ValueError, match=message):
        alphazero.load_agent("tic_tac_toe", simulations=simulations)


def test_a_folder_with_the_name_of_a_game_does_not_hide_the_bundled_agent(
    tmp_path, monkeypatch, run
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tic_tac_toe").mkdir()
    assert agents.find("tic_tac_toe").parent.name == "agents"
    (tmp_path / "tic_tac_toe" / "checkpoints").symlink_to(run[0] / "checkpoints")
    assert agents.find("tic_tac_toe") == Path("tic_tac_toe")
    with pytest.raises(ValueError, match=r"no agent 'nowhere': .*connect_four, .*tic_tac_toe"):
        alphazero.load_agent("nowhere")
    with pytest.raises(ValueError, match="plays tic_tac_toe, not connect_four"):
        alphazero.load_agent("tic_tac_toe", alphazero.make_game("connect_four"))


def test_agents_players_and_texts_meet_in_one_match(bundled):
    game = bundled.game
    entrants = [bundled, alphazero.make_player("minimax:depth=9", game), "random"]
    result = alphazero.play_match(game, entrants, games=10, seed=1, opening_plies=1)
    assert isinstance(result, alphazero.ArenaResult)
    assert [player.name for player in result.players] == [
        "tic_tac_toe",
        "minimax:depth=9",
        "random",
    ]
    assert result.games == 30
    assert result.players[0].losses == 0
    assert result.players[0].wins > 0
    again = alphazero.play_match(game, entrants, games=10, seed=1, opening_plies=1)
    assert again == result
    with pytest.raises(ValueError, match="the agent tic_tac_toe plays tic_tac_toe, not connect"):
        alphazero.play_match(alphazero.make_game("connect_four"), [bundled, "random"])


# Training


def test_a_run_reports_through_its_callbacks_and_leaves_a_runs_directory(run, capsys):
    directory, path, logged, saved = run
    assert path == directory / "checkpoints" / "step_000020"
    assert [step for step, _ in logged] == list(range(1, 21))
    assert {"loss", "games", "minutes"} <= logged[-1][1].keys()
    assert saved == [(10, directory / "checkpoints/step_000010"), (20, path)]
    assert {".lock", "config.yaml", "metrics.jsonl", "games", "checkpoints"} == {
        path.name for path in directory.iterdir()
    }
    assert yaml.safe_load((directory / "config.yaml").read_text())["ray"] == "off"
    assert [line["step"] for line in metrics(directory)] == list(range(1, 21))
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_a_run_from_python_equals_a_run_of_the_command_bit_for_bit(run, settings, tmp_path):
    without_match = replace(
        settings,
        evaluation=replace(settings.evaluation, games=0),
        tracking=replace(settings.tracking, wandb="off"),
    )
    assert train_command.main(without_match, tmp_path, False, "off", None) == 0
    theirs, ours = checkpoint.load(tmp_path).weights, checkpoint.load(run[0]).weights
    assert theirs.keys() == ours.keys()
    assert all(np.array_equal(theirs[name], ours[name]) for name in theirs)


def test_a_stopped_run_is_resumed_bit_for_bit(run, settings, tmp_path):
    steps = []
    path = alphazero.train(
        settings, tmp_path, on_log=lambda step, _: steps.append(step), stop=lambda: len(steps) == 7
    )
    assert path.name == "step_000007"
    resumed = alphazero.train(settings, tmp_path, resume=True)
    assert resumed.name == "step_000020"
    first, second = checkpoint.load(run[1]).weights, checkpoint.load(resumed).weights
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert [line["step"] for line in metrics(tmp_path)] == list(range(1, 21))


def test_the_command_resumes_a_run_from_python_and_exports_it(settings, tmp_path):
    directory = tmp_path / "run"
    alphazero.train(settings, directory, time_limit_minutes=60)
    assert config.load(str(directory / "config.yaml")).training.time_limit_minutes == 60
    longer = replace(
        settings,
        training=replace(settings.training, steps=25),
        evaluation=replace(settings.evaluation, games=0),
        tracking=replace(settings.tracking, wandb="off"),
    )
    assert train_command.main(longer, directory, True, "auto", None) == 0
    assert [line["step"] for line in metrics(directory)] == list(range(1, 26))
    export.export(directory, tmp_path / "exported")
    for source in (directory, directory / "checkpoints/step_000025", tmp_path / "exported"):
        agent = alphazero.load_agent(source, simulations=8)
        assert agent.checkpoint.step == 25
        assert agent.analyse().move in "123456789"
    spec = f"checkpoint:path={directory},simulations=8"
    assert alphazero.play_match(agent.game, [spec, "random"], games=2).games == 2


def test_a_run_is_not_mixed_with_other_files_or_other_settings(run, settings, tmp_path):
    with pytest.raises(ValueError, match="is not empty: resume=True continues the run there"):
        alphazero.train(settings, run[0])
    with pytest.raises(ValueError, match="resume: there is no run directory"):
        alphazero.train(settings, tmp_path / "nothing", resume=True)
    other = replace(settings, network=replace(settings.network, blocks=2))
    with pytest.raises(ValueError, match=r"^resume: network\.blocks was 1 and cannot become 2$"):
        alphazero.train(other, run[0], resume=True)


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf"), 2e6])
def test_a_time_limit_that_is_none_is_refused(settings, tmp_path, minutes):
    with pytest.raises(
        ValueError, match=r"^time_limit_minutes must be above 0 and at most 1,000,000, not .*$"
    ):
        alphazero.train(settings, tmp_path, time_limit_minutes=minutes)


def test_training_leaves_torchs_number_of_threads_as_it_was(settings, tmp_path):
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        alphazero.train(settings, tmp_path, stop=lambda: True)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


class Counting:
    """A search of a user's own: Gumbel's, which counts the positions that it is called with."""

    simulations = 2

    def __init__(self):
        self.positions = 0
        self.search = Gumbel(simulations=2)

    def __call__(self, game, states, rngs, temperature):
        self.positions += len(states)
        return (yield from self.search(game, states, rngs, temperature))

    def without_noise(self, simulations=None, leaves=1):
        return self


def test_a_search_of_ones_own_plays_in_training_and_in_an_agent(settings, tmp_path):
    search = Counting()
    alphazero.train(settings, tmp_path, search=search)
    assert search.positions >= 100
    agent = alphazero.load_agent(tmp_path, search=search)
    before = search.positions
    assert agent.analyse("5").moves
    assert search.positions == before + 1
    assert isinstance(agent.search_positions(agent.game.initial(3)), SearchResult)


def test_one_function_puts_a_local_run_together(settings, tmp_path, monkeypatch):
    """The command and the front door both call it."""
    calls = []
    real = local_run.local_run

    def counted(*arguments, **options):
        calls.append(arguments[1])
        return real(*arguments, **options)

    monkeypatch.setattr(local_run, "local_run", counted)
    monkeypatch.setattr(loop, "train", lambda run, hooks, limit: loop.save(run, 0.0))
    alphazero.train(settings, tmp_path / "python")
    resolved = local_run.resolve(settings, "off")
    with train_command._parts(resolved, tmp_path / "command", train_command.Console()):
        pass
    assert [path.name for path in calls] == ["python", "command"]


# Folders that would hide our packages


@pytest.fixture
def harmless(tmp_path):
    """A folder with folders named as our packages are, none of them a package."""
    for name in packages.BESIDE:
        (tmp_path / name).mkdir()
        (tmp_path / name / "notes.txt").write_text("mine")
    return tmp_path


@pytest.fixture
def hiding(tmp_path):
    """A folder with a package ``games``."""
    (tmp_path / "games").mkdir()
    (tmp_path / "games" / "__init__.py").write_text("")
    return tmp_path


USE = (
    "import alphazero; print(alphazero.make_game('tic_tac_toe'), "
    "alphazero.load_config('tic_tac_toe').game)"
)
LISTING = ["-m", "alphazero", "games"]
SCRIPT = str(Path(sys.executable).with_name("alphazero"))
"""The installed command."""


def test_plain_folders_of_our_names_hide_nothing(harmless):
    for done in (script(harmless, USE), python(harmless, "-c", USE)):
        assert done.stdout == "<game tic_tac_toe> tic_tac_toe\n", done.stderr
    for arguments in (LISTING, [SCRIPT, "games"]):
        done = python(harmless, *arguments)
        assert done.returncode == 0, done.stderr
        assert "connect_four" in done.stdout


@pytest.mark.parametrize("name", ["configs.py", "configs/__init__.py"])
def test_a_users_own_configs_are_neither_imported_nor_searched(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("raise RuntimeError('this is not imported')")
    done = script(tmp_path, USE)
    assert done.stdout == "<game tic_tac_toe> tic_tac_toe\n", done.stderr


@pytest.mark.parametrize("start", ["script", "command line", "interactive"])
def test_a_package_that_hides_games_is_named_in_one_line_of_an_import_error(hiding, start):
    if start == "script":
        done = script(hiding, USE)
    elif start == "command line":
        done = python(hiding, "-c", USE)
    else:
        done = python(hiding, "-ic", USE, PYTHONINSPECT="")
    last = done.stderr.strip().splitlines()
    last = [line for line in last if line.startswith("ImportError")]
    assert last == [f"ImportError: {hiding / 'games'} {HIDES}"]


def test_a_module_that_hides_games_is_named_as_well(tmp_path):
    (tmp_path / "games.py").write_text("")
    done = script(tmp_path, USE)
    assert done.stderr.splitlines()[-1] == f"ImportError: {tmp_path / 'games.py'} {HIDES}"


def test_a_package_games_that_was_imported_before_us_is_named(hiding):
    done = script(hiding, f"import games; {USE}")
    assert done.stderr.splitlines()[-1] == f"ImportError: {hiding / 'games'} {HIDES}"
    made = "import sys, types; sys.modules['games'] = types.ModuleType('games'); import alphazero"
    done = python(hiding.parent, "-c", made)
    assert "a module of this process hides the package 'games'" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("name", packages.BESIDE)
def test_python_m_alphazero_ends_in_one_line_without_a_traceback(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("")
    done = python(tmp_path, *LISTING)
    line = HIDES.replace("games", name, 1)
    assert done.stderr == f"alphazero: error: {tmp_path / name} {line}\n"
    assert (done.returncode, done.stdout) == (2, "")


def test_the_installed_command_works_beside_packages_of_our_names(tmp_path):
    """Its path begins with its own folder and ends with the current one."""
    for name in packages.BESIDE:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
    done = python(tmp_path, SCRIPT, "games")
    assert done.returncode == 0, done.stderr
    assert "connect_four" in done.stdout


def test_the_installed_command_ends_in_one_line_where_the_path_prefers_another_games(hiding):
    done = python(hiding, SCRIPT, "games", PYTHONPATH=str(hiding))
    assert done.stderr == f"alphazero: error: {hiding / 'games'} {HIDES}\n"
    assert (done.returncode, done.stdout) == (2, "")


def test_rays_processes_are_not_started_where_they_would_import_another_package(
    hiding, monkeypatch
):
    pytest.importorskip("ray")
    from workers.cluster import connection

    monkeypatch.chdir(hiding)
    monkeypatch.setattr(connection.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(connection.ray, "init", pytest.fail)
    with pytest.raises(ValueError, match=f"^{hiding / 'games'} {HIDES}$"):
        connection.connect("local")


def test_the_folders_of_rays_processes_are_checked_for_regular_packages_alone(harmless):
    packages.check_folders([harmless, ROOT])
    (harmless / "workers" / "__init__.py").write_text("")
    with pytest.raises(ValueError, match="hides the package 'workers' of alphazero"):
        packages.check_folders([harmless])


def test_a_package_that_is_not_installed_beside_alphazero_is_named():
    with pytest.raises(ImportError, match="'nothing', which belongs to alphazero, is not"):
        packages.check("nothing")
    packages.check(*packages.BESIDE)


# Types


def test_pyright_finds_the_types_of_a_users_file(tmp_path):
    pyright = pytest.importorskip("pyright")
    (tmp_path / "user.py").write_text(
        """\
import alphazero

agent = alphazero.load_agent("connect_four")
analysis = agent.analyse("4453")
reveal_type(agent)
reveal_type(analysis.value)
reveal_type(analysis.moves[0].move)
reveal_type(alphazero.make_game("connect_four"))
reveal_type(alphazero.play_match(agent.game, [agent, "random"]))
config = alphazero.load_config("tic_tac_toe")
reveal_type(config.training.steps)
reveal_type(alphazero.train(config, "runs/mine"))
alphazero.load_agent("connect_four", simulations="many")
alphazero.train("tic_tac_toe", "runs/mine")
analysis.colour
alphazero.nothing
"""
    )
    (tmp_path / "pyrightconfig.json").write_text("{}")
    done = pyright.run(
        "--outputjson", "--pythonpath", sys.executable, "user.py",
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    diagnostics = json.loads(done.stdout)["generalDiagnostics"]
    types = [
        diagnostic["message"].partition(" is ")[2].strip('"')
        for diagnostic in diagnostics if diagnostic["severity"] == "information"
    ]  # fmt: skip
    assert types == ["Agent", "float", "str", "Game", "ArenaResult", "int", "Path"]
    errors = [
        diagnostic["range"]["start"]["line"] + 1
        for diagnostic in diagnostics
        if diagnostic["severity"] == "error"
    ]
    assert errors == [13, 14, 15, 16]
