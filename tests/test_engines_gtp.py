"""Programs that speak GTP as players: what they are sent, how they fail, and matches with them."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from test_terminal import session as in_terminal

import games
from alphazero.judging import arena, decisions, players
from alphazero.judging.engines import gtp, notation, pool, process
from alphazero.judging.session import Reason, Session, load
from alphazero.types import Limits
from games.history import replay
from workers.commands.arena import entrants

MADE_UP = f"{shlex.quote(sys.executable)} {Path(__file__).parent / 'made_up_engine.py'}"
PLACES = os.environ.get("PATH", "") + ":/usr/games"


def needs(program):
    missing = shutil.which(program, path=PLACES) is None
    return pytest.mark.skipif(missing, reason=f"the program {program} is not installed")


@pytest.fixture
def othello():
    return games.make("othello:size=4")


@pytest.fixture
def game():
    return games.make("tic_tac_toe")


def made_up(game, failure="", **options):
    """The made-up engine as a player; ``options`` are those of its text."""
    given = "".join(f",{key}={value}" for key, value in options.items())
    return players.make(
        f'gtp:cmd="{MADE_UP} gtp {game.name} {failure}"{given}', game, programs=True
    )


def first_legal(game):
    return decisions.Player(
        "first", lambda states, *_: decisions.Decision(game.legal(states).argmax(axis=1))
    )


def match(game, player, number=2, plies=0):
    """Games against the first legal move; the program is closed at the end."""
    played = []
    try:
        pair = [player, first_legal(game)]
        result = arena.play(game, pair, number, 0, plies, record=played.append)
    finally:
        player.close()
    return result, played


def running(text):
    """The processes whose command line contains ``text``, without zombies."""
    listed = subprocess.run(["ps", "-eo", "stat,args"], capture_output=True, text=True).stdout
    return [line for line in listed.splitlines() if text in line and not line.startswith("Z")]


def left_running(text):
    """Those that are still there after five seconds: a killed process takes a moment to end."""
    end = time.monotonic() + 5
    while (processes := running(text)) and time.monotonic() < end:
        time.sleep(0.05)
    return processes


def test_a_program_plays_the_games_that_the_same_moves_make_without_it(othello):
    result, played = match(othello, made_up(othello, processes=2), number=6, plies=2)
    expected = arena.play(othello, [first_legal(othello)] * 2, 6, 0, 2, record=(own := []).append)
    assert [one["moves"] for one in played] == [one["moves"] for one in own]
    assert result.pairings == expected.pairings
    assert (result.programs, result.forfeits) == (("made up 0.1", ""), ())


@pytest.mark.parametrize("failure", ["", "no_undo"])
def test_the_board_of_a_program_follows_any_sequence_of_lines(othello, failure):
    rng = np.random.default_rng(3)
    player = made_up(othello, failure, processes=1)
    for _ in range(6):
        line = ()
        for _ in range(int(rng.integers(0, 10))):
            legal = np.flatnonzero(othello.legal(replay(othello, [line]))[0])
            line += (int(rng.choice(legal)),) if legal.size else ()
        states = replay(othello, [line])
        if (legal := othello.legal(states)[0]).any():
            assert player(states, [rng], lines=[line]).action[0] == legal.argmax()
    player.close()


HOW = [
    ("late", "gave no answer within 1 s"),
    ("stopped", "gave no answer within 1 s"),
    ("dies", "ended with status 1: a reason on the error output"),
    ("killed", "was ended by SIGKILL"),
    ("closes", "closed its output"),
    ("nonsense", "answered 'It is a nice day' to genmove, which is no GTP"),
    ("escape", "answered '?[2J', which is no move"),
    ("floods", "answered 'info string x' to genmove, which is no GTP"),
    ("endless", "wrote a line of more than 65,536 bytes"),
    ("illegal", "played 1, which is illegal"),
]


@pytest.mark.parametrize(("failure", "reason"), HOW)
def test_a_program_that_fails_loses_that_game_with_the_reason_and_the_next_has_a_new_one(
    game, failure, reason
):
    seconds = 1 if "within 1 s" in reason else 20
    player = made_up(game, failure, seconds=seconds, processes=1)
    assert player.limits.seconds == seconds
    result, played = match(game, player)
    assert [(one.wins, one.losses) for one in result.players] == [(0, 2), (2, 0)]
    assert result.forfeits == (arena.Forfeits(0, reason, 2),)
    assert [one["result"] for one in played] == [
        {"first": -1, "reason": "forfeit"},
        {"first": 1, "reason": "forfeit"},
    ]
    for one in played:
        again = load(one, game)
        assert (again.reason(), again.forfeit) == (Reason.FORFEIT, reason)
        assert again.as_dict() == {key: one[key] for key in again.as_dict()}
    assert left_running(f"made_up_engine.py gtp {game.name} {failure}") == []


def test_a_program_that_fills_its_error_output_plays_on(game):
    result, _ = match(game, made_up(game, "complains", processes=1, seconds=20))
    assert result.forfeits == ()


def test_a_resignation_is_a_loss_and_no_forfeit(game):
    result, played = match(game, made_up(game, "resigns"))
    assert result.forfeits == ()
    assert [one["result"]["reason"] for one in played] == ["resignation"] * 2
    assert [one["resigned"] for one in played] == [0, 1]
    assert [(one.wins, one.losses) for one in result.players] == [(0, 2), (2, 0)]


@pytest.mark.parametrize(
    ("failure", "complaint"),
    [
        ("version", "it speaks version '3' of GTP, not 2"),
        ("size", "it refused 'boardsize 3': unacceptable size"),
    ],
)
def test_a_program_that_cannot_play_is_refused_before_the_match(game, failure, complaint):
    with pytest.raises(ValueError, match=complaint) as raised:
        made_up(game, failure)
    assert "\n" not in str(raised.value)
    assert left_running(f"made_up_engine.py gtp {game.name} {failure}") == []


def test_a_program_that_does_not_answer_its_first_command_may_need_an_option(game, monkeypatch):
    monkeypatch.setattr(gtp, "SETUP_SECONDS", 0.5)
    hint = "; perhaps its command needs an option such as --mode gtp"
    for command, reason in (("sleep 60", "gave no answer within 0.5 s"), ("cat", "is no GTP")):
        with pytest.raises(ValueError, match=reason + hint):
            players.make(f"gtp:cmd={command}", game, programs=True)


def test_an_answer_without_the_number_of_its_command_is_refused_with_what_was_expected(game):
    with pytest.raises(
        ValueError, match=r"to protocol_version without its number, not '=1 \.\.\.'"
    ):
        made_up(game, "numberless")


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("gtp:cmd=no-such-program --gtp", "there is no program 'no-such-program'"),
        ("gtp:cmd=' '", "cmd= is empty"),
        ("gtp:cmd=false", "it ended with status 1"),
        ("gtp:cmd=true", "it ended with status 0"),
        ("gtp:cmd=echo hello", "answered 'hello' to protocol_version, which|ended with status 0"),
        ("gtp:cmd=cat", "which is no GTP"),
        ("gtp:seconds=1", "needs cmd="),
        ("gtp:cmd=cat,seconds=0", "seconds=0"),
        ("uci:cmd=cat", "UCI is for chess and breakthrough"),
    ],
)
def test_a_text_that_names_no_player_is_refused_in_one_line(game, spec, complaint):
    with pytest.raises(ValueError, match=complaint) as raised:
        players.make(spec, game, programs=True)
    assert "\n" not in str(raised.value)


def test_no_shell_reads_the_command(game, tmp_path):
    target = tmp_path / "made_by_a_shell"
    with pytest.raises(ValueError, match=r"no GTP|ended with"):
        players.make(f"gtp:cmd=echo $(touch {target}) ; touch {target}", game, programs=True)
    assert not target.exists()


def test_a_text_that_was_not_typed_by_the_user_starts_no_program(game, tmp_path):
    target = tmp_path / "started"
    for make in (players.make, players.check):
        with pytest.raises(ValueError, match="gtp starts a program, so it can be named only on"):
            make(f"gtp:cmd=touch {target}", game)
    assert not target.exists()


def test_a_game_of_a_session_ends_with_the_failure_of_its_program(game):
    player, session = made_up(game, "dies"), Session(game)
    rng = np.random.default_rng(0)
    session.play_by(player, rng)
    session.play_by(first_legal(game), rng)
    decision = session.play_by(player, rng)
    assert decision.forfeits == {0: "ended with status 1: a reason on the error output"}
    assert (session.reason(), session.result(0), len(session.actions)) == (Reason.FORFEIT, -1, 2)
    session.undo(0)
    assert (session.reason(), session.forfeit) == (None, "")
    player.close()


def test_a_program_needs_the_moves_from_the_start(game):
    player = made_up(game)
    with pytest.raises(ValueError, match="needs the moves from the start"):
        player(game.initial(1), [np.random.default_rng(0)])
    player.close()


@pytest.mark.signals
def test_programs_end_with_an_interrupted_match(game):
    player = made_up(game, "interrupts", seconds=600, processes=2)
    with pytest.raises(KeyboardInterrupt):
        match(game, player)
    assert left_running(f"made_up_engine.py gtp {game.name} interrupts") == []


@pytest.mark.signals
def test_an_interrupt_ends_a_program_that_is_still_being_set_up(game, tmp_path, monkeypatch):
    monkeypatch.setattr(gtp, "SETUP_SECONDS", 86_400.0)
    mark = tmp_path / "mark"
    player = made_up(game, f"second_hangs={mark}", processes=2)
    with pytest.raises(KeyboardInterrupt):
        match(game, player, 4)
    assert left_running(f"second_hangs={mark}") == []


@pytest.mark.signals
def test_programs_of_a_command_end_with_it_whatever_ends_it(game):
    spec = f'gtp:cmd="{MADE_UP} gtp {game.name} commanded"'
    with (
        pytest.raises(ValueError, match="there is no program 'none-such'"),
        entrants([spec, "gtp:cmd=none-such"], game, ()),
    ):
        pass
    assert left_running(f"made_up_engine.py gtp {game.name} commanded") == []
    with pytest.raises(KeyboardInterrupt), entrants([spec], game, ()):
        signal.raise_signal(signal.SIGTERM)
    assert left_running(f"made_up_engine.py gtp {game.name} commanded") == []


def test_programs_end_with_python_even_where_nothing_closes_them(game):
    code = (
        "import games, numpy as np; from alphazero.judging import players\n"
        f"game = games.make({game.name!r})\n"
        f"player = players.make('''gtp:cmd=\"{MADE_UP} gtp {game.name} unclosed\"''', game, "
        "programs=True)\nraise SystemExit(3)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1])
    assert done.returncode == 3
    assert left_running(f"made_up_engine.py gtp {game.name} unclosed") == []


def test_what_a_program_has_started_ends_with_it():
    command = process.split_command("sh -c 'sleep 4321 & echo ready; sleep 4321'")
    program = process.Program(command)
    assert program.line(program.deadline(10)) == "ready"
    os.kill(program.pid, signal.SIGSTOP)
    program.kill()
    assert left_running("sleep 4321") == []


def test_a_program_that_reads_nothing_does_not_hold_up_the_writer():
    program = process.Program(["sleep", "60"])
    with pytest.raises(process.EngineFailure, match=r"read no command within 0\.2 s"):
        program.send("x" * 10_000_000, program.deadline(0.2))
    program.kill()


def test_a_program_that_writes_and_reads_nothing_fills_no_memory(monkeypatch):
    monkeypatch.setattr(process, "MOST_BYTES", 10**6)
    program = process.Program(["yes", "x" * 1000])
    with pytest.raises(process.EngineFailure, match="wrote more than 1,000,000 bytes"):
        program.send("x" * 10_000_000, program.deadline(600))
    program.kill()


def test_all_commands_that_set_up_a_position_have_one_deadline(game, monkeypatch):
    sent = []
    monkeypatch.setattr(
        gtp.GtpEngine,
        "ask",
        lambda self, command, deadline=None: sent.append((command, deadline)) or "1",
    )
    engine = gtp.GtpEngine(game, ["sleep", "60"])
    engine._known = {"time_settings", "time_left"}
    engine.choose((4, 1, 3), replay(game, [(4, 1, 3)])[0], 5.0, 4.0)
    engine.program.kill()
    *before, (last, own) = sent
    assert [command for command, _ in before] == [
        "play B 5", "play W 2", "play B 4", "time_settings 0 4 1", "time_left W 4 1",
    ]  # fmt: skip
    assert len({deadline for _, deadline in before}) == 1
    assert before[0][1].seconds == gtp.SETUP_SECONDS
    assert (last, own.seconds) == ("genmove W", 5.0)


def test_a_program_is_told_of_no_more_time_than_it_has(game):
    seen = []

    class Told:
        line = ()

        def choose(self, line, state, seconds, stated):
            seen.append((seconds, stated))
            return 4

    settings = pool.Settings(list, 1, 20.0, Limits())
    processes = pool._Pool(game, settings)
    processes.slots[0].engine = Told()
    for seconds in (None, 10.0, 180.0):  # 180 s are a twentieth of an hour, by a clock
        processes.decide(game.initial(1), [()], Limits(seconds=seconds))
    assert seen == [(20.0, None), (20.0, 9.0), (20.0, 18.0)]


def test_lines_go_to_the_processes_that_have_them_on_the_board():
    class Board:
        def __init__(self, line):
            self.line = line

    boards = [(1, 2), (3,), ()]
    slots = [pool._Slot(list) for _ in boards]
    for slot, line in zip(slots, boards, strict=True):
        slot.engine = Board(line)
    lines = [(3, 4), (1, 2, 5), (9,)]
    shares = pool.divide(slots, lines)
    assert [(slot.engine.line, share) for slot, share in shares] == [
        ((1, 2), [1]), ((3,), [0]), ((), [2]),
    ]  # fmt: skip
    assert [share for _, share in pool.divide(slots[:2], lines)] == [[1, 2], [0]]


@needs("gtp-rhino")
def test_the_rows_of_gtp_rhino_are_those_of_our_othello():
    game = games.make("othello")
    engine = gtp.GtpEngine(game, process.split_command("gtp-rhino -l 1"))
    engine.begin()
    rng, line = np.random.default_rng(5), ()
    for _ in range(12):  # asymmetric positions: a board turned or mirrored would refuse a move
        states = replay(game, [line])
        legal = np.flatnonzero(game.legal(states)[0])
        line += (int(rng.choice(legal)),)
    engine._go_to(line, engine.program.deadline(30))
    shown = engine.ask("showboard").split("1", 1)[1]
    stones = [mark for mark in shown if mark in "XO."]
    drawn = game.render(replay(game, [line])[0]).split("\n", 1)[1]
    assert stones == [mark for mark in drawn if mark in "XO."][: len(stones)]
    assert engine.title == "GTP GRhino 0.16.1"
    with pytest.raises(process.EngineFailure, match="plays Othello, not connect_four"):
        gtp.GtpEngine(games.make("connect_four"), process.split_command("gtp-rhino")).begin()
    engine.program.kill()


@needs("gtp-rhino")
def test_ten_games_of_othello_against_gtp_rhino_end_by_the_rules():
    game = games.make("othello")
    player = players.make("gtp:cmd='gtp-rhino -l 1'", game, programs=True)
    played = []
    pair = [player, players.make("random", game)]
    result = arena.play(game, pair, 10, 0, record=played.append)
    player.close()
    assert result.forfeits == ()
    assert {one["result"]["reason"] for one in played} == {"rules"}
    assert result.programs[0].startswith("GTP GRhino")
    assert result.players[0].wins >= 8


def test_ten_games_against_the_alpha_beta_search_of_rust_reversi_end_by_the_rules():
    library = pytest.importorskip("rust_reversi", reason="rust-reversi comes with the extra dev")
    game = games.make("othello")
    search = library.AlphaBetaSearch(library.PieceEvaluator(), 3, 10_000)

    def decide(states, rngs, limits, lines):
        actions = game.legal(states).argmax(axis=1)
        for row, line in enumerate(lines):
            board = library.Board()
            for action in line:
                board.do_pass() if action == 64 else board.do_move(action)
            if not board.is_pass():
                actions[row] = search.get_move(board)
        return decisions.Decision(actions)

    played = []
    pair = [decisions.Player("rust-reversi", decide), players.make("random", game)]
    result = arena.play(game, pair, 10, 0, record=played.append)
    assert {one["result"]["reason"] for one in played} == {"rules"}
    assert result.players[0].wins >= 7


@needs("gnugo")
@pytest.mark.skipif("go" not in games.registered(), reason="Go is not registered")
def test_games_of_go_against_gnu_go_end_by_the_rules_with_our_count():
    game = games.make("go:size=5")
    cmd = "gnugo --mode gtp --level 1 --chinese-rules --positional-superko --never-resign"
    player = players.make(f"gtp:cmd='{cmd}'", game, programs=True)
    played = []
    pair = [player, players.make("random", game)]
    result = arena.play(game, pair, 4, 0, record=played.append)
    player.close()
    assert result.forfeits == ()
    assert {one["result"]["reason"] for one in played} <= {"rules", "length"}
    assert result.programs[0] == "GNU Go 3.8"


@needs("gnugo")
def test_gnu_go_is_refused_as_a_player_of_othello():
    with pytest.raises(ValueError, match="as the first move, so it plays another game"):
        players.make("gtp:cmd='gnugo --mode gtp'", games.make("othello"), programs=True)


@pytest.mark.parametrize("spec", ["chess", "breakthrough", "hex:size=5,swap=true", "gomoku:size=9"])
def test_moves_of_random_games_are_read_back_from_gtp(spec):
    game, rng = games.make(spec), np.random.default_rng(7)
    for _ in range(4):
        session = Session(game)
        while not session.over() and len(session.actions) < 60:
            state, legal = session.states[0], np.flatnonzero(game.legal(session.states)[0])
            for action in legal:
                vertex = notation.to_gtp(game, state, int(action))
                assert notation.from_gtp(game, state, vertex) == action
                assert " " not in vertex
            session.play(int(rng.choice(legal)))


def test_texts_of_moves_are_read_back_in_both_cases():
    game = games.make("othello:size=6")
    state = game.initial(1)[0]
    for action in range(game.num_actions):
        text = notation.to_gtp(game, state, action)
        assert notation.from_gtp(game, state, text) == action
        assert notation.from_gtp(game, state, text.swapcase()) == action
    assert notation.to_gtp(game, state, 36) == "pass"
    assert notation.gtp_size(game) == 6
    with pytest.raises(ValueError, match="square boards only, and connect_four has 6 x 7"):
        notation.gtp_size(games.make("connect_four"))
    with pytest.raises(ValueError, match="is not a move here"):
        notation.from_gtp(game, state, "Z99")


def test_a_deadline_is_kept_where_lines_come_all_the_time():
    program = process.Program(["sh", "-c", "while true; do echo x; sleep 0.01; done"])
    deadline = program.deadline(0.5)
    with pytest.raises(process.EngineFailure, match=r"gave no answer within 0\.5 s"):
        for _ in program.answer(deadline):
            pass
    program.kill()
    assert time.monotonic() >= deadline.end


def test_a_person_sees_how_the_program_has_lost_and_can_take_that_back(game):
    player = made_up(game, "dies", seconds=20, processes=1)
    text = in_terminal(["5", "9", "u", "9", "q"], player, game)
    player.close()
    parts = text.split("The agent has lost: it ended with status 1: a reason on the error output")
    assert len(parts) == 2  # a new program has not yet had a second request
    assert "you win" in parts[1]
    assert parts[1].count("The agent plays") == 1
