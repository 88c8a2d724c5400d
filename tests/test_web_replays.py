"""The newest games of self-play and the matches of a folder, as the page shows them."""

import json
import os
import threading

import numpy as np
import pytest

pytest.importorskip("fastapi")

from test_train import run, tiny
from test_web import failures, get

import games
from alphazero import wire
from alphazero.judging import arena, players
from workers import cli
from workers.runs import game_files
from workers.web import app, replays
from workers.web.offers import Target

GAME = games.make("tic_tac_toe")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a short run of tic-tac-toe."""
    folder = tmp_path_factory.mktemp("runs")
    assert run(folder / "short", tiny("selfplay.random_opening_plies=2")) == 0
    return folder


@pytest.fixture
def page(trained):
    application = app.build(Target(folder=trained), failures())
    yield application
    application.state.page.engines.close()


def test_the_newest_games_are_those_of_the_shards_with_the_policy_of_the_search(page, trained):
    answer = get(page, "/api/selfplay", run="short").json()["games"]
    (shard,) = (trained / "short" / "games").glob("shard_*.bin")
    stored = [record for _, record in wire.read_shard(GAME, shard) if record is not None]
    assert [one["id"] for one in answer] == [
        str(record.game_id) for record in reversed(stored[-replays.MOST_GAMES :])
    ]
    for one, record in zip(answer, reversed(stored), strict=False):
        plies = len(record.actions)
        assert [int(move) - 1 for move in one["moves"]] == record.actions[
            : len(one["moves"])
        ].tolist()
        opening = plies - len(record.rows)
        assert one["searched"][:opening] == [None] * opening
        for searched, row in zip(one["searched"][opening:], record.rows, strict=False):
            assert searched["value"] == pytest.approx(float(row["value"]), abs=1e-3)
            used = row["policy_action"] < GAME.num_actions
            by_action = dict(
                zip(row["policy_action"][used], row["policy_weight"][used], strict=True)
            )
            shares = [share for _, share in searched["policy"]]
            assert shares == sorted(shares, reverse=True)
            assert sum(shares) == pytest.approx(1, abs=0.02)
            for number, share in searched["policy"]:
                assert share == pytest.approx(float(by_action[number - 1]), abs=1e-3)


def test_every_game_can_be_opened_on_the_board(page):
    for one in get(page, "/api/selfplay", run="short").json()["games"]:
        moves = ".".join(one["moves"])
        position = get(page, "/api/position", game="tic_tac_toe", moves=moves).json()
        if one["result"]["reason"] == "rules":
            assert position["result"] == one["result"]["first"]
        for ply, searched in enumerate(one["searched"]):
            before = ".".join(one["moves"][:ply])
            here = get(page, "/api/position", game="tic_tac_toe", moves=before).json()
            legal = {move["action"] for move in here["legal"]}
            assert {number for number, _ in (searched or {"policy": []})["policy"]} <= legal


def test_the_last_games_come_from_as_few_shards_as_hold_them(trained, tmp_path):
    (shard,) = (trained / "short" / "games").glob("shard_*.bin")
    folder = tmp_path / "games"
    folder.mkdir()
    (folder / "shard_000000.bin").write_bytes(b"damaged: this shard is not read")
    for number in (1, 2):
        (folder / f"shard_{number:06d}.bin").write_bytes(shard.read_bytes())
    stored = [record.game_id for _, record in wire.read_shard(GAME, shard) if record is not None]
    for count in (1, len(stored), len(stored) + 1, 2 * len(stored)):
        kept = game_files.newest_records(GAME, tmp_path, count, pytest.fail)
        assert [record.game_id for record in kept] == (2 * stored)[-count:]


def test_the_last_games_have_no_gap_where_some_of_a_shard_are_not_valid(monkeypatch, tmp_path):
    def read_shard(game, path, report, last=None):
        games = {"shard_000001.bin": ["b1", "b2", "b3", None], "shard_000000.bin": ["a1", "a2"]}
        read = games[path.name]
        return [(0, record) for record in (read if last is None else read[-last:])]

    (tmp_path / "games").mkdir()
    for number in (0, 1):
        (tmp_path / "games" / f"shard_{number:06d}.bin").touch()
    monkeypatch.setattr(game_files.wire, "read_shard", read_shard)
    newest = lambda count: game_files.newest_records(GAME, tmp_path, count, pytest.fail)  # noqa: E731
    assert newest(3) == ["b1", "b2", "b3"]
    assert newest(4) == ["a2", "b1", "b2", "b3"]
    assert newest(9) == ["a1", "a2", "b1", "b2", "b3"]


def test_one_of_many_other_files_is_a_match(tmp_path):
    match = {"game": "g", "pairings": [], "players": [{"name": n, "elo": 0} for n in "ab"]}
    (tmp_path / "match.json").write_text(json.dumps(match))
    os.utime(tmp_path / "match.json", (1, 1))
    for number in range(replays.MOST_MATCHES + 5):
        (tmp_path / f"{number}.json").write_text("{}")
    assert [one["name"] for one in replays.matches(tmp_path)] == ["match.json"]


def test_pages_that_wait_for_games_are_few(page, monkeypatch):
    monkeypatch.setattr(replays, "_room", threading.BoundedSemaphore(1))
    with replays._room:
        assert get(page, "/api/selfplay", run="short").status_code == 503
    assert get(page, "/api/selfplay", run="short").status_code == 200


def test_games_that_cannot_be_read_are_one_line(page, trained, tmp_path):
    for name, spoil in (
        ("link", lambda path: path.symlink_to("/dev/zero")),
        ("fifo", os.mkfifo),
        ("large", lambda path: (path.touch(), os.truncate(path, game_files.LARGEST + 1))),
        ("other", lambda path: path.write_bytes(wire.header(games.make("connect_four")))),
    ):
        broken = trained / name
        (broken / "games").mkdir(parents=True)
        for file in ("config.yaml", "metrics.jsonl"):
            (broken / file).write_bytes((trained / "short" / file).read_bytes())
        spoil(broken / "games" / "shard_000000.bin")
        answer = get(page, "/api/selfplay", run=name)
        assert answer.status_code == 404
        assert answer.json()["error"].startswith(f"the games of {name} cannot be read: ")
        assert "\n" not in answer.json()["error"]


def test_a_run_without_games_says_so(page, trained):
    empty = trained / "empty"
    empty.mkdir(exist_ok=True)
    for file in ("config.yaml", "metrics.jsonl"):
        (empty / file).write_bytes((trained / "short" / file).read_bytes())
    assert get(page, "/api/selfplay", run="empty").json()["error"] == (
        "empty has no games of self-play yet"
    )


def test_the_matches_of_the_folder_are_those_of_the_arena(page, trained, capsys):
    file = trained / "match.json"
    words = ["arena", "--game", "tic_tac_toe", "--games", "6", "--seed", "3"]
    three = ["random", "mcts:simulations=10", "minimax:depth=2"]
    assert cli.main([*words, *three, "--json", str(file)]) == 0
    (match,) = get(page, "/api/matches").json()["matches"]
    assert (match["name"], match["game"]) == ("match.json", "tic_tac_toe")
    assert [player["name"] for player in match["players"]] == three
    played = [players.make(text, GAME) for text in three]
    result = arena.play(GAME, played, 6, 3)
    scores = np.array([player.score for player in result.players])
    points = np.array([[met or [0, 0] for met in row] for row in match["points"]])
    assert points[:, :, 1].tolist() == (6 * (1 - np.eye(3))).tolist()
    assert points[:, :, 0].sum(1) == pytest.approx(12 * scores)
    assert (points[:, :, 0] + points[:, :, 0].T).tolist() == points[:, :, 1].tolist()


@pytest.mark.parametrize(
    "content",
    ["", "[1]", "{}", "[" * 100_000, '{"players": [], "pairings": []}',
     '{"game": 1, "players": [{"name": "a", "elo": NaN}, {"name": "b", "elo": 0}], "pairings": []}',
     '{"game": "g", "players": [{"name": "a", "elo": 1}, {"name": "b", "elo": 0}],'
     ' "pairings": [{"first": 0, "second": 9, "wins": 1, "draws": 0, "losses": 0}]}',
     '{"game": "g", "players": [{"name": "a", "elo": 1}, {"name": "b", "elo": 0}],'
     ' "pairings": [{"first": -1, "second": 0, "wins": 1, "draws": 0, "losses": 0}]}',
     '{"game": "g", "players": [{"name": "a", "elo": 1}, {"name": "b", "elo": 0}],'
     ' "pairings": [{"first": Infinity, "second": 0, "wins": 1, "draws": 0, "losses": 0}]}',
     '{"game": "g", "players": [{"name": "a", "elo": 1}, {"name": "b", "elo": 1' + "0" * 400 + '}],'
     ' "pairings": []}',
     '{"game": "g", "players": [{"name": "a", "elo": 1}, {"name": "b", "elo": 0}],'
     ' "pairings": [{"first": 1, "second": 0, "wins": 1e308, "draws": 0, "losses": 1e308}]}'],
)  # fmt: skip
def test_other_files_are_no_matches(tmp_path, content):
    (tmp_path / "other.json").write_text(content)
    (tmp_path / "folder.json").mkdir()
    assert replays.matches(tmp_path) == []
