import io
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import games
from alphazero import checkpoint, evaluators, network
from alphazero.config import Config, NetworkSettings
from alphazero.judging import players
from alphazero.judging.decisions import Decision, Player
from alphazero.nn.weights import arrays
from alphazero.search import strongest_moves
from alphazero.search.gumbel import Gumbel
from alphazero.search.puct import PUCT
from alphazero.search.tree import init_trees
from alphazero.types import Evaluation, Limits
from workers.engines import gtp, inbox
from workers.engines.engine import Engine, load_player, with_parameters
from workers.engines.gtp_commands import Gtp
from workers.engines.inbox import Inbox
from workers.engines.timing import TimeControl

ROOT = Path(__file__).parents[1]
DATA = ROOT / "tests/data/gtp"
GTP = [sys.executable, "-m", "alphazero", "gtp"]
SEARCH = "mcts:simulations=50"


def engine(game: str = "othello", player: str = "random", **options) -> Engine:
    return Engine(games.make(game), lambda g: load_player(g, player, ()), 0, **options)


def session(text: str | bytes, chosen: Engine | None = None, resign: float | None = None) -> str:
    """All that the engine answers to ``text``."""
    said: list[str] = []
    data = text.encode() if isinstance(text, str) else text
    lines = Inbox(io.BytesIO(data).read)
    commands = Gtp(chosen or engine(), lines, said.append, resign)
    gtp.serve(commands.commands, commands.begin, lines, said.append)
    return "".join(said)


def answers(*requests: str, chosen: Engine | None = None, resign: float | None = None):
    """The answers to requests, without their final empty lines."""
    text = session("\n".join(requests) + "\n", chosen, resign)
    assert text.endswith("\n\n")
    return text[:-2].split("\n\n")


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("name", "= AlphaZero\n\n"),
        ("17 name", "=17 AlphaZero\n\n"),
        ("  \t 5\tname  # of this program", "=5 AlphaZero\n\n"),
        ("name\r", "= AlphaZero\n\n"),
        ("na\x07me\x1b", "= AlphaZero\n\n"),
        ("# nothing but a comment", ""),
        (" \t\r", ""),
        ("quit", "=\n\n"),
        ("3 quit", "=3\n\n"),
        ("7 unheard_of 1 2", "?7 unknown command\n\n"),
        ("8", "?8 unknown command\n\n"),
        ("NAME", "? unknown command\n\n"),
        ("9 play b", "?9 syntax error\n\n"),
        ("play green d3", "? syntax error\n\n"),
        ("play b a1", "? illegal move\n\n"),
        ("play b z99", "? illegal move\n\n"),
        ("1 play BLACK D3", "=1\n\n"),
        ("undo", "? cannot undo\n\n"),
        ("boardsize 7", "? unacceptable size\n\n"),
        ("boardsize 99999999999999999999", "? syntax error\n\n"),
        ("boardsize", "? syntax error\n\n"),
        ("komi 6.5", "=\n\n"),
        ("komi nan", "? syntax error\n\n"),
        ("time_settings 60 10 5", "=\n\n"),
        ("time_left b 10 0", "=\n\n"),
        ("time_left b -1 0", "? syntax error\n\n"),
        ("known_command genmove", "= true\n\n"),
        ("known_command kgs-chat", "= false\n\n"),
        ("final_score", "? cannot score: the game is not over\n\n"),
        ("12345678901234567890 name", "=12345678901234567890 AlphaZero\n\n"),
        ("lz-analyze avoid b d3 1", "? syntax error: 'avoid' is not supported\n\n"),
    ],
)
def test_each_request_has_the_response_of_the_protocol(line, answer):
    assert session(line + "\n") == answer


def test_the_last_line_needs_no_line_feed_and_nothing_is_answered_after_quit():
    assert session("1 name\nquit\n2 name") == "=1 AlphaZero\n\n=\n\n"
    assert session("1 name") == "=1 AlphaZero\n\n"


def test_every_listed_command_is_known_and_the_required_ones_are_there():
    listed = answers("list_commands")[0][2:].split("\n")
    required = {"protocol_version", "name", "version", "known_command", "list_commands", "quit",
                "boardsize", "clear_board", "komi", "play", "genmove"}  # fmt: skip
    assert required <= set(listed)
    assert set(answers(*(f"known_command {name}" for name in listed))) == {"= true"}
    assert not [name for name in listed if name.startswith("kgs-")]


