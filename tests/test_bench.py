"""The benchmarks: their counts and their figures."""

import ast
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import games
from alphazero import evaluators, network
from alphazero.config import NetworkSettings
from alphazero.search.gumbel import Gumbel
from alphazero.types import Evaluation
from workers import cli
from workers.bench import inference, measuring, move

SMALL = ("config=tic_tac_toe", "blocks=1", "channels=8", "batch=8", "seconds=0.2", "threads=1")


def figures(capsys, what: str, *options: str) -> dict:
    assert cli.main(["bench", what, *SMALL, *options, "--json", "-"]) == 0
    return json.loads(capsys.readouterr().out)


def test_without_a_terminal_each_part_of_a_measurement_is_a_line_once(capsys):
    with measuring.reporting() as report:
        for text in ("warming up", "warming up", "measuring"):
            report(text)
    assert capsys.readouterr() == ("", "warming up\nmeasuring\n")


SCRIPTS = [
    path
    for path in sorted((Path(__file__).parent / "benchmarks").glob("*.py"))
    if "__main__" in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_every_script_of_measurements_reads_its_words_with_a_parser_that_knows_help(script):
    parsers = [
        node for node in ast.walk(ast.parse(script.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("ArgumentParser")
    ]  # fmt: skip
    assert len(parsers) == 1


def test_operations_equal_the_hand_count():
    # A 3x3 kernel on a 6x7 board: rows 1 and 6 miss a third of it, and so do columns 1 and 7.
    convolution = nn.Conv2d(2, 5, 3, padding=1, bias=False)
    assert inference.operations(convolution, (2, 6, 7)) == 2 * (16 * 19) * 2 * 5
    pointwise = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(8, 6))
    assert inference.operations(pointwise, (3, 2, 1)) == 2 * (2 * 12 + 48)


def test_operations_with_the_border_are_left_out_of_torchs_count():
    from torch.utils.flop_counter import FlopCounterMode

    game = games.make("connect_four")
    module = network.build(game, NetworkSettings(), seed=0).eval()
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        module(torch.zeros(1, *game.observation_shape))
    needed, all_of_them = inference.operations(module, game.observation_shape), 31.3e6
    assert counted.get_total_flops() == pytest.approx(all_of_them, rel=0.01)
    assert needed == pytest.approx(all_of_them * (16 * 19) / (18 * 21), rel=0.01)


def test_inference_compares_every_backend_with_eager_torch_and_with_a_matrix_product(capsys):
    results = figures(capsys, "inference", "inference.device=cpu")
    names = set(results["backends"])
    assert {"torch_float32", "torch_bfloat16"} <= names
    for key in ("ratio_to_eager", "fraction_of_matmul", "swap_seconds"):
        assert results[key].keys() == names
        assert all(value > 0 for value in results[key].values())
    eager = results["eager_evaluations_per_second"]
    for name, rate in results["backends"].items():
        assert results["ratio_to_eager"][name] == pytest.approx(rate / eager)
    assert results["evaluations_per_second"] == max(results["backends"].values())


def test_move_measures_players_with_several_leaves_and_with_one(capsys):
    results = figures(capsys, "move", "simulations=100", "inference.device=cpu")
    assert (results["simulations"], results["leaves"], results["threads"]) == (100, 2, 1)
    assert 0 < results["milliseconds_per_move"] <= results["milliseconds_95th_percentile"]
    assert results["moves"] > 0
    assert 0 < results["evaluations_per_move"] <= 101


class Counting:
    """A uniform evaluator that records its batches."""

    def __init__(self, game):
        self.game, self.batches = game, []

    def __call__(self, states) -> Evaluation:
        self.batches.append(states)
        return evaluators.uniform(self.game)(states)


def test_moves_are_timed_from_the_first_of_a_game_on_and_games_follow_each_other():
    game = games.make("tic_tac_toe")
    counting = Counting(game)
    played = move._Games(game, Gumbel(simulations=8).without_noise(), counting)
    counting.batches.clear()
    for _ in range(12):
        played.move(0)
    assert len(played.seconds) == 12
    assert played.evaluations == sum(map(len, counting.batches))
    starts = [batch for batch in counting.batches if (batch == game.initial(1)[0]).any()]
    # A game of tic-tac-toe has at most five moves of the first player, each with its own search.
    assert 3 <= len(starts) <= 4
    assert np.percentile(played.seconds, 50) * 1000 == pytest.approx(played.milliseconds(50))


@pytest.mark.parametrize(
    "what", [pytest.param("inference", marks=pytest.mark.slow), "search", "train"]
)
def test_a_run_with_own_network_encoder_and_search_can_be_measured(capsys, what):
    chosen = (
        "config=tic_tac_toe", "batch=8", "seconds=0.1", "threads=1", "selfplay.games=4",
        "network={kind: made_up_networks:Own, encoder: made_up_encoders:Corners}",
        "search={kind: puct, simulations: 1}",
    )  # fmt: skip
    assert cli.main(["bench", what, *chosen, "--json", "-"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert results["network"] == "made_up_networks:Own"


def test_training_with_auxiliary_heads_can_be_measured(capsys):
    results = figures(capsys, "train", "network.heads={reply: 1, moves_left: 1}")
    assert results["samples_per_second"] > 0
