"""Every kind of player: its name, its moves, its errors."""

import functools
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import games
from alphazero import checkpoint, evaluators, network
from alphazero.config import Config, NetworkSettings
from alphazero.encoders import Encoder
from alphazero.judging import decisions, players
from alphazero.nn.weights import arrays
from alphazero.search.gumbel import Gumbel
from alphazero.types import Limits
from games.solvers import minimax as exact
from games.spec import quoted

SMALL = NetworkSettings(blocks=1, channels=4, policy_channels=2, value_channels=2, value_hidden=4)


@pytest.fixture(scope="module")
def game():
    return games.make("tic_tac_toe")


@pytest.fixture(scope="module")
def run(game, tmp_path_factory):
    """A run of tic-tac-toe with two checkpoints of an untrained network."""
    directory = tmp_path_factory.mktemp("run")
    for step in (1, 2):
        weights = arrays(network.build(game, SMALL, seed=step).state_dict())
        config = Config(game=game.name, network=SMALL, search=Gumbel(simulations=16))
        checkpoint.save(directory, step, weights, {}, config)
    return directory


@pytest.fixture(scope="module")
def make(game):
    """``players.make``, each player made once: a network's first load takes a second."""
    return functools.cache(lambda spec: players.make(spec, game))


def positions(game, lines):
    """The states after lines of tic-tac-toe cells, 1 to 9."""
    states = game.initial(len(lines))
    for row, line in enumerate(lines):
        for cell in line:
            states[row : row + 1] = game.step(states[row : row + 1], np.array([int(cell) - 1]))
    return states


def rngs(count, seed=0):
    return [np.random.default_rng([seed, index]) for index in range(count)]


def specs(run):
    return [
        "random",
        "solver",
        "minimax:depth=3",
        "mcts:simulations=30",
        f"checkpoint:path={run},simulations=8",
        f"checkpoint:path={run},simulations=8,search=puct,leaves=4",
        f"policy:path={run}",
    ]


@pytest.mark.parametrize("number", range(7))
def test_every_kind_plays_legal_moves_and_repeats_them_from_the_same_generators(
    make, run, game, number
):
    player = make(specs(run)[number])
    states = positions(game, ["", "5", "15", "152", "1523", "15237"])
    first, again = player(states, rngs(6)), player(states, rngs(6))
    assert player.name == specs(run)[number]
    assert game.legal(states)[np.arange(6), first.action].all()
    for one, two in zip(first[:4], again[:4], strict=True):
        np.testing.assert_array_equal(one, two)
    if first.policy is not None:
        assert first.policy.sum(axis=1) == pytest.approx(np.ones(6), abs=1e-5)
        assert (first.policy[~game.legal(states)] == 0).all()
    if first.value is not None:
        assert (np.abs(first.value) <= 1).all()


@pytest.mark.parametrize("spec", ["solver", "minimax:depth=2", "mcts:simulations=300"])
def test_players_that_look_ahead_take_a_win_and_block_a_loss(game, spec):
    # X completes 1 2 3 rather than block 6; O blocks 3.
    states = positions(game, ["1425", "152"])
    decision = players.make(spec, game)(states, rngs(2))
    assert (decision.action + 1).tolist() == [3, 3]


@pytest.mark.parametrize("number", range(7))
def test_a_finished_position_is_named_whoever_is_to_move_in_it(make, run, game, number):
    states = positions(game, ["15", "14253"])
    named = "position 2 of 2 is finished|a position is finished"
    with pytest.raises(ValueError, match=named):
        make(specs(run)[number])(states, rngs(2))


def test_random_plays_all_legal_moves_alike(game):
    states = np.repeat(positions(game, ["1523"]), 3000)
    chosen = players.make("random", game)(states, rngs(3000)).action
    counts = np.bincount(chosen, minlength=9)
    assert counts[[0, 1, 2, 4]].sum() == 0
    # Each of five moves 600 times, give or take five standard deviations of 22.
    assert (np.abs(counts[[3, 5, 6, 7, 8]] - 600) < 110).all()


def test_the_solver_breaks_ties_at_random(game):
    states = np.repeat(game.initial(1), 200)
    decision = players.make("solver", game)(states, rngs(200))
    assert set(decision.action.tolist()) == set(range(9))
    assert (decision.value == 0).all()