def test_moves_are_those_of_the_rules_and_undo_takes_them_back_one_by_one():
    game = games.make("othello")
    moves, undone = [f"genmove {color}" for color in "bwbwbw"], ["undo"] * 7
    before, *played = answers("showboard", *moves, "showboard", *undone, "showboard")
    states = game.initial(1)
    for answer in played[:6]:
        action = game.text_to_action(answer[2:].lower())
        assert game.legal(states)[0, action]
        states = game.step(states, np.array([action]))
    assert played[6] == f"= \n{game.render(states[0])}"
    assert played[7:] == ["="] * 6 + ["? cannot undo", before]


def test_a_move_of_the_side_that_is_not_to_move_is_refused_where_it_cannot_pass():
    refused = "? illegal move: it is the other side's turn"
    chosen = engine()
    assert answers("play w d3", "genmove w", "reg_genmove w", chosen=chosen) == [refused] * 3
    assert chosen.session.actions == []


def test_a_forced_pass_is_implied_where_the_next_side_moves():
    chosen = engine("othello:size=4")
    rng = np.random.default_rng(5)
    game = chosen.game
    while True:  # random games, until one has a forced pass
        chosen.session.start()
        while not chosen.session.over():
            legal = np.flatnonzero(game.legal(chosen.session.states)[0])
            if game.action_to_text(int(legal[0])) == "pass":
                break
            chosen.session.play(int(rng.choice(legal)))
        if not chosen.session.over():
            break
    color = "bw"[1 - chosen.session.to_move]
    board = answers("showboard", chosen=chosen)
    commands = Gtp(chosen, Inbox(io.BytesIO(b"").read), lambda _: None)
    assert commands.commands["genmove"]([color]) not in ("PASS", "pass")
    assert chosen.game.action_to_text(chosen.session.actions[-2]) == "pass"
    commands.commands["undo"]([])
    assert answers("showboard", chosen=chosen) == board


def test_reg_genmove_leaves_the_board_as_it_is():
    chosen = engine()
    board = answers("showboard", chosen=chosen)
    assert answers("reg_genmove b", "showboard", chosen=chosen)[1:] == board


def test_another_size_is_another_game_and_a_refused_one_changes_nothing():
    chosen = engine()
    assert answers("play b d3", "boardsize 9", "undo", chosen=chosen) == [
        "=", "? unacceptable size", "=",
    ]  # fmt: skip
    assert answers("boardsize 6", "play b c2", chosen=chosen) == ["=", "="]
    assert games.same(chosen.game.name, "othello:size=6")


def test_a_network_is_refused_on_a_board_that_it_does_not_fit():
    chosen = engine("tic_tac_toe", "checkpoint:simulations=2")
    assert answers("boardsize 3", "boardsize 4", "genmove b", chosen=chosen)[:2] == [
        "=", "? unacceptable size",
    ]  # fmt: skip
    assert answers("boardsize 6", chosen=engine("connect_four")) == ["? unacceptable size"]


def test_parameters_of_a_game_are_replaced_by_their_names():
    assert with_parameters("othello:size=6", {"size": 8}) == "othello:size=8"
    assert with_parameters("othello", {"size": 8}) == "othello:size=8"
    with pytest.raises(ValueError, match="no parameter komi"):
        with_parameters("othello", {"komi": 6.5})
    with pytest.raises(ValueError, match="no parameter size"):
        with_parameters("tic_tac_toe", {"size": 4})


def always(value: float) -> Player:
    """Plays the first legal move; its value is always the same."""

    def decide(states, *_):
        return Decision(states_first(states), value=np.full(len(states), value, np.float32))

    def states_first(states):
        return games.make("tic_tac_toe").legal(states).argmax(axis=1)

    return Player("always", decide)


def test_it_resigns_only_where_it_was_given_a_loss_from_which_on_to_do_so():
    lost = Engine(games.make("tic_tac_toe"), lambda _: always(-0.95), 0)
    assert answers("genmove b", "genmove w", chosen=lost, resign=0.96) == ["= 1", "= 2"]
    assert answers("genmove b", chosen=lost, resign=0.94) == ["= resign"]
    assert answers("genmove b", chosen=lost) == ["= 3"]


