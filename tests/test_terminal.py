"""Whole sessions, scripted."""

import io
import os
import re
from dataclasses import replace

import numpy as np
import pytest
from made_up_games import DoubleNim, OneMove
from rich.console import Console

import games
from alphazero.evaluators import uniform
from alphazero.judging import advice, players, saved_games, screen, terminal
from alphazero.judging import session as sessions
from alphazero.judging.advice import Choice
from alphazero.judging.clock import Clock
from alphazero.judging.decisions import search_player
from alphazero.judging.players import Decision, Player
from alphazero.judging.terminal import PlaySettings
from alphazero.search.puct import PUCT
from games.base import Game


def session(
    script, player=None, game: str | Game = "connect_four", moves="", clock=None, **options
):
    """The transcript of a session with ``script`` as its input; an exception in it is raised.

    ``game``: a game or its name; ``moves`` were played before.
    """
    game = games.make(game) if isinstance(game, str) else game
    answers, out = iter(script), io.StringIO()

    def read(prompt):
        answer = next(answers, EOFError())
        if isinstance(answer, BaseException):
            raise answer
        out.write(f"{prompt}{answer}\n")
        return answer

    console = Console(file=out, width=100)
    started = sessions.after(game, moves)
    started.continue_as(started.seats, clock, None)
    terminal.play(player or leftmost(game), started, PlaySettings(**options), read, console)
    return out.getvalue()


def in_colours(script, height=50, **options):
    """The output to a terminal of ``height`` lines in a session of Connect Four."""
    game, out, answers = games.make("connect_four"), io.StringIO(), iter(script)
    console = Console(
        file=out, force_terminal=True, color_system="standard", width=100, height=height,
        legacy_windows=False, _environ={"TERM": "xterm"},
    )  # fmt: skip
    settings = PlaySettings(**options)
    play = sessions.Session(game)
    terminal.play(leftmost(game), play, settings, lambda prompt: next(answers), console)
    return out.getvalue()


def leftmost(game):
    """Plays the first legal move, with value 1 for the player about to move."""

    def decide(states, rngs, *_):
        action = game.legal(states).argmax(axis=1)
        policy = np.eye(game.num_actions, dtype=np.float32)[action]
        return Decision(action, policy, np.ones(len(states), np.float32))

    return Player("leftmost", decide)


def boards(transcript):
    """The boards shown, each as the text of its six rows."""
    lines = transcript.splitlines()
    bottoms = [number for number, line in enumerate(lines) if line == "1 2 3 4 5 6 7"]
    return ["\n".join(lines[number - 6 : number]) for number in bottoms]


def test_a_whole_game_is_played_to_the_humans_win():
    transcript = session(["4", "4", "4", "4", "q"])
    assert transcript.count("The agent plays 1.") == 3
    assert "The game is over: you win." in transcript
    assert transcript.rstrip().endswith("Goodbye.")


def test_an_agent_that_completes_a_line_wins():
    transcript = session(["7", "7", "6", "6"], begin=False)
    assert "The game is over: the agent wins." in transcript
    assert "You resigned" not in transcript


def test_a_draw_is_called_a_draw():
    game = games.make("tic_tac_toe")
    transcript = session(["1", "2", "7", "6", "9"], in_order(game, "5348"), game="tic_tac_toe")
    assert "The game is over: a draw." in transcript


@pytest.mark.skipif("go" not in games.registered(), reason="needs the game go")
@pytest.mark.parametrize(("komi", "words"), [(0.5, "24.5 points"), (24, "1 point")])
def test_the_end_of_a_game_of_points_says_by_how_many_it_is_won(komi, words):
    game = games.make(f"go:size=5,komi={komi}")
    passes = Player("passes", lambda states, *_: Decision(np.full(len(states), 25)))
    assert f"The game is over: you win by {words}.\n" in session(["c3", "pass"], passes, game)
    seconds = session(["u", "u", "r"], passes, game, moves="c3 pass pass", begin=False)
    assert f"The game is over: the agent wins by {words}.\n" in seconds
    assert "You resigned: the agent wins.\n" in seconds


