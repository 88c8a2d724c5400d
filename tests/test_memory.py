"""Announced sizes of self-play against the arrays of real searches, and the available memory."""

from itertools import count

import numpy as np
import pytest

import games
from alphazero import memory
from alphazero.cache import EvaluationCache
from alphazero.config import Config, SelfPlaySettings
from alphazero.evaluators import uniform
from alphazero.memory import Load
from alphazero.parts import game_of, largest_request, memory_of
from alphazero.search import run
from alphazero.search.gumbel import Gumbel
from alphazero.search.puct import PUCT
from alphazero.selfplay import FIRST_PLIES, GameGroup
from games.base import Game
from workers.node.slots import Sizes, Slots

GB = 10**9


class Watched:
    """A search that writes down the bytes in use in its trees."""

    def __init__(self, search):
        self.search, self.used = search, []

    def __call__(self, *arguments):
        result = yield from self.search(*arguments)
        self.used.append(result.tree.used_bytes)
        return result


@pytest.mark.parametrize("kind", [PUCT, Gumbel])
@pytest.mark.parametrize("name", ["connect_four", "othello:size=6", "othello:size=8"])
def test_announced_trees_are_within_15_percent_of_those_of_real_games(name, kind):
    game, watched = games.make(name), Watched(kind(simulations=32))
    # Openings of all lengths, so that the games are not all in their beginning or their middle.
    settings = SelfPlaySettings(games=32, random_opening_plies=game.max_plies // 2)
    group = GameGroup(game, watched, settings, 3, count())
    for _ in range(40):
        run(group.move(), uniform(game))
    announced = memory.plan(game, Load(1, 32, 32, 1024, 100), GB).trees
    measured = np.mean(watched.used[20:])
    assert announced == pytest.approx(measured, rel=0.15)


@pytest.mark.parametrize("name", ["connect_four", "othello:size=6", "tic_tac_toe"])
def test_the_announced_cache_has_the_bytes_of_its_arrays(name):
    game = games.make(name)
    arrays = vars(EvaluationCache(game, 4096)).values()
    held = sum(array.nbytes for array in arrays if isinstance(array, np.ndarray))
    assert memory.plan(game, Load(3, 1, 2, 4096, 1), GB).caches == 3 * held


def test_the_mean_number_of_legal_moves_is_that_of_the_rules():
    # A first move has 9 choices, the next 8, and so on; most random games last 7 to 9 plies.
    legal, plies = memory.survey(games.make("tic_tac_toe"))
    assert 5 < legal < 6
    assert plies == 9
    # The mean over 10,000 random games, computed once with another seed: 6.74.
    legal, plies = memory.survey(games.make("connect_four"))
    assert legal == pytest.approx(6.74, abs=0.15)
    assert 30 < plies <= 42
    assert memory.survey(games.make("connect_four"), plies=1) == (7, 1)


def test_a_game_that_may_last_very_long_needs_the_memory_of_games_as_they_are_played():
    class Patient(type(games.make("connect_four"))):
        max_plies = 100_000

    sizes = memory.plan(Patient(), LOAD, GB)
    assert sizes.records == 2 * 64 * FIRST_PLIES * 64


LOAD = Load(groups=2, games=64, simulations=32, cache=2**16, row_bytes=64)


def test_where_the_budget_is_enough_nothing_shrinks():
    sizes = memory.plan(games.make("connect_four"), LOAD, GB)
    assert sizes.cache == 2**16
    assert sizes.records == 2 * 64 * 42 * 64
    assert sizes.total == sizes.trees + sizes.caches + sizes.records <= sizes.budget
    assert "instead" not in str(sizes)
    assert str(sizes).startswith("self-play needs about ")
    assert "of 1.0 GB" in str(sizes)


def test_caches_shrink_by_powers_of_two_to_what_fits_and_the_line_shows_it():
    game = games.make("connect_four")
    full = memory.plan(game, LOAD, GB)
    tight = memory.plan(game, LOAD, full.total - 1)
    assert tight.cache == 2**15
    assert tight.total <= full.total - 1
    assert "selfplay.cache 32768 instead of 65536" in str(tight)
    quarter = memory.plan(game, LOAD, full.total - 3 * full.caches // 4)
    assert quarter.cache == 2**14


def test_a_budget_that_cannot_be_enough_is_refused_in_one_line_with_what_to_lower():
    with pytest.raises(
        ValueError, match=r"^selfplay\.memory: 2 groups of 64 games need about"
    ) as e:
        memory.plan(games.make("connect_four"), LOAD, 10**6)
    assert "may use 1.0 MB; lower selfplay.games" in str(e.value)
    assert "\n" not in str(e.value)


def test_kept_trees_need_the_memory_of_two_moves():
    game = games.make("connect_four")
    once, twice = (memory.plan(game, LOAD._replace(keeps_trees=kept), GB) for kept in (False, True))
    assert twice.trees == 2 * once.trees


def test_a_game_of_many_actions_needs_memory_for_its_legal_moves_only():
    few = games.make("connect_four")

    class Many(type(few)):
        num_actions = 4160

        def legal(self, states):
            wide = np.zeros((len(states), 4160), np.bool_)
            wide[:, :7] = super().legal(states)
            return wide

    assert isinstance(many := Many(), Game)
    assert memory.plan(many, LOAD, 10 * GB).trees == memory.plan(few, LOAD, GB).trees


def write(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


MEMINFO = {"proc/meminfo": "MemTotal:       16000000 kB\nMemFree:        1 kB\n"}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 16_384_000_000),
        (
            {"proc/self/cgroup": "0::/\n", "cgroup/memory.max": "max\n"},
            16_384_000_000,
        ),
        ({"proc/self/cgroup": "0::/\n", "cgroup/memory.max": "4000000000\n"}, 4_000_000_000),
        (
            {
                "proc/self/cgroup": "0::/user/job\n",
                "cgroup/user/job/memory.max": "max\n",
                "cgroup/user/memory.max": "3000000000\n",
                "cgroup/memory.max": "5000000000\n",
            },
            3_000_000_000,
        ),
        (
            {
                "proc/self/cgroup": "7:cpu,cpuacct:/a\n4:memory:/a\n0::/\n",
                "cgroup/memory/a/memory.limit_in_bytes": "2000000000\n",
                "cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            },
            2_000_000_000,
        ),
        ({"proc/self/cgroup": "0::/outside/of/the/container\n"}, 16_384_000_000),
    ],
    ids=["none", "unlimited", "version_2", "group_above", "version_1", "unreadable"],
)
def test_the_available_memory_is_the_machines_or_the_lowest_limit(tmp_path, files, expected):
    write(tmp_path, MEMINFO | files)
    assert memory.available_memory(tmp_path / "proc", tmp_path / "cgroup") == expected


def test_the_available_memory_of_this_machine_is_a_plausible_number():
    assert 10**8 < memory.available_memory() < 10**14


def test_the_default_budget_is_half_of_the_available_memory(monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 3 * GB)
    assert memory.plan(games.make("tic_tac_toe"), LOAD).budget == 1.5 * GB


def test_sizes_are_written_with_two_digits_or_more():
    sizes = [(999, "999 bytes"), (1000, "1.0 KB"), (8_240_000, "8.2 MB"), (123e6, "123 MB")]
    assert [memory.in_words(int(size)) for size, _ in sizes] == [text for _, text in sizes]


@pytest.mark.parametrize("name", ["connect_four", "othello:size=6"])
def test_the_announced_requests_have_the_bytes_of_the_slots(name):
    config = Config(game=name, selfplay=SelfPlaySettings(games=64, groups=3))
    game, announced = game_of(config), memory_of(config, processes=2)
    sizes = Sizes(2, 3, largest_request(config), game.num_actions)
    slots = Slots(sizes, game.dtype)
    arrays = [slots.memory[name].nbytes for name in ("states", "value", "logits")]
    slots.close()
    assert 2 * announced.requests == sum(arrays)
    assert announced.total == memory_of(config).total + announced.requests
    assert "requests" in str(announced)


def test_threads_of_one_process_have_no_requests_in_shared_memory():
    sizes = memory_of(Config(game="tic_tac_toe"))
    assert sizes.requests == 0
    assert "requests" not in str(sizes)


def test_requests_in_shared_memory_count_when_the_cache_is_made_to_fit():
    game, load = games.make("connect_four"), Load(2, 64, 32, 2**16, 64)
    fits = memory.plan(game, load).total
    assert memory.plan(game, load, fits).cache == 2**16
    smaller = memory.plan(game, load._replace(request=64), fits)
    assert smaller.cache == 2**15
    assert smaller.total <= fits
    with pytest.raises(ValueError, match=r"requests \d.* but may use"):
        memory.plan(game, load._replace(request=4096), 10**6)