def test_the_result_of_a_game_is_the_winner_and_its_margin():
    chosen = Engine(games.make("tic_tac_toe"), lambda _: always(0), 0)
    moves = [f"genmove {color}" for color in "bwbwbwb"]  # 1 3 5 7 are X's
    assert answers(*moves, "final_score", "genmove w", chosen=chosen)[-2:] == [
        "= B+", "? the game is over",
    ]  # fmt: skip
    assert answers("clear_board", "play b resign", "final_score", "undo", "final_score",
                   chosen=chosen) == ["=", "=", "= W+R", "=",
                                      "? cannot score: the game is not over"]  # fmt: skip


def test_the_margin_is_counted_from_the_final_board():
    chosen = engine("othello:size=4")
    answer = ""
    while not chosen.session.over():
        answers(f"genmove {'bw'[chosen.session.to_move]}", chosen=chosen)
    answer = answers("final_score", chosen=chosen)[0]
    board = chosen.game.render(chosen.session.states[0])
    black, white = board.count("X"), board.count("O")
    winner = "B" if black > white else "W"
    assert answer == ("= 0" if black == white else f"= {winner}+{abs(black - white)}")


def test_the_first_row_of_the_board_has_a_line_of_its_own_as_in_gnu_go():
    assert session("7 showboard\n", engine("tic_tac_toe")) == "=7 \n1 2 3\n4 5 6\n7 8 9\n\n"


def test_a_game_that_is_not_about_points_has_a_winner_without_a_margin():
    moves = [f"play {color} {column}" for color, column in zip("bwbwbwb", "1212121", strict=True)]
    assert answers(*moves, "final_score", chosen=engine("connect_four"))[-1] == "= B+"


needs_go = pytest.mark.skipif("go" not in games.registered(), reason="needs the game go")


def go(*requests: str, size: int = 5, komi: float = 7.0) -> list[str]:
    return answers(*requests, chosen=engine(f"go:size={size},komi={komi}"))


@needs_go
def test_area_and_komi_make_the_score_of_go():
    moves = ["play b c3", "play w pass", "play b pass"]
    assert go(*moves, "final_score", size=5)[-1] == "= B+18"
    assert go(*moves, "final_score", size=5, komi=24.5)[-1] == "= B+0.5"
    assert go("play b pass", "play w pass", "final_score", komi=-3.0)[-1] == "= B+3"
    assert go("play b pass", "play w pass", "final_score", komi=0.0)[-1] == "= 0"


@needs_go
def test_a_player_may_move_twice_in_a_row_because_a_pass_is_implied():
    played = go("play b c3", "play b d3", "final_status_list alive", "genmove b", "undo", "undo",
                "final_status_list alive", "final_status_list dead")  # fmt: skip
    assert played[:3] == ["=", "=", "= C3\nD3"]
    assert re.fullmatch(r"= ([A-E][1-5]|pass)", played[3])
    assert played[4:] == ["=", "=", "= C3", "="]


@needs_go
def test_komi_and_size_change_the_rules_and_komi_keeps_the_moves():
    chosen = engine("go:size=5,komi=7.0")
    assert answers("play b c3", "komi 0.5", "play w pass", "play b pass", "final_score",
                   chosen=chosen)[-1] == "= B+24.5"  # fmt: skip
    assert answers("boardsize 9", "play b j9", "boardsize 20", "undo", chosen=chosen) == [
        "=", "=", "? unacceptable size", "=",
    ]  # fmt: skip
    assert games.same(chosen.game.name, "go:size=9,komi=0.5")
    assert answers("komi 99999", chosen=chosen)[0].startswith("? unacceptable komi: ")


@needs_go
def test_a_network_plays_with_another_komi_and_on_no_other_board(tmp_path, capsys):
    small = NetworkSettings(blocks=1, channels=4, policy_channels=2, value_channels=2)
    trained = games.make("go:size=5,komi=7.0")
    weights = arrays(network.build(trained, small, seed=0).state_dict())
    config = Config(game=trained.name, network=small, search=PUCT(simulations=8))
    checkpoint.save(tmp_path, 1, weights, {}, config)
    chosen = engine("go:size=5,komi=2.5", str(tmp_path))
    said = "step_000001 was trained with komi 7.0: its network judges positions as with 7.0, and"
    assert said in capsys.readouterr().err
    assert answers("komi 24.5", "play b c3", "play w pass", "play b pass", "final_score",
                   "boardsize 6", "genmove b", chosen=chosen)[-3:] == [
        "= B+0.5", "? unacceptable size", "? the game is over",
    ]  # fmt: skip
    assert chosen.player.decide(chosen.game.initial(1), [np.random.default_rng(0)], Limits(), None)
    with pytest.raises(ValueError, match="plays go:size=5"):
        players.make(str(tmp_path), chosen.game)