def test_a_game_that_is_cut_by_its_length_says_so(monkeypatch):
    monkeypatch.setattr(games.make("connect_four").__class__, "max_plies", 3)
    transcript = session(["4", "4"])
    assert "The game is over after 3 moves, the most that are played: a draw." in transcript


def in_order(game, cells):
    """Plays the first of ``cells`` that is free."""
    order = [game.text_to_action(cell) for cell in cells]

    def decide(states, rngs, *_):
        return Decision(np.array([next(a for a in order if row[a]) for row in game.legal(states)]))

    return Player("order", decide)


def test_undo_twice_takes_both_moves_back():
    transcript = session(["4", "5", "u", "u"])
    shown = boards(transcript)
    assert len(shown) == 5
    assert shown[3] == shown[1] != shown[2]
    assert shown[4] == shown[0]
    assert set(shown[4]) == {".", " ", "\n"}


def test_undo_without_a_move_to_take_back_is_explained():
    assert "You have no move to take back." in session(["u"])
    # The agent's own first move is not the human's to take back.
    assert "You have no move to take back." in session(["u"], begin=False)


def test_switching_sides_lets_the_agent_move_at_once():
    transcript = session(["4", "s"])
    assert "You play O now." in transcript
    assert boards(transcript)[-1].count("X") == 2
    assert "It is your turn; you play O." in transcript


def test_the_agent_begins_when_the_human_does_not():
    transcript = session([], begin=False)
    assert transcript.index("The agent plays 1.") < transcript.index("It is your turn; you play O.")


@pytest.mark.parametrize(
    ("text", "explained"),
    [
        ("8", "'8' is not a move here; possible are 1 2 3 4 5 6 7"),
        ("undo 3", "'undo 3' is not a move here"),
        ("[red]", "'[red]' is not a move here"),
    ],
)
def test_bad_input_is_explained_and_the_board_stays(text, explained):
    transcript = session([text])
    assert explained in transcript
    assert "Type ? for help." in transcript
    assert len(boards(transcript)) == 1


def test_after_an_illegal_move_the_legal_ones_are_listed():
    transcript = session(["1", "1", "1", "1"])
    assert "1 cannot be played here; possible are 2 3 4 5 6 7." in transcript


def test_resigning_ends_the_game_until_undone_or_a_new_one_begins():
    transcript = session(["r", "4", "h", "r", "u", "4", "r", "n", "4"])
    assert transcript.count("You resigned: the agent wins.") == 2
    assert "the game is over; n begins a new one" in transcript
    assert "there is nothing to advise" in transcript
    assert "The game is over already." in transcript
    assert boards(transcript)[-1].count("X") == 1


def test_hints_show_the_evaluation_from_the_humans_side():
    hint = session(["h"])
    assert "The agent would play 1." in hint
    assert "Your chances: 100 %" in hint
    shown = session(["4"], hints=True)
    # The agent gives +1 to the player about to move, itself, which is -1 for the human.
    assert "Your chances: 0 %" in shown
    assert "Its top moves: 1 (100%)." in shown
    assert "chances" not in session(["4"])


def test_hints_show_the_line_that_a_search_expects():
    game = games.make("tic_tac_toe")
    search = PUCT(simulations=200).without_noise()
    player = search_player("puct", search, uniform(game), game)
    transcript = session(["h", "1"], player, "tic_tac_toe", hints=True)
    for words in ("would play", "plays"):
        move = re.search(
            rf"The agent {words} (\d)\.\n(?:  (?:Your|Its) .*\n)*  It expects: (\d) \d", transcript
        )
        assert move
        assert move[1] == move[2]
    assert "It expects" not in session(["h"])


