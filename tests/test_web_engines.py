"""The page's players: which are loaded, kept and closed; streams of events that fail."""

import asyncio
import threading

import pytest

pytest.importorskip("fastapi")

import games
from alphazero import agents
from alphazero.judging import session
from workers.serve.batching import Unavailable
from workers.web import engines as module
from workers.web.engines import Engines, Mover, MoveRequest, make_player
from workers.web.events import EventStream
from workers.web.offers import BUNDLED, Offer, Offers, Target

SECONDS = 60  # a bound against hanging: nothing is measured


class Loadable:
    """Stands for a loaded player."""

    def __init__(self, label):
        self.label, self.busy, self.closed = label, False, threading.Event()


@pytest.fixture
def loading(monkeypatch):
    """Engines whose players are ``Loadable``, those made, and an event for which slow ones wait."""
    engines, made, go_on = Engines(Offers(Target())), [], threading.Event()

    def player(game, label):
        if label == "slow":
            assert go_on.wait(SECONDS)
        made.append(Loadable(label))
        return made[-1], made[-1].closed.set

    monkeypatch.setattr(engines, "_player", player)
    yield engines, made, go_on
    go_on.set()
    engines.close()


def get(engines, label):
    return engines._get("move", "tic_tac_toe", label)


def test_a_player_that_loads_slowly_stops_no_other_and_is_loaded_once(loading):
    engines, made, go_on = loading

    async def scenario():
        slow = [asyncio.create_task(get(engines, "slow")) for _ in range(2)]
        async with asyncio.timeout(SECONDS):
            assert (await get(engines, "fast")).label == "fast"
            assert not any(task.done() for task in slow)
            go_on.set()
            first, second = await asyncio.gather(*slow)
        assert first is second

    asyncio.run(scenario())
    assert [player.label for player in made] == ["fast", "slow"]


def test_nothing_is_loaded_where_all_players_are_in_use(loading, monkeypatch):
    engines, made, _ = loading
    monkeypatch.setattr(module, "MOST_LOADED", 1)

    async def scenario():
        (await get(engines, "a")).busy = True
        with pytest.raises(Unavailable, match="too many players are in use"):
            await get(engines, "b")
        assert len(made) == 1
        made[0].busy = False
        assert (await get(engines, "b")).label == "b"

    asyncio.run(scenario())
    assert [player.closed.is_set() for player in made] == [True, False]


def test_a_player_that_is_loaded_after_the_end_is_closed(loading):
    engines, made, go_on = loading

    async def scenario():
        slow = asyncio.create_task(get(engines, "slow"))
        await asyncio.sleep(0.1)
        engines.close()
        go_on.set()
        async with asyncio.timeout(SECONDS):
            with pytest.raises(Unavailable, match="the server ends"):
                await slow

    asyncio.run(scenario())
    assert [player.closed.is_set() for player in made] == [True]


@pytest.mark.parametrize(
    "offer",
    [Offer(BUNDLED, "checkpoint"), Offer("typed", "checkpoint:search=puct", typed=True),
     Offer("a run, step 7", path=agents.find("connect_four"))],
    ids=["bundled", "typed", "of a run"],
)  # fmt: skip
def test_a_level_of_n_simulations_is_one_also_after_another_page_has_searched(offer, monkeypatch):
    """A player that keeps its trees would find that of the first request, two moves on."""

    def lookup(self, lines):
        raise AssertionError("a tree of an earlier search was looked up")

    monkeypatch.setattr("alphazero.judging.decisions.KeptTrees.lookup", lookup)
    game = games.make("connect_four")
    mover = Mover(make_player(offer, game, ()))
    for line in ([4], [4, 4, 4]):
        (answer,) = mover([MoveRequest(session.after(game, line), 16)])
        assert game.legal(session.after(game, line).states)[0][answer["action"] - 1]


def test_a_stream_whose_generator_fails_raises_its_error_and_is_closed():
    closed = []

    async def events():
        yield "data: 1\n\n"
        raise RuntimeError("no more")

    async def scenario():
        async def receive():
            await asyncio.Event().wait()

        async def send(message):
            pass

        stream = EventStream(events(), lambda: closed.append(True))
        with pytest.raises(RuntimeError, match="no more"):
            await stream({"type": "http"}, receive, send)

    asyncio.run(scenario())
    assert closed == [True]
