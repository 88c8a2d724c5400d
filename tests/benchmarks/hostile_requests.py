"""Requests to the page's server: a valid one per path, and the same with one part changed."""

import base64
import json
import random
import sys
import zlib
from pathlib import Path

import httpx

from workers.web.offers import BUNDLED

sys.path.insert(0, str(Path(__file__).parents[1]))
from test_train import run, tiny

Request = tuple[str, str, dict[str, str]]
"""Method, path with its query, and headers."""
RUN = "mine"
GAME = {"game": "tic_tac_toe", "moves": "5.1.9.2"}
SEARCH = GAME | {"player": BUNDLED, "simulations": "4"}
PIECES = (
    "game", "moves", "", "2", "16", "connect_four", "random", "4.4", "..", "/", "\0", "=", "&",
    "a" * 500, "-1", "1e9", "NaN", "[]", "'", "chess", "e4", "9", "💥", "\r\n", "minimax:seconds=1",
    BUNDLED, "../../etc/passwd", "%2e%2e%2f", "4." * 5000, "sgf", "json", "subprocess:Popen",
    "gtp:cmd=sh", "hf://user/agent", "9" * 5000,
)  # fmt: skip
PATHS = (
    "/../app.py", "/%2e%2e/app.py", "/..%2fapp.py", "//etc/passwd", "/vendor", "/main.js%00",
    "/api/../api/start", "/api/start/", "/metrics", "/docs", "/%ff",
)  # fmt: skip
HEADERS = (
    *({"host": host} for host in ("evil.example", "127.0.0.1.evil.example", "", "[::1]:1")),
    *({"origin": origin} for origin in ("https://evil.example", "null", "http://127.0.0.1:1")),
    *({"sec-fetch-site": site} for site in ("cross-site", "same-site", "x")),
)
METHODS = ("POST", "PUT", "DELETE", "HEAD", "X")


def write_folder(folder: Path) -> None:
    """A folder with a short run, which has games and metrics, and with a match."""
    if run(folder / RUN, tiny()) != 0:
        raise SystemExit("the short run for the server has failed")
    players = [{"name": name, "elo": 0.0} for name in ("random", "other")]
    pairings = [{"first": 0, "second": 1, "wins": 1, "draws": 0, "losses": 1}]
    match = {"game": GAME["game"], "players": players, "pairings": pairings}
    (folder / "match.json").write_text(json.dumps(match))


def packed(content: bytes) -> str:
    """``content`` as the page packs a file: deflate without a header, in base64url."""
    packing = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return base64.urlsafe_b64encode(packing.compress(content) + packing.flush()).decode()


def valid_queries(client: httpx.Client) -> dict[str, dict[str, str]]:
    """A query of each path of the server; ``SystemExit`` where one is not answered with 200."""
    save = GAME | {"format": "json", "end": "", "first": "Ann", "second": "Bob"}
    file = client.get("/api/save", params=save).content
    queries = {
        "start": {}, "runs": {}, "matches": {}, "players": {"game": GAME["game"]},
        "position": GAME, "board.svg": GAME, "exact": GAME, "save": save,
        "load": {"game": GAME["game"], "name": "a.json", "file": packed(file)},
        "move": SEARCH, "values": SEARCH, "analyse": SEARCH | {"plies": "2"},
        "curves": {"run": RUN, "after": "0"}, "selfplay": {"run": RUN},
    }  # fmt: skip
    for name, query in queries.items():
        answer = client.get(f"/api/{name}", params=query)
        if answer.status_code != 200:
            raise SystemExit(f"/api/{name} answers {answer.status_code}: {answer.text[:300]}")
    return queries


def changed(queries: dict[str, dict[str, str]], rng: random.Random) -> Request:
    """A valid request with one part changed: most often a parameter of its query."""
    name = rng.choice(list(queries))
    method, path, query, headers = "GET", f"/api/{name}", dict(queries[name]), {}
    part = rng.choices(("query", "path", "headers", "method"), (85, 5, 5, 5))[0]
    if part == "path":
        path = rng.choice((*PATHS, f"/api/{rng.choice(list(queries))}", f"{path}/x"))
    elif part == "headers":
        headers = rng.choice(HEADERS)
    elif part == "method":
        method = rng.choice(METHODS)
    else:
        query = changed_query(query, rng)
    return method, f"{path}?{httpx.QueryParams(query)}", headers


def changed_query(query: dict[str, str], rng: random.Random) -> dict[str, str]:
    """The query with one parameter replaced, made longer, cut, left out, or an unknown one more."""
    field, piece = rng.choice([*query, "unknown"]), rng.choice(PIECES)
    text = query.get(field, "")
    # Without simulations an analysis goes on for as long as the page is open, which is no hang.
    if rng.random() < 0.1 and field != "simulations":
        return {key: value for key, value in query.items() if key != field}
    cut = text[: rng.randrange(len(text) + 1)]
    return query | {field: rng.choice((piece, text + piece, cut + piece))}