def test_top_moves_begin_with_the_one_played_and_go_by_visits_then_by_policy():
    visits, policy = np.array([[40, 40, 300, 0, 300]]), np.array([[0.2, 0.3, 0.1, 0.0, 0.4]])
    decision = Decision(np.array([2]), policy, None, visits)
    assert advice.top_moves(decision) == [(2, 0.1), (4, 0.4), (1, 0.3)]
    assert advice.top_moves(decision._replace(visits=None)) == [(2, 0.1), (4, 0.4), (1, 0.3)]
    visits[0, 0] = 41
    assert advice.top_moves(decision) == [(2, 0.1), (4, 0.4), (0, 0.2)]


def test_moves_of_no_percent_are_left_out():
    decision = Decision(np.array([1]), np.array([[0.004, 0.996, 0.0]], np.float32))
    assert [action for action, _ in advice.top_moves(decision)] == [1]
    assert advice.top_moves(Decision(np.array([1]))) == []


def test_a_session_does_not_talk_of_backends():
    game = games.make("connect_four")
    player = replace(leftmost(game), inference="torch float32 on cpu: the fastest (of 2)")
    assert "torch" not in session(["4", "h", "q"], player, hints=True)


def test_a_player_without_policy_and_value_still_gives_a_hint():
    game = games.make("tic_tac_toe")
    silent = Player("silent", lambda states, rngs, *_: Decision(game.legal(states).argmax(axis=1)))
    transcript = session(["h"], silent, "tic_tac_toe")
    assert "The agent would play 1." in transcript
    assert "chances" not in transcript


def test_help_lists_commands_and_moves():
    transcript = session(["?"])
    for word in ("undo", "switch", "hint", "resign", "new", "quit"):
        assert word in transcript
    assert "or a move; possible are 1 2 3 4 5 6 7" in transcript


@pytest.mark.parametrize("end", [EOFError(), KeyboardInterrupt()])
def test_the_end_of_input_and_an_interrupt_end_politely(end):
    assert session(["4", end]).rstrip().endswith("Goodbye.")


def test_an_interrupt_during_the_agents_search_ends_politely():
    def interrupted(states, rngs, *_):
        raise KeyboardInterrupt

    assert session(["4"], Player("slow", interrupted)).rstrip().endswith("Goodbye.")


def test_plain_output_has_no_control_codes_and_a_terminal_gets_colours_and_the_last_move():
    assert "\x1b" not in session(["4", "h", "?", "8"])
    shown = in_colours(["4", "q"])
    assert "\x1b[1;7;33mO" in shown
    assert "\x1b[1;31mX" in shown


def test_a_terminal_marks_the_winning_line_and_the_stone_that_completed_it():
    shown = in_colours(["4", "4", "4", "4", "q"])
    assert shown.count("\x1b[1;4;7;31mX") == 1
    assert shown.count("\x1b[1;4;31mX") == 3


def test_othello_is_played_in_its_own_notation():
    transcript = session(
        ["z9", "b3"], players.make("random", games.make("othello:size=6")), "othello:size=6"
    )
    assert "It is your turn" in transcript


def test_the_same_seed_repeats_the_session():
    player = players.make("random", games.make("connect_four"))
    script = ["1", "2", "3", "h"]
    assert session(script, player, seed=1) == session(script, player, seed=1)
    assert session(script, player, seed=1) != session(script, player, seed=2)


def test_scripted_answers_are_echoed(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("4\n"))
    assert screen.read_line("X > ") == "4"
    assert capsys.readouterr().out == "X > 4\n"


class Compass(DoubleNim):
    """Double nim, in which one, two and three stones are taken with the moves n, s and h."""

    name = "compass"

    def action_to_text(self, action):
        return "nsh"[action]


