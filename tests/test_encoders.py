"""Encoders: planes apart from the rules, in evaluation, training and caches."""

from itertools import count

import numpy as np
import pytest
import torch
from made_up_encoders import PLIES, HistoryPlanes
from random_positions import positions

import games
from alphazero import config, encoders, network
from alphazero.cache import EvaluationCache
from alphazero.config import InferenceSettings, NetworkSettings, SelfPlaySettings, TrainingSettings
from alphazero.config_file import ConfigError
from alphazero.inference import NetworkEvaluator
from alphazero.learner import Learner
from alphazero.nn.settings import OptimizerSettings
from alphazero.nn.weights import arrays
from alphazero.parts import addresses_of
from alphazero.replay import Batch
from alphazero.search import run
from alphazero.search.gumbel import Gumbel
from alphazero.selfplay import GameGroup
from games.history import WithHistory, replay

GAME = games.make("connect_four")
SPEC = "made_up_encoders:HistoryPlanes"
SMALL = NetworkSettings(blocks=1, channels=8, encoder=SPEC)
PLAYED = WithHistory(GAME, PLIES)
TORCH = InferenceSettings(backend="torch", precision="float32", device="cpu")


def evaluator(settings: NetworkSettings = SMALL) -> NetworkEvaluator:
    made = NetworkEvaluator(GAME, settings, TORCH)
    made.load(arrays(network.build(GAME, settings, seed=0).state_dict()), 1)
    return made


def lines(length: int, games: int = 6, seed: int = 0) -> list[list[int]]:
    """Random lines of legal moves that do not end the game."""
    rng, made = np.random.default_rng(seed), []
    while len(made) < games:
        states, line = GAME.initial(1), []
        while len(line) < length and GAME.legal(states).any():
            line.append(int(rng.choice(np.flatnonzero(GAME.legal(states)[0]))))
            states = GAME.step(states, np.array(line[-1:]))
        if GAME.legal(states).any():
            made.append(line)
    return made


@pytest.mark.parametrize("name", ["tic_tac_toe", "othello:size=6"])
def test_the_default_encoder_is_the_games_own_planes_symmetries_and_identity(name):
    game = games.make(name)
    encoder, states = encoders.make("game", game), positions(game, 9, seed=0)
    assert encoder.shape == game.observation_shape
    np.testing.assert_array_equal(encoder(states), game.observe(states))
    np.testing.assert_array_equal(encoder.key(states), game.identity(states))
    for cells, (own, _) in zip(encoder.symmetries(), game.symmetries(), strict=True):
        np.testing.assert_array_equal(cells, own)
    assert encoders.played_game(game, encoder) is game
    assert encoders.played_states(game, states, None) is states


@pytest.mark.parametrize("name", ["tic_tac_toe", "connect_four", "othello:size=6", "chess"])
def test_history_shows_the_last_positions_of_every_game(name):
    game = games.make(name)
    encoder = encoders.make("history:plies=3", game)
    played = encoders.played_game(game, encoder)
    rng, past = np.random.default_rng(1), [played.initial(1)]
    for _ in range(5):
        legal = np.flatnonzero(played.legal(past[-1])[0])
        past.append(played.step(past[-1], rng.choice(legal, 1)))
    for number, states in enumerate(past):
        seen = [game.observe(states["state"])]
        for back in (1, 2, 3):
            before = past[max(number - back, 0)]["state"]
            turned = game.to_move(before) != game.to_move(states["state"])
            planes = game.observe_earlier(before, turned)
            seen.append(planes if back <= number else np.zeros_like(planes))
        np.testing.assert_array_equal(encoder(states), np.concatenate(seen, axis=1))


def test_a_batch_of_no_positions_has_no_keys_and_no_planes():
    game = games.make("tic_tac_toe")
    for spec in ("game", "history:plies=3"):
        encoder = encoders.make(spec, game)
        states = encoders.played_game(game, encoder).initial(0)
        assert encoder.key(states).shape == (0, states.itemsize)
        assert encoder(states).shape == (0, *encoder.shape)


