import io
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import games
from alphazero.judging.decisions import Decision, Player
from alphazero.types import Limits
from workers.engines.engine import Engine, load_player
from workers.engines.inbox import Inbox
from workers.engines.uci import Uci, centipawns

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-m", "alphazero", "uci"]
BREAKTHROUGH = "breakthrough:rows=8,columns=8"

needs_chess = pytest.mark.skipif("chess" not in games.registered(), reason="needs the game chess")
needs_breakthrough = pytest.mark.skipif(
    "breakthrough" not in games.registered(), reason="needs the game breakthrough"
)


def engine(game: str = "chess", player: str = "mcts:simulations=30", **options) -> Engine:
    return Engine(games.make(game), lambda g: load_player(g, player, ()), 0, **options)


def talk(text: str | bytes, chosen: Engine) -> list[str]:
    """The lines that the engine answers to ``text``."""
    said: list[str] = []
    data = text.encode() if isinstance(text, str) else text
    Uci(chosen, Inbox(io.BytesIO(data).read), said.append).serve()
    return "".join(said).splitlines()


def best(lines: list[str]) -> list[str]:
    return [line.split()[1] for line in lines if line.startswith("bestmove ")]


@needs_chess
def test_the_engine_names_itself_and_its_options():
    first, *options, last = talk("uci\n", engine())
    assert first.startswith("id name AlphaZero")
    assert options[0].startswith("id author ")
    assert last == "uciok"
    for line in options[1:]:
        assert re.fullmatch(
            r"option name [\w ]+ type (spin default \d+ min \d+ max \d+"
            r"|combo default chess var chess)", line
        )  # fmt: skip
    assert talk("isready\nquit\nisready\n", engine()) == ["readyok"]


@needs_chess
def test_the_best_move_is_legal_by_another_librarys_rules():
    chess = pytest.importorskip("chess")
    board = chess.Board()
    for move in ["e2e4", "e7e5", "g1f3", "b8c6", "f1b5", "g8f6", "e1g1"]:
        board.push_uci(move)
    moves = " ".join(move.uci() for move in board.move_stack)
    lines = talk(f"position startpos moves {moves}\ngo nodes 40\n", engine())
    assert chess.Move.from_uci(best(lines)[0]) in board.legal_moves
    infos = [line for line in lines if line.startswith("info depth")]
    pv = infos[-1].partition(" pv ")[2].split()
    assert pv[0] == best(lines)[0]
    for move in pv:
        board.push(board.parse_uci(move))  # raises where one is illegal


@needs_chess
def test_a_mate_in_one_is_found_from_a_fen_and_its_score_is_high():
    fen = "6k1/5ppp/8/8/8/8/5PPP/R5K1 w - - 0 1"
    lines = talk(f"position fen {fen}\ngo nodes 400\n", engine())
    assert best(lines) == ["a1a8"]
    assert int(lines[-2].partition("score cp ")[2].split()[0]) > 1000


@needs_chess
@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        ("position startpos moves e2e5", "info string move 1, 'e2e5': "),
        ("position startpos moves zzzz", "info string move 1, 'zzzz': "),
        ("position fen nonsense", "info string "),
        ("position", "info string position is followed by startpos or fen"),
        ("setoption name Contempt value 3", "info string there is no option 'Contempt'"),
        ("setoption name MultiPV value 0", "info string MultiPV is 1 to 218"),
        ("setoption name MultiPV value x", "info string 'x' is not a whole number"),
        ("setoption name UCI_Variant value atomic", "info string this engine plays chess alone"),
    ],
)
def test_a_wrong_command_has_an_info_string_and_changes_nothing(request_, answer):
    lines = talk(f"{request_}\n", engine())
    assert len(lines) == 1
    assert lines[0].startswith(answer)


@needs_chess
def test_what_is_no_command_is_ignored_and_other_depths_are_said_to_be():
    assert talk("hello\n\n  \nstop\nponderhit\nregister later\n", engine()) == []
    lines = talk("go depth 3 nodes 10\n", engine())
    assert lines[0] == "info string depth is ignored"
    assert len(best(lines)) == 1


