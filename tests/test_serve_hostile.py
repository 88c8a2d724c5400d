"""Hostile clients of a real server: every request ends, and the only status above 499 is 503."""

import asyncio
import contextlib
import json
import random
import socket
import struct
import threading
import time
import zlib

import numpy as np
import pytest

pytest.importorskip("fastapi")

import httpx
from made_up_models import Corners, Shouting, Slow, running, same_bits, shown

from workers.serve import app, predictions
from workers.serve.limits import Limits

HURRIED = Limits(
    batch=4, queue=64, body_bytes=4096, characters=100, seconds=3.0, receive_seconds=0.5,
    keep_alive_seconds=1, connections=8, head_bytes=4096,
)  # fmt: skip
IMAGE = [[255, 0, 3], [0, 0, 7]]
GOOD = json.dumps({"image": IMAGE}).encode()


def predict_app(predictor, limits=HURRIED, log=lambda line: None):
    return app.build(predictions.service(predictor, limits), limits, log)


@pytest.fixture
def lines():
    return []


@pytest.fixture
def address(lines):
    with running(predict_app(Corners(), log=lines.append), HURRIED) as address:
        yield address


LENGTH = len(GOOD)


def head(*more, method="POST", path="/predict", length=LENGTH):
    kept = ("host: x", "content-type: application/json")
    sized = () if length is None else (f"content-length: {length}",)
    return "\r\n".join([f"{method} {path} HTTP/1.1", *kept, *sized, *more, "", ""]).encode()


def received(connection):
    """All data until the other side closes the connection; a reset counts as closed."""
    data = b""
    while True:
        try:
            more = connection.recv(65536)
        except ConnectionError:
            return data
        if not more:
            return data
        data += more


def send(address, *parts, end=False):
    """Send ``parts`` and return the whole answer; fails where the connection stays open."""
    with socket.create_connection(address, timeout=10) as connection:
        try:
            for part in parts:
                connection.sendall(part)
            if end:
                connection.shutdown(socket.SHUT_WR)
        except ConnectionError:
            pass
        return received(connection)


def statuses(data):
    """The statuses of all answers in ``data``."""
    statuses, rest = [], data
    while rest:
        top, _, rest = rest.partition(b"\r\n\r\n")
        words = top.split(b" ", 2)
        assert words[0] == b"HTTP/1.1", data
        statuses.append(int(words[1]))
        fields = dict(line.split(b": ", 1) for line in top.lower().split(b"\r\n")[1:])
        length = int(fields[b"content-length"])
        body, rest = rest[:length], rest[length:]
        if statuses[-1] >= 400:
            assert set(json.loads(body)) == {"error", "field"}
    return statuses


def healthy(address):
    """Whether a good request is still answered, with the predictor's own bits."""
    response = httpx.post("http://{}:{}/predict".format(*address), json={"image": IMAGE})
    expected = shown(Corners(), np.array([IMAGE], np.uint8))
    return response.status_code == 200 and same_bits(response.json(), expected)


CLOSE = "connection: close"


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\xff\x16\x03\x01 garbage\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",  # no host
        b"GET /\x00 HTTP/1.1\r\nhost: x\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: ten\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: " + b"9" * 3000 + b"\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
        b"POST /predict HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\n" + b"a" * 20000,
        b"GET / HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * 4000,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
    ids=lambda data: repr(data[:40]),
)
def test_bytes_that_are_not_http_are_answered_400_and_disconnected(address, data):
    assert set(statuses(send(address, data))) <= {400, 404}
    assert healthy(address)


def test_a_head_that_is_too_long_is_answered_400(address):
    assert statuses(send(address, b"GET / HTTP/1.1\r\nhost: x\r\nname: " + b"a" * 5000)) == [400]


@pytest.mark.parametrize("kept", [1, 10, 40, len(head()) - 1])
def test_a_request_cut_off_in_its_head_ends(address, kept):
    assert statuses(send(address, head()[:kept], end=True)) in ([400], [408], [])
    assert statuses(send(address, head()[:kept])) == [408]
    assert healthy(address)