def test_the_solver_errs_with_the_given_probability_and_then_plays_any_move(game):
    # X completes 1 2 3; five cells are free, so one blind move in five is right by chance.
    states = np.repeat(positions(game, ["1425"]), 4000)
    decision = players.make("solver:errors=0.3", game)(states, rngs(4000))
    counts = np.bincount(decision.action, minlength=9)
    # 0.3 / 5 of 4000 are 240 for each wrong move, give or take five standard deviations of 15.
    assert (np.abs(counts[[5, 6, 7, 8]] - 240) < 75).all()
    assert counts[2] + counts[5:].sum() == 4000
    np.testing.assert_allclose(decision.policy[0, [2, 5, 6, 7, 8]], [0.76] + [0.06] * 4, rtol=1e-6)
    assert players.make("solver:errors=0", game)(states[:50], rngs(50)).action.tolist() == [2] * 50
    blind = players.make("solver:errors=1", game)(states, rngs(4000)).action
    assert (np.abs(np.bincount(blind, minlength=9)[[2, 5, 6, 7, 8]] - 800) < 130).all()


def test_the_solvers_slack_allows_moves_that_keep_the_result_and_cost_few_stones(monkeypatch):
    # Hand-made scores of a won, a drawn and a lost position; the seventh column is full.
    game, nan = games.make("connect_four"), np.nan
    scores = np.array(
        [[5, 4, 3, 2, 0, -1, nan], [0, 0, -1, -1, 0, -2, nan], [-3, -4, -5, -6, -3, -18, nan]],
        np.float32,
    )
    answer = scores[:, :6].max(axis=1).astype(np.int64), scores
    monkeypatch.setattr(players.solvers, "scores", lambda game, states: answer)
    allowed = {
        slack: [np.flatnonzero(row).tolist() for row in decision.policy]
        for slack in (0, 2, 50)
        for decision in [players.make(f"solver:slack={slack}", game)(game.initial(3), rngs(3))]
    }
    assert allowed == {
        0: [[0], [0, 1, 4], [0, 4]],
        2: [[0, 1, 2], [0, 1, 4], [0, 1, 2, 4]],
        50: [[0, 1, 2, 3], [0, 1, 4], [0, 1, 2, 3, 4, 5]],
    }


def test_all_replies_that_the_slack_allows_are_played(game):
    # Against the centre only the four corners draw, whatever the slack.
    states = np.repeat(positions(game, ["5"]), 300)
    actions = players.make("solver:slack=3", game)(states, rngs(300)).action
    assert set(actions.tolist()) == {0, 2, 6, 8}


def test_a_search_player_reports_its_simulations_and_visits(make, run, game):
    states = positions(game, ["", "5"])
    player = make(f"checkpoint:path={run},simulations=24,search=puct")
    assert player.simulations == 24
    # Of 24 simulations at most the first only expands the root.
    assert (player(states, rngs(2)).visits.sum(axis=1) >= 23).all()
    assert make(f"checkpoint:path={run}").simulations == 16
    assert make("mcts").simulations == 800
    assert make("solver").simulations == 0


def test_leaves_are_one_unless_the_spec_or_the_caller_gives_another_number(game, run, monkeypatch):
    leaves_used, network = [], SimpleNamespace(description="", encoder=Encoder(game))

    def agent_player(name, agent, limits, reuse_tree):
        leaves_used.append(agent.search.leaves)
        return players.Player(name, lambda *_: None)

    monkeypatch.setattr(players.agent, "_network_of", lambda *_: network)
    monkeypatch.setattr(players, "agent_player", agent_player)
    for options, leaves in (
        ("simulations=800", "1"), ("simulations=800", "auto"), ("simulations=200", "auto"),
        ("simulations=20", "auto"), ("simulations=800,leaves=3", "auto"),
        ("simulations=800,leaves=auto", "1"), ("seconds=1", "auto"), ("seconds=1", "1"),
    ):  # fmt: skip
        players.make(f"checkpoint:path={run},{options}", game, leaves)
    assert leaves_used == [1, 8, 4, 1, 3, 8, 8, 1]
    assert players.make("random", game, leaves="auto").simulations == 0


def test_a_search_player_evaluates_a_position_only_once(game):
    evaluated = []

    def evaluate(states):
        evaluated.extend(state.tobytes() for state in states)
        return evaluators.uniform(game)(states)

    algorithm = Gumbel(simulations=32).without_noise()
    player = decisions.search_player("uniform", algorithm, evaluate, game)
    states = positions(game, ["15", "159"])
    first = player(states, rngs(2))
    plain = decisions.search_player("uniform", algorithm, evaluators.uniform(game), game)
    assert len(evaluated) == len(set(evaluated)) > 20
    before = len(evaluated)
    for other in (player(states, rngs(2)), plain(states, rngs(2))):
        for one, two in zip(first[:4], other[:4], strict=True):
            np.testing.assert_array_equal(one, two)
    assert len(evaluated) == before


