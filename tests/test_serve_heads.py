"""Requests that are refused by their head: other hosts, two lengths, compression; and HEAD."""

import gzip
import json
import re
import tomllib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("fastapi")

from made_up_models import SMALL, Corners, running, same_bits, shown
from test_serve_hostile import CLOSE, GOOD, IMAGE, head, send, statuses

from workers.serve import app, heads, loading, logs, main, predictions, server

ROOT = Path(__file__).parents[1]
ANSWERED = json.dumps(shown(Corners(), np.array([IMAGE], np.uint8)))


@pytest.fixture(scope="module")
def address():
    """A server that only this machine can reach."""
    service = predictions.service(Corners(), SMALL)
    hosts = heads.allowed_hosts("127.0.0.1")
    application = app.build(service, SMALL, lambda line: None, hosts)
    with running(application, SMALL) as address:
        yield address


def get(path="/health", *lines, method="GET"):
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, CLOSE, "", ""]).encode()


def parts(answer):
    """The status, the head's fields and the body of one answer."""
    top, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = top.decode().lower().split("\r\n")
    return int(first.split()[1]), dict(line.split(": ", 1) for line in lines), body


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:8000",
        "127.0.0.1",
        "127.0.0.1:1",
        "[::1]",
        "[::1]:8000",
        "127.0.0.1:",
    ],
)
def test_this_machines_own_names_are_answered(address, host):
    assert parts(send(address, get("/health", f"host: {host}")))[0] == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example",
     "localhost:80:80", "127.0.0.2", "0.0.0.0", "[::]", "::1", "", "x", "evil.example:127.0.0.1"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/health", "/openapi.json", "/docs", "/nothing"])
def test_another_host_is_refused_whatever_is_requested(address, host, path):
    status, fields, body = parts(send(address, get(path, f"host: {host}")))
    assert status == 421
    assert json.loads(body) == {
        "error": "this server answers 127.0.0.1, [::1], localhost only",
        "field": "host",
    }
    assert fields["connection"] == "close"


def test_a_post_to_another_host_is_refused_and_its_body_is_not_read_as_a_request(address):
    request = head().replace(b"host: x", b"host: evil.example")
    smuggled = head().replace(b"host: x", b"host: localhost") + GOOD
    assert statuses(send(address, request.replace(str(len(GOOD)).encode(), b"0"), smuggled)) == [
        421
    ]


def test_http_1_0_needs_no_host(address):
    assert parts(send(address, b"GET /health HTTP/1.0\r\n\r\n"))[0] == 200


@pytest.mark.parametrize(
    ("listening", "host", "allowed"),
    [
        ("127.0.0.1", "localhost", True),
        ("192.168.0.7", "192.168.0.7", True),
        ("192.168.0.7", "evil.example", False),
        ("My-Machine", "my-machine", True),
        ("fe80::1", "[fe80::1]", True),
        ("2001:DB8::1", "[2001:db8::1]", True),
        ("fe80::1%eth0", "[fe80::1]", True),
        ("0.0.0.0", "anything.example", True),
        ("::", "anything.example", True),
        ("", "anything.example", True),
    ],
)
def test_the_name_given_as_host_is_answered_and_where_all_addresses_are_meant_any(
    listening, host, allowed
):
    hosts = heads.allowed_hosts(listening)
    assert (hosts is None or host in hosts) == allowed


def test_the_address_that_is_printed_is_answered_where_host_is_a_name(monkeypatch, capsys):
    made = []

    def build(application, limits):
        made.append(application)
        return SimpleNamespace(run=lambda sockets: None)

    monkeypatch.setattr(loading, "load", lambda *_: predictions.service(Corners(), SMALL))
    monkeypatch.setattr(logs, "log_errors_as_json", lambda log: None)
    monkeypatch.setattr(server, "build", build)
    with server.bind("127.0.0.2", 0) as bound:
        main._serve_at(bound, "x", "my-machine", SMALL, loading.NOTHING)
        assert f"serving x at http://127.0.0.2:{bound.getsockname()[1]}/" in capsys.readouterr().out
    (hosts,) = (m.kwargs["hosts"] for m in made[0].user_middleware if m.cls is heads.HeadMiddleware)
    assert {"127.0.0.2", "my-machine"} < hosts


@pytest.mark.parametrize("order", [1, -1])
def test_content_length_with_transfer_encoding_is_refused_and_the_rest_not_read(address, order):
    lengths = [f"content-length: {len(GOOD)}", "transfer-encoding: chunked"][::order]
    lines = ["POST /predict HTTP/1.1", "host: localhost", "content-type: application/json"]
    request = "\r\n".join([*lines, *lengths, "", ""]).encode()
    chunked = f"{len(GOOD):x}\r\n".encode() + GOOD + b"\r\n0\r\n\r\n"
    another = get("/health", "host: localhost")
    for body in (GOOD + another, b"0\r\n\r\n" + another, chunked + another):
        answer = send(address, request, body)
        _, fields, text = parts(answer)
        assert statuses(answer) == [400]
        assert fields["connection"] == "close"
    assert json.loads(text)["field"] == "transfer-encoding"


@pytest.mark.parametrize("path", ["/health", "/metrics", "/openapi.json", "/docs"])
def test_head_is_answered_as_get_is_but_without_a_body(address, path):
    status, fields, body = parts(send(address, get(path, "host: localhost", method="HEAD")))
    also, expected, content = parts(send(address, get(path, "host: localhost")))
    assert (status, also) == (200, 200)
    assert body == b""
    assert content
    assert fields["content-type"] == expected["content-type"]
    if path != "/metrics":  # which counts the requests
        assert fields["content-length"] == expected["content-length"] == str(len(content))


def test_head_of_a_path_that_takes_post_is_refused(address):
    answer = send(address, get("/predict", "host: localhost", method="HEAD"))
    assert parts(answer)[0] == 405


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "br", "deflate, gzip", "identity, zstd", "x"])
def test_a_compressed_body_is_refused_with_415(address, coding):
    body = gzip.compress(GOOD)
    request = head(f"content-encoding: {coding}", CLOSE, length=len(body))
    status, _, text = parts(send(address, request.replace(b"host: x", b"host: localhost"), body))
    assert status == 415
    assert json.loads(text)["field"] == "content-encoding"


@pytest.mark.parametrize("coding", ["identity", "Identity", ""])
def test_a_body_that_is_said_to_be_as_it_is_is_read(address, coding):
    request = head(f"content-encoding: {coding}", CLOSE).replace(b"host: x", b"host: localhost")
    status, _, text = parts(send(address, request, GOOD))
    assert status == 200
    assert same_bits(json.loads(text), json.loads(ANSWERED))


def test_the_newest_uvicorn_allowed_is_the_one_that_is_tested():
    """``server.DeadlineProtocol`` builds on parts of uvicorn that a newer one may change."""
    tested = re.search(r"^uvicorn==(\d+)\.(\d+)", (ROOT / "constraints.txt").read_text(), re.M)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (wanted,) = [one for one in extras["optional-dependencies"]["serve"] if "uvicorn" in one]
    assert tested
    major, minor = map(int, tested.groups())
    assert wanted.endswith(f",<{major}.{minor + 1}")
