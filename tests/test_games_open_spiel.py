"""Games of OpenSpiel as games: against OpenSpiel itself, our own rules, and hostile parameters."""

import copy
import csv
import ctypes
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import games
from games import open_spiel_game, replayed, solvers
from games.conformance import check
from games.conformance.choices import random_moves
from games.conformance.rules import play

pyspiel = pytest.importorskip("pyspiel", reason="OpenSpiel is not installed")

POSITIONS = Path(__file__).parent / "benchmarks" / "open_spiel_positions.py"
SMALL = [
    "open_spiel:clobber(columns=4,rows=3)",
    "open_spiel:nim(pile_sizes=1;2;3)",
    "open_spiel:dots_and_boxes",
    "open_spiel:hex(board_size=3,swap=true)",
    "open_spiel:oware,max_plies=40",
    "open_spiel:mancala,max_plies=20",  # counts of stones are beyond 1
    "open_spiel:chess,max_plies=20",
]


@pytest.mark.parametrize("spec", SMALL)
def test_small_games_keep_the_contract(spec):
    check(games.make(spec), games=10)


@pytest.mark.parametrize("spec", ["open_spiel:checkers", "open_spiel:amazons(board_size=6)"])
def test_legal_moves_movers_and_results_are_those_of_openspiels_own_states(spec):
    game, rng = games.make(spec), np.random.default_rng(3)
    for _ in range(3):
        states = game.initial(1)
        theirs = pyspiel.load_game(spec.partition(":")[2]).new_initial_state()
        first = theirs.current_player()
        while not theirs.is_terminal():
            assert np.flatnonzero(game.legal(states)[0]).tolist() == theirs.legal_actions()
            assert game.to_move(states)[0] == (theirs.current_player() != first)
            assert np.isnan(game.outcome(states)[0])
            seen = np.array(theirs.observation_tensor(theirs.current_player()), np.float32)
            assert np.array_equal(game.observe(states)[0, :-1].ravel(), seen)
            action = int(rng.choice(theirs.legal_actions()))
            theirs.apply_action(action)
            states = game.step(states, np.array([action]))
        mover = int(game.to_move(states)[0])
        player = first if mover == 0 else 1 - first
        assert game.outcome(states)[0] == np.sign(theirs.returns()[player])


@pytest.mark.parametrize(
    ("name", "spec"),
    [("connect_four", "open_spiel:connect_four"), ("tic_tac_toe", "open_spiel:tic_tac_toe")],
)
def test_our_own_game_has_the_same_legal_moves_results_and_notation(name, spec):
    ours, theirs, rng = games.make(name), games.make(spec), np.random.default_rng(0)
    one, two = ours.initial(50), theirs.initial(50)
    while len(one):
        legal = ours.legal(one)
        assert np.array_equal(legal, theirs.legal(two))
        assert np.array_equal(ours.outcome(one), theirs.outcome(two), equal_nan=True)
        assert np.array_equal(ours.to_move(one), theirs.to_move(two))
        going = legal.any(axis=1)
        one, two, legal = one[going], two[going], legal[going]
        actions = random_moves(ours, one, legal, rng)
        for state, other, action in zip(one[:3], two[:3], actions, strict=False):
            assert ours.move_to_text(state, action) == theirs.move_to_text(other, action)
        one, two = ours.step(one, actions), theirs.step(two, actions)


def test_white_who_begins_in_chess_is_player_0_although_openspiel_numbers_it_1():
    game = games.make("open_spiel:chess")
    assert pyspiel.load_game("chess").new_initial_state().current_player() == 1
    assert game.to_move(game.initial(1)) == 0
    states = game.initial(1)
    for text in ("f3", "e5", "g4", "Qh4#"):
        assert np.isnan(game.outcome(states)[0])
        assert game.move_to_text(states[0], game.text_to_move(states[0], text)) == text
        states = game.step(states, np.array([game.text_to_move(states[0], text)]))
    assert game.outcome(states)[0] == -1
    assert game.to_move(states)[0] == 0