@pytest.mark.parametrize("kept", [0, 1, len(GOOD) - 1])
def test_a_body_cut_off_is_answered_408_or_not_at_all(address, lines, kept):
    assert statuses(send(address, head(), GOOD[:kept])) == [408]
    assert statuses(send(address, head(), GOOD[:kept], end=True)) in ([400], [408], [])
    assert healthy(address)
    # A request is logged after its answer is sent: the client may have read that earlier.
    deadline, seen = time.monotonic() + 20, [0]
    while seen[-1] != 200 and time.monotonic() < deadline:
        time.sleep(0.01)
        seen = [line["status"] for line in list(lines) if line.get("path") == "/predict"]
    assert seen[0] == 408
    assert seen[-1] == 200


def test_bytes_after_the_announced_body_are_a_bad_request(address):
    assert statuses(send(address, head(), GOOD, b"extra\r\n\r\n")) == [200, 400]
    short = head(length=len(GOOD) - 3)
    assert statuses(send(address, short, GOOD))[0] == 400


def test_a_body_too_large_is_refused_by_its_announced_and_by_its_received_size(address):
    data = send(address, head(CLOSE, length=10**12))
    assert statuses(data) == [413]
    chunk = b"400\r\n" + b" " * 0x400 + b"\r\n"
    chunked = head("transfer-encoding: chunked", CLOSE, length=None)
    assert statuses(send(address, chunked, chunk * 5)) == [413]
    assert statuses(send(address, chunked, chunk * 3, b"0\r\n\r\n")) == [400]
    assert healthy(address)