def test_a_player_names_what_its_network_runs_on(make, run):
    for spec in (f"checkpoint:path={run}", f"policy:path={run}"):
        assert re.match(
            r"(torch|openvino) (float32|bfloat16) on \w+: the fastest", make(spec).inference
        )
    assert make("random").inference == ""


EVERYWHERE = "backend=torch,precision=float32,device=cpu"


@pytest.mark.parametrize("kind", ["checkpoint", "policy"])
@pytest.mark.parametrize("leaves", ["1", "auto"])
def test_a_stated_backend_precision_and_device_are_used_without_a_timing(
    kind, leaves, run, game, monkeypatch
):
    monkeypatch.setattr("alphazero.inference._seconds", None)  # a timing would call it
    player = players.make(f"{kind}:path={run},{EVERYWHERE}", game, leaves)
    assert player.inference.startswith("torch float32 on cpu: the only one")
    half = f"{kind}:path={run},backend=torch,precision=bfloat16,device=cpu"
    assert players.make(half, game, leaves).inference.startswith("torch bfloat16 on cpu")


def test_one_stated_option_leaves_the_others_to_the_timing_or_where_none_is_made_to_float32(
    run, game
):
    timed = players.make(f"checkpoint:path={run},backend=torch,device=cpu", game)
    assert re.match("torch (float32|bfloat16) on cpu: the fastest", timed.inference)
    single = players.make(f"checkpoint:path={run},backend=torch,device=cpu", game, "auto")
    assert single.inference.startswith("torch float32 on cpu: the only one")


def test_two_players_with_stated_options_decide_alike_to_the_last_bit(run, game):
    spec = f"checkpoint:path={run},simulations=30,{EVERYWHERE}"
    one, two = (players.make(spec, game)(positions(game, ["", "5"]), rngs(2)) for _ in range(2))
    for left, right in zip(one[:4], two[:4], strict=True):
        np.testing.assert_array_equal(left, right)


def playout_batches(monkeypatch, spec, game, leaves, limits=Limits()):
    """The sizes of the batches of random games of one move, and the times that they were given."""
    sizes, times, playout = [], [], evaluators.playout

    def recorded(game, states, rng, in_time):
        sizes.append(len(states))
        return playout(game, states, rng, in_time)

    def rollout(game, rng, seconds=None):
        times.append(seconds)
        return evaluators_rollout(game, rng, None)

    evaluators_rollout = evaluators.rollout
    monkeypatch.setattr(evaluators, "playout", recorded)
    monkeypatch.setattr(evaluators, "rollout", rollout)
    players.make(spec, game, leaves)(game.initial(1), rngs(1), limits)
    monkeypatch.undo()
    return sizes, times


def test_rollout_search_plays_out_several_leaves_of_a_single_game_at_once(game, monkeypatch):
    one, _ = playout_batches(monkeypatch, "mcts:simulations=100", game, "1")
    assert set(one) == {1}
    for spec, leaves, most in (
        ("mcts:simulations=400", "auto", 8),
        ("mcts:simulations=400,leaves=3", "auto", 3),
        ("mcts:seconds=0.2", "auto", 32),
    ):
        sizes, _ = playout_batches(monkeypatch, spec, game, leaves)
        assert max(sizes) > most // 2
        assert max(sizes) <= most
    assert players.make("mcts", game, leaves="auto").simulations == 800


def test_a_random_game_takes_at_most_a_quarter_of_the_time_of_a_move(game, monkeypatch):
    _, times = playout_batches(monkeypatch, "mcts:seconds=0.2", game, "auto")
    assert times == [pytest.approx(0.05)]
    _, times = playout_batches(monkeypatch, "mcts", game, "auto", Limits(5, 0.4))
    assert times == [pytest.approx(0.1)]
    _, times = playout_batches(monkeypatch, "mcts:simulations=5", game, "auto")
    assert times == [None]


def test_the_opponent_in_a_game_without_an_agent_moves_within_two_seconds_by_its_limits():
    spec = players.default(games.make("othello:size=4"))
    _, options = players.parse(spec)
    assert set(options) == {"seconds"}
    assert float(options["seconds"]) * (1 + players.ROLLOUT_SHARE) < 2


def test_a_path_may_be_a_run_or_one_of_its_checkpoints(make, run, game):
    states = positions(game, ["", "5", "15"])
    paths = (run, run / "checkpoints/step_000002", run / "checkpoints/step_000001")
    newest, second, first = (
        make(f"policy:path={path},{EVERYWHERE}")(states, rngs(3)) for path in paths
    )
    np.testing.assert_array_equal(newest.policy, second.policy)
    assert not np.array_equal(newest.policy, first.policy)