def test_a_player_may_move_twice_in_a_row():
    game = games.make("open_spiel:dots_and_boxes(num_cols=1,num_rows=1)")
    states, movers = game.initial(1), []
    for action in range(4):
        movers.append(int(game.to_move(states)[0]))
        states = game.step(states, np.array([action]))
    assert movers == [0, 1, 0, 1]
    two = games.make("open_spiel:dots_and_boxes(num_cols=2,num_rows=1)")
    plies = play(two, 50, np.random.default_rng(0), random_moves, two.max_plies)
    same = [two.to_move(ply.states) == two.to_move(ply.after) for ply in plies[:-1]]
    assert any(rows.any() for rows in same)


def test_a_game_of_max_plies_is_a_draw_and_a_search_may_look_beyond_it():
    game = games.make("open_spiel:lines_of_action,max_plies=10")
    states, rng = game.initial(1), np.random.default_rng(0)
    for _ in range(10 + replayed.SPARE_PLIES):
        assert np.isnan(game.outcome(states)[0])
        assert game.result(states, 10)[0] == 0
        legal = np.flatnonzero(game.legal(states)[0])
        states = game.step(states, np.array([rng.choice(legal)]))
        if not np.isnan(game.outcome(states)[0]):
            break
    assert game.outcome(states)[0] == 0
    assert not game.legal(states).any()


def test_moves_are_words_of_openspiels_notation_and_numbers_are_read_too():
    game = games.make("open_spiel:amazons(board_size=6)")
    state = game.initial(1)[0]
    legal = np.flatnonzero(game.legal(game.initial(1))[0]).tolist()
    texts = [game.move_to_text(state, action) for action in legal]
    assert len(set(texts)) == len(legal)
    assert all(" " not in text and game.text_to_move(state, text) in legal for text in texts)
    assert game.text_to_move(state, f" {legal[0] + 1} ") == legal[0]
    with pytest.raises(ValueError, match="'zzz' is not a move here; the nearest are"):
        game.text_to_move(state, "zzz")
    house = games.make("open_spiel:mancala")  # OpenSpiel writes house 1 as 1: that is action 1
    assert house.move_to_text(house.initial(1)[0], 1) == "2"


def test_numbers_of_an_observation_beyond_one_are_squashed():
    game = games.make("open_spiel:mancala")
    assert game.observe(game.initial(1)).max() == pytest.approx(np.log2(5))  # four stones
    assert np.array_equal(
        replayed.squashed(np.array([-3, -1, -0.5, 0, 0.5, 1, 7], np.float32)),
        np.array([-2, -1, -0.5, 0, 0.5, 1, 3], np.float32),
    )
    largest = np.finfo(np.float32).max
    outermost = replayed.squashed(np.array([-largest, largest], np.float32))
    assert tuple(outermost.tolist()) == game.observation_bounds


@pytest.mark.parametrize("name", ["othello", "clobber", "chess"])
def test_observations_are_openspiels_tensors_for_the_mover(name):
    game, rules = games.make(f"open_spiel:{name}"), pyspiel.load_game(name)
    states, inner, differ = game.initial(1), rules.new_initial_state(), False
    for _ in range(5):
        tensor = np.array(inner.observation_tensor(inner.current_player()), np.float32)
        assert np.array_equal(game.observe(states)[0, :-1].ravel(), tensor)
        differ |= inner.observation_tensor(0) != inner.observation_tensor(1)
        action = inner.legal_actions()[0]
        inner.apply_action(action)
        states = game.step(states, np.array([action]))
    assert differ == (name != "chess")


def test_a_plane_says_who_moves():
    game = games.make("open_spiel:tic_tac_toe")
    states = game.initial(1)
    assert (game.observe(states)[0, -1] == 0).all()
    assert (game.observe(game.step(states, np.array([4])))[0, -1] == 1).all()


