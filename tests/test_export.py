"""``alphazero export``: the files it writes, the folders it refuses, the training it reports."""

import json
import re
import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import made_up_folders
import numpy as np
import pytest
import torch

import games
from alphazero import checkpoint, metrics_file, network
from alphazero.agents import cards
from alphazero.config import Config, NetworkSettings, TrainingSettings
from alphazero.judging.agent import load_agent
from alphazero.nn.weights import arrays, load
from workers import cli
from workers.runs import export

SMALL = NetworkSettings(blocks=1, channels=4, policy_channels=2, value_channels=2, value_hidden=4)
GAME = games.make("tic_tac_toe")
CONFIG = Config(game=GAME.name, network=SMALL, seed=5)


def line(step, minutes, began):
    figures = {"games": 10.0 * step, "positions": 70.0 * step, "minutes": minutes}
    figures["cpu_minutes"] = 2 * (minutes if began == 1000 else minutes - 2)
    return {"step": step, "time": began + 60 * minutes} | figures


@pytest.fixture
def run(tmp_path):
    """A run of 30 steps in two parts, whose last checkpoint is that of step 20."""
    weights = arrays(network.build(GAME, SMALL, seed=1).state_dict())
    checkpoint.save(tmp_path / "run", 20, weights, {"seconds": 240.0}, CONFIG)
    lines = [line(5, 1.0, 1000), line(10, 2.0, 1000), line(20, 4.04, 9000), line(30, 6, 9000)]
    lines[1]["time"] += 0.4  # a part's clock and minutes drift
    # A line that a match added has no counts.
    lines.insert(2, {"step": 11, "time": 1130.0, "elo": 3.0})
    (tmp_path / "run/metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
    (tmp_path / "run/environment.json").write_text('{"cores": 2}')
    return tmp_path / "run"


def test_the_exported_weights_are_the_checkpoints_bit_for_bit_and_nothing_else_is_kept(
    run, tmp_path
):
    export.export(run, tmp_path / "agent")
    before, after = checkpoint.load(run), checkpoint.load(tmp_path / "agent")
    assert after.config == before.config
    assert after.weights.keys() == before.weights.keys()
    for name, array in before.weights.items():
        np.testing.assert_array_equal(after.weights[name], array)
    files = {path.name for path in (tmp_path / "agent").iterdir()}
    assert files == {"weights.safetensors", "config.yaml", "MANIFEST.json", "MODEL_CARD.md"}


def test_the_card_and_the_manifest_state_the_cost_of_training_up_to_that_checkpoint(run, tmp_path):
    card = export.export(run, tmp_path / "agent").read_text()
    training = json.loads((tmp_path / "agent/MANIFEST.json").read_text())["training"]
    assert training == {
        "steps": 20, "games": 200, "positions": 1400, "minutes": 4.0, "parts": 2, "cores": 2,
        "cpu_minutes": 8.1,
    }  # fmt: skip
    assert "| positions | 1,400 |" in card
    assert export.STRENGTH in card


def test_a_checkpoint_moved_out_of_its_run_is_exported_without_the_totals(run, tmp_path):
    lonely = tmp_path / "elsewhere/checkpoints/step_000020"
    lonely.parent.mkdir(parents=True)
    (run / "checkpoints/step_000020").rename(lonely)
    export.export(lonely, tmp_path / "agent")
    assert json.loads((tmp_path / "agent/MANIFEST.json").read_text())["training"] == {"steps": 20}


def test_an_agent_trained_with_heads_is_exported_with_them_and_plays_without(tmp_path):
    config = replace(CONFIG, network=replace(SMALL, heads={"reply": 0.15}))
    weights = arrays(network.build(GAME, config.network, seed=1).state_dict())
    checkpoint.save(tmp_path / "run", 20, weights, {}, config)
    export.export(tmp_path / "run", tmp_path / "agent")
    assert checkpoint.load(tmp_path / "agent").weights.keys() == weights.keys()
    plain = {name: array for name, array in weights.items() if not name.startswith("heads.")}
    checkpoint.save(tmp_path / "plain", 20, plain, {}, CONFIG)
    one, other = (load_agent(tmp_path / name).analyse("15") for name in ("agent", "plain"))
    assert one == other


def training_of(folder):
    return json.loads((folder / "MANIFEST.json").read_text())["training"]


def test_a_run_is_found_from_within_and_its_metrics_may_be_torn(run, tmp_path, monkeypatch):
    export.export(run, tmp_path / "agent")
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 31, "ga')
    monkeypatch.chdir(run / "checkpoints")
    export.export(Path("step_000020"), tmp_path / "again")
    assert training_of(tmp_path / "again") == training_of(tmp_path / "agent")


def test_metrics_of_many_gigabytes_are_refused_before_they_are_read(run, tmp_path):
    with (run / "metrics.jsonl").open("r+b") as file:
        file.truncate(metrics_file.LARGEST + 1)  # a hole, which takes no room
    with pytest.raises(ValueError, match=r"metrics\.jsonl has 2,147,483,649 bytes, should have at"):
        export.export(run, tmp_path / "agent")


def test_exporting_an_exported_agent_keeps_the_totals_of_its_training(run, tmp_path):
    export.export(run, tmp_path / "agent")
    for name, half in (("half", True), ("half_again", False)):
        card = export.export(tmp_path / "agent", tmp_path / name, half).read_text()
        assert training_of(tmp_path / name) == training_of(tmp_path / "agent")
    assert "stored in float32" in card
    card = export.export(tmp_path / "half", tmp_path / "as_it_was").read_text()
    assert "stored in float16" in card


def test_a_card_that_states_a_strength_is_not_overwritten(run, tmp_path):
    card = export.export(run, tmp_path / "agent")
    assert export.export(run, tmp_path / "agent") == card
    blank = card.read_text()
    for strength in ("Good.", "4.5 % mistakes. Against humans: Not measured yet."):
        written = blank.replace(export.UNKNOWN_STRENGTH, strength)
        card.write_text(written)
        with pytest.raises(ValueError, match="remove it first"):
            export.export(run, tmp_path / "agent")
        assert card.read_text() == written


@pytest.fixture
def second(run, tmp_path):
    """A run of 10 steps whose initial weights are those of ``run``."""
    path = tmp_path / "second"
    config = replace(CONFIG, training=TrainingSettings(initial_weights=str(run)))
    checkpoint.save(path, 10, checkpoint.load(run).weights, {}, config)
    (path / "metrics.jsonl").write_text(json.dumps(line(10, 2.5, 1000)))
    return path


@pytest.mark.parametrize("exported", [False, True])
def test_an_agent_with_anothers_initial_weights_names_it_and_adds_its_totals(
    exported, run, second, tmp_path
):
    export.export(run, tmp_path / "first")
    if exported:
        shutil.rmtree(run)
        (tmp_path / "first").rename(run)
    card = export.export(second, tmp_path / "agent").read_text()
    assert f"It began with the weights of `{run}`. Their training is counted below." in card
    assert "takes that file together with `training.initial_weights=`" in card
    assert "| positions | 2,100 |" in card
    figures = training_of(tmp_path / "agent")
    assert figures.pop("began_with") == {
        "path": str(run), "steps": 20, "games": 200, "positions": 1400, "minutes": 4.0,
        "parts": 2, "cores": 2, "cpu_minutes": 8.1,
    }  # fmt: skip
    assert figures == {
        "steps": 30, "games": 300, "positions": 2100, "minutes": 6.5, "parts": 3,
        "cpu_minutes": 13.1,
    }  # fmt: skip


def save_stages(run, folder, first, second):
    """``folder/first``, trained in one game, and ``folder/second``, begun with it, in another."""
    weights, source = checkpoint.load(run).weights, folder / "first"
    checkpoint.save(source, 5, weights, {}, replace(CONFIG, game=first))
    begun = TrainingSettings(initial_weights=str(source))
    config = replace(CONFIG, game=second, training=begun)
    checkpoint.save(folder / "second", 10, weights, {}, config)


def test_an_agent_whose_initial_weights_were_trained_in_another_game_names_that_game(run, tmp_path):
    source, other = str(tmp_path / "first"), "gomoku:size=3,length=3"
    save_stages(run, tmp_path, other, CONFIG.game)
    sentence = f"the weights of `{source}`, trained in `{other}`. Their training"
    for run_or_agent, agent in (("second", "agent"), ("agent", "again")):
        card = export.export(tmp_path / run_or_agent, tmp_path / agent).read_text()
        assert sentence in card
        assert training_of(tmp_path / agent)["began_with"] == {
            "path": source, "game": other, "steps": 5,
        }  # fmt: skip


def test_the_same_game_in_another_spelling_is_not_named_as_another_one(run, tmp_path):
    other_spelling = "gomoku:length=3,size=3,exact=false"
    save_stages(run, tmp_path, "gomoku:size=3,length=3", other_spelling)
    export.export(tmp_path / "second", tmp_path / "agent")
    assert "game" not in training_of(tmp_path / "agent")["began_with"]


def test_a_game_that_only_a_folder_names_is_not_imported_to_compare_it(run, tmp_path, monkeypatch):
    (tmp_path / "stranger.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    save_stages(run, tmp_path, "stranger:Game:size=3", "stranger:Game:size=4")
    export.export(tmp_path / "second", tmp_path / "agent")
    assert training_of(tmp_path / "agent")["began_with"]["game"] == "stranger:Game:size=3"
    assert "stranger" not in sys.modules


@pytest.mark.parametrize(("stated", "kept"), [(3, None), ("x\n\x1b[2J", "x ?[2J"), ("go", "go")])
def test_the_game_of_the_initial_weights_is_one_line_of_text_or_left_out(
    stated, kept, run, tmp_path
):
    export.export(run, tmp_path / "agent")
    training = training_of(tmp_path / "agent") | {"began_with": {"path": "a", "game": stated}}
    made_up_folders.seal(tmp_path / "agent", training=training)
    card = export.export(tmp_path / "agent", tmp_path / "again").read_text()
    assert training_of(tmp_path / "again")["began_with"].get("game") == kept
    assert (f"trained in `{kept}`" in card) == (kept is not None)


def test_unknown_totals_of_the_initial_weights_are_left_out(run, second, tmp_path):
    # The CPU time of the first run is not recorded, so the sum is unknown too.
    text = (run / "metrics.jsonl").read_text().replace("cpu_minutes", "something_else")
    (run / "metrics.jsonl").write_text(text)
    export.export(second, tmp_path / "agent")
    assert "cpu_minutes" not in training_of(tmp_path / "agent")
    assert training_of(tmp_path / "agent")["steps"] == 30
    shutil.rmtree(run)
    card = export.export(second, tmp_path / "agent").read_text()
    assert "Their training is not counted: there is no record of it." in card
    assert training_of(tmp_path / "agent")["began_with"] == {"path": str(run)}
    assert training_of(tmp_path / "agent")["steps"] == 10


def test_half_takes_half_the_space_and_changes_little(run, tmp_path):
    sizes, outputs = [], []
    observations = torch.from_numpy(GAME.observe(GAME.step(GAME.initial(9), np.arange(9))))
    for half in (False, True):
        folder = tmp_path / f"agent_{half}"
        export.export(run, folder, half)
        module = network.build(GAME, SMALL, seed=0).eval()
        load(module, checkpoint.load(folder).weights)
        with torch.no_grad():
            outputs.append(module(observations)[0])
        tensors = checkpoint.load(folder).weights.values()
        sizes.append(sum(array.nbytes for array in tensors if array.dtype.kind == "f"))
    assert sizes[1] * 2 == sizes[0]
    assert 0 < (outputs[0] - outputs[1]).abs().max() < 0.01


def test_weights_too_large_for_float16_are_refused_by_name(run, tmp_path):
    weights = checkpoint.load(run).weights
    name = next(name for name in weights if name.endswith("running_var"))
    weights[name] = np.full_like(weights[name], 1e6)
    checkpoint.save(run, 25, weights, {}, CONFIG)
    with pytest.raises(ValueError, match=f"float16 cannot hold {name}"):
        export.export(run, tmp_path / "agent", half=True)


def test_an_agent_is_replaced_but_no_other_folder_is(run, tmp_path):
    export.export(run, tmp_path / "agent")
    export.export(run, tmp_path / "agent")
    for folder in (run, run / "checkpoints/step_000020"):
        with pytest.raises(ValueError, match="holds something already"):
            export.export(run, folder)
    assert checkpoint.load_state(run) == {"seconds": 240.0}


def test_an_exported_agent_cannot_be_resumed(run, tmp_path):
    export.export(run, tmp_path / "agent")
    with pytest.raises(ValueError, match="plays, but cannot be resumed"):
        checkpoint.load_state(tmp_path / "agent")


def test_the_command_exports_and_answers_bad_input_in_one_line(run, tmp_path, capsys):
    assert cli.main(["export", str(run), "--to", str(tmp_path / "agent")]) == 0
    assert "MODEL_CARD.md" in capsys.readouterr().out
    assert cli.main(["export", str(tmp_path / "none"), "--to", str(tmp_path / "b")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_agent_of_an_untrained_run_is_exported_with_a_warning_and_an_honest_card(
    tmp_path, capsys
):
    weights = arrays(network.build(GAME, SMALL, seed=1).state_dict())
    checkpoint.save(tmp_path / "run", 0, weights, {}, CONFIG)
    assert cli.main(["export", str(tmp_path / "run"), "--to", str(tmp_path / "agent")]) == 0
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning == (
        f"warning: {tmp_path / 'run'} was not trained: after 0 optimizer steps its agent plays "
        "with random weights"
    )
    card = (tmp_path / "agent/MODEL_CARD.md").read_text()
    assert "An agent of tic_tac_toe that was not trained: its weights are random." in card
    assert "learned" not in card.partition("## How trained")[0]


def test_a_trained_agent_is_exported_without_a_warning(run, tmp_path, capsys):
    assert cli.main(["export", str(run), "--to", str(tmp_path / "agent")]) == 0
    assert capsys.readouterr().err == ""


def test_a_measured_agents_card_has_its_results_and_the_commands_that_repeat_them(
    run, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("alphazero.agents.SIMULATIONS", 10)
    monkeypatch.setattr("workers.runs.strength.OPPONENTS", ("random", "minimax:depth=9"))
    folder = tmp_path / "my agent"
    assert cli.main(["export", str(run), "--to", str(folder), "--measure", "6"]) == 0
    card = (folder / "MODEL_CARD.md").read_text()
    capsys.readouterr()
    assert export.UNKNOWN_STRENGTH not in card
    commands = [line.strip() for line in card.splitlines() if line.startswith("    alphazero ")]
    for opponent, command in zip(("random", "minimax:depth=9"), commands, strict=True):
        assert cli.main([*shlex.split(command)[1:], "--json", "-"]) == 0
        again = json.loads(capsys.readouterr().out)["players"][0]
        counts = " | ".join(str(again[key]) for key in ("wins", "draws", "losses"))
        assert f"| {opponent} | 6 games | {counts} | {again['elo']:+.0f} (" in card
        points = round(100 * again["score"], 1)
        assert cards.Result("points", points, "% of the points, 10 simulations", opponent) in (
            cards.results(card)
        )
    assert [result.against for result in cards.results(card)] == ["minimax:depth=9", "random"]
    assert cli.main(["export", str(run), "--to", str(folder)]) == 2
    assert "states how strong its agent is" in capsys.readouterr().err


def test_the_metadata_of_a_card_are_those_that_the_hub_reads(run, tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    card = export.export(run, tmp_path / "agent").read_text()
    data = hub.ModelCard(card).data
    assert (data.license, data.library_name) == ("apache-2.0", "distributed-alphazero")
    assert data.tags is not None
    assert {"alphazero", "tic_tac_toe"} <= set(data.tags)
    assert data.eval_results is None
    measured = [
        cards.Result("elo", 1650.0, "Elo, 600 simulations", "ladder: of 'x' #1"),
        cards.Result("points", 97.5, "% of the points", "random"),
    ]
    again = hub.ModelCard(cards.with_results(card, measured, "tic_tac_toe")).data.eval_results
    assert again is not None
    assert [(r.metric_type, r.metric_value, r.metric_name, r.dataset_name) for r in again] == [
        tuple(result) for result in measured
    ]


def test_a_measured_agent_of_a_game_with_a_ladder_is_rated_on_it(tmp_path, monkeypatch):
    from workers.runs import strength

    monkeypatch.setattr("alphazero.agents.SIMULATIONS", 10)
    monkeypatch.setattr(strength, "OPPONENTS", ())
    folder = tmp_path / "agent"
    game = games.make("connect_four")
    weights = arrays(network.build(game, SMALL, seed=1).state_dict())
    checkpoint.save(tmp_path / "run", 1, weights, {}, replace(CONFIG, game=game.name))
    export.export(tmp_path / "run", folder)
    reported = []
    text, (rated,) = strength.measure(game, folder, 2, lambda *report: reported.append(report))
    assert re.search(r"Elo on the ladder of connect_four: -?\d+ \(.* to .*; 2 games\)\.", text)
    assert "    alphazero ladder connect_four checkpoint:path=" in text
    assert reported[-1] == ("ladder", 2, 2)
    assert f"Elo on the ladder of connect_four: {rated.value:.0f} (" in text
    assert str(rated).endswith(" Elo, 10 simulations: ladder of connect_four")


def test_a_game_of_the_users_own_is_imported_for_a_measurement_only_where_it_is_allowed(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "strange.py").write_text("raise SystemExit('imported')")
    weights = arrays(network.build(GAME, SMALL, seed=1).state_dict())
    checkpoint.save(tmp_path / "run", 1, weights, {}, replace(CONFIG, game="strange:Game"))
    words = ["export", str(tmp_path / "run"), "--to", str(tmp_path / "agent"), "--measure", "2"]
    assert cli.main(words) == 2
    assert "add --allow strange:Game" in capsys.readouterr().err
    assert not (tmp_path / "agent").exists()
    with pytest.raises(SystemExit, match="imported"):
        cli.main([*words, "--allow", "strange:Game"])
