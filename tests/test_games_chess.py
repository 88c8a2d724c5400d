"""Chess against published perft numbers, python-chess, pyffish, OpenSpiel and PettingZoo."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import games
from games.chess import Chess

chess = pytest.importorskip("chess", reason="python-chess comes with the extra dev")

GAME = games.make("chess")
assert isinstance(GAME, Chess)
START = chess.STARTING_FEN
KIWIPETE = "r3k2r/p1ppqpb1/bn2pnp1/3PN3/1p2P3/2N2Q1p/PPPBBPPP/R3K2R w KQkq - 0 1"
ENDGAME = "8/2p5/3p4/KP5r/1R3p1k/8/4P1P1/8 w - - 0 1"
PROMOTIONS = "r3k2r/Pppp1ppp/1b3nbN/nP6/BBP1P3/q4N2/Pp1P2PP/R2Q1RK1 w kq - 0 1"
MIRRORED = "r2q1rk1/pP1p2pp/Q4n2/bbp1p3/Np6/1B3NBn/pPPP1PPP/R3K2R b KQ - 0 1"
DISCOVERED = "rnbq1k1r/pp1Pbppp/2p5/8/2B5/8/PPP1NnPP/RNBQK2R w KQ - 1 8"
MIDDLEGAME = "r4rk1/1pp1qppp/p1np1n2/2b1p1B1/2B1P1b1/P1NP1N2/1PP1QPPP/R4RK1 w - - 0 10"

# https://www.chessprogramming.org/Perft_Results
PERFT = {
    START: [20, 400, 8902, 197_281, 4_865_609],
    KIWIPETE: [48, 2039, 97_862, 4_085_603],
    ENDGAME: [14, 191, 2812, 43_238, 674_624],
    PROMOTIONS: [6, 264, 9467, 422_333],
    MIRRORED: [6, 264, 9467, 422_333],
    DISCOVERED: [44, 1486, 62_379, 2_103_487],
    MIDDLEGAME: [46, 2079, 89_890, 3_894_594],
}


def perft(states, depth):
    """The sequences of ``depth`` legal moves from ``states``."""
    total = 0
    for begin in range(0, len(states), 4096):
        part = states[begin : begin + 4096]
        legal = GAME.legal(part)
        if depth == 1:
            total += int(np.count_nonzero(legal))
        else:
            rows, actions = np.nonzero(legal)
            total += perft(GAME.step(part[rows], actions), depth - 1)
    return total


def deep(count):
    return pytest.mark.slow if count > 450_000 else ()


@pytest.mark.parametrize(
    ("fen", "depth", "count"),
    [
        pytest.param(fen, depth, count, marks=deep(count))
        for fen, counts in PERFT.items()
        for depth, count in enumerate(counts, 1)
    ],
)
def test_sequences_of_moves_are_as_many_as_published(fen, depth, count):
    assert perft(GAME.state_of_fen(fen), depth) == count


def play(fen, *moves):
    """The state after moves in SAN or in squares."""
    states = GAME.state_of_fen(fen)
    for move in " ".join(moves).split():
        states = GAME.step(states, np.array([GAME.text_to_move(states[0], move)]))
    return states


def ended(states):
    (outcome,) = GAME.outcome(states).tolist()
    return None if np.isnan(outcome) else outcome


def random_games(number, seed):
    """Per game its plies ``(state, legal actions, action)``, then the last state."""
    rng, states = np.random.default_rng(seed), GAME.initial(number)
    played, last = [[] for _ in range(number)], [None] * number
    rows = np.arange(number)
    while len(rows):
        legal = GAME.legal(states)
        over = ~legal.any(axis=1)
        for place in np.flatnonzero(over):
            last[rows[place]] = states[place]
        rows, states, legal = rows[~over], states[~over], legal[~over]
        actions = np.where(legal, rng.random(legal.shape), -1.0).argmax(axis=1)
        for place, row in enumerate(rows):
            listed = np.flatnonzero(legal[place]).tolist()
            played[row].append((states[place], listed, int(actions[place])))
        states = GAME.step(states, actions)
    return list(zip(played, last, strict=True))


def plane_of(move):
    """AlphaZero's plane of a move from white's side, by the description in its paper."""
    dx = chess.square_file(move.to_square) - chess.square_file(move.from_square)
    dy = chess.square_rank(move.to_square) - chess.square_rank(move.from_square)
    if move.promotion not in (None, chess.QUEEN):
        return 64 + 3 * (dx + 1) + (chess.KNIGHT, chess.BISHOP, chess.ROOK).index(move.promotion)
    if abs(dx * dy) == 2:
        steps = [(x, y) for x in range(-2, 3) for y in range(-2, 3) if abs(x * y) == 2]
        return 56 + steps.index((dx, dy))
    steps = [(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1) if (x, y) != (0, 0)]
    return 8 * (max(abs(dx), abs(dy)) - 1) + steps.index((np.sign(dx), np.sign(dy)))


_numbers = {}


def number_of(move, turn):
    """The action of a move of python-chess."""
    key = move, turn
    if key not in _numbers:
        if turn == chess.BLACK:
            squares = (chess.square_mirror(s) for s in (move.from_square, move.to_square))
            move = chess.Move(*squares, promotion=move.promotion)
        file, rank = chess.square_file(move.from_square), chess.square_rank(move.from_square)
        _numbers[key] = (8 * file + rank) * 73 + plane_of(move)
    return _numbers[key]


def moves_of(board):
    return {number_of(move, board.turn): move for move in board.legal_moves}


def is_over(board):
    """Our rules in python-chess's words: what may be claimed in the position, without a move."""
    return (
        not any(board.legal_moves)
        or board.is_insufficient_material()
        or board.halfmove_clock >= 100
        or board.is_repetition(3)
    )