def test_the_memory_is_bounded_and_forgotten_positions_are_played_again(monkeypatch):
    spec = "open_spiel:connect_four"
    whole = play(games.make(spec), 20, np.random.default_rng(0), random_moves, 42)
    monkeypatch.setattr(replayed, "MEMORY", 100_000)
    small = open_spiel_game.OpenSpielGame("connect_four")
    states = small.initial(20)
    for ply in whole:
        assert small._bytes <= 100_000
        assert np.array_equal(small.step(ply.states, ply.actions), ply.after)
        states = ply.after
        assert np.array_equal(small.legal(states), games.make(spec).legal(states))
    assert 1 <= len(small._known) < 40
    assert small._bytes == sum(size for _, size in small._known.values())


def test_the_estimate_of_a_states_bytes_is_at_least_what_the_library_takes():
    if not hasattr(ctypes.CDLL(None), "mallinfo2"):
        pytest.skip("the C library does not count its bytes (mallinfo2)")
    code = """
import ctypes, sys, games, numpy as np
names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
Info = type("Info", (ctypes.Structure,), {"_fields_": [(name, ctypes.c_size_t) for name in names]})
count = ctypes.CDLL(None).mallinfo2
count.restype = Info
game = games.make(sys.argv[1])
states, rng = game.initial(1), np.random.default_rng(0)
for ply in range(120):
    legal = np.flatnonzero(game.legal(states)[0])
    if not len(legal):
        break
    if ply % 20 == 0:
        position = game._position_of(states[0])
        before, kept = count(), [position.inner.clone() for _ in range(100)]
        after = count()
        took = (after.uordblks + after.hblkhd - before.uordblks - before.hblkhd) / 100
        assert took <= game._size(position, ply) + 600, (ply, took)
        assert took > 50
    states = game.step(states, np.array([rng.choice(legal)]))
print("counted")
"""
    for spec in (
        "open_spiel:lines_of_action",
        "open_spiel:go",
        "open_spiel:twixt",
        "open_spiel:hive",
    ):
        ended = subprocess.run([sys.executable, "-c", code, spec], capture_output=True, text=True)
        assert ended.stdout == "counted\n", ended.stderr


@pytest.fixture
def threads_that_take_turns_often():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("threads_that_take_turns_often")
def test_an_instance_is_shared_by_threads_copied_and_pickled(monkeypatch):
    # Room for few positions, so that one thread often removes what another one uses.
    monkeypatch.setattr(replayed, "MEMORY", 20_000)
    game = games.make("open_spiel:connect_four")
    plies = play(game, 10, np.random.default_rng(1), random_moves, 42)
    fresh, wrong = games.make("open_spiel:connect_four"), []

    def work():
        for ply in plies:
            after = fresh.advance(ply.states, ply.actions)
            seen = fresh.observe(ply.after)
            if after.states.tobytes() != ply.after.tobytes() or not (
                np.array_equal(seen, game.observe(ply.after))
            ):
                wrong.append(ply)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert fresh._bytes == sum(size for _, size in fresh._known.values())
    for again in (pickle.loads(pickle.dumps(game)), copy.deepcopy(game)):
        assert again.name == game.name
        assert np.array_equal(again.legal(plies[3].after), game.legal(plies[3].after))


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("hx", "OpenSpiel has no game 'hx'; did you mean 'hex'?"),
        ("x" * 500, "OpenSpiel has no game"),
        ("kuhn_poker", "open_spiel:kuhn_poker is no game for two players here: it has chance"),
        ("goofspiel", "open_spiel:goofspiel is no game for two players here: players move at the"),
        ("dark_hex", "open_spiel:dark_hex is no game for two players here: a player does not see"),
        ("hearts", "open_spiel:hearts is no game for two players here: it has 4 to 4 players"),
        ("misere", "open_spiel:misere is no game for two players here: it has chance"),
        ("efg_game(filename=/etc/passwd)", "open_spiel:efg_game is no game for two players here"),
        ("hex(bord=3)", "open_spiel:hex has no parameter 'bord'"),
        ("hex(board_size=2.5)", "open_spiel:hex: board_size must be a whole number from 0 to"),
        ("hex(board_size=-1)", "open_spiel:hex: board_size must be a whole number from 0 to"),
        ("hex(board_size=1000000)", "open_spiel:hex: board_size must be a whole number from 0 to"),
        ("hex(swap=1)", "open_spiel:hex: swap must be true or false, not '1'"),
        ("go(komi=nan)", "open_spiel:go: komi must be a number from 0 to 10000, not 'nan'"),
        ("nim(pile_sizes=$(ls))", "'nim(pile_sizes=$(ls))': parentheses are written NAME(key="),
        ("nim(pile_sizes=a;b)", "open_spiel:nim cannot be played so: Could not parse size 'a'"),
        ("hex(board_size=5", "'hex(board_size=5': parentheses are written NAME(key=value,...)"),
        ("hex(board_size=4,board_size=5)", "'hex(board_size=4,board_size=5)': 'board_size=5' must"),
        ("hex(board_size=0)", "open_spiel:hex cannot be played so: no action is legal after"),
        ("amazons(board_size=5)", "open_spiel:amazons cannot be played so: "),
        ("connect_four(rows=0)", "open_spiel:connect_four(rows=0): OpenSpiel crashes with it, or"),
        ("quoridor(players=3)", "open_spiel:quoridor(players=3) has 3 players, not 2"),
        ("hex,max_plies=0", "open_spiel:hex,max_plies=0: 1 to 100,000 plies"),
        ("hex,size=3", "open_spiel has no parameter 'size'"),
    ],
)
def test_a_game_that_does_not_fit_is_refused_in_one_line_and_the_process_goes_on(spec, line):
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the text is compared below
        games.make(f"open_spiel:{spec}")
    assert str(raised.value).startswith(line)
    assert "\n" not in str(raised.value)