def test_a_move_wins_over_a_command_of_its_name_and_commands_have_a_slash():
    game = Compass()
    transcript = session(["n", "?", "/N", "/q"], game=game)
    assert "stones 15" in transcript or "15" in transcript
    # The human takes one of 15 stones, then the agent one of 14; /N begins anew.
    assert transcript.count("The agent plays n.") == 1
    assert re.search(r"^  /n, new +begin a new game$", transcript, re.M)
    assert re.search(r"^  u, undo +take your last move back$", transcript, re.M)
    assert transcript.count("It is your turn; you play X.") == 3
    assert transcript.rstrip().endswith("Goodbye.")


def test_a_move_that_is_illegal_now_does_not_run_the_command_of_its_name():
    # Of the last stone h, which takes three, cannot be played.
    transcript = session(["h"], game=Compass(), moves="n" * 14)
    assert "h cannot be played here; possible are n." in transcript
    assert "would play" not in transcript


def test_in_a_finished_game_a_word_is_a_command_though_a_move_has_its_name():
    transcript = session(["n", "n", "q"], game=Compass(), moves="n" * 14)
    shown = [line for line in transcript.splitlines() if line.startswith(("The game", "It is"))]
    turn = "It is your turn; you play X."
    assert shown == [turn, "The game is over: you win.", turn]


class Queens(OneMove):
    """A game of one move, from one of 36 squares to another: a1-a1 to f6-f6 in capital letters."""

    def __init__(self):
        super().__init__(np.ones(36 * 36))

    def legal(self, states):
        return super().legal(states) & (np.arange(36 * 36) % 36 != 0)

    def step(self, states, actions):
        return np.zeros(len(states), self.dtype)

    def action_to_text(self, action):
        start, end = divmod(action, 36)
        return "-".join(f"{'abcdef'[at % 6]}{at // 6 + 1}" for at in (start, end))


def test_of_many_moves_the_nearest_legal_ones_are_shown():
    transcript = session(["?", "e9-c3", "a1-a1", "e1"], game=Queens())
    assert "1260 moves are possible, as b1-a1" not in transcript
    helped, refused, illegal, begun = (
        line for line in transcript.splitlines() if "moves are possible" in line
    )
    assert len(helped) < 100
    assert "'e9-c3' is not a move here; 1260 moves are possible, the nearest are e" in refused
    assert "-c3 " in refused
    assert "a1-a1 cannot be played here" in illegal
    assert " a1-" in illegal.partition("nearest are")[2]
    assert re.search(r"nearest are( e1-\w\d){6}\. Type", begun)


def test_the_case_of_a_move_is_ignored_where_one_legal_move_remains():
    assert "is not a move" not in session(["E1-C3"], game=Queens())
    assert "The game is over" in session(["E1-C3"], game=Queens())


class Signs(DoubleNim):
    """Double nim with the moves a, A and b."""

    def action_to_text(self, action):
        return "aAb"[action]


def test_case_is_not_ignored_where_it_distinguishes_moves():
    played = sessions.Session(Signs())
    for text in ("a", "A", "B"):
        played.move(text)
    assert played.actions == [0, 1, 2]


def test_enter_alone_is_no_error():
    transcript = session(["", "   ", "4"])
    assert "not a move" not in transcript
    assert "X to move > \nX to move >    \nX to move > 4\n" in transcript


def test_a_game_that_is_over_before_its_first_move_is_named():
    class Over(OneMove):
        max_plies = 0

    with pytest.raises(ValueError, match="one_move is over in its initial position"):
        session([], game=Over([1]))


def test_the_winning_line_is_marked_in_plain_text():
    assert session(["4", "4", "4", "4"]).count("\nO . . X*. . .") == 3
    bottom = session(["4", "5", "6", "7"], in_order(games.make("connect_four"), "123"))
    assert "\nO . . X*X*X*X*\n" in bottom


CLEAR = "\x1b[2J"