def result_of(board):
    """For the player about to move."""
    return -1 if board.is_checkmate() else 0


# A machine that is busy with other work may take an hour for a thousand games.
pytestmark = pytest.mark.timeout(3600)

MANY = [pytest.param(40, id="40"), pytest.param(1000, id="1000", marks=pytest.mark.slow)]
FEW = [pytest.param(4, id="4"), pytest.param(200, id="200", marks=pytest.mark.slow)]


@pytest.mark.parametrize("number", MANY)
def test_random_games_are_the_same_in_python_chess(number):
    for plies, last in random_games(number, seed=number):
        board = chess.Board()
        for _, legal, action in plies:
            assert not is_over(board)
            moves = moves_of(board)
            assert legal == sorted(moves)
            board.push(moves[action])
        assert is_over(board)
        assert ended(np.array([last])) == result_of(board)


@pytest.mark.parametrize("number", FEW)
def test_texts_and_planes_of_random_games_are_those_of_python_chess(number):
    for plies, _ in random_games(number, seed=number + 1):
        board = chess.Board()
        for ply, (state, legal, action) in enumerate(plies):
            moves = moves_of(board)
            assert GAME.fen(state, board.fullmove_number) == board.fen()
            for listed in legal if ply % 16 == 0 else [action]:
                san = GAME.move_to_text(state, listed)
                assert san == board.san(moves[listed])
                assert GAME.text_to_move(state, san) == listed
                uci = GAME.to_uci(state, listed)
                assert uci == moves[listed].uci()
                assert GAME.from_uci(state, uci) == GAME.text_to_move(state, uci) == listed
            np.testing.assert_array_equal(GAME.observe(np.array([state]))[0], planes_of(board))
            board.push(moves[action])