def test_every_game_of_openspiel_is_accepted_or_refused_with_a_reason():
    fits = [kind.short_name for kind in pyspiel.registered_games()
            if not open_spiel_game._misfit(kind)]  # fmt: skip
    assert {"hex", "go", "chess", "amazons", "quoridor"} <= set(fits)
    assert not {"backgammon", "kuhn_poker", "goofspiel", "catch"} & set(fits)
    for kind in pyspiel.registered_games():
        if kind.short_name not in fits:
            with pytest.raises(ValueError, match="is no game for two players here: "):
                games.make(f"open_spiel:{kind.short_name}")


def test_a_missing_library_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyspiel", None)
    open_spiel_game._load.cache_clear()
    with pytest.raises(ValueError, match=r"pip install 'distributed-alphazero\[open-spiel\]'"):
        games.make("open_spiel:hex")


def test_drawings_hold_no_colours_of_a_terminal():
    game = games.make("open_spiel:twixt")
    assert "\x1b" not in game.render(game.initial(1)[0])


def test_the_name_of_a_game_is_one_of_the_ways_to_write_it():
    written = "open_spiel: rules = hex( swap=true, board_size=4 ), max_plies=30"
    game = games.make(written)
    assert game.name == "open_spiel:hex(board_size=4,swap=true),max_plies=30"
    assert games.same(written, game.name)
    assert games.same("open_spiel:hex", "open_spiel:hex()")
    assert games.same("open_spiel:hex,max_plies=512", "open_spiel:rules=hex")
    assert games.same("games.open_spiel_game:OpenSpielGame:hex()", "open_spiel:hex")
    assert not games.same("open_spiel:hex(board_size=4)", "open_spiel:hex(board_size=5)")
    assert games.make("games.open_spiel_game:OpenSpielGame:nim").name == "open_spiel:nim"
    assert games.address_of(written) is None


def test_late_positions_have_the_results_of_an_exhaustive_search():
    script = [str(POSITIONS), "tic_tac_toe", "--plies=3", "--number=40"]
    done = subprocess.run(
        [sys.executable, *script], capture_output=True, text=True, check=True, timeout=300
    )
    table = list(csv.reader(done.stdout.splitlines()))[1:]
    assert len(table) == 40
    assert table == solvers.label(games.make("tic_tac_toe"), [row[0] for row in table])
