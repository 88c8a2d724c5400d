"""The bundled agents: undamaged, small, described, and found without a path."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import games
from alphazero import agents, checkpoint
from alphazero.agents import cards
from alphazero.judging import advice, agent, mistakes, players
from workers import cli
from workers.runs.export import UNKNOWN_STRENGTH

ROOT = Path(__file__).parents[1]
LARGEST = 3_000_000
each_agent = pytest.mark.parametrize("name", agents.names())


def test_every_folder_is_the_agent_of_one_game():
    folders = sorted(path.parent.name for path in agents.FOLDER.glob(f"*/{agents.CARD}"))
    assert folders == sorted(agents.FOLDERS.values())


def test_the_readme_names_the_games_of_all_agents():
    (sentence,) = re.findall(r"Trained \[agents\].* come with the program;",
                             (ROOT / "README.md").read_text(encoding="utf-8"))  # fmt: skip
    named = [games.make(spec).name for spec in re.findall(r"`(.*?)`", sentence)]
    assert sorted(named) == agents.names()


@each_agent
def test_an_agent_is_undamaged_small_and_plays_the_game_of_its_name(name):
    folder = agents.find(name)
    assert games.make(checkpoint.load(folder).config.game).name == name
    assert sum(path.stat().st_size for path in folder.iterdir()) <= LARGEST


@each_agent
def test_a_model_card_names_the_weights_beside_it_and_their_measured_strength(name):
    digest = hashlib.sha256((agents.find(name) / checkpoint.WEIGHTS).read_bytes()).hexdigest()
    assert digest in agents.card(name)
    assert UNKNOWN_STRENGTH not in agents.card(name)


@each_agent
def test_the_metadata_of_a_model_card_have_figures_that_its_text_has(name):
    card = (agents.find(name) / agents.CARD).read_text()
    text = agents.card(name)
    assert card.endswith(text)
    assert text.startswith("# ")
    results = cards.results(card)
    assert results
    assert [result for result in results if f"{result.value:g}" not in text] == []


def test_the_figures_of_connect_four_are_those_of_the_table_in_its_card():
    card = (agents.find("connect_four") / agents.CARD).read_text()
    rows = [line.split(" | ") for line in card.splitlines() if re.match(r"\| \w+_\w+ \|", line)]
    table = {row[0].strip("| "): [float(cell.split()[0]) for cell in row[1:]] for row in rows}
    figures: dict[str, list[float]] = {}
    for result in sorted(cards.results(card), key=lambda result: result.name, reverse=True):
        if result.kind == "mistakes":
            figures.setdefault(result.against, []).append(result.value)
    assert len(figures) == 6
    assert figures == {name: table[name] for name in figures}


@pytest.mark.parametrize(
    "card",
    [
        "",
        "# a card",
        "---\n",
        "---\nno end",
        "---\n---\n",
        "---\n[1, 2]\n---\n",
        "---\na: b: c\n---\n",
        "---\nmodel-index: 5\n---\n",
        "---\nmodel-index: [5]\n---\n",
        "---\na: &x 1\nb: *x\n---\n",
        "---\nmodel-index: [{results: [{metrics: [{value: 1}]}]}]\n---\n",
        "---\nmodel-index: " + "[" * 5000 + "\n---\n",
        "---\n" + "x" * 300_000 + "\n---\n",
        "---\nmodel-index: [{results: [{dataset: {name: x}, metrics: [{type: a, name: b, "
        "value: yes!}]}]}]\n---\n",
    ],
)
def test_a_card_without_readable_metadata_has_no_figures(card):
    assert cards.results(card) == []
    metadata, text = cards.split(card)
    assert text in card
    assert len(metadata) <= len(card)


@pytest.mark.parametrize("value", [".inf", "-.inf", ".nan", "9" * 400, "-" + "9" * 400])
def test_a_figure_that_is_no_finite_number_is_left_out_and_the_others_are_not(value):
    card = cards.metadata("hex", [cards.Result("elo", float(n), "a", "b") for n in (7, 8)])
    assert "value: 7.0" in card
    altered = card.replace("value: 7.0", f"value: {value}")
    assert [result.value for result in cards.results(altered)] == [8.0]


def test_info_is_json_whatever_numbers_the_files_of_an_agent_have(tmp_path, capsys):
    trained = checkpoint.load(agents.find("tic_tac_toe"))
    checkpoint.release(trained, tmp_path, {"games": float("inf"), "minutes": float("nan")})
    card = cards.metadata("tic_tac_toe", [cards.Result("elo", 7.0, "a", "b")])
    (tmp_path / agents.CARD).write_text(card.replace("value: 7.0", "value: .inf"))
    assert cli.main(["agents", "info", str(tmp_path), "--json", "-"]) == 0
    printed = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert printed["strength"] == []
    assert printed["training"] == {"steps": trained.step}


def test_of_a_card_with_thousands_of_figures_the_first_are_read():
    many = [cards.Result("elo", float(number), "x" * 999, "y") for number in range(2000)]
    read = cards.results(cards.metadata("tic_tac_toe", many))
    assert len(read) <= cards.MOST_RESULTS
    assert all(len(result.name) <= cards.LONGEST + 3 for result in read)


def test_the_table_of_the_page_has_the_figures_of_the_files():
    page = (ROOT / "docs/agents.md").read_text()
    rows = {row.split("`")[1]: row for row in page.splitlines() if row.startswith("| `")}
    for name in agents.names():
        folder = agents.find(name)
        game, training = checkpoint.load(folder).config.game, checkpoint.training_of(folder)
        assert training is not None
        row = rows.pop(game)
        assert f"{training['steps']:,} steps on {training['games']:,} games" in row
        assert f"{training['minutes']:g} minutes of {training['cores']} core" in row
        first = cards.results((folder / agents.CARD).read_text())[0]
        shown = "no mistake in all" if not first.value else f"{first.value:g}"
        assert shown in row.split(" | ")[3]
    assert rows == {}


def test_list_shows_every_agent_with_its_training_and_strength_and_json_has_its_parameters(capsys):
    assert cli.main(["agents", "list", "--json", "-"]) == 0
    rows = json.loads(capsys.readouterr().out)["agents"]
    assert [row["name"] for row in rows] == agents.names()
    for row in rows:
        trained = checkpoint.load(agents.find(row["name"]))
        assert row["parameters"] == sum(array.size for array in trained.weights.values())
        assert f"{row['parameters']:,} parameters" in agents.card(row["name"])
        for key in ("steps", "games", "positions"):
            assert f"| {key} | {row['training'][key]:,} |" in agents.card(row["name"])
        assert row["sha256"] in agents.card(row["name"])
    assert cli.main(["agents", "list"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert " 153 minutes " in shown
    assert "3.8 % mistakes" in shown


def test_info_describes_an_agent_of_a_name_and_a_folder_and_refuses_others(tmp_path, capsys):
    folder = shutil.copytree(agents.find("tic_tac_toe"), tmp_path / "agent")
    (folder / agents.CARD).unlink()
    for source, strength in (
        ("tic_tac_toe", "0 % mistakes, network alone"),
        (folder, "not measured"),
    ):
        assert cli.main(["agents", "info", str(source)]) == 0
        shown = " ".join(capsys.readouterr().out.split())
        assert "42,691 parameters" in shown
        assert strength in shown
    assert cli.main(["agents", "info", str(tmp_path / "nothing")]) == 2
    assert "there is no agent" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["info"], ["get"]])
@pytest.mark.parametrize(
    ("game", "hint"),
    [
        ("go:size=9,komi=6.5", "the agent for go:size=9,komi=7.0,history=16 differs in the komi"),
        ("go:size=9,kom=6.5", "go has no parameter 'kom'; did you mean 'komi'?"),
        ("go:size=13", "for go there are go:size=5,komi=24.0,history=16, go:size=7,"),
    ],
)
def test_a_game_without_an_agent_is_answered_with_what_to_name_instead(words, game, hint, capsys):
    assert cli.main(["agents", *words, game]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert hint in line


def test_a_match_with_another_komi_names_the_commands_in_which_the_agent_plays_it(capsys):
    assert cli.main(["arena", "checkpoint", "random", "--game", "go:size=5,komi=30"]) == 2
    said = capsys.readouterr().err
    assert "the agent for go:size=5,komi=24.0,history=16 differs in the komi alone" in said
    assert "use `play`, `web`, `gtp` or `analyse`, which take any komi" in said


def test_the_chances_of_an_agent_of_another_komi_name_the_game_in_which_it_was_trained():
    by = "a draw counts one half; by a network trained in go:size=5,komi=24.0,history=16)."
    for komi, own in ((30, False), (24, True)):
        game = games.make(f"go:size=5,komi={komi}")
        chosen = players.make("checkpoint:simulations=4", game, fitting=True)
        states = game.initial(1)
        decided = chosen(states, [np.random.default_rng(0)])
        said = advice.described(game, states, decided, True, chosen.trained_in)
        assert said[0].endswith("a draw counts one half)." if own else by)
        policy = players.make("policy", game, fitting=True)
        assert policy.trained_in == chosen.trained_in


def test_a_single_flipped_bit_is_an_error_of_one_line_that_names_the_file(tmp_path):
    folder = shutil.copytree(agents.find("tic_tac_toe"), tmp_path / "agent")
    weights = bytearray((folder / checkpoint.WEIGHTS).read_bytes())
    weights[len(weights) // 2] ^= 1
    (folder / checkpoint.WEIGHTS).write_bytes(weights)
    with pytest.raises(ValueError, match=r"weights\.safetensors was altered") as refused:
        players.make(f"policy:path={folder}", games.make("tic_tac_toe"))
    assert "\n" not in str(refused.value)


def test_a_player_without_a_path_is_the_bundled_agent():
    game = games.make("tic_tac_toe")
    states = game.step(game.initial(9), np.arange(9))
    rngs = [np.random.default_rng(row) for row in range(9)]
    bundled = players.make("policy", game)(states, rngs)
    named = players.make(f"policy:path={agents.FOLDER / 'tic_tac_toe'}", game)(states, rngs)
    np.testing.assert_allclose(bundled.policy, named.policy, atol=0.02)
    assert players.make("checkpoint:simulations=2", game).simulations == 2


@pytest.mark.parametrize("name", ["go:size=5,komi=24", "go:komi=24.0,size=5", "go_5x5"])
def test_an_agent_is_loaded_by_any_spelling_of_its_game_and_by_its_folder(name):
    assert agent.find(name) == agents.FOLDER / "go_5x5"


@pytest.mark.parametrize("search", [None, "puct", "gumbel"])
@pytest.mark.parametrize(("name", "ahead"), [("othello:size=8", True), ("tic_tac_toe", False)])
def test_an_agent_looks_ahead_as_in_its_training_whatever_the_kind_of_its_search(
    name, ahead, search
):
    loaded = agent.load(agents.find(name), search=search)
    assert loaded.search.look_ahead is ahead


@pytest.mark.parametrize("spec", ["policy", "checkpoint:simulations=8"])
def test_a_game_without_an_agent_is_refused_in_one_line_that_lists_those_with_one(spec):
    for name, others in (
        ("othello:size=6", "; for othello there is othello:size=8;"),
        ("hex:size=7,swap=true", "; for hex there is hex:size=7,swap=false;"),
        ("chess", "; the agents are breakthrough, connect_four, .*, tic_tac_toe;"),
    ):
        for look in (players.check, players.make):
            with pytest.raises(ValueError, match=others) as refused:
                look(spec, games.make(name))
            assert f"no agent for {name}" in str(refused.value)
            assert "\n" not in str(refused.value)


def test_an_agent_of_other_rules_is_refused_where_another_komi_would_do(tmp_path):
    """``fitting`` is for the komi alone: three and four stones in a row are other games."""
    for trained, played in (
        ("gomoku:size=9,length=5", "gomoku:size=9,length=4"),
        ("go:size=5,komi=24,history=16", "go:size=5,komi=24,history=8"),
        ("go:size=5,komi=24,history=16", "go:size=5,komi=7,history=8"),
    ):
        path = agents.find(games.make(trained).name)
        with pytest.raises(ValueError, match=re.escape(f"not {games.make(played).name}")):
            players.make(f"policy:path={path}", games.make(played), fitting=True)


def test_an_agent_that_plays_its_own_game_in_another_spelling_names_no_other_game(capsys):
    game = games.make("gomoku:size=9x9")
    assert players.make("policy", game, fitting=True).trained_in == ""
    assert capsys.readouterr().err == ""
    assert agents.named("gomoku:size=9x9") == game.name == agents.named("gomoku_9x9")


def test_the_default_opponent_is_the_bundled_agent_or_else_rollouts():
    assert players.default(games.make("connect_four")) == "checkpoint:simulations=600"
    assert players.default(games.make("othello:size=4")) == "mcts:seconds=1.5"
    other_komi = games.make("go:size=9,komi=6.5")
    assert players.default(other_komi) == "mcts:seconds=1.5"
    assert players.default(other_komi, fitting=True) == "checkpoint:simulations=600"


@pytest.mark.parametrize(
    ("game", "folder"),
    [
        ("go:size=9", "go_9x9"),
        ("go:size=9,komi=6.5", "go_9x9"),
        ("go:size=7,komi=7", "go_7x7"),
        ("go:size=13", None),
        ("hex:size=7,swap=true", None),
        ("othello:size=6", None),
        ("gomoku:size=9,exact=true", None),
        ("gomoku:size=9,length=4", None),
        ("chess", None),
    ],
)
def test_an_agent_plays_its_game_with_any_komi_and_no_other_parameter(game, folder):
    chosen = agents.fitting(games.make(game).name)
    assert (chosen and agents.find(chosen).name) == folder


@pytest.mark.parametrize(
    ("game", "printed"),
    [
        ("tic_tac_toe", "tic_tac_toe against checkpoint:simulations=600."),
        ("othello:size=4", "No agent for othello:size=4 comes with this program: mcts:seconds"),
    ],
)
def test_play_begins_with_nothing_but_a_game(game, printed, monkeypatch, capsys):
    monkeypatch.setattr("builtins.input", lambda prompt: "q")
    assert cli.main(["play", game]) == 0
    assert capsys.readouterr().out.startswith(printed)


def test_play_shows_the_model_card_of_the_agent_or_reports_that_there_is_none(capsys):
    assert cli.main(["play", "tic_tac_toe", "--about"]) == 0
    assert "How strong" in capsys.readouterr().out
    assert cli.main(["play", "go:size=5,komi=20", "--about"]) == 0
    assert "go:size=5,komi=24" in capsys.readouterr().out
    assert cli.main(["play", "tic_tac_toe", "--about", "--player", "random"]) == 2
    assert cli.main(["play", "othello:size=4", "--about"]) == 2
    assert "no agent for othello:size=4" in capsys.readouterr().err


def test_the_tic_tac_toe_agent_never_errs_even_without_search():
    game = games.make("tic_tac_toe")
    positions = mistakes.positions_from("all", game)
    result = mistakes.evaluate(players.make("policy", game), positions, game, seed=0)
    assert (result["positions"], result["mistakes"]) == (4520, 0)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("hex:size=7", " for hex there is hex:size=7,swap=false"),
        (
            "gomoku:size=13",
            " for gomoku there are gomoku:size=15,length=5,exact=false and gomoku:size=9",
        ),
        ("connect4", "did you mean 'connect_four'?"),
        ("gomoku_9", "did you mean 'gomoku_9x9'?"),
        ("go_9", "did you mean 'go_9x9'?"),
        ("nothing like it", "the agents are breakthrough, connect_four"),
    ],
)
@pytest.mark.parametrize("action", ["info", "get"])
def test_a_text_that_names_no_agent_is_answered_with_those_of_its_game(action, text, hint, capsys):
    assert cli.main(["agents", action, text]) == 2
    assert hint in capsys.readouterr().err