def planes_of(board):
    """The documented planes, from python-chess's sets of squares."""
    mover, seen = board.turn, board if board.turn else board.mirror()
    planes = np.zeros((20, 8, 8))
    for side, colour in enumerate((chess.WHITE, chess.BLACK)):
        for kind in chess.PIECE_TYPES:
            for square in seen.pieces(kind, colour):
                planes[6 * side + kind - 1, 7 - square // 8, square % 8] = 1
    planes[12] = board.is_repetition(2)
    for side, colour in enumerate((mover, not mover)):
        planes[13 + 2 * side] = board.has_kingside_castling_rights(colour)
        planes[14 + 2 * side] = board.has_queenside_castling_rights(colour)
    if board.has_legal_en_passant():
        planes[17, 2, seen.ep_square % 8] = 1
    planes[18] = np.float32(board.halfmove_clock) / np.float32(100)
    planes[19] = not mover
    return planes.astype(np.float32)


@pytest.mark.parametrize("number", FEW)
def test_random_games_are_the_same_in_pyffish(number):
    pyffish = pytest.importorskip("pyffish", reason="pyffish comes with the extra dev")
    start = pyffish.start_fen("chess")
    for plies, last in random_games(number, seed=number + 2):
        line = [GAME.to_uci(state, action) for state, _, action in plies]
        for ply in range(0, len(plies), 5):
            state, legal, _ = plies[ply]
            theirs = pyffish.legal_moves("chess", start, line[:ply])
            assert {GAME.to_uci(state, listed) for listed in legal} == set(theirs)
            assert pyffish.is_immediate_game_end("chess", start, line[:ply]) == (False, 0)
            assert not pyffish.is_optional_game_end("chess", start, line[:ply])[0]
        result, moves = ended(np.array([last])), pyffish.legal_moves("chess", start, line)
        if not moves:
            mated = pyffish.game_result("chess", start, line) == -pyffish.VALUE_MATE
            assert mated == (result == -1)
        else:
            claimed, _ = pyffish.is_optional_game_end("chess", start, line)
            lacking = pyffish.has_insufficient_material("chess", start, line)
            assert result == 0
            assert claimed or lacking == (True, True)


OPEN_SPIEL = [
    43, 29, 57, 15, 16, 58, 30, 44, 42, 28, 56, 14, 17, 59, 31, 45, 41, 27, 55, 13, 18, 60, 32, 46,
    40, 26, 54, 12, 19, 61, 33, 47, 39, 25, 53, 11, 20, 62, 34, 48, 38, 24, 52, 10, 21, 63, 35, 49,
    37, 23, 51, 9, 22, 64, 36, 50, 65, 66, 67, 68, 71, 72, 69, 70, 8, 5, 2, 6, 3, 0, 7, 4, 1,
]  # fmt: skip
"""OpenSpiel's plane for each of ours; castling has the numbers 4672 (long) and 4673 (short)."""


def open_spiels(state, action, may_castle):
    if may_castle and GAME.move_to_text(state, action).startswith("O-O"):
        return 4672 if action % 73 == 9 else 4673
    return action // 73 * 73 + OPEN_SPIEL[action % 73]


@pytest.mark.parametrize("number", MANY)
def test_random_games_are_the_same_in_open_spiel(number):
    pyspiel = pytest.importorskip("pyspiel", reason="OpenSpiel comes with the extra dev")
    rules = pyspiel.load_game("chess")
    kings = {32 * 73 + plane for plane in (9, 14)}  # two squares from e1, seen by the mover
    for plies, last in random_games(number, seed=number + 3):
        theirs = rules.new_initial_state()
        for state, legal, action in plies:
            assert not theirs.is_terminal()
            assert theirs.current_player() == 1 - state["player"]
            numbers = {listed: open_spiels(state, listed, listed in kings) for listed in legal}
            assert sorted(numbers.values()) == theirs.legal_actions()
            theirs.apply_action(numbers[action])
        assert theirs.is_terminal()
        assert theirs.returns()[1 - last["player"]] == ended(np.array([last]))


@pytest.mark.parametrize(
    "number", [pytest.param(2, id="2"), pytest.param(50, id="50", marks=pytest.mark.slow)]
)
def test_random_games_are_the_same_in_pettingzoo_until_a_draw_can_be_claimed(number):
    """Its actions have our numbers; it also ends a game where a move would allow a claim."""
    pytest.importorskip("pygame", reason="pettingzoo's chess needs pygame, of the extra dev")
    chess_v6 = pytest.importorskip("pettingzoo.classic.chess.chess")
    environment = chess_v6.raw_env()
    for plies, last in random_games(number, seed=number + 4):
        environment.reset()
        for _, legal, action in plies:
            mask = environment.observe(environment.agent_selection)["action_mask"]
            assert np.flatnonzero(mask).tolist() == legal
            environment.step(action)
            if any(environment.terminations.values()):
                break
        reward, board = environment.rewards["player_0"], environment.board
        result = ended(np.array([last])) * (1 - 2 * last["player"])
        assert reward == result if is_over(board) else (reward == 0 and board.can_claim_draw())


KINDS = [*"pnbrq"]


@st.composite
def placements(draw):
    """A board of python-chess with few or many pieces anywhere, perhaps an impossible one."""
    board, white = chess.Board(None), draw(st.booleans())
    squares = iter(draw(st.permutations(range(64))))
    for king in (chess.WHITE, chess.BLACK):
        board.set_piece_at(next(squares), chess.Piece(chess.KING, king))
    for symbol in draw(st.lists(st.sampled_from(KINDS + [k.upper() for k in KINDS]), max_size=20)):
        board.set_piece_at(next(squares), chess.Piece.from_symbol(symbol))
    board.turn = white
    return board


@settings(max_examples=250, deadline=None)
@given(placements(), st.integers(0, 7))
def test_any_placement_of_pieces_has_the_legal_moves_of_python_chess(board, file):
    # A pawn that has just gone two squares, where there is one.
    rank, behind = (5, -8) if board.turn else (2, 8)
    square = 8 * rank + file
    pawn = board.piece_at(square + behind)
    if pawn == chess.Piece(chess.PAWN, not board.turn):
        board.ep_square = square
    if not board.is_valid():
        board.ep_square = None
    try:
        states = GAME.state_of_fen(board.fen(en_passant="fen"))
    except ValueError:
        assert not board.is_valid()
        return
    legal = [] if is_over(board) else sorted(moves_of(board))
    assert np.flatnonzero(GAME.legal(states)[0]).tolist() == legal
    assert GAME.fen(states[0]) == board.fen()


@pytest.mark.parametrize(
    ("fen", "capture", "expected"),
    [
        ("7k/8/8/1Pp5/3K4/8/8/8 w - c6 0 1", "b5c6", True),  # the pawn that is taken gives check
        ("7k/8/8/1Pp5/8/8/8/K7 w - c6 0 1", "b5c6", True),
        ("8/8/8/8/k2Pp2Q/8/8/3K4 b - d3 0 1", "e4d3", False),  # both leave the king's rank
        ("4r2k/8/8/3pP3/8/8/8/4K3 w - d6 0 1", "e5d6", False),  # pinned on its file
        ("7k/8/8/1Pp5/8/4b3/3K4/8 w - c6 0 1", "b5c6", False),  # another piece gives check
    ],
)
def test_a_pawn_is_taken_en_passant_only_where_the_king_is_safe_after_it(fen, capture, expected):
    board = chess.Board(fen)
    legal = np.flatnonzero(GAME.legal(GAME.state_of_fen(fen))[0]).tolist()
    assert (chess.Move.from_uci(capture) in board.legal_moves) == expected
    assert legal == sorted(moves_of(board))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from("bnBN"), max_size=4), st.permutations(range(64)))
