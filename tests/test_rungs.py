"""The opponents and the judge of the rungs: the rules, the openings, and who plays which side."""

import shlex
import subprocess
import sys
from argparse import Namespace
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from test_engines_gtp import needs

import games
from alphazero.judging import arena, players
from games.history import replay

FOLDER = Path(__file__).parent / "benchmarks"
PROGRAM = f"{shlex.quote(sys.executable)} {FOLDER / 'opponents.py'}"


@pytest.fixture
def rungs(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import rungs

    return rungs


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("hex:size=5,swap=false", "open_spiel --game hex(board_size=5) --simulations 20"),
        ("gomoku:size=6,length=4", "open_spiel --game mnk(m=6,n=6,k=4) --simulations 20"),
        ("othello", "rust_reversi --depth 1 --evaluator moves"),
        pytest.param(
            "go:size=5", "reseeded gnugo --mode gtp --level 1 --positional-superko --never-resign",
            marks=needs("gnugo"),
        ),
    ],
)  # fmt: skip
def test_games_against_an_opponent_of_another_library_end_by_the_rules(spec, words):
    for library, name in (("open_spiel", "pyspiel"), ("rust_reversi", "rust_reversi")):
        if words.startswith(library):
            pytest.importorskip(name, reason=f"{library} comes with the extra dev")
    seeded = words.replace(" ", " --seed 0 ", 1)
    game, played = games.make(spec), []
    player = players.make(f'gtp:cmd="{PROGRAM} {seeded}"', game, programs=True)
    pair = [player, players.make("random", game)]
    result = arena.play(game, pair, 6, 0, record=played.append)
    player.close()
    assert result.forfeits == ()
    assert {one["result"]["reason"] for one in played} <= {"rules", "length"}
    assert result.players[0].wins >= 3


def test_an_opponent_refuses_another_board_before_the_match():
    pytest.importorskip("pyspiel", reason="open_spiel comes with the extra dev")
    with pytest.raises(ValueError, match="unacceptable size"):
        players.make(
            f'gtp:cmd="{PROGRAM} open_spiel --game hex(board_size=5) --simulations 9"',
            games.make("hex:size=7,swap=false"),
            programs=True,
        )


def test_the_first_stones_that_win_in_hex_are_27_of_49_and_symmetric_under_a_half_turn(rungs):
    won = rungs.hex_won()
    assert won == won[::-1]
    assert (len(won), sum(won)) == (49, 27)


def test_in_hex_a4_wins_and_d1_loses_and_rows_and_columns_are_not_exchanged(rungs):
    game = games.make("hex:size=7,swap=false")
    cells = [game.text_to_action(text) for text in ("a4", "d1")]
    assert [rungs.hex_won()[cell] for cell in cells] == [True, False]


def test_in_hex_the_agent_plays_the_side_that_wins_from_every_opening_twice(rungs):
    game = games.make("hex:size=7,swap=false")
    sides = {}
    for group in rungs.groups("hex_7x7", game, 98, 0):
        assert not group.swap
        sides |= {(cell, group.agent_first): n for (cell,), n in Counter(group.openings).items()}
    assert sides == {(cell, won): 2 for cell, won in enumerate(rungs.hex_won())}


def test_openings_in_go_are_two_stones_each_played_with_both_colours(rungs):
    game = games.make("go:size=7,komi=9")
    (group,) = rungs.groups("go_7x7", game, 40, 1)
    assert group.swap
    assert group.openings[::2] == group.openings[1::2]
    assert len(set(group.openings)) == 20
    for line in group.openings:
        assert np.abs(replay(game, [line])["cells"][0][:49]).astype(bool).sum() == 2


def test_a_value_is_counted_for_the_player_who_placed_the_stone(rungs):
    # Nine points are fewer than the komi: Black has won whatever is played, or has lost.
    for komi, won in ((-20, True), (20, False)):
        game = games.make(f"go:size=3,komi={komi}")
        player = players.make("mcts:simulations=50", game)
        assert "9 of 9 openings" in rungs.signs(game, player, [won] * 9)


def test_simulations_are_added_to_a_text_that_has_none(rungs):
    assert rungs.with_simulations("mcts", 50) == "mcts:simulations=50"
    assert rungs.with_simulations("mcts:simulations=8", None) == "mcts:simulations=8"
    with pytest.raises(ValueError, match="has simulations already: leave --simulations out"):
        rungs.with_simulations("mcts:simulations=8", 50)
    assert rungs.with_simulations("minimax:depth=2", None) == "minimax:depth=2"
    written = rungs.with_simulations("checkpoint:path='a,b'", 5)
    assert players.parse(written)[1] == {"path": "a,b", "simulations": "5"}


def opponent(words, commands):
    """The output of ``opponents.py`` for these lines, and its error output."""
    command = [sys.executable, str(FOLDER / "opponents.py"), *words]
    done = subprocess.run(command, input=commands, capture_output=True, text=True, timeout=60)
    return done.stdout, done.stderr


def test_an_empty_line_is_no_command():
    pytest.importorskip("rust_reversi", reason="rust_reversi comes with the extra dev")
    shown = opponent(["rust_reversi", "--depth", "1"], "\n1 protocol_version\n2 quit\n")
    assert shown == ("=1 2\n\n=2 \n\n", "")


def test_reseeded_without_a_program_or_with_one_that_takes_no_seed_ends_in_one_line():
    assert opponent(["reseeded"], "")[1].startswith("reseeded needs a program")
    words = ["reseeded", sys.executable, "-c", "input(); print('? unknown command\\n', flush=True)"]
    assert "takes no random seed: ? unknown command" in opponent(words, "1 genmove b\n")[1]


def test_a_rung_is_judged_by_one_command(rungs, monkeypatch, capsys, tmp_path):
    small = rungs.Rung("tic_tac_toe", "gtp:cmd=unused", 6, "100 %")
    monkeypatch.setitem(rungs.RUNGS, "small", small._replace(command="mcts:simulations=2"))
    monkeypatch.setattr(rungs, "with_processes", lambda rung, processes: rung.command)
    out = tmp_path / "games.jsonl"
    words = ["rungs.py", "small", "solver", "--games", "10", "--games-out", str(out)]
    monkeypatch.setattr(sys, "argv", words)
    rungs.main()
    *_, last = capsys.readouterr().out.splitlines()
    assert last.startswith("| small |")
    assert " 0 lost | " in last
    assert "| 10 | " in last
    assert len(out.read_text().splitlines()) == 10


def test_a_file_of_games_in_an_unsuitable_format_is_refused_before_a_game_is_played(
    rungs, monkeypatch, tmp_path
):
    monkeypatch.setattr(rungs, "entrants", None)
    options = Namespace(games=2, games_out=tmp_path / "games.sgf")
    with pytest.raises(ValueError, match="SGF is for go"):
        rungs.judge("breakthrough", options)


def test_an_odd_number_of_games_is_refused_where_colours_are_swapped(rungs, monkeypatch):
    monkeypatch.setattr(rungs, "entrants", None)
    with pytest.raises(ValueError, match="--games must be even, not 3: colours are swapped"):
        rungs.judge("breakthrough", Namespace(games=3, games_out=None))