SGF = "(;GM[1]FF[4]SZ[5]KM[0.5]HA[2]AB[bb][dd];W[cc];B[bd](;W[]) (;W[db]))"


@needs_go
def test_a_game_is_loaded_from_a_file_up_to_a_move(tmp_path):
    pytest.importorskip("sgfmill")
    path = tmp_path / "game.sgf"
    path.write_text(SGF)
    stones = "final_status_list alive"
    whole, board, three, short = go(f"loadsgf {path}", stones, f"loadsgf {path} 4", stones, size=9)
    assert (whole, board) == ("= B", "= B4\nC3\nB2\nD2")
    assert (three, short) == ("= B", "= B4\nC3\nD2")


@needs_go
@pytest.mark.parametrize(
    "text",
    ["", "no game", "(;SZ[5]AW[aa])", "(;SZ[5];B[aa];W[aa])", "(;SZ[26])", "(;SZ[5]KM[x])",
     "(" * 100_000, "(;SZ[5];B[aa]AB[bb])"],
    ids=range(8),
)  # fmt: skip
def test_a_file_that_is_no_game_of_go_is_refused(tmp_path, text):
    pytest.importorskip("sgfmill")
    path = tmp_path / "game.sgf"
    path.write_text(text)
    assert go(f"loadsgf {path}", "genmove b", size=5)[0] == "? cannot load file"
    assert go("loadsgf /nowhere/at/all", "loadsgf /dev/zero", "loadsgf", f"loadsgf {tmp_path}") == [
        "? cannot load file", "? cannot load file", "? syntax error", "? cannot load file",
    ]  # fmt: skip


@needs_go
def test_a_file_whose_moves_cannot_be_played_changes_neither_board_nor_rules(tmp_path):
    pytest.importorskip("sgfmill")
    path = tmp_path / "game.sgf"
    path.write_text("(;SZ[5]KM[0.5];B[aa];W[aa])")
    chosen = engine("go:size=9")
    requests = ["play b C3", f"loadsgf {path}", "final_status_list alive", "undo", "undo"]
    assert answers(*requests, chosen=chosen) == [
        "=", "? cannot load file", "= C3", "=", "? cannot undo",
    ]  # fmt: skip
    assert chosen.game.name == "go:size=9,komi=7.0,history=16"


def test_files_of_other_games_are_loaded_too(tmp_path):
    pytest.importorskip("sgfmill")
    path = tmp_path / "game.sgf"
    path.write_text("(;GM[2]SZ[4];B[ba];W[aa])")
    chosen = engine("othello:size=6")
    assert answers(f"loadsgf {path}", "undo", "play w C1", chosen=chosen) == ["= B", "=", "="]
    assert chosen.game.name == "othello:size=4"
    assert answers("known_command loadsgf", chosen=engine("tic_tac_toe")) == ["= false"]


def sabaki(line: str) -> list[dict]:
    """The variations of a line, read as Sabaki does (src/modules/analysis.js)."""
    results = []
    for part in re.split(r"\s*info\s+", line)[1:]:
        text = part.strip()
        pv = re.search(r"(pass|[A-Za-z]\d+)(\s+(pass|[A-Za-z]\d+))*$", text)
        assert pv is not None
        tokens = text[: pv.start()].split()[:-1]
        fields = dict(zip(tokens[::2], tokens[1::2], strict=True))
        results.append({**fields, "pv": pv[0].split()})
    return results


@pytest.mark.parametrize("style", ["lz-", "kata-", ""])
def test_lines_of_an_analysis_are_read_as_sabaki_reads_them(style):
    chosen = engine(player=SEARCH)
    text = session(f"4 {style}genmove_analyze b 10\nquit\n", chosen)
    head, *infos, play, blank = text.removesuffix("=\n\n").split("\n")[:-1]
    assert head == "=4"
    assert blank == ""
    moves = sabaki(infos[-1])
    assert {move["move"] for move in moves} <= {"D3", "C4", "F5", "E6"}
    assert [move["order"] for move in moves] == [str(k) for k in range(len(moves))]
    assert all(move["pv"][0] == move["move"] for move in moves)
    assert sum(int(move["visits"]) for move in moves) == 50
    assert play == f"play {moves[0]['move']}"
    if style == "kata-":
        assert all("." in m["winrate"] and 0 <= float(m["winrate"]) <= 1 for m in moves)
    else:
        assert all(m["winrate"].isdigit() and int(m["winrate"]) <= 10_000 for m in moves)
        assert sum(int(m["prior"]) for m in moves) == 10_000