def test_material_is_insufficient_where_python_chess_says_so(minors, squares):
    board = chess.Board(None)
    for square, symbol in zip(squares, ["K", "k", *minors], strict=False):
        board.set_piece_at(square, chess.Piece.from_symbol(symbol))
    if not board.is_valid() or not any(board.legal_moves):
        return
    over = ended(GAME.state_of_fen(board.fen()))
    assert over == (0 if board.is_insufficient_material() else None)


def test_mate_and_stalemate_end_the_game():
    fool = play(START, "f3 e5 g4 Qh4#")
    assert ended(fool) == -1
    assert GAME.to_move(fool).tolist() == [0]
    assert ended(play(START, "e4 e5 Bc4 Nc6 Qh5 Nf6 Qxf7#")) == -1
    assert ended(play("7k/8/5KQ1/8/8/8/8/8 w - - 0 1", "Qf7")) == 0
    assert not GAME.legal(fool).any()


def test_a_position_there_for_the_third_time_is_a_draw():
    shuffle = "Nf3 Nf6 Ng1 Ng8"
    assert ended(play(START, shuffle)) is None
    assert ended(play(START, shuffle, "Nf3 Nf6 Ng1")) is None
    assert ended(play(START, shuffle, shuffle)) == 0
    assert play(START, shuffle)["repeats"].tolist() == [1]


def test_a_position_with_the_other_player_to_move_is_another_one():
    # White's king goes round in three moves, black's to and fro in two.
    states = play("7k/8/8/8/8/8/1R6/K7 w - - 0 1", "Ka2 Kg8 Kb1 Kh8 Ka1")
    assert GAME.fen(states[0]).split()[:2] == ["7k/8/8/8/8/8/1R6/K7", "b"]
    assert states["repeats"].tolist() == [0]


def test_two_knights_that_change_places_repeat_the_position():
    fen = "4k3/8/5n2/8/8/2N1N3/8/4K3 w - - 0 1"
    states = play(fen, "Ncd5 Ng8 Nc4 Nf6 Nde3 Ng8 Nb6 Nf6 Na4 Ng8 Nc3 Nf6")
    assert GAME.fen(states[0]).split()[0] == fen.split()[0]
    assert states["repeats"].tolist() == [1]