def test_history_of_chess_is_alphazeros_eight_positions_for_the_present_mover():
    game = games.make("chess")
    encoder = encoders.make("history", game)
    assert encoder.history == 7
    assert encoder.shape == (20 + 7 * 13, 8, 8)
    played = encoders.played_game(game, encoder)
    line = [game.text_to_action(text) for text in ("e2e4", "e2e4", "g1f3")]  # e4 e5 Nf3
    planes = encoder(replay(played, [line]))[0]
    # Black is about to move, so that white's pawn of e4, the opponent's, is on row 8 - 5 of black.
    opponents_pawns = [planes[6], *(planes[20 + 13 * back + 6] for back in range(3))]
    assert [int(pawns[3, 4]) for pawns in opponents_pawns] == [1, 1, 1, 0]
    assert [int(pawns[1].sum()) for pawns in opponents_pawns] == [7, 7, 7, 8]
    own_pawns = [planes[0], *(planes[20 + 13 * back] for back in range(3))]
    assert [int(pawns[4, 4]) for pawns in own_pawns] == [1, 1, 0, 0]
    assert not planes[20 + 3 * 13 :].any()


@pytest.mark.parametrize(
    ("spec", "part"),
    [
        ("history:plies=0", "plies must be 1 to 255, not 0"),
        ("history:plies=256", "plies must be 1 to 255, not 256"),
        ("history:plies=many", "it is written history:plies=7, with 1 to 255 plies"),
        ("history:turns=3", "it is written history:plies=7, with 1 to 255 plies"),
        ("history:Planes", "cannot be imported"),
    ],
)
def test_a_history_of_another_length_is_refused_in_one_line(spec, part):
    with pytest.raises(ValueError, match=part):
        encoders.make(spec, GAME)


def test_a_named_encoder_is_no_address_that_has_to_be_allowed():
    for spec in ("game", "history", "history:plies=2"):
        assert addresses_of(config.load("connect_four", [f"network.encoder={spec}"])) == {}
    chosen = config.load("connect_four", [f"network.encoder={SPEC}"])
    assert addresses_of(chosen) == {"network.encoder": SPEC}


def test_an_encoder_by_address_reads_states_with_the_history_it_states():
    encoder = encoders.make(SPEC, GAME)
    played = encoders.played_game(GAME, encoder)
    assert isinstance(encoder, HistoryPlanes)
    assert (played.plies, played.game, encoder.shape) == (2, GAME, (6, 6, 7))
    # X in column 1, O in column 7, X in column 1 again; O is about to move.
    planes = encoder(replay(played, [[0, 6, 0]]))[0]
    stones = [[(row, column) for row, column in zip(*np.nonzero(p), strict=True)] for p in planes]
    first, second, other = (5, 0), (4, 0), (5, 6)
    assert stones == [[other], [second, first], [other], [first], [], [first]]


@pytest.mark.parametrize("game", [GAME, PLAYED])
def test_an_encoder_of_a_game_with_history_is_the_one_of_the_game_inside(game):
    encoder = encoders.make(SPEC, game)
    assert encoder.game is GAME
    assert encoders.played_game(game, encoder).dtype == PLAYED.dtype


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("WrongShape", r"float32 of shape \(8, 3, 6, 7\), not float32 of \(8, 2, 6, 7\)"),
        ("NotFinite", "finite"),
        ("Doubles", "float32 .* not float64"),
        ("FewSymmetries", "symmetries must be 2, one for each of the game's, not 1"),
        ("NoPermutation", "symmetry 0 must be a permutation of 0..41"),
        ("WrongSymmetry", "symmetry 1 must turn the planes of a position into those of its image"),
        ("LongHistory", "0 to 255, not 1000"),
        ("WrongKey", "key must be uint8"),
        ("SharedKey", "positions with equal rows of key must have equal planes"),
        ("NeedsMore", "encoder 'made_up_encoders:NeedsMore': .* argument: 'planes'"),
        ("WithoutShape", "no attribute 'shape'"),
        ("Raises", "encoder 'made_up_encoders:Raises': first line second line"),
        ("NoEncoder", "is not an encoder"),
        ("Missing", "cannot be imported"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_an_encoder_that_breaks_a_promise_is_refused_in_one_line(name, part):
    with pytest.raises(ValueError, match=part) as caught:
        encoders.make(f"made_up_encoders:{name}", GAME)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["Corners", "Rows"])
def test_an_encoder_with_planes_of_its_own_is_accepted(name):
    assert encoders.make(f"made_up_encoders:{name}", GAME).shape == (3, 6, 7)