def test_an_analysis_goes_on_until_the_next_line_and_its_answer_follows():
    reading, writing = os.pipe()
    said: list[str] = []
    lines = Inbox(lambda size: os.read(reading, size))
    os.write(writing, b"1 lz-analyze b interval 10\n")

    def say(text: str) -> None:
        said.append(text)
        if sum(one.startswith("info") for one in said) == 3 and text.startswith("info"):
            os.write(writing, b"2 name\n3 quit\n")

    commands = Gtp(engine(player=SEARCH), lines, say)
    gtp.serve(commands.commands, commands.begin, lines, say)
    os.close(writing)
    os.close(reading)
    text = "".join(said)
    assert re.fullmatch(r"=1\n(info .*\n){3,}\n=2 AlphaZero\n\n=3\n\n", text)


def test_an_analysis_shows_something_even_where_the_next_line_is_there_already():
    text = session("analyze\nplay b d3\n", engine(player=SEARCH))
    assert re.fullmatch(r"=\n(info .*\n)+\n=\n\n", text)
    alone = session("kata-analyze 5 rootInfo true maxmoves 2\n", engine(player="random"))
    assert re.fullmatch(r"=\ninfo move [A-H]\d visits 0 .*\n\n", alone)


@pytest.mark.parametrize(
    ("moves", "lowest", "highest"), [("1 4 2 5", 0.9, 1), ("1 5 9 3 7", 0, 0.1)]
)
def test_chances_are_those_of_the_player_about_to_move(moves, lowest, highest):
    # First black completes 1 2 3; then white cannot stop both 7 8 9 and 1 4 7.
    played = [f"play {'bw'[ply % 2]} {move}" for ply, move in enumerate(moves.split())]
    solved = engine("tic_tac_toe", "minimax:depth=9")
    *_, lz, kata = answers(*played, "lz-analyze", "kata-analyze", chosen=solved)
    for answer, whole in ((lz, 10_000), (kata, 1)):
        assert lowest <= float(re.search(r"winrate (\S+)", answer)[1]) / whole <= highest
    assert np.sign(float(re.search(r"utility (\S+)", kata)[1])) == np.sign(lowest - 0.5)


def test_undo_takes_back_a_generated_move_and_the_pass_before_it():
    chosen = engine("go:size=5")
    assert answers("play b C3", "genmove b", "undo", chosen=chosen)[2] == "="
    assert len(chosen.session.actions) == 1


def test_only_so_many_moves_are_shown():
    text = session("lz-genmove_analyze b maxmoves 1\n", engine(player=SEARCH))
    # A search on a busy machine is reported more than once.
    assert {len(sabaki(line)) for line in text.split("\n") if line.startswith("info")} == {1}


NAMES = [*Gtp(engine("tic_tac_toe"), Inbox(io.BytesIO(b"").read), print).commands, "", "1", "#"]
WORDS = st.one_of(
    st.sampled_from(["b", "w", "5", "1", "9", "pass", "resign", "interval", "-1", "1e9", "true"]),
    st.text(max_size=5),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(NAMES), st.lists(WORDS, max_size=4)), max_size=12))
def test_whatever_is_sent_each_request_has_one_response(requests):
    lines = [" ".join([name, *words]).replace("\n", " ") for name, words in requests]
    lines = [line for line in lines if "quit" not in line]
    text = session("\n".join(lines), HOSTILE)
    parts = text.split("\n\n")
    assert parts.pop() == ""
    assert len(parts) == len([line for line in lines if gtp.parse(line)])
    assert all(part[0] in "=?" for part in parts)


HOSTILE = engine("tic_tac_toe")


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_answered(data):
    text = session(data, HOSTILE)
    assert text == "" or (text[0] in "=?" and text.endswith("\n\n"))