def test_policy_alone_is_the_networks_softmax_over_legal_moves(make, run, game):
    states = positions(game, ["", "15"])
    module = network.build(game, SMALL, seed=2).eval()
    with torch.no_grad():
        logits, *_ = module(torch.from_numpy(game.observe(states)))
    logits = np.where(game.legal(states), logits.double().numpy(), -np.inf)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    decision = make(f"policy:path={run}")(states, rngs(2))
    # The inference copy may compute in bfloat16.
    np.testing.assert_allclose(decision.policy, expected, atol=0.02)
    # In bfloat16 several moves may have the highest probability.
    chosen = decision.policy[np.arange(2), decision.action]
    np.testing.assert_array_equal(chosen, decision.policy.max(axis=1))


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("", "there is no kind ''; choose from random, mcts, minimax, solver, checkpoint, policy"),
        ("minmax", "there is no kind 'minmax'; did you mean 'minimax'?"),
        ("mcts:simulation=5", "there is no option 'simulation'; did you mean 'simulations'?"),
        ("random:seed=1", "there is no option 'seed'; it takes none"),
        ("mcts:simulations", "simulations needs one value: simulations=..."),
        ("mcts:simulations=1,simulations=2", "simulations needs one value"),
        ("mcts:simulations=many", "simulations=many: should be a whole number"),
        ("mcts:simulations=0", "simulations=0: should be greater than or equal to 1"),
        ("minimax:depth=-1", "depth=-1: should be greater than or equal to 1"),
        ("solver:errors=1.5", "errors=1.5: should be less than or equal to 1"),
        ("solver:slack=-1", "slack=-1: should be greater than or equal to 0"),
        (
            "checkpoint:path=nowhere,search=alpha",
            "search=alpha: should be 'gumbel' or 'puct'",
        ),
        ("checkpoint:path=nowhere/at/all", "no checkpoint in nowhere/at/all"),
        ("checkpoint:path=nowhere,leaves=0", "leaves=0: should be"),
        ("mcts:leaves=0", "leaves=0: should be"),
        ("checkpoint:path=nowhere,backend=jax", "backend=jax: should be"),
        ("policy:path=nowhere,precision=int8", "precision=int8: should be"),
        ("mcts:seconds=0", "seconds=0: should be greater than 0"),
        ("minimax:seconds=inf", "seconds=inf: should be a finite number"),
        ("checkpoint:path=nowhere,reuse_tree=2", "reuse_tree=2: should be true or false"),
    ],
)
def test_a_bad_player_is_refused_in_one_line(game, spec, complaint):
    with pytest.raises(ValueError, match="player '") as refused:
        players.make(spec, game)
    assert complaint in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_no_checkpoint_is_refused(game, tmp_path):
    (tmp_path / "notes.txt").write_text("not a checkpoint")
    for path in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(ValueError, match="no checkpoint in") as refused:
            players.make(f"policy:path={path}", game)
        assert "\n" not in str(refused.value)


def test_a_checkpoint_of_another_game_is_refused(run):
    with pytest.raises(ValueError, match="plays tic_tac_toe, not connect_four"):
        players.make(f"checkpoint:path={run}", games.make("connect_four"))


def test_a_game_without_a_solver_has_no_solver_to_play():
    with pytest.raises(ValueError, match=r"player 'solver': othello\S* is too large to solve"):
        players.make("solver", games.make("othello:size=6"))


def test_parse_splits_the_kind_from_its_options():
    assert players.parse("random") == ("random", {})
    assert players.parse(" checkpoint: path=a=b , leaves=8") == (
        "checkpoint",
        {"path": "a=b", "leaves": "8"},
    )


def test_rollout_search_uses_the_rules_alone_and_plays_better_with_more_simulations(game):
    # After corner, centre, opposite corner, O loses by any corner and draws by any edge.
    states = np.repeat(positions(game, ["159"]), 40)
    few, many = (
        np.isin(players.make(f"mcts:simulations={n}", game)(states, rngs(40)).action, [1, 3, 5, 7])
        for n in (4, 400)
    )
    assert many.mean() > max(0.9, few.mean())


def stepping(seconds):
    """A clock that goes on by so many seconds whenever it is read."""
    ticks = iter(range(10**9))
    return lambda: next(ticks) * seconds


