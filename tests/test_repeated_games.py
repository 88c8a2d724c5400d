"""Games and positions that repeat: what every command that compares players says of them."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

import games
from alphazero.judging import ratings, session
from alphazero.judging.arena import ArenaResult
from alphazero.judging.mistakes import Positions, evaluate, wilson
from alphazero.judging.players import make
from alphazero.judging.ratings import Standing
from workers import cli
from workers.runs import matches

POLICY = "policy:backend=torch,precision=float32,device=cpu"
ALIKE = ["arena", POLICY, POLICY, "--game", "tic_tac_toe", "--games", "100"]


def words_of(text):
    return " ".join(text.split())


def test_the_arena_counts_different_games_in_its_table_and_warns(capsys):
    assert cli.main([*ALIKE, "--opening-plies", "0"]) == 0
    captured = capsys.readouterr()
    assert "tic_tac_toe, 100 games, 1 different" in words_of(captured.out)
    assert "warning: only 1 of 100 games are different" in captured.err
    assert "more --opening-plies" in captured.err


def test_openings_of_the_usual_length_make_the_games_of_two_deterministic_players_differ(capsys):
    assert cli.main([*ALIKE, "--games", "160", "--fixed-seats", "--json", "-"]) == 0
    # There are 72 openings of two plies; without longer ones, 72 games would be different.
    assert json.loads(capsys.readouterr().out)["distinct_games"] > 130


def test_three_players_get_a_cross_table_and_two_do_not(capsys):
    three = ["random", "minimax:depth=1", "minimax:depth=9"]
    words = ["--game", "tic_tac_toe", "--games", "4", "--json", "-"]
    assert cli.main(["arena", *three, *words]) == 0
    captured = capsys.readouterr()
    table = captured.err[captured.err.index("points against each other") :]
    pairings = json.loads(captured.out)["pairings"]
    points = [pairing["wins"] + pairing["draws"] / 2 for pairing in pairings]
    rows = [line for line in table.splitlines() if re.match(r" *[123] ", line)]
    cells = [re.split(r"  +", row.strip()) for row in rows]
    assert cells[0] == ["1 random", "-", f"{points[0]:g}/4", f"{points[1]:g}/4"]
    assert cells[2] == ["3 minimax:depth=9", f"{4 - points[1]:g}/4", f"{4 - points[2]:g}/4", "-"]
    assert cli.main(["arena", *three[:2], *words]) == 0
    assert "points against each other" not in capsys.readouterr().err


def test_the_arena_writes_one_line_per_game(tmp_path, capsys):
    path = tmp_path / "games.jsonl"
    words = ["arena", "random", "minimax:depth=3", "--game", "tic_tac_toe", "--games", "6"]
    assert cli.main([*words, "--games-out", str(path), "--json", "-"]) == 0
    table = json.loads(capsys.readouterr().out)["players"][0]
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == 6
    game, wins = games.make("tic_tac_toe"), 0
    for number, line in enumerate(lines):
        assert line["seats"][number % 2] == "random"
        wins += session.load(line, game).result(number % 2) == 1
    assert wins == table["wins"]


@pytest.mark.parametrize("path", ["-", "nowhere/games.jsonl"])
def test_games_cannot_be_written_to_standard_output_or_to_a_missing_folder(path, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main([*ALIKE, "--games-out", path])
    assert ended.value.code == 2
    assert "argument --games-out: " in capsys.readouterr().err.splitlines()[-1]


def test_positions_that_a_file_repeats_count_once_in_the_interval(tmp_path, capsys):
    path = tmp_path / "positions.csv"
    row = "1425,1,,,1,,,0,-1,-1,-1\n"
    path.write_text("moves,best,c1,c2,c3,c4,c5,c6,c7,c8,c9\n" + 10 * row)
    words = ["evaluate", "tic_tac_toe", "--positions", str(path), "--player", "minimax:depth=9"]
    assert cli.main([*words, "--json", "-"]) == 0
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert (report["positions"], report["distinct_positions"]) == (10, 1)
    assert (report["low"], report["high"]) == pytest.approx(wilson(0, 1))
    assert "10 positions (1 different)" in words_of(captured.err)
    assert "warning: only 1 of 10 positions are different" in captured.err


def test_positions_that_differ_all_count():
    game = games.make("tic_tac_toe")
    states = game.step(game.initial(9), np.arange(9))
    scores = np.where(game.legal(states), 0, np.nan).astype(np.float32)
    report = evaluate(make("random", game), Positions(states, np.zeros(9, int), scores), game, 0)
    assert report["distinct_positions"] == 9
    assert report["high"] == pytest.approx(wilson(0, 9)[1])


def test_the_match_of_a_run_says_how_many_games_were_different():
    agent = Standing("agent", 100, 0, 0, 1.0, 921.0, -100.4, None)
    opponent = Standing("mcts", 0, 0, 100, 0.0, -921.0, None, 100.4)
    result = ArenaResult("tic_tac_toe", 100, (agent, opponent), 2)
    assert matches.summary(result) == (
        "100 wins, 0 draws and 0 losses against mcts (100% of the points, "
        "more than -100 Elo with 95 %; 100 games, 2 different)"
    )
    assert "(0% of the points, less than +100 Elo with 95 %; 100" in matches.summary(
        replace(result, players=(opponent, agent))
    )
    even = Standing("even", 50, 0, 50, 0.5, 0.0, -70.2, 70.2)
    assert "(50% of the points, +0 Elo, 95 % -70 to +70; 100" in matches.summary(
        replace(result, players=(even, even))
    )
    assert matches.as_metrics(result) == {
        "arena_score": 1.0, "elo": 921.0, "elo_low": -100.4, "arena_games": 100,
        "arena_distinct_games": 2,
    }  # fmt: skip


def test_numbers_of_games_are_written_with_their_different_ones_where_some_repeat():
    assert ratings.count_games(1, 1) == "1 game"
    assert ratings.count_games(2000, 2000) == "2,000 games"
    assert ratings.count_games(2000, 1234) == "2,000 games, 1,234 different"