def test_a_line_without_an_end_takes_no_memory():
    left = [b"x" * 2**16] * 200 + [b"\nname\n"]
    lines = Inbox(lambda _: left.pop(0) if left else b"")
    said: list[str] = []
    commands = Gtp(engine("tic_tac_toe"), lines, said.append)
    gtp.serve(commands.commands, commands.begin, lines, said.append)
    assert said == [f"? line longer than {inbox.LONGEST} bytes\n\n", "= AlphaZero\n\n"]


def test_lines_wait_unread_where_there_are_too_many(monkeypatch):
    monkeypatch.setattr(inbox, "ROOM", 100)
    reads: queue.Queue[int] = queue.Queue()
    blocks = iter([b"0123456789\n" * 20] * 10)

    def read(size: int) -> bytes:
        reads.put(size)
        return next(blocks, b"")

    lines = Inbox(read)
    assert [lines.get() for _ in range(20)] == ["0123456789"] * 20
    assert reads.qsize() <= 2
    assert sum(1 for _ in iter(lines.get, None)) == 180
    assert lines.ended


class Moments:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def test_main_time_is_divided_among_the_moves_to_come():
    control = TimeControl(100, now=Moments())
    assert control.seconds(0, 40) == 5.0  # of at most 20 moves
    assert control.seconds(0, 10) == 10.0
    assert control.seconds(1, 1) == 90.0


def test_byo_yomi_begins_when_the_main_time_is_over_and_anew_after_its_moves():
    now = Moments()
    control = TimeControl(10, 30, 5, now=now)
    assert control.seconds(0, 100) == pytest.approx(0.9 * 30 / 5)  # more than 10 / 20
    control.run(0)
    now.time += 11
    control.moved(0)
    assert control.seconds(0, 100) == 6.0  # 30 s for 5 moves
    for spent, left, due in ((4, 26, 4), (2, 24, 3), (12, 12, 2), (2, 10, 1)):
        control.run(0)
        now.time += spent
        control.moved(0)
        assert control.seconds(0, 100) == pytest.approx(min(left / due, 0.9 * left))
    control.run(0)
    control.moved(0)
    assert control.seconds(0, 100) == 6.0
    assert control.seconds(1, 100) == pytest.approx(5.4)  # the other side has its main time


def test_without_main_time_the_first_move_is_in_a_period():
    control = TimeControl(0, 5, 1, now=Moments())
    assert control.seconds(0, 30) == pytest.approx(4.5)
    control.set(0, 2, 1)
    assert control.seconds(0, 30) == pytest.approx(1.8)
    control.set(0, 40, 0)
    assert control.seconds(0, 30) == pytest.approx(4.5)  # main time again, and the period after it
    control.start()
    assert control.seconds(0, 30) == pytest.approx(4.5)


def test_the_player_gets_the_time_of_the_settings():
    seen: list[Limits] = []

    def decide(states, rngs, limits, lines):
        seen.append(limits)
        return Decision(games.make("tic_tac_toe").legal(states).argmax(axis=1))

    chosen = Engine(
        games.make("tic_tac_toe"), lambda _: Player("spy", decide, limits=Limits(600)), 0
    )
    requests = ["genmove b", "time_settings 9 0 0", "genmove w", "time_left b 3 1", "genmove b",
                "time_settings 0 5 0", "genmove w", "time_settings 0 0 0", "genmove b"]  # fmt: skip
    assert all(answer[0] == "=" for answer in answers(*requests, chosen=chosen))
    moves = [(limits.simulations, limits.seconds) for limits in seen[1:]]  # the first: warm-up
    assert moves[0] == moves[3] == moves[4] == (600, None)
    assert moves[1] == (600, pytest.approx(9 / 4, rel=1e-3))  # 8 plies, 4 of them its own
    assert moves[2] == (600, pytest.approx(2.7, rel=1e-3))
    free = Engine(chosen.game, lambda _: chosen.player, 0, bounded=False)
    assert free.limits(Limits(seconds=1)) == (10**6, 1, None)
    assert free.limits(Limits()) == (600, None, None)


def test_a_side_whose_time_is_over_moves_at_once():
    requests = ["time_settings 10 0 0", "time_left b 0 0", "genmove b", "time_left w 0 3",
                "genmove w"]  # fmt: skip
    moves = answers(*requests, chosen=engine(player=SEARCH))
    assert [bool(re.fullmatch(r"= [A-H]\d", move)) for move in moves[2::2]] == [True, True]


