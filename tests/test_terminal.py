"""Whole sessions, scripted."""

import io
import re
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

import games
from alphazero.evaluators import uniform
from alphazero.judging import players, terminal
from alphazero.judging.decisions import search_player
from alphazero.judging.players import Decision, Player
from alphazero.judging.terminal import PlaySettings
from alphazero.search.puct import PUCT


def session(script, player=None, game="connect_four", **options):
    """The transcript of a session with ``script`` as its input; an exception in it is raised."""
    game = games.make(game)
    answers, out = iter(script), io.StringIO()

    def read(prompt):
        answer = next(answers, EOFError())
        if isinstance(answer, BaseException):
            raise answer
        out.write(f"{prompt}{answer}\n")
        return answer

    console = Console(file=out, width=100)
    terminal.play(game, player or leftmost(game), PlaySettings(**options), read, console)
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
        ("8", "'8' is not a move here; moves run from 1 to 7"),
        ("", "'' is not a move here; moves run from 1 to 7"),
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
    assert "+1.00 for you" in hint
    shown = session(["4"], hints=True)
    # The agent gives +1 to the player about to move, itself, which is -1 for the human.
    assert "-1.00 for you" in shown
    assert "Its top moves: 1 (100%)." in shown
    assert "for you" not in session(["4"])


def test_hints_show_the_line_that_a_search_expects():
    game = games.make("tic_tac_toe")
    search = PUCT(simulations=200).without_noise()
    player = search_player("puct", search, uniform(game), game)
    transcript = session(["h", "1"], player, "tic_tac_toe", hints=True)
    for words in ("would play", "plays"):
        move = re.search(
            rf"The agent {words} (\d)\.\n(?:  It.*\n)*?  It expects: (\d) \d", transcript
        )
        assert move[1] == move[2]
    assert "It expects" not in session(["h"])


def test_top_moves_begin_with_the_one_played_and_go_by_visits_then_by_policy():
    visits, policy = np.array([[40, 40, 300, 0, 300]]), np.array([[0.2, 0.3, 0.1, 0.0, 0.4]])
    decision = Decision(np.array([2]), policy, None, visits)
    assert terminal.top_moves(decision) == [(2, 0.1), (4, 0.4), (1, 0.3)]
    assert terminal.top_moves(decision._replace(visits=None)) == [(2, 0.1), (4, 0.4), (1, 0.3)]
    visits[0, 0] = 41
    assert terminal.top_moves(decision) == [(2, 0.1), (4, 0.4), (0, 0.2)]


def test_moves_of_no_percent_are_left_out():
    decision = Decision(np.array([1]), np.array([[0.004, 0.996, 0.0]], np.float32))
    assert [action for action, _ in terminal.top_moves(decision)] == [1]
    assert terminal.top_moves(Decision(np.array([1]))) == []


def test_a_session_names_what_the_players_network_runs_on():
    player = leftmost(games.make("connect_four"))
    assert "network" not in session([], player)
    line = "Its network runs on torch float32 on cpu: the fastest (of [2])."
    assert line in session(
        [], replace(player, inference="torch float32 on cpu: the fastest (of [2])")
    )


def test_a_player_without_policy_and_value_still_gives_a_hint():
    game = games.make("tic_tac_toe")
    silent = Player("silent", lambda states, rngs, *_: Decision(game.legal(states).argmax(axis=1)))
    transcript = session(["h"], silent, "tic_tac_toe")
    assert "The agent would play 1." in transcript
    assert "for you" not in transcript


def test_help_lists_commands_and_moves():
    transcript = session(["?"])
    for word in ("undo", "switch", "hint", "resign", "new", "quit"):
        assert word in transcript
    assert "or a move, one of 1 2 3 4 5 6 7" in transcript


@pytest.mark.parametrize("end", [EOFError(), KeyboardInterrupt()])
def test_the_end_of_input_and_an_interrupt_end_politely(end):
    assert session(["4", end]).rstrip().endswith("Goodbye.")


def test_an_interrupt_during_the_agents_search_ends_politely():
    def interrupted(states, rngs, *_):
        raise KeyboardInterrupt

    assert session(["4"], Player("slow", interrupted)).rstrip().endswith("Goodbye.")


def test_plain_output_has_no_control_codes_and_a_terminal_gets_colours_and_the_last_move():
    assert "\x1b" not in session(["4", "h", "?", "8"])
    game, out = games.make("connect_four"), io.StringIO()
    console = Console(file=out, force_terminal=True, color_system="standard", width=100)
    answers = iter(["4", "q"])
    terminal.play(game, leftmost(game), PlaySettings(), lambda prompt: next(answers), console)
    assert "\x1b[1;7;33mO" in out.getvalue()
    assert "\x1b[1;31mX" in out.getvalue()


def test_a_terminal_marks_the_winning_line_and_the_stone_that_completed_it():
    game, out = games.make("connect_four"), io.StringIO()
    console = Console(file=out, force_terminal=True, color_system="standard", width=100)
    answers = iter(["4", "4", "4", "4", "q"])
    terminal.play(game, leftmost(game), PlaySettings(), lambda prompt: next(answers), console)
    shown = out.getvalue()
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
    assert terminal.terminal_read("X > ") == "4"
    assert capsys.readouterr().out == "X > 4\n"