@pytest.mark.parametrize(
    ("fen", "repeated"),
    [
        # The first position has a capture en passant, and so is another one.
        ("4k1n1/8/8/8/3p4/8/4P3/4K1N1 w - - 0 1", False),
        # No pawn stands beside the one that goes two squares.
        ("4k1n1/8/8/8/7p/8/4P3/4K1N1 w - - 0 1", True),
        # The pawn that could take is pinned on its file.
        ("3k2n1/8/8/8/3p4/8/4P3/3RK1N1 w - - 0 1", True),
    ],
)
def test_a_capture_en_passant_makes_a_position_another_one_only_where_it_is_legal(fen, repeated):
    shuffle = "Nf6 Nf3 Ng8 Ng1"
    assert ended(play(fen, "e4", shuffle, "Nf6 Nf3 Ng8")) is None
    assert ended(play(fen, "e4", shuffle, shuffle)) == (0 if repeated else None)
    if not repeated:  # one move later all of a position's three occurrences lack the capture
        assert ended(play(fen, "e4", shuffle, shuffle, "Nf6")) == 0


def test_a_lost_right_to_castle_makes_a_position_another_one():
    shuffle = "Rg1 Nf6 Rh1 Ng8"
    with_right, without = (f"4k1n1/8/8/8/8/8/P7/4K2R w {right} - 0 1" for right in "K-")
    assert ended(play(with_right, shuffle, shuffle)) is None
    assert ended(play(with_right, shuffle, shuffle, "Rg1")) == 0
    assert ended(play(without, shuffle, shuffle)) == 0


def test_a_hundred_plies_without_progress_are_a_draw_unless_the_last_one_mates():
    fen = "7k/8/6K1/8/8/8/P7/R7 w - - 98 90"
    assert ended(play(fen, "Rb1")) is None
    assert ended(play(fen, "Rb1 Kg8")) == 0
    assert ended(play(fen, "a3 Kg8")) is None
    assert ended(play(fen.replace("98", "99"), "Rb1")) == 0
    assert ended(play("7k/8/6K1/8/8/8/P7/1R6 w - - 99 90", "Rb8#")) == -1


def test_the_remembered_moves_of_a_long_quiet_game_are_all_kept():
    """Two rooks walk for 100 plies, and no position comes twice."""
    board = chess.Board("k7/8/r7/8/8/8/R7/7K w - - 0 1")
    states = GAME.state_of_fen(board.fen())
    rng = np.random.default_rng(3)
    while not is_over(board):
        moves = [
            (action, move)
            for action, move in sorted(moves_of(board).items())
            if not board.is_capture(move)
        ]
        quiet = []
        for action, move in moves:
            board.push(move)
            if not board.is_repetition(2) and any(board.legal_moves):
                quiet.append((action, move))
            board.pop()
        action, move = quiet[rng.integers(len(quiet))]
        states = GAME.step(states, np.array([action]))
        board.push(move)
        assert states["repeats"].tolist() == [0]
    assert states["quiet"].tolist() == states["remembered"].tolist() == [100]
    assert np.count_nonzero(states["past"]) == 100
    assert ended(states) == 0


def test_no_position_has_more_moves_than_the_most_that_is_stated():
    fen = "R6R/3Q4/1Q4Q1/4Q3/2Q4Q/Q4Q2/pp1Q4/kBNN1KB1 w - - 0 1"
    assert GAME.legal(GAME.state_of_fen(fen)).sum() == GAME.max_legal == 218