@needs_chess
def test_a_finished_game_has_no_best_move():
    moves = "f2f3 e7e5 g2g4 d8h4"
    lines = talk(f"position startpos moves {moves}\ngo nodes 5\n", engine())
    assert lines == ["info string the game is over", "bestmove (none)"]


@needs_chess
def test_several_variations_are_reported_in_order():
    lines = talk("setoption name MultiPV value 3\ngo nodes 100\n", engine())
    last = [line for line in lines if line.startswith("info depth")][-3:]
    assert [line.partition("multipv ")[2][0] for line in last] == ["1", "2", "3"]
    assert len({line.partition(" pv ")[2].split()[0] for line in last}) == 3
    # The 30 simulations of the player itself are fewer than the 100 nodes.
    assert [line.partition(" nodes ")[2].split()[0] for line in last] == ["30"] * 3


def spy(seen: list[Limits]) -> Engine:
    """An engine whose player notes the limits of its calls and plays the first move."""
    game = games.make("chess")

    def decide(states, rngs, limits, lines):
        seen.append(limits)
        return Decision(game.legal(states).argmax(axis=1))

    return Engine(game, lambda _: Player("spy", decide), 0)


@needs_chess
def test_the_player_gets_the_time_of_the_clock():
    seen: list[Limits] = []
    talk(
        "go movetime 500\n"
        "go wtime 100000 btime 1000 winc 2000 binc 0\n"
        "go wtime 100000 btime 1000 movestogo 4\n"
        "go wtime 40\n"
        "go nodes 77\n"
        "setoption name Simulations value 50\ngo nodes 77\ngo wtime 100000\n"
        "position startpos moves e2e4\ngo wtime 100000 btime 2000\n",
        spy(seen),
    )
    limits = [(one.simulations, one.seconds and round(one.seconds, 3)) for one in seen[1:]]
    assert limits == [
        (None, 0.47),  # 30 ms are the option Move Overhead
        (None, 7.0),  # 100 / 20 + 2
        (None, 25.0),
        (None, 0.01),
        (77, None),
        (50, None),
        (50, 5.0),
        (50, 0.1),
    ]


class Typing:
    """An input whose next lines come after certain answers."""

    def __init__(self, *steps: tuple[str, str]) -> None:
        """``steps``: a text that an answer contains, and the lines that follow it."""
        self.reading, self.writing = os.pipe()
        self.steps = list(steps)
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)
        while self.steps and self.steps[0][0] in text:
            os.write(self.writing, self.steps.pop(0)[1].encode())

    def talk(self, first: str, chosen: Engine) -> list[str]:
        os.write(self.writing, first.encode())
        Uci(chosen, Inbox(lambda size: os.read(self.reading, size)), self.say).serve()
        os.close(self.reading)
        os.close(self.writing)
        return "".join(self.said).splitlines()


@needs_chess
def test_an_infinite_search_goes_on_until_stop_and_answers_isready_meanwhile():
    typing = Typing(("info depth", "isready\n"), ("readyok", "stop\nquit\n"))
    lines = typing.talk("position startpos moves e2e4\ngo infinite\n", engine())
    ready = lines.index("readyok")
    assert lines[0].startswith("info depth")
    assert lines[-1].startswith("bestmove ")
    assert ready < len(lines) - 1
    assert len(best(lines)) == 1


@needs_chess
def test_an_infinite_search_that_has_nothing_left_to_do_waits_for_stop():
    typing = Typing(("info depth", "isready\n"), ("readyok", "stop\nquit\n"))
    lines = typing.talk("go infinite\n", engine(player="random"))
    assert [line.split()[0] for line in lines] == ["info", "readyok", "bestmove"]


@needs_chess
def test_any_other_line_and_the_end_of_the_input_stop_an_infinite_search():
    for text in ("go infinite\n", "go infinite\nposition startpos\n", "go infinite\nquit\n",
                 "go infinite\nstop\n", "go ponder wtime 9 btime 9\nponderhit\n"):  # fmt: skip
        assert len(best(talk(text, engine()))) == 1