def test_a_terminal_redraws_the_board_in_place_with_what_happened_below_it():
    shown = in_colours(["4", "8", "q"], redraw=True)
    screens = [re.sub(r"\x1b\[\d*[mH]", "", text) for text in shown.split(CLEAR)]
    # The start; the human's move; the agent's reply; after the error.
    assert len(screens) == 5
    assert "The agent plays 1." in screens[3]
    assert screens[3].index("1 2 3 4 5 6 7") < screens[3].index("The agent plays 1.")
    assert "'8' is not a move here" in screens[4]
    assert "The agent plays" not in screens[4]
    for screen_text in screens[1:]:
        assert screen_text.count("Type a move, or ? for help") == 1


def test_what_stood_on_the_screen_is_scrolled_up_before_the_first_board():
    assert in_colours(["q"], redraw=True, height=30).partition(CLEAR)[0].count("\n") >= 29


@pytest.mark.parametrize("options", [{"redraw": False}, {"redraw": True, "height": 15}])
def test_nothing_is_redrawn_in_a_pipe_or_on_a_screen_without_room(options):
    assert CLEAR not in in_colours(["4", "q"], **options)


def by_values(game, **values):
    """Plays and advises column 1, with ``values`` by the number of moves played, for the mover."""

    def decide(states, rngs, limits, lines):
        action = game.legal(states).argmax(axis=1)
        value = values.get(f"after_{len(lines[0])}", 0.0)
        return Decision(action, None, np.array([value], np.float32))

    return Player("by values", decide)


def test_hints_name_the_game_in_which_the_network_was_trained_where_that_is_another_one():
    game = games.make("connect_four")
    player = replace(by_values(game, after_0=0.72), trained_in="go:size=5,komi=24.0")
    shown = session(["h", "q"], player, hints=True)
    assert "86 % (a draw counts one half; by a network trained in go:size=5,komi=24.0)." in shown


def test_a_blunder_is_pointed_out_with_the_better_move():
    game = games.make("connect_four")
    # 0.72 for the human are 86 % of the points; 0.02 for the agent then leave him 49 %.
    player = by_values(game, after_0=0.72, after_1=0.02)
    assert "4? 86 % -> 49 %; 1 was better" in session(["4"], player, hints=True)
    assert "was better" not in session(["1"], player, hints=True)
    assert "was better" not in session(["4"], player)
    steady = by_values(game, after_0=0.72, after_1=-0.6)
    assert "was better" not in session(["4"], steady, hints=True)


def test_a_blunder_is_measured_by_the_humans_own_side_where_he_moves_again_and_by_a_result():
    game = DoubleNim()
    # Two stones, and X moves again, from a bad position: the value is his own.
    player = by_values(game, after_0=0.9, after_1=-0.8)
    assert "2? 95 % -> 10 %; 1 was better" in session(["2"], player, game=game, hints=True)
    assert advice.blunder(Choice("4", "5", 0.5), -1.0) == "4? 75 % -> 0 %; 5 was better"


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0, "100 %"), (0.999, "99 %"), (0.0, "50 %"), (-0.0, "50 %"), (-0.9999, "1 %"), (-1, "0 %")],
)
def test_a_value_is_shown_as_a_share_of_the_points(value, text):
    assert advice.percent(value) == text


def test_moves_that_were_played_before_are_on_the_board_and_can_be_taken_back():
    transcript = session(["u", "u"], moves="4453")
    assert boards(transcript)[0].splitlines()[-1] == ". . O X X . ."
    assert boards(transcript)[2].splitlines()[-1] == ". . . . . . ."
    over = session(["u"], moves="4142434")
    assert "The game is over: you win." in over
    assert "It is your turn" in over


def test_a_game_is_saved_and_goes_on(tmp_path):
    file = tmp_path / "game.json"
    first = session(["4", f"save {file}", "4", "save", "q"])
    assert first.count("The game is saved: ") == 2
    second = session([f"load {file}", "u"], begin=False)
    assert boards(second)[-2] == boards(first)[-1]
    assert "It is your turn; you play X." in second
    third = session([f"save {file}", "save", "load", "load nowhere.json"])
    assert f"{file} exists already: give another name." in third
    assert "save needs a file, as in: save game.json." in third
    assert "load needs a file, as in: load game.json." in third
    assert "nowhere.json: there is no such file." in third


