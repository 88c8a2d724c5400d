"""Programs as the rungs of a ladder: which are started, which are left out, and lost games."""

import re
from dataclasses import replace

import pytest
from test_engines_gtp import MADE_UP, left_running

import games
from alphazero.judging import calibration, ladder, players
from alphazero.judging.ladder import Ladder, Rung
from workers import cli

GAME = games.make("tic_tac_toe")


def with_program(command, tmp_path, monkeypatch):
    """A ladder of random and a program, which is the package's own."""
    spec = f'gtp:cmd="{command}",processes=1'
    rungs = (Rung("random", 0.0, 0.0, 0), Rung(spec, 10.0, 0.0, 0))
    made = Ladder(GAME.name, 0, 2, ("51", "15"), rungs, (), balanced=False, pairing_games=2)
    monkeypatch.setattr(ladder, "FOLDER", tmp_path)
    ladder.save(made, tmp_path / "tic_tac_toe.json")
    return made


def test_a_program_of_the_packages_own_ladder_is_a_rung(tmp_path, monkeypatch):
    made = with_program(f"{MADE_UP} gtp tic_tac_toe", tmp_path, monkeypatch)
    *_, measured = calibration.calibrate(GAME, calibration.blank(GAME, made))
    assert [rung.games for rung in measured.rungs] == [2, 2]
    rating = ladder.rate(GAME, players.make("solver", GAME), measured, 40)
    assert (rating.skipped, rating.forfeits) == ((), ())
    assert {record.name for record in rating.opponents} == {rung.player for rung in made.rungs}
    assert left_running("made_up_engine.py gtp tic_tac_toe") == []


def test_a_program_that_only_another_file_names_is_not_started(tmp_path, monkeypatch):
    target = tmp_path / "started"
    made = with_program(f"{MADE_UP} gtp tic_tac_toe", tmp_path, monkeypatch)
    rungs = (made.rungs[0], Rung(f"gtp:cmd=touch {target}", 0.0, 0.0, 0))
    ladder.save(replace(made, rungs=rungs), tmp_path / "other.ladder")
    given = ladder.load(GAME, tmp_path / "other.ladder")
    for start in (
        lambda: ladder.rate(GAME, players.make("random", GAME), given, 40),
        lambda: list(calibration.calibrate(GAME, given)),
    ):
        with pytest.raises(ValueError, match="gtp starts a program"):
            start()
    assert not target.exists()


def test_a_rung_whose_program_is_not_installed_is_left_out_of_a_rating_with_a_line(
    tmp_path, monkeypatch, capsys
):
    made = with_program("no-such-program", tmp_path, monkeypatch)
    assert cli.main(["ladder", "tic_tac_toe", "random", "--games", "40"]) == 0
    shown = capsys.readouterr()
    (line,) = [line for line in shown.err.splitlines() if line.startswith("left out: ")]
    assert "there is no program 'no-such-program'" in line
    assert "40 games" in shown.out
    with pytest.raises(ladder.ProgramMissing, match="there is no program"):
        list(calibration.calibrate(GAME, made))
    with pytest.raises(ladder.ProgramMissing, match="there is no program"):
        ladder.rate(GAME, players.make("random", GAME), replace(made, rungs=made.rungs[1:]), 40)


def test_the_list_of_a_ladder_names_the_programs_that_are_missing(tmp_path, monkeypatch, capsys):
    with_program("no-such-program", tmp_path, monkeypatch)
    assert cli.main(["ladder", "tic_tac_toe"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.endswith("out: there is no program 'no-such-program'")
    assert 'a rating leaves gtp:cmd="no-such-program",processes=1 out' in said
    with_program(f"{MADE_UP} gtp tic_tac_toe", tmp_path, monkeypatch)
    assert cli.main(["ladder", "tic_tac_toe"]) == 0
    assert "leaves" not in capsys.readouterr().out


def test_the_rungs_of_a_file_are_shown_in_one_line_and_not_looked_for(
    tmp_path, monkeypatch, capsys
):
    made = with_program(f"{MADE_UP} gtp tic_tac_toe", tmp_path, monkeypatch)
    hostile = Rung("gtp:cmd='\x1b]0;title\x07no-such'", 10.0, 0.0, 2)
    done = replace(made, rungs=(made.rungs[0], hostile), pairings=(ladder.Pairing(0, 1, 0, 1, 1),))
    ladder.save(done, tmp_path / "other.ladder")
    assert cli.main(["ladder", "tic_tac_toe", "--calibrate", str(tmp_path / "other.ladder")]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "no-such" in shown
    assert "leaves" not in shown


def test_a_game_that_a_program_forfeits_counts_in_a_rating_with_a_line_and_ends_a_calibration(
    tmp_path, monkeypatch
):
    made = with_program(f"{MADE_UP} gtp tic_tac_toe dies", tmp_path, monkeypatch)
    rating = ladder.rate(GAME, players.make("solver", GAME), made, 40)
    (line,) = rating.forfeits
    assert re.match(r"\d+ games, gtp:cmd=.*: it ended with status 1", line)
    with pytest.raises(ValueError, match=r"would distort the Elo: gtp:cmd=.*: it ended with"):
        list(calibration.calibrate(GAME, made))


def test_games_against_rungs_that_can_no_longer_be_started_are_rated(tmp_path, monkeypatch):
    made = with_program(f"{MADE_UP} gtp tic_tac_toe", tmp_path, monkeypatch)
    made, make, starts = replace(made, rungs=made.rungs[1:]), players.make, []

    def once(spec, game, **trust):
        starts.append(spec)
        if len(starts) > 1:
            raise ValueError("there is no program any more")
        return make(spec, game, **trust)

    solver = players.make("solver", GAME)
    monkeypatch.setattr(players, "make", once)
    rating = ladder.rate(GAME, solver, made, 40)
    assert (rating.games, rating.opponents[0].wins > 0) == (20, True)
    assert rating.skipped == ("there is no program any more",)


def test_a_rung_without_a_number_of_processes_starts_two_at_most(tmp_path, monkeypatch):
    spec = f'gtp:cmd="{MADE_UP} gtp tic_tac_toe"'
    made = with_program("unused", tmp_path, monkeypatch)
    ladder.save(replace(made, rungs=(Rung(spec, 0.0, 0.0, 0),)), tmp_path / "tic_tac_toe.json")
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    started, make = [], players.make
    monkeypatch.setattr(
        players,
        "make",
        lambda spec, *rest, **more: started.append(spec) or make(spec, *rest, **more),
    )
    with ladder.opponent(GAME, spec) as player:
        assert player.name == spec
    assert started == [f"{spec},processes=2"]