@needs_chess
def test_stop_ends_a_search_behind_lines_that_wait():
    waiting = "setoption name MultiPV value 2\nponderhit\nisready\nstop\nquit\n"
    typing = Typing(("info depth", waiting))
    lines = typing.talk("go nodes 5000\n", engine(player="mcts:simulations=5000"))
    nodes = [int(re.findall(r" nodes (\d+)", line)[0]) for line in lines if " nodes " in line]
    assert max(nodes) < 4500  # it searches about 50 per second
    assert lines.index("readyok") > lines.index(f"bestmove {best(lines)[0]}")


@needs_chess
def test_stop_ends_no_search_before_a_later_go():
    text = "go nodes 30\nposition startpos moves e2e4\ngo infinite\nstop\nquit\n"
    lines = talk(text, engine())
    first = lines.index(f"bestmove {best(lines)[0]}")
    assert " nodes 30 " in lines[first - 1]
    assert len(best(lines)) == 2


@needs_chess
def test_a_move_is_there_when_ponderhit_arrives():
    typing = Typing(("info depth", "ponderhit\n"), ("bestmove", "quit\n"))
    lines = typing.talk("go ponder wtime 1000 btime 1000\n", engine())
    assert len(best(lines)) == 1


WORDS = st.sampled_from(
    ["go", "nodes", "5", "infinite", "position", "startpos", "fen", "moves", "e2e4", "e7e5", "-1",
     "setoption", "name", "value", "MultiPV", "movetime", "wtime", "isready", "stop", "uci", "\x00",
     "9" * 30, "ucinewgame", "8/8/8/8/8/8/8/8", "w", "-"]
)  # fmt: skip


@needs_chess
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(WORDS, max_size=6).map(" ".join), max_size=8), st.binary(max_size=50))
def test_whatever_is_sent_ends_nothing_and_each_go_has_one_best_move(lines, noise):
    chosen = Engine(games.make("chess"), lambda g: load_player(g, "random", ()), 0)
    text = "\n".join([*lines, "isready", ""]).encode() + noise
    answered = talk(text, chosen)
    assert "readyok" in answered
    assert len(best(answered)) == sum(line.split()[:1] == ["go"] for line in lines)


def test_values_are_on_the_scale_of_chess_programs():
    # 90 * tan(1.5637541897 * value), which is 12780 at most in Leela Chess Zero.
    assert [centipawns(value) for value in (0, 0.5, -0.5, 1)] == [0, 89, -89, 12780]


@needs_breakthrough
def test_breakthrough_is_played_by_its_variant():
    chosen = engine(BREAKTHROUGH, "random")
    lines = talk("uci\nposition startpos moves a2a3 a7a6\ngo\n", chosen)
    assert "option name UCI_Variant type combo default breakthrough var breakthrough" in lines
    move = chosen.game.text_to_move(chosen.session.states[0], best(lines)[0])
    assert chosen.game.legal(chosen.session.states)[0, move]


def test_a_game_without_a_variant_is_refused():
    ended = subprocess.run(
        [*COMMAND, "othello"], input="uci\n", capture_output=True, text=True, cwd=ROOT
    )
    assert ended.returncode == 2
    assert "UCI has no variant for othello:size=8" in ended.stderr
    assert ended.stdout == ""


@needs_chess
def test_python_chess_plays_a_game_and_analyses_with_the_command():
    """A client that shares nothing with this program; its moves are random."""
    chess = pytest.importorskip("chess")
    from chess.engine import INFO_SCORE, Limit, SimpleEngine

    command = [*COMMAND, "--player", "mcts:simulations=8"]
    rng, board = np.random.default_rng(3), chess.Board()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with SimpleEngine.popen_uci(command, timeout=120, cwd=ROOT, env=environment) as program:
        program.configure({"Move Overhead": 20})
        for _ in range(12):
            board.push(rng.choice(list(board.legal_moves)))
            played = program.play(board, Limit(nodes=8), info=INFO_SCORE)
            assert played.move in board.legal_moves
            assert "score" in played.info
            board.push(played.move)
        clock = Limit(white_clock=5, black_clock=5, white_inc=0.1, black_inc=0.1)
        assert program.play(board, clock).move in board.legal_moves
        infos = program.analyse(board, Limit(nodes=60), multipv=3)
        assert len({info.get("pv", [])[0] for info in infos}) == 3
        with program.analysis(board) as running:  # go infinite
            running.get()
            running.stop()
            assert running.wait().move in board.legal_moves
        program.ping()