def test_a_resignation_stays_when_the_komi_is_stated_anew():
    game = ["play b C3", "play w resign", "komi 6.5", "final_score", "undo", "final_score"]
    assert go(*game, size=5)[3:] == ["= B+R", "=", "? cannot score: the game is not over"]


@pytest.mark.parametrize("name", ["lz-analyze", "lz-genmove_analyze"])
def test_an_analysis_that_fails_is_one_response_and_leaves_the_board_as_it_was(name):
    def decide(states, rngs, limits, lines):
        if lines and lines[0]:
            raise ZeroDivisionError
        return Decision(games.make("go:size=5").legal(states).argmax(axis=1))

    chosen = Engine(games.make("go:size=5"), lambda _: Player("fails", decide), 0)
    requests = ["play b C3", f"{name} b", "play w D4"]
    assert answers(*requests, chosen=chosen) == ["=", "=", "="]
    assert [chosen.session.game.action_to_text(a) for a in chosen.session.actions] == ["C3", "D4"]


def test_an_analysis_without_moves_does_not_end_its_response():
    def decide(states, rngs, limits, lines):
        # A search that has not visited any move.
        tree = init_trees(game, states, evaluators.uniform(game)(states), 1)
        return Decision(game.legal(states).argmax(axis=1), tree=tree)

    game = games.make("tic_tac_toe")
    chosen = Engine(game, lambda _: Player("slow", decide), 0)
    assert session("1 lz-analyze\n2 name\n", chosen) == "=1\n\n=2 AlphaZero\n\n"