def test_minimax_in_time_plays_by_the_last_depth_that_it_completed():
    game, reads = games.make("connect_four"), []
    states = game.initial(1)
    for action in (3, 3, 2):
        states = game.step(states, np.array([action]))
    zero = exact.zero

    def deepened(limit, depth=42):
        reads.clear()
        clock = stepping(1.0)

        def now():
            reads.append(clock())
            return reads[-1]

        return players.deepen(game, states, depth, zero, limit, now)

    # The heuristic is called once per depth, and each call reads the clock once.
    for limit, depth in ((0.5, 1), (1.5, 2), (3.5, 4), (100.0, 5)):
        expected = exact.search(game, states, depth, zero)
        for one, two in zip(deepened(limit, 5), expected, strict=True):
            np.testing.assert_array_equal(one, two)
        assert len(reads) == 1 + min(depth + (depth < 5) - 1, 4)


def test_minimax_in_time_ends_where_every_game_ends_within_the_depth(game, monkeypatch):
    states = positions(game, ["1523", "15237"])
    depths, search = [], exact.search

    def counted(*arguments):
        depths.append(arguments[2])
        return search(*arguments)

    monkeypatch.setattr(exact, "search", counted)
    values, _ = players.deepen(game, states, 42, exact.zero, 1000.0)
    # After four moves five cells are free: at depth 5 no game goes on.
    assert depths == [1, 2, 3, 4, 5]
    solved, _ = players.solvers.scores(game, states)
    np.testing.assert_array_equal(np.sign(values), solved)


def test_minimax_with_seconds_has_no_depth_of_its_own_and_may_have_one(game):
    states = positions(game, [""])
    perfect = players.make("minimax:seconds=60", game)(states, rngs(1))
    # At depth 9 tic-tac-toe is solved: every first move draws.
    np.testing.assert_array_equal(perfect.policy, np.full((1, 9), np.float32(1 / 9)))
    assert perfect.value == 0
    by_call = players.make("minimax:depth=2", game)
    with_time = by_call(states, rngs(1), Limits(seconds=60))
    np.testing.assert_array_equal(by_call(states, rngs(1)).policy, with_time.policy)


def test_a_limit_of_the_call_replaces_the_players_own_of_the_same_kind():
    seen = []
    player = players.Player("p", lambda *call: seen.append(call[2]), limits=Limits(600, 2.0))
    for limits in (Limits(), Limits(5), Limits(seconds=0.5), Limits(5, 9.0)):
        player(None, None, limits)
    player(None, None)
    expected = [(600, 2.0), (5, 2.0), (600, 0.5), (5, 9.0), (600, 2.0)]
    assert seen == [Limits(*pair) for pair in expected]


@pytest.mark.parametrize(
    ("spec", "limits", "simulations"),
    [
        ("mcts", (800, None), 800),
        ("mcts:seconds=2", (None, 2.0), 0),
        ("mcts:seconds=0.5,simulations=30", (30, 0.5), 30),
        ("minimax:seconds=1", (None, 1.0), 0),
    ],
)
def test_seconds_replace_the_default_number_of_simulations(game, spec, limits, simulations):
    player = players.make(spec, game)
    assert (player.limits, player.simulations) == (Limits(*limits), simulations)


def test_players_without_a_network_do_not_import_torch():
    program = (
        "import sys, games; from alphazero.judging import arena, mistakes, players, terminal\n"
        "game = games.make('tic_tac_toe')\n"
        "for spec in ('random', 'mcts', 'minimax', 'solver'): players.make(spec, game)\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_path_that_exists_is_a_checkpoint_and_one_with_a_comma_is_quoted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "runs" / "a,b").mkdir(parents=True)
    (tmp_path / "random").mkdir()
    assert players.parse("runs:simulations=5") == (
        "checkpoint",
        {"path": "runs", "simulations": "5"},
    )
    assert players.parse("~/runs") == ("checkpoint", {"path": f"{tmp_path}/runs"})
    assert players.parse("random") == ("random", {})
    written = f"checkpoint:path={quoted('~/runs/a,b')},simulations=5"
    assert written == 'checkpoint:path="~/runs/a,b",simulations=5'
    path = f"{tmp_path}/runs/a,b"
    assert players.parse(written) == ("checkpoint", {"path": path, "simulations": "5"})


def test_a_tree_cannot_be_asked_of_a_search_that_begins_each_time_anew():
    game = games.make("connect_four")
    with pytest.raises(ValueError, match="reuse_tree=true: its search, gumbel, begins each anew"):
        players.make("checkpoint:reuse_tree=true,search=gumbel,simulations=4", game)
    assert players.make("checkpoint:reuse_tree=true,search=puct,simulations=4", game)
