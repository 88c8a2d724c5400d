"""Games as files of the page: what it saves it loads again; hostile files."""

import base64
import json
import random
import time
import zlib

import pytest

pytest.importorskip("fastapi")

from test_web import failures, get

import games
from alphazero.judging import saved_games, session
from workers.web import app, files, game_files
from workers.web.offers import Target


@pytest.fixture
def page():
    application = app.build(Target(), failures())
    yield application
    application.state.page.engines.close()


def packed(content):
    """``content`` as the page packs it: deflate without a header, in base64url."""
    packing = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    compressed = packing.compress(content) + packing.flush()
    return base64.urlsafe_b64encode(compressed).decode()


def load(page, game, name, content):
    return get(page, "/api/load", game=game, name=name, file=packed(content))


def save(page, **query):
    return get(page, "/api/save", **query)


@pytest.mark.parametrize(
    ("game", "moves", "kind"),
    [("go:size=9", "E5.E4.pass.D4", "sgf"), ("hex:size=7", "d4.c3.e5", "sgf"),
     ("othello", "d3.c5.f6", "sgf"), ("gomoku:size=9", "e5.a1.i9", "sgf"),
     ("chess", "e4.e5.Nf3.Nc6.Bb5.a6", "pgn"), ("connect_four", "4.4.5.3", "json"),
     ("chess", "e4.e5", "json"), ("breakthrough:rows=6,columns=6", "", "json")],
)  # fmt: skip
def test_a_game_that_is_saved_is_the_same_when_it_is_loaded(page, tmp_path, game, moves, kind):
    answer = save(page, game=game, moves=moves, format=kind, first="Ann", second="Zoë [2]")
    assert answer.status_code == 200
    assert answer.headers["content-disposition"].startswith('attachment; filename="')
    assert answer.headers["content-disposition"].endswith(f'.{kind}"')
    played = get(page, "/api/position", game=game, moves=moves).json()
    loaded = load(page, game, f"game.{kind}", answer.content).json()
    assert loaded["moves"] == played["moves"]
    assert (loaded["end"], loaded["seats"]) == ("", ["Ann", "Zoë [2]"])
    path = tmp_path / f"game.{kind}"  # the readers of the command line read it, too
    path.write_bytes(answer.content)
    assert saved_games.read(path, games.make(game)).notation() == played["texts"]


@pytest.mark.parametrize("kind", ["sgf", "json"])
@pytest.mark.parametrize("end", ["time-0", "time-1", "resignation-0", "resignation-1", "forfeit-0"])
def test_how_a_game_ended_before_its_end_is_saved_and_loaded(page, kind, end):
    content = save(page, game="go:size=9", moves="E5.E4", end=end, format=kind).content
    assert load(page, "go:size=9", f"a.{kind}", content).json()["end"] == end


def test_a_line_of_json_is_that_of_a_session(page):
    line = save(page, game="connect_four", moves="4.4", end="time-1", format="json").text
    assert line.count("\n") == 1
    restored = session.load(json.loads(line), games.make("connect_four"))
    assert (restored.notation(), restored.result(0)) == (["4", "4"], 1)


def test_of_several_games_the_first_one_is_loaded_and_the_page_is_told(page):
    line = save(page, game="tic_tac_toe", moves="5.1", format="json").content
    one, two = (load(page, "tic_tac_toe", "games.jsonl", line * n).json() for n in (1, 2))
    assert (one["more"], two["more"]) == (False, True)
    assert one["moves"] == two["moves"] == [5, 1]