def flood(connection, data, seconds=20.0):
    """Send ``data`` repeatedly until the server closes the connection, as it must."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(TimeoutError):
            try:
                connection.sendall(data)
            except ConnectionError:
                return
        time.sleep(0.01)
    raise AssertionError("the server did not close the connection")


def test_a_client_that_goes_on_sending_after_a_refusal_is_disconnected(address):
    start = time.monotonic()
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(head(length=10**12))
        flood(connection, b" " * 1000)
    assert time.monotonic() - start < 5
    assert healthy(address)


@pytest.mark.parametrize(
    "broken", [b"zz\r\nabc\r\n", b"5\r\nabc\r\n0\r\n\r\n", b"-1\r\n", b"f" * 300 + b"\r\n"]
)
def test_broken_chunks_are_answered_400(address, broken):
    chunked = head("transfer-encoding: chunked", length=None)
    assert statuses(send(address, chunked, broken)) in ([400], [408])
    assert healthy(address)


def drip(address, data, seconds=8.0):
    """Send a byte every 50 ms; return the answer and the seconds until the connection closed."""
    start = time.monotonic()
    with socket.create_connection(address, timeout=10) as connection:
        try:
            for place in range(len(data)):
                connection.sendall(data[place : place + 1])
                time.sleep(0.05)
                assert time.monotonic() < start + seconds
        except ConnectionError:
            pass
        return received(connection), time.monotonic() - start


@pytest.mark.parametrize("end", [b"", GOOD], ids=["head", "all"])
def test_a_client_that_sends_a_byte_at_a_time_is_disconnected(address, end):
    answer, seconds = drip(address, head("name: " + "a" * 200) + end)
    assert statuses(answer) in ([408], [])
    assert seconds < 5
    assert healthy(address)


def test_a_body_sent_a_byte_at_a_time_is_disconnected(address):
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(head(length=4000))
        start = time.monotonic()
        flood(connection, b" ")
    assert time.monotonic() - start < 5
    assert healthy(address)


def test_a_connection_without_a_request_is_closed(address):
    assert statuses(send(address)) in ([408], [])


def test_an_idle_connection_is_closed_and_an_active_one_is_kept(address):
    with socket.create_connection(address, timeout=10) as connection:
        for _ in range(4):
            connection.sendall(head() + GOOD)
            answer = b""
            while not answer.endswith(b"}}"):
                answer += connection.recv(65536)
            assert statuses(answer) == [200]
            time.sleep(0.3)  # in sum longer than one request may take to arrive
        assert connection.recv(65536) == b""


def test_the_second_request_of_a_connection_has_a_deadline_too(address):
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(head() + GOOD)
        answer = connection.recv(65536)
        connection.sendall(head()[:20])
        assert statuses(answer + received(connection)) == [200, 408]


def test_pipelined_requests_are_answered_in_order(address):
    get = head(method="GET", path="/health", length=None)
    assert statuses(send(address, (head() + GOOD) * 3 + get + head(CLOSE) + GOOD)) == [200] * 5


def test_a_client_that_reads_no_answers_is_disconnected(address):
    get = head(method="GET", path="/openapi.json", length=None)
    with socket.create_connection(address, timeout=1) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        start = time.monotonic()
        flood(connection, get * 10)
    assert time.monotonic() - start < 15
    assert healthy(address)


def test_over_capacity_new_connections_get_503_until_others_close():
    limits = Limits(connections=8)
    with running(predict_app(Corners(), limits), limits) as address:
        check_capacity(address)


def check_capacity(address):
    first = [socket.create_connection(address, timeout=10) for _ in range(8)]
    time.sleep(0.1)
    data = send(address, head(CLOSE) + GOOD)
    assert statuses(data) == [503]
    assert b"retry-after: 1" in data.lower()
    more = [socket.create_connection(address, timeout=10) for _ in range(12)]
    time.sleep(0.1)
    assert sum(closed(connection) for connection in more) >= 3
    for connection in (*first, *more):
        connection.close()
    time.sleep(0.1)
    assert healthy(address)


def closed(connection):
    connection.settimeout(0.05)
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True
    except TimeoutError:
        return False


def test_a_client_that_disconnects_early_does_not_affect_others(address):
    for _ in range(20):
        with socket.create_connection(address, timeout=10) as connection:
            connection.sendall(head() + GOOD)
            linger = struct.pack("ii", 1, 0)  # closes with a reset
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    assert healthy(address)


def test_a_network_that_hangs_delays_no_other_answers():
    predictor = Slow()
    limits = Limits(batch=1, queue=2, seconds=0.3)
    with running(predict_app(predictor, limits), limits) as address:
        url = "http://{}:{}".format(*address)
        answers = []

        def post():
            response = httpx.post(f"{url}/predict", json={"text": "a"}, timeout=10)
            answers.append(response.status_code)

        threads = [threading.Thread(target=post) for _ in range(6)]
        for thread in threads:
            thread.start()
        assert httpx.get(f"{url}/openapi.json", timeout=10).status_code == 200
        for thread in threads:
            thread.join(10)
        assert answers == [503] * 6
        predictor.go.set()
        assert httpx.post(f"{url}/predict", json={"text": "a"}).status_code == 200


def chunk(name, data=b""):
    packed = struct.pack(">I", len(data)) + name + data
    return packed + struct.pack(">I", zlib.crc32(name + data))


def header(width, height, depth=8, colour=0):
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))


SIGNATURE = b"\x89PNG\r\n\x1a\n"
PIXELS = zlib.compress(b"\x00\xff\x00\x03\x00\x00\x00\x07")
END = chunk(b"IDAT", PIXELS) + chunk(b"IEND")
BOMB = zlib.compress(b"\x00" * 3_000_000, 9)

BAD_PICTURES = {
    "nothing": b"",
    "not a PNG": b"GIF89a" + b"\x00" * 100,
    "signature alone": SIGNATURE,
    "cut off": (SIGNATURE + header(3, 2) + END)[:-5],
    "endless chunk": SIGNATURE + header(3, 2) + struct.pack(">I", 2**31) + b"IDAT",
    "another size": SIGNATURE + header(28, 28) + END,
    "turned": SIGNATURE + header(2, 3) + END,
    "huge": SIGNATURE + header(2**31 - 1, 2**31 - 1) + END,
    "no size": SIGNATURE + header(0, 0) + END,
    "two headers": SIGNATURE + header(3, 2) + header(60000, 60000) + END,
    "late header": SIGNATURE + chunk(b"tEXt", b"a\x00b") + header(3, 2) + END,
    "short header": SIGNATURE + chunk(b"IHDR", b"\x00\x00\x00\x03") + END,
    "16 bits": SIGNATURE + header(3, 2, depth=16) + END,
    "with alpha": SIGNATURE + header(3, 2, colour=6) + END,
    "transparent": SIGNATURE + header(3, 2) + chunk(b"tRNS", b"\x00\x00") + END,
    "odd depth": SIGNATURE + header(3, 2, depth=7) + END,
    "no pixels": SIGNATURE + header(3, 2) + chunk(b"IEND"),
    "too few pixels": SIGNATURE + header(3, 2) + chunk(b"IDAT", PIXELS[:5]) + chunk(b"IEND"),
    "no zlib": SIGNATURE + header(3, 2) + chunk(b"IDAT", b"\x00" * 20) + chunk(b"IEND"),
}


def request(application, *requests):
    async def scenario():
        transport = httpx.ASGITransport(app=application)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as http:
            return [await http.request(method, path, **more) for method, path, more in requests]

    return asyncio.run(scenario())


@pytest.mark.parametrize("data", BAD_PICTURES.values(), ids=BAD_PICTURES)
def test_an_invalid_picture_is_refused_in_one_sentence(data):
    body = {"content": data, "headers": {"content-type": "image/png"}}
    upload = {"files": {"image": ("a.png", data)}}
    sent = [("POST", "/predict", body), ("POST", "/predict", upload)]
    for response in request(predict_app(Corners()), *sent):
        assert response.status_code == 422
        assert set(response.json()) == {"error", "field"}
        assert response.json()["field"] == "image"
        assert "0x" not in response.text  # no address in memory


@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"zTXt", b"a\x00\x00" + BOMB),
        chunk(b"iTXt", b"a\x00\x01\x00\x00\x00" + BOMB),
        chunk(b"iCCP", b"a\x00\x00" + BOMB),
        chunk(b"eXIf", b"\xff" * 500),
        chunk(b"acTL", b"\xff" * 8),
        chunk(b"fcTL", b"\xff" * 26),
    ],
    ids=["zTXt", "iTXt", "iCCP", "eXIf", "acTL", "fcTL"],
)
def test_chunks_without_pixels_are_never_unpacked(extra, monkeypatch):
    from PIL import PngImagePlugin

    def never(*_):
        raise AssertionError("unpacked")

    monkeypatch.setattr(PngImagePlugin, "_safe_zlib_decompress", never)
    data = SIGNATURE + header(3, 2) + extra + END
    limits = Limits(body_bytes=2**20)
    body = {"content": data, "headers": {"content-type": "image/png"}}
    (response,) = request(predict_app(Corners(), limits), ("POST", "/predict", body))
    assert same_bits(response.json(), shown(Corners(), np.array([IMAGE], np.uint8)))


def test_excess_pixel_data_is_not_unpacked():
    data = SIGNATURE + header(3, 2) + chunk(b"IDAT", BOMB) + chunk(b"IEND")
    body = {"content": data, "headers": {"content-type": "image/png"}}
    (response,) = request(predict_app(Corners()), ("POST", "/predict", body))
    assert response.status_code in (200, 422)


@pytest.mark.parametrize("name", ["two headers", "late header", "huge", "no size"])
def test_a_picture_of_another_size_is_refused_before_a_pixel_is_unpacked(name, monkeypatch):
    from workers.terminal import png

    monkeypatch.setattr(png, "_unpacked", lambda data: pytest.fail("unpacked"))
    with pytest.raises(ValueError, match=r"header|takes 3 x 2|cut off"):
        png.read(BAD_PICTURES[name], 2, 3)


def upload_body(*parts, boundary=b"x"):
    return b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts)


FILE = b'content-disposition: form-data; name="image"; filename="a"\r\n\r\n'


# Starlette does not close the (small) file of a part that never ends.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", b"--x--"),
        ("multipart/form-data; boundary=", b"--x--"),
        ("multipart/form-data; boundary=" + "x" * 500, b"--x--"),
        ("multipart/form-data; boundary=x", b""),
        ("multipart/form-data; boundary=x", b"nonsense" * 100),
        ("multipart/form-data; boundary=x", upload_body(FILE + b"abc")),
        ("multipart/form-data; boundary=x", upload_body(b"no header")),
        ("multipart/form-data; boundary=x", upload_body(b'content-disposition: name="a"\r\n\r\nb')),
        (
            "multipart/form-data; boundary=x; charset=idna",
            upload_body(FILE.replace(b"im", b"\xff")),
        ),
        ("multipart/form-data; boundary=x; charset=hex", upload_body(FILE + b"a") + b"--x--"),
        ("multipart/form-data; boundary=x", upload_body(*[FILE + b"a"] * 20) + b"--x--\r\n"),
        ("multipart/form-data; boundary=x", upload_body(FILE.replace(b"image", b"b")) + b"--x--"),
        ("multipart/form-data; boundary=x", b"--x\r\n" + b"a: b\r\n" * 500),
    ],
)
def test_an_invalid_upload_is_refused_in_one_sentence(kind, body):
    sent = {"content": body, "headers": {"content-type": kind}}
    (response,) = request(predict_app(Corners()), ("POST", "/predict", sent))
    assert response.status_code in (400, 422)
    assert set(response.json()) == {"error", "field"}


def mixed_requests(rng, count):
    """Yield valid and hostile requests: bytes, the image if valid, and the allowed statuses."""
    for _ in range(count):
        image = [[rng.randrange(256) for _ in range(3)] for _ in range(2)]
        good = json.dumps({"image": image}).encode()
        kind = rng.randrange(10)
        if kind < 5:
            yield head(CLOSE, length=len(good)) + good, image, {200}
        elif kind == 5:
            cut = rng.randrange(len(good))
            yield head(CLOSE, length=len(good)) + good[:cut], None, {400, 408}
        elif kind == 6:
            noise = rng.randbytes(rng.randrange(1, 300))
            yield noise, None, {400, 408, None}
        elif kind == 7:
            noise = rng.randbytes(rng.randrange(1, 300))
            yield head(CLOSE, length=len(noise)) + noise, None, {400, 422}
        elif kind == 8:
            broken = bytearray(head(CLOSE, length=len(good)) + good)
            for _ in range(3):
                broken[rng.randrange(len(broken))] = rng.randrange(256)
            yield bytes(broken), None, {200, 400, 404, 405, 408, 413, 415, 422, None}
        else:
            path = rng.choice(["/", "/health", "/metrics", "/openapi.json", "/../etc/passwd"])
            data = head(CLOSE, method="GET", path=path, length=None)
            yield data, None, {404} if path[-1] in "/d" else {200}


def test_a_thousand_mixed_requests_end_with_nothing_above_499_but_503(lines, caplog):
    limits = Limits(
        batch=4, queue=8, body_bytes=4096, seconds=5.0, receive_seconds=1.0, connections=30
    )
    predictor, requests = Corners(), list(mixed_requests(random.Random(0), 1000))
    failures, counts = [], {}

    def send_all(address, share):
        for data, image, allowed in share:
            answer = send(address, data)
            received = statuses(answer)
            status = received[0] if received else None
            counts[status] = counts.get(status, 0) + 1
            if status not in allowed | {503} or any(
                other >= 500 and other != 503 for other in received
            ):
                failures.append((data, answer))
            if status == 200 and image is not None:
                body = json.loads(answer.partition(b"\r\n\r\n")[2])
                expected = shown(predictor, np.array([image], np.uint8))
                if not same_bits(body, expected):
                    failures.append((data, answer))

    with running(predict_app(predictor, limits, lines.append), limits) as address:
        shares = [requests[place::32] for place in range(32)]
        threads = [threading.Thread(target=send_all, args=(address, share)) for share in shares]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
            assert not thread.is_alive()
        assert healthy(address)
    assert not failures, failures[:3]
    assert sum(counts.values()) == 1000
    assert counts[200] > 300
    assert not [line for line in lines if "error" in line][:3]
    assert not [record for record in caplog.records if record.levelname == "ERROR"][:3]
    assert max(predictor.batches) > 1


def move_app():
    from test_serve import move_app

    limits = Limits(queue=1000, simulations=4, max_simulations=8)
    return move_app("connect_four", limits)


ROOMY = Limits(batch=4, queue=1000, characters=100)
DESCRIBED = {
    "images": lambda: predict_app(Corners(), ROOMY),
    "texts": lambda: predict_app(Shouting(), ROOMY),
    "moves": move_app,
}


@pytest.mark.parametrize("mode", ["positive", "negative"])
@pytest.mark.parametrize("name", DESCRIBED)
def test_every_answer_to_generated_requests_is_as_described(name, mode):
    """Schemathesis checks the status, content type and schema of every answer, and that requests
    which violate the schema are refused. A request that satisfies it may still be refused where a
    schema cannot express a condition: the size of a picture, the legality of moves."""
    schemathesis = pytest.importorskip("schemathesis")
    from hypothesis import HealthCheck, given, settings
    from schemathesis.generation import GenerationMode
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    excluded = [positive_data_acceptance] if name != "texts" else []
    schema = schemathesis.openapi.from_asgi("/openapi.json", DESCRIBED[name]())
    for operation in (result.ok() for result in schema.get_all_operations()):
        if mode == "negative" and operation.method == "get":
            continue  # they have no parameters that could be invalid

        @settings(
            max_examples=50, deadline=None, database=None,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=operation.as_strategy(generation_mode=GenerationMode(mode)))
        def check(case):
            case.call_and_validate(excluded_checks=excluded)

        check()
