"""Programs that speak UCI as players; the parts that they share with GTP are tested there."""

import os
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from made_up_engine import OverUci

import games
from alphazero.judging import arena, players
from alphazero.judging.decisions import Decision, Player
from alphazero.judging.engines import notation, process, uci

ENGINE = Path(__file__).parent / "made_up_engine.py"
MADE_UP = f"{shlex.quote(sys.executable)} {ENGINE} uci over_uci"
PLACES = os.environ.get("PATH", "") + ":/usr/games"


def needs(program, game):
    missing = shutil.which(program, path=PLACES) is None
    reason = f"the program {program} is not installed" if missing else f"no game {game}"
    return pytest.mark.skipif(missing or game not in games.registered(), reason=reason)


def made_up(failure="", more=""):
    return players.make(f'uci:cmd="{MADE_UP} {failure}"{more}', OverUci(), programs=True)


def match(game, player, number=2, opponent=None):
    played = []
    other = opponent or Player("first", lambda s, *_: Decision(game.legal(s).argmax(axis=1)))
    try:
        result = arena.play(game, [player, other], number, 0, 0, record=played.append)
    finally:
        player.close()
    return result, played


@pytest.mark.parametrize("failure", ["", "banner"])
def test_a_program_plays_the_first_legal_moves(failure):
    result, played = match(OverUci(), made_up(failure, ",processes=1"), 4)
    assert {tuple(one["moves"]) for one in played} == {(1, 2, 3, 4, 5, 6, 7)}
    assert (result.programs, result.forfeits) == (("made up 0.1", ""), ())


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        ("late", "gave no answer within 1 s"),
        ("stopped", "gave no answer within 1 s"),
        ("dies", "ended with status 1: a reason on the error output"),
        ("killed", "was ended by SIGKILL"),
        ("escape", "answered '?[2J', which is no move"),
        ("floods", "wrote more than 50,000 lines in one answer"),
        ("endless", "wrote a line of more than 65,536 bytes"),
        ("illegal", "played a1, which is illegal"),
        ("none", "answered '(none)', which is no move"),
    ],
)
def test_a_program_that_fails_loses_that_game_with_the_reason(failure, reason):
    seconds = 1 if "within 1 s" in reason else 50
    result, played = match(OverUci(), made_up(failure, f",seconds={seconds},processes=1"))
    assert result.forfeits == (arena.Forfeits(0, reason, 2),)
    assert [one["result"]["reason"] for one in played] == ["forfeit"] * 2
    assert [(one.wins, one.losses) for one in result.players] == [(0, 2), (2, 0)]


@pytest.mark.parametrize(
    ("failure", "more", "complaint"),
    [
        ("", ",options=Hash=10", "it has no Hash '10': it is 1 to 9"),
        ("", ",options=Hash=many", "it has no Hash 'many': it is a whole number"),
        ("", ",options=Style=wild", "it has no Style 'wild': did you mean 'very wild'?"),
        ("", ",options=Hashes=3", "it has no option 'Hashes'; did you mean 'Hash'?"),
        ("", ",options=Hash", "options are written Name=value;Name=value, not 'Hash'"),
        ("", ",skill=3", "it has no option 'Skill Level'"),
        ("", ",variant=atomic", "it has no UCI_Variant 'atomic'"),
        (
            "no_variants",
            ",variant=breakthrough",
            "it plays chess only, not breakthrough: it has no "
            "option 'UCI_Variant'; Fairy-Stockfish has variants",
        ),
        ("ignores_variant", "", "it begins with the position 8/8 w - - 0 1, not rnbqkbnr"),
    ],
)
def test_a_program_without_the_option_or_the_variant_is_refused_before_the_match(
    failure, more, complaint
):
    with pytest.raises(ValueError, match=re.escape(complaint)) as raised:
        made_up(failure, more)
    assert "\n" not in str(raised.value)
    assert "\x1b" not in str(raised.value)


def test_options_and_limits_are_sent_as_they_were_given(tmp_path):
    log = tmp_path / "log"
    player = made_up(
        f"log={log}", ",options='hash=3;Style=very wild;clear=',nodes=50,depth=2,processes=1"
    )
    match(OverUci(), player, 1)
    lines = log.read_text().splitlines()
    assert "setoption name Hash value 3" in lines
    assert "setoption name Style value very wild" in lines
    assert "setoption name Clear" in lines  # a button has no value
    assert [line for line in lines if line.startswith("go")] == ["go nodes 50 depth 2"] * 4
    assert "position startpos moves a1 a2" in lines
    player = made_up(f"log={log}", ",processes=1")
    match(OverUci(), player, 1)
    assert log.read_text().splitlines()[-1] == "go movetime 900"


def test_only_games_that_uci_has_are_played_by_it():
    game = games.make("connect_four")
    assert notation.uci_variant(game) is None
    for convert, move in ((notation.to_uci, 0), (notation.from_uci, "a1")):
        with pytest.raises(ValueError, match="UCI is for chess and breakthrough"):
            convert(game, game.initial(1)[0], move)


@needs("stockfish", "chess")
def test_games_of_chess_against_stockfish_end_without_a_forfeit():
    game = games.make("chess")
    player = players.make("uci:cmd=stockfish,skill=0,nodes=200", game, programs=True)
    result, played = match(game, player, 2, players.make("random", game))
    assert result.forfeits == ()
    assert result.programs[0].startswith("Stockfish")
    assert {one["result"]["reason"] for one in played} <= {"rules", "length"}
    assert result.players[0].wins == 2


@needs("fairy-stockfish", "breakthrough")
def test_games_of_breakthrough_against_fairy_stockfish_end_without_a_forfeit():
    game = games.make("breakthrough")
    player = players.make("uci:cmd=fairy-stockfish,nodes=500", game, programs=True)
    result, _ = match(game, player, 4, players.make("random", game))
    assert result.forfeits == ()
    assert result.programs[0].startswith("Fairy-Stockfish")
    assert result.players[0].wins == 4


@needs("stockfish", "breakthrough")
def test_stockfish_is_refused_as_a_player_of_breakthrough():
    with pytest.raises(ValueError, match="it plays chess only, not breakthrough"):
        players.make("uci:cmd=stockfish", games.make("breakthrough"), programs=True)


@pytest.mark.skipif(
    shutil.which("fairy-stockfish", path=PLACES) is None, reason="it is not installed"
)
def test_a_variant_that_fairy_stockfish_lacks_is_refused():
    command = process.split_command("fairy-stockfish")
    with pytest.raises(process.EngineFailure, match="has no UCI_Variant 'breakthru'"):
        uci.UciEngine(OverUci(), command, {}, variant="breakthru").begin()
    with pytest.raises(process.EngineFailure, match="begins with the position pppppppp/"):
        uci.UciEngine(OverUci(), command, {}, variant="breakthrough").begin()