@pytest.mark.parametrize(
    ("game", "name", "content", "message"),
    [
        ("go:size=9", "a.sgf", b"(;GM[1]SZ[13];B[aa])", "its board has the size 13"),
        ("go:size=9", "a.sgf", b"(;GM[2]SZ[8];B[aa])", "its game is GM[2]"),
        ("go:size=9", "a.sgf", b"(;GM[1]SZ[9];B[aa];W[aa])", "cannot be played"),
        ("chess", "a.sgf", b"(;GM[1])", "SGF is for"),
        ("go:size=9", "a.pgn", b"1. e4", "PGN is for chess"),
        ("chess", "a.pgn", b'[FEN "8/8/8/8/8/8/8/K1k5 w - - 0 1"]\n\n1. Kb1', "FEN"),
        ("chess", "a.json", b"1. e4", "this is no saved game"),
        ("tic_tac_toe", "a", b'{"game": "os:system", "moves": []}', "no saved session"),
        ("tic_tac_toe", "a", b'{"game": "os:system", "moves": [1], "seats": ["a", "b"], '
         b'"resigned": null, "clock": null}', "one of os:system, not of tic_tac_toe"),
        ("tic_tac_toe", "a", b"[" * 50_000, "this is no saved game"),
        ("tic_tac_toe", "a", b"9" * 50_000, "this is no saved game"),
        ("tic_tac_toe", "a", b"\xff\xfe\xfd", "this is no saved game"),
        ("tic_tac_toe", "a", b"", "this is no saved game"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_game_of_these_rules_is_one_sentence(page, game, name, content, message):
    answer = load(page, game, name, content)
    assert answer.status_code == 422
    assert answer.json()["field"] == "file"
    assert message in answer.json()["error"]
    assert len(answer.json()["error"].splitlines()) == 1
    assert len(answer.json()["error"]) < 1000


def test_what_is_no_packed_file_or_unpacks_to_too_much_is_refused(page):
    bomb = packed(b"\0" * (2**24))
    assert len(bomb) < game_files.MOST_PACKED + 10_000  # it is short enough to matter
    for file, message in [
        (packed(b" " * (game_files.MOST_BYTES + 1)), "at most"),
        (packed(b"x" * 1000)[:-8], "packed file"),
        ("not base64!", "packed file"),
        ("AAAA", "packed file"),
        ("", "packed file"),
        ("A" * (game_files.MOST_PACKED + 1), ""),
    ]:
        answer = get(page, "/api/load", game="tic_tac_toe", name="a", file=file)
        assert answer.status_code == 422
        assert message in answer.json()["error"]


def test_a_format_an_ending_or_a_name_that_there_is_not_is_refused(page):
    given = {"game": "tic_tac_toe", "moves": "5"}
    for query in (
        {"format": "sgf"}, {"format": "exe"}, {"format": "../x"},
        {"format": "json", "end": "time-2"}, {"format": "json", "end": "time-0\n"},
        {"format": "json", "first": "x" * 100},
    ):  # fmt: skip
        assert save(page, **given, **query).status_code == 422
    over = save(page, game="tic_tac_toe", moves="1.4.2.5.3", end="time-0", format="json")
    assert over.json() == {"error": "the game is over by its rules", "field": "end"}


def test_names_cannot_leave_their_place_in_a_file(page):
    name = 'x"]\n[Result "0-1"]\\'
    content = save(page, game="chess", moves="e4", format="pgn", first=name).content
    loaded = load(page, "chess", "a.pgn", content).json()
    assert (loaded["moves"], loaded["end"]) == (
        load(page, "chess", "a.pgn", b"1. e4").json()["moves"],
        "",
    )
    go = save(page, game="go:size=9", moves="E5", format="sgf", first="x];B[aa]").content
    assert len(load(page, "go:size=9", "a.sgf", go).json()["moves"]) == 1


def hostile(rng, kind):
    """A file of many tokens of a format in random order."""
    tokens = {
        "sgf": ["(", ")", ";", "B[aa]", "W[bb]", "SZ[9]", "GM[1]", "KM[nan]", "AB[aa][bb]", "C[",
                "]", "\\", "B[]", "KM[7]", "SZ[1:2]", "\0", "é", "RE[B+R]", "B[tt]", "GM[11]"],
        "pgn": ["1.", "e4", "e5", "(", ")", "{", "}", "[A \"b\"]", "\n", "$1", ";", "%", "*",
                "1-0", "Nf3", "[FEN \"x\"]", "\0", "--", "O-O", "é"],
        "json": ['{"game":"go:size=9",', '"moves":[1,2],', '"seats":["a","b"],', "[", "]", "}", "{",
                 '"clock":{"start":[1,1],"seconds":[0,1],"increment":0},', '"resigned":0}', "1e999",
                 "NaN", "null", '"', "\\u0000", ",", "\n", '"moves":["E5"],', '"resigned":null}'],
    }[kind]  # fmt: skip
    return "".join(rng.choice(tokens) for _ in range(rng.choice([3, 30, 3000]))).encode()


def test_random_files_never_fail_in_the_server_and_take_little_time(page):
    rng, began = random.Random(11), time.process_time()
    for number in range(300):
        kind = ("sgf", "pgn", "json")[number % 3]
        game = "chess" if kind == "pgn" else "go:size=9"
        file = packed(hostile(rng, kind))
        if len(file) > game_files.MOST_PACKED:
            continue
        answer = get(page, "/api/load", game=game, name=f"x.{kind}", file=file)
        assert answer.status_code in (200, 422), answer.text
    assert time.process_time() - began < 100


@pytest.mark.parametrize(
    ("game", "name", "part"),
    [("go:size=9", "a.sgf", b"("), ("go:size=9", "a.sgf", b"(;"), ("go:size=9", "a.sgf", b";B[aa]"),
     ("go:size=9", "a.sgf", b"AB[aa]"), ("chess", "a.pgn", b"( "), ("chess", "a.pgn", b"{"),
     ("chess", "a.pgn", b'[A "'), ("chess", "a.pgn", b"e4 "), ("tic_tac_toe", "a.json", b'{"a":'),
     ("tic_tac_toe", "a.json", b" ")],
)  # fmt: skip
def test_the_longest_files_of_one_part_are_refused_in_bounded_time(page, game, name, part):
    began = time.process_time()
    answer = load(page, game, name, part * (game_files.MOST_BYTES // len(part)))
    assert answer.status_code == 422
    assert time.process_time() - began < 20


def test_the_page_has_the_limits_of_the_server():
    page = "".join(files.table()[path].content.decode() for path in ("/controls.js", "/words.js"))
    assert f"MOST_BYTES = 2 ** {game_files.MOST_BYTES.bit_length() - 1}," in page
    assert game_files.MOST_BYTES.bit_count() == 1
    assert f"MOST_PACKED = {game_files.MOST_PACKED};" in page
    assert f"MOST_NAME = {game_files.MOST_NAME};" in page