def test_a_saved_game_of_other_people_is_continued_on_the_side_asked_for(tmp_path):
    file = tmp_path / "game.json"
    played = sessions.after(games.make("connect_four"), "44")
    saved_games.write(played, file)
    assert "you play X" in session([f"load {file}"])
    assert "The agent plays 1." in session([f"load {file}"], begin=False).partition("load")[2]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "this is no saved game: no JSON at line 1, column 1: expecting value"),
        (b"[" * 10**5, "this is no saved game"),
        (b"\xff{}", "can't decode byte"),
        (b"[]", "this is no saved session"),
        (b"{}", "this is no saved session"),
        (b'{"moves": ' + b"9" * 5000 + b"}", "Exceeds the limit"),
        (b" " * (2**20 + 1), "a saved game has at most 1,048,576 bytes"),
        (b'{"game": "evil:E", "moves": [], "seats": ["a", "b"], "resigned": null, "clock": null}',
         "the saved session is one of evil:E, not of connect_four"),
        (b'{"game": "connect_four", "moves": [{}], "seats": ["a", "b"], "resigned": null, '
         b'"clock": null}', "a move is a whole number"),
        (b'{"game": "connect_four", "moves": [], "seats": ["a", "b"], "resigned": null, '
         b'"clock": {"start": ["x", 1], "seconds": [1, 1], "increment": 0}}', "no saved session"),
    ],
)  # fmt: skip
def test_a_hostile_saved_game_is_refused_in_one_line(tmp_path, content, complaint):
    file = tmp_path / "game.json"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"game\.json: ") as refused:
        saved_games.read(file, games.make("connect_four"))
    assert complaint in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300 + len(str(file))


def test_of_a_file_with_a_game_per_line_the_first_is_loaded_and_the_others_are_kept(tmp_path):
    file, game = tmp_path / "games.jsonl", games.make("connect_four")
    write = saved_games.writer(game, file)
    text = "".join(write(sessions.after(game, moves).as_dict()) for moves in ("445", "1"))
    file.write_text(text)
    assert saved_games.read(file, game).notation() == ["4", "4", "5"]
    shown = session([f"load {file}", "save", f"save {file}"])
    assert "save needs a file" in shown
    assert "exists already" in shown
    assert file.read_text() == text


def test_what_follows_a_saved_game_in_its_own_line_is_refused(tmp_path):
    file, game = tmp_path / "game.json", games.make("connect_four")
    file.write_text(saved_games.writer(game, file)(sessions.Session(game).as_dict())[:-1] + " {}")
    said = r"this is no saved game: no JSON at line 1, column \d+: extra data"
    with pytest.raises(ValueError, match=said):
        saved_games.read(file, game)


def test_a_pipe_a_device_and_a_folder_are_no_saved_games(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    for name in ("pipe", "link", "."):
        with pytest.raises(ValueError, match="this is not a regular file"):
            saved_games.read(tmp_path / name, games.make("connect_four"))


def test_a_clock_is_shown_and_ends_the_game():
    now = [0.0]
    clock = Clock((90.0, 90.0), 0.0, lambda: now[0])

    def slow(states, rngs, *_):
        now[0] += 20
        return Decision(games.make("connect_four").legal(states).argmax(axis=1))

    def script():
        yield "4"
        now[0] += 75
        yield "4"
        now[0] += 100
        yield "4"

    transcript = session(script(), Player("slow", slow), clock=clock)
    assert "X to move, 1:30 left > 4" in transcript
    assert "X to move, 0:15 left > 4" in transcript
    end = transcript.partition("0:15 left > 4")[2]
    assert "Your time is over: the agent wins." in end
    assert "the game is over; n begins a new one" not in end