@pytest.mark.parametrize(
    ("fen", "texts", "uci"),
    [
        (START, ["e4", "e2e4", "e2-e4", " e4 ", "e4!?"], "e2e4"),
        (START, ["Nf3", "g1f3", "Ng1f3", "Ngf3", "Ng1-f3"], "g1f3"),
        (KIWIPETE, ["O-O", "0-0", "o-o", "OO", "O-O+", "e1g1"], "e1g1"),
        (KIWIPETE, ["O-O-O", "0-0-0", "e1c1"], "e1c1"),
        (KIWIPETE, ["dxe6", "d5xe6", "de6", "d5e6"], "d5e6"),
        ("4k3/8/8/8/8/8/1p6/R3K3 b - - 0 1", ["bxa1=R", "b2xa1R", "ba1=R+"], "b2a1r"),
        ("8/4P1k1/8/8/8/8/8/4K3 w - - 0 1", ["e8=Q", "e8Q", "e7e8q", "e7e8=Q"], "e7e8q"),
        ("8/4P1k1/8/8/8/8/8/4K3 w - - 0 1", ["e8=N+", "e8=N", "e7e8n"], "e7e8n"),
        ("4k3/8/8/3pP3/8/8/8/4K3 w - d6 0 1", ["exd6", "exd6 e.p.", "e5d6"], "e5d6"),
    ],
)
def test_a_move_is_read_in_every_usual_spelling(fen, texts, uci):
    state = GAME.state_of_fen(fen)[0]
    assert {GAME.to_uci(state, GAME.text_to_move(state, text)) for text in texts} == {uci}


@pytest.mark.parametrize(
    ("fen", "text", "part"),
    [
        (START, "e5", "'e5' is not a legal move here; the nearest are e"),
        (START, "e2e5", "not a legal move here"),
        (START, "", "not a legal move"),
        (START, "hello", "not a legal move"),
        (START, "O-O", "not a legal move"),
        (START, "x" * 10_000, "not a legal move"),
        ("4k3/8/8/8/8/8/8/R3K2R w - - 0 1", "Rd1f1", "not a legal move"),
        ("4k3/8/8/8/R7/8/8/R3K3 w - - 0 1", "Ra2", "'Ra2' can be any of R1a2, R4a2"),
        ("8/4P1k1/8/8/8/8/8/4K3 w - - 0 1", "e8", "not a legal move"),
        ("8/8/8/8/4k3/8/8/4K3 b - - 0 1", "Kd3", "there is none"),
        # As python-chess: a pawn that takes is named with its file.
        ("4k3/8/8/3p4/4P3/8/8/4K3 w - - 0 1", "d5", "not a legal move here; the nearest are"),
        ("4k3/8/8/3p4/4P3/8/8/4K3 w - - 0 1", "xd5", "not a legal move here; the nearest are"),
    ],
)
def test_a_text_that_names_no_move_is_refused_in_one_line(fen, text, part):
    state = GAME.state_of_fen(fen)[0]
    with pytest.raises(ValueError, match=re.escape(part)) as refused:
        GAME.text_to_move(state, text)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("text", ["e2e5", "e4", "", "e7e5", "0000", "e2e4q"])
def test_a_text_of_uci_that_is_no_legal_move_is_refused(text):
    with pytest.raises(ValueError, match=r"is not a legal move of rnbqkbnr/"):
        GAME.from_uci(GAME.initial(1)[0], text)


@pytest.mark.parametrize(
    ("fen", "part"),
    [
        ("", "a FEN is like"),
        ("8/8 w", "a FEN is like"),
        (START.replace(" w ", " x "), "a FEN is like"),
        (START.replace("8/8/8/8", "8/8/8"), "eight ranks of eight squares"),
        (START.replace("RNBQ", "RNB9"), "eight ranks of eight squares"),
        (START.replace("RNBQ", "RNBX"), "eight ranks of eight squares"),
        (START.replace("/8/", "/44444444444/"), "eight ranks of eight squares"),
        (START.replace("K", "Q", 1), "white has one king"),
        (START.replace("8/8/8/8", "8/8/q7/8"), "16 pieces, not 1, 8 and 17"),
        (START.replace("rnbq", "pnbq").replace("pppppppp", "1ppppppp"), "first or the last rank"),
        (START.replace("KQkq", "KQxq"), "rights to castle"),
        (START.replace("KQkq", "qkQK"), "rights to castle"),
        ("4k3/8/8/8/8/8/8/4K2R w Q - 0 1", "right Q to castle without"),
        ("4k3/8/8/8/8/8/8/4K2R w K e3 0 1", "on rank 6"),
        ("4k3/8/8/8/8/8/8/4K2R w K e6 0 1", "no pawn has just gone two squares past e6"),
        (START.replace("0 1", "-1 1"), "numbers of moves"),
        (START.replace("0 1", "0 x"), "numbers of moves"),
        ("4k3/8/8/8/8/8/4R3/4K3 w - - 0 1", "not about to move is in check"),
    ],
)
def test_a_text_that_is_no_position_is_refused_in_one_line(fen, part):
    with pytest.raises(ValueError, match=re.escape(part)) as refused:
        GAME.state_of_fen(fen)
    assert "\n" not in str(refused.value)