def test_a_wrong_address_is_an_error_of_the_configuration():
    with pytest.raises(ConfigError, match=r"network\.encoder: unknown encoder 'planes'"):
        config.load("connect_four", ["network.encoder=planes"])
    assert config.load("connect_four", [f"network.encoder={SPEC}"]).network.encoder == SPEC


def test_a_network_evaluates_what_its_encoder_shows():
    made, states = evaluator(), replay(PLAYED, lines(6))
    module = network.build(GAME, SMALL, seed=0).eval()
    with torch.no_grad():
        outputs = module(torch.from_numpy(HistoryPlanes(GAME)(states)))
    evaluation = made(states)
    np.testing.assert_allclose(evaluation.logits, outputs.policy.numpy(), atol=1e-5)
    # The same positions without their history are other inputs.
    other = made(PLAYED.without_earlier(states["state"]))
    assert np.abs(other.logits - evaluation.logits).max() > 1e-4


def test_states_of_another_game_are_refused_in_one_line():
    with pytest.raises(ValueError, match=r"not those of <game connect_four>.*played_states"):
        evaluator()(GAME.initial(2))


def test_plain_positions_get_their_history_from_the_lines_that_led_to_them():
    played, plain = lines(5), replay(WithHistory(GAME, 1), lines(5))["state"]
    states = encoders.played_states(PLAYED, np.ascontiguousarray(plain), played)
    assert states.tobytes() == replay(PLAYED, played).tobytes()
    assert encoders.played_states(PLAYED, states, played) is states
    unknown = encoders.played_states(PLAYED, np.ascontiguousarray(plain))
    assert not unknown["known"].any()
    with pytest.raises(ValueError, match="do not lead to the positions"):
        encoders.played_states(PLAYED, np.ascontiguousarray(plain), lines(4))


def test_a_network_trains_on_an_encoders_planes():
    states = replay(PLAYED, lines(6) * 4)
    legal = PLAYED.legal(states)
    policy = (legal / legal.sum(axis=1, keepdims=True)).astype(np.float32)
    wdl = np.eye(3, dtype=np.float32)[np.arange(len(states)) % 6 % 3]  # by the line
    batch = Batch(HistoryPlanes(GAME)(states), legal, policy, wdl)
    for precision in ("float32", "auto"):
        training = TrainingSettings(precision=precision, device="cpu")
        learner = Learner(GAME, SMALL, OptimizerSettings(), training, 0)
        losses = [learner.train_step(batch, 0.0)["loss"] for _ in range(60)]
        assert losses[-1] < 0.9 * losses[0]


def test_a_symmetry_of_the_planes_gives_the_planes_of_the_mirrored_game():
    """The augmentation of batches: each sample's planes are permuted by the encoder's cells."""
    encoder, played = encoders.make(SPEC, GAME), lines(7)
    mirrored = [[6 - action for action in line] for line in played]
    planes = encoder(replay(PLAYED, played))
    permuted = planes.reshape(*planes.shape[:2], -1)[:, :, encoder.symmetries()[1]]
    expected = encoder(replay(PLAYED, mirrored))
    np.testing.assert_array_equal(permuted.reshape(planes.shape), expected)
    assert not np.array_equal(planes, expected)


def test_self_play_runs_on_states_with_a_history_and_plays_the_same_games():
    """With evaluations that do not depend on the history, the games are those without one."""
    plain_encoder = NetworkSettings(blocks=1, channels=8)
    plain = NetworkEvaluator(GAME, plain_encoder, TORCH)
    plain.load(arrays(network.build(GAME, plain_encoder, seed=0).state_dict()), 1)
    results = []
    for game in (GAME, PLAYED):
        group = GameGroup(game, Gumbel(simulations=8), SelfPlaySettings(games=4), 3, count())
        cache = EvaluationCache(game, 2**12)

        def evaluate(states):
            return plain(np.ascontiguousarray(states["state"]) if "state" in states.dtype.names
                         else states)  # fmt: skip

        records = [r for _ in range(45) for r in run(cache.wrap(group.move()), evaluate)]
        results.append([(r.game_id, r.actions.tolist()) for r in records])
    assert len(results[0]) >= 4
    assert results[0] == results[1]