def test_a_long_line_of_any_characters_is_known_by_its_bytes():
    said = session("play b " + "é" * (inbox.LONGEST // 2) + "\nname\n")
    assert said == f"? line longer than {inbox.LONGEST} bytes\n\n= AlphaZero\n\n"


def uniform(states) -> Evaluation:
    return Evaluation(np.zeros((len(states), 65), np.float32), np.zeros(len(states), np.float32))


@pytest.mark.parametrize("search", [PUCT(simulations=500), Gumbel(simulations=500)])
@pytest.mark.parametrize("seconds", [None, 1000.0])
def test_a_watched_search_ends_when_it_is_told_to(search, seconds):
    game = games.make("othello")
    counts: list[int] = []

    def watch(tree) -> bool:
        counts.append(int(tree.nodes["visits"][0, 0]) - 1)
        return counts[-1] >= 20

    limits = Limits(500, seconds, watch)
    rngs = [np.random.default_rng(0)]
    result = strongest_moves(search.without_noise(), game, game.initial(1), rngs, uniform, limits)
    assert result.visits.sum() == 20
    assert list(dict.fromkeys(counts)) == list(range(1, 21))


def test_a_checkpoint_searches_with_puct_unless_its_search_is_given():
    game = games.make("tic_tac_toe")
    assert load_player(game, None, ()).name.endswith("search=puct")
    assert load_player(game, "checkpoint:search=gumbel", ()).name == "checkpoint:search=gumbel"
    fresh = load_player(game, "checkpoint", (), fresh=True)
    assert players.parse(fresh.name)[1] == {"search": "puct", "reuse_tree": "false"}


def run(arguments: list[str], text: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*GTP, *arguments], input=text, capture_output=True, text=True, cwd=ROOT, timeout=300
    )


def test_the_command_writes_nothing_but_responses_to_standard_output():
    ended = run(["tic_tac_toe"], "1 genmove b\n2 lz-genmove_analyze w 5\n3 boardsize 5\n4 quit\n")
    assert ended.returncode == 0
    assert re.fullmatch(
        r"=1 \d\n\n=2\n(info move .*\n)+play \d\n\n\?3 unacceptable size\n\n=4\n\n", ended.stdout
    )
    assert "Traceback" not in ended.stderr


def test_what_a_game_prints_does_not_reach_standard_output(tmp_path):
    (tmp_path / "loud.py").write_text(
        "from games.tic_tac_toe import TicTacToe\n"
        "class Loud(TicTacToe):\n"
        "    def __init__(self):\n        self.name = 'loud:Loud'\n"
        "    def step(self, states, actions):\n"
        "        print('a move')\n        return super().step(states, actions)\n"
    )
    ended = subprocess.run(
        [*GTP, "loud:Loud", "--player", "random"], input="play b 5\nquit\n", capture_output=True,
        text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert (ended.stdout, ended.returncode) == ("=\n\n=\n\n", 0)
    assert "a move" in ended.stderr


def test_a_wrong_player_is_one_line_and_status_2():
    ended = run(["tic_tac_toe", "--player", "checkpoint:path=/nowhere"], "name\n")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for other processes")
def test_ctrl_c_ends_the_command_without_a_traceback():
    process = subprocess.Popen(
        [*GTP, "tic_tac_toe", "--player", "random"], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("name\n")
    process.stdin.flush()
    assert process.stdout.readline() == "= AlphaZero\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert "Traceback" not in errors


def regression(path: Path) -> list[tuple[str, str, str]]:
    """Requests of a file in GNU Go's format, with the id and the pattern of each test."""
    lines = [line.strip() for line in path.read_text().splitlines()]
    results = []
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        if line and not line.startswith("#"):
            match = re.fullmatch(r"#\? \[(.*)\]", after)
            results.append((line, line.split()[0] if match else "", match[1] if match else ".*"))
    return results


@pytest.mark.parametrize("path", sorted(DATA.glob("*.tst")), ids=lambda path: path.stem)
def test_regression_files_of_gnu_gos_format_pass(path):
    tests = regression(path)
    given_answers = answers(*(line for line, *_ in tests), chosen=engine(path.stem))
    assert len(given_answers) == len(tests)
    for (line, number, pattern), answer in zip(tests, given_answers, strict=True):
        text = answer.removeprefix(f"={number}").strip()
        wanted = pattern.removeprefix("!")
        assert answer.startswith(f"={number}"), line
        assert bool(re.fullmatch(wanted, text)) is not pattern.startswith("!"), (line, text)


PROGRAM = "alphazero gtp"


@pytest.mark.slow
def test_gogui_twogtp_plays_games_between_our_engine_and_gnu_go(tmp_path):
    twogtp, gnugo = shutil.which("gogui-twogtp"), shutil.which("gnugo", path=PATHS)
    if not (twogtp and gnugo and "go" in games.registered()):
        pytest.skip("needs gogui-twogtp, gnugo and the game go")
    ours = f"{sys.executable} -m {PROGRAM} go:size=5 --player mcts:simulations=20"
    subprocess.run(
        [twogtp, "-black", ours, "-white", f"{gnugo} --mode gtp --level 1 --chinese-rules",
         "-size", "5", "-komi", "7", "-games", "2", "-alternate", "-auto", "-maxmoves", "200",
         "-sgffile", str(tmp_path / "match")],
        check=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    rows = [line for line in (tmp_path / "match.dat").read_text().splitlines() if line[0] != "#"]
    assert len(rows) == 2
    assert {row.split("\t")[11] for row in rows} == {"0"}  # no errors


PATHS = os.pathsep.join([os.environ.get("PATH", ""), "/usr/games"])


@pytest.mark.parametrize(
    ("game", "same", "other", "plays"),
    [
        ("othello", "boardsize 8", "boardsize 6", "othello:size=6"),
        ("go:size=5,komi=24", "komi 20", "boardsize 6", "go:size=6,komi=20.0,history=16"),
    ],
)
def test_rules_for_which_there_is_no_agent_name_the_player_that_they_bring(
    game, same, other, plays, caplog
):
    chosen = Engine(games.make(game), lambda rules: load_player(rules, None, ()), 0)
    assert answers(same, chosen=chosen) == ["="]
    assert not caplog.messages
    assert answers(other, chosen=chosen) == ["="]
    none, line = caplog.messages
    assert none == f"no agent for {plays} comes with this program: {chosen.player.name} plays"
    assert line.startswith(f"{plays}: the player is {chosen.player.name} now, not checkpoint")


def test_the_bundled_agent_plays_on_with_another_komi_and_says_so(capsys):
    chosen = Engine(games.make("go:size=5,komi=24"), lambda rules: load_player(rules, None, ()), 0)
    assert answers("komi 7.5", "time_settings 0 1 1", chosen=chosen) == ["=", "="]
    assert chosen.player.name.startswith("checkpoint:")
    assert chosen.game.name == "go:size=5,komi=7.5,history=16"
    said = "the bundled agent was trained with komi 24.0: its network judges positions as with 24.0"
    assert said in capsys.readouterr().err