def message_of(read, text):
    try:
        read(text)
    except ValueError as error:
        return str(error)
    return ""


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60), st.text("KQRBNPkqrbnp12345678/ wb-abcdefgh=x+O", max_size=60))
def test_no_text_does_more_than_be_read_or_be_refused(any_text, likely):
    state = GAME.initial(1)[0]
    for text in (any_text, likely):
        for read in (
            GAME.state_of_fen,
            lambda text: GAME.text_to_move(state, text),
            lambda text: GAME.from_uci(state, text),
        ):
            assert "\n" not in message_of(read, text)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 200))
def test_texts_of_any_position_lead_back_to_it(seed, length):
    rng, states = np.random.default_rng(seed), GAME.initial(1)
    for _ in range(length):
        legal = np.flatnonzero(GAME.legal(states)[0])
        if not len(legal):
            break
        states = GAME.step(states, rng.choice(legal, 1))
    state = states[0]
    again = GAME.state_of_fen(GAME.fen(state, 7))
    for name in ("repeats", "remembered", "past"):
        states[name] = 0
    assert again.tobytes() == states.tobytes()
    for action in np.flatnonzero(GAME.legal(np.array([state]))[0]).tolist():
        san, uci = GAME.move_to_text(state, action), GAME.to_uci(state, action)
        assert GAME.text_to_move(state, san) == action
        assert GAME.text_to_move(state, san.rstrip("+#")) == action
        assert GAME.text_to_move(state, uci) == GAME.from_uci(state, uci) == action


def test_an_action_has_the_same_squares_for_both_players():
    white = GAME.initial(1)[0]
    black = play(START, "e4")[0]
    action = GAME.text_to_move(white, "e4")
    assert GAME.action_to_text(action) == "e2e4"
    assert GAME.text_to_move(black, "e5") == action
    assert [GAME.to_uci(state, action) for state in (white, black)] == ["e2e4", "e7e5"]
    texts = [GAME.action_to_text(action) for action in range(GAME.num_actions)]
    assert len(set(texts)) == GAME.num_actions == 64 * 73
    assert "e7e8n" in texts
    assert "h1+6" in texts


def test_the_board_is_drawn_as_white_sees_it():
    after = play(START, "e4 c5 Nf3")
    assert GAME.render(after[0]).splitlines() == [
        "8 r n b q k b n r",
        "7 p p . p p p p p",
        "6 . . . . . . . .",
        "5 . . p . . . . .",
        "4 . . . . P . . .",
        "3 . . . . . N . .",
        "2 P P P P . P P P",
        "1 R N B Q K B . R",
        "  a b c d e f g h",
    ]
    last = GAME.text_to_move(play(START, "e4 c5")[0], "Nf3")
    marked = GAME.drawing(after[0], last).last
    assert sorted(marked) == [8 * 5 + 5, 8 * 7 + 6]
    assert GAME.drawing(after[0]).cells[0].player == 1


def test_clicks_choose_the_piece_of_a_promotion():
    for fen, rows in (
        ("8/4P1k1/8/8/8/8/8/4K3 w - - 0 1", [1, 0]),
        ("4k3/8/8/8/8/8/1K2p3/8 b - - 0 1", [6, 7]),
    ):
        state = GAME.state_of_fen(fen)[0]
        clicks = GAME.drawing(state).clicks
        start, end = (8 * row + 4 for row in rows)
        towards = 8 * (rows[0] - rows[1])
        prefix = "e7e8" if rows[1] == 0 else "e2e1"
        for number, letter in enumerate("qnrb"):
            action = GAME.from_uci(state, prefix + letter)
            assert clicks[action] == (start, end, end + number * towards)


def test_the_earlier_planes_of_the_other_player_are_turned():
    states = play(START, "e4 c5 Nf3 d6 Bb5")
    own, turned = (GAME.observe_earlier(states, np.array([flag])) for flag in (False, True))
    np.testing.assert_array_equal(own, GAME.observe(states)[:, :13])
    np.testing.assert_array_equal(turned[:, :6], own[:, 6:12, ::-1])
    np.testing.assert_array_equal(turned[:, 6:12], own[:, :6, ::-1])
    # White's bishop on b5, row 3 from the top as white sees it.
    assert turned[0, 2, 3, 1] == 1
