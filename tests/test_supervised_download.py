"""Downloads from a server in this process: right, wrong, cut short, missing, endless."""

import gzip
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from alphazero import unpacking
from alphazero.supervised import download, images
from alphazero.supervised.download import Source

CONTENT = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Sends ``answers[path]``: status, body, and the length that it claims."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, tuple[int, bytes, int | None]] = {}
        self.requests: list[str] = []

    def put(self, path: str, body: bytes, status: int = 200, length: int | None = -1) -> str:
        """The address; ``length`` None: the end of the connection is the end of the body."""
        self.answers[path] = (status, body, len(body) if length == -1 else length)
        return f"http://127.0.0.1:{self.server_port}{path}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        self.server.requests.append(self.path)
        status, body, length = self.server.answers[self.path]
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        pass


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    with Server() as started:
        thread = threading.Thread(target=started.serve_forever)
        thread.start()
        yield started
        started.shutdown()
        thread.join()


def source(*urls: str, **changes) -> Source:
    settings = {"sha256": SHA256, "max_bytes": 1_000_000, **changes}
    return Source("file.bin", urls, **settings)


def fetch(folder: Path, *sources: Source, progress=lambda file, done, total: None) -> Path:
    return download.fetch("some", folder, progress, {"some": sources})


def problem(folder: Path, wanted: Source) -> str:
    """The error for ``wanted``, in one line; the folder must be as before."""
    before = sorted(folder.iterdir())
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the callers look at the message)
        fetch(folder, wanted)
    assert sorted(folder.iterdir()) == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_is_downloaded_once(tmp_path, server):
    wanted = source(server.put("/file", CONTENT))
    folder = tmp_path / "new" / "folder"
    calls = []
    assert fetch(folder, wanted, progress=lambda *call: calls.append(call)) == folder
    assert (folder / "file.bin").read_bytes() == CONTENT
    assert [path.name for path in folder.iterdir()] == ["file.bin"]
    done = [call[1] for call in calls]
    assert done == sorted(done)
    assert calls[-1] == ("file.bin", len(CONTENT), len(CONTENT))
    assert all(call[2] == len(CONTENT) for call in calls)
    fetch(folder, wanted)
    assert server.requests == ["/file"]


def test_a_site_need_not_send_the_length(tmp_path, server):
    totals = set()
    wanted = source(server.put("/file", CONTENT, length=None))
    fetch(tmp_path, wanted, progress=lambda file, done, total: totals.add(total))
    assert totals == {None}
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_wrong_content_is_refused(tmp_path, server):
    wanted = source(server.put("/file", CONTENT[:-1] + b"?"))
    message = problem(tmp_path, wanted)
    assert "/file: SHA-256 " in message
    assert f"should be {SHA256}" in message


@pytest.mark.parametrize("sent", [0, 1000, len(CONTENT) - 1])
def test_content_cut_short_is_refused(tmp_path, server, sent):
    url = server.put("/file", CONTENT[:sent], length=len(CONTENT))
    assert f"{url}: ended after {sent:,} of 256,000 bytes" in problem(tmp_path, source(url))
    url = server.put("/file", CONTENT[:sent], length=None)
    assert "SHA-256" in problem(tmp_path, source(url))


@pytest.mark.parametrize("length", [-1, None])
def test_a_download_ends_at_the_largest_size(tmp_path, server, length):
    url = server.put("/file", CONTENT, length=length)
    message = problem(tmp_path, source(url, max_bytes=len(CONTENT) - 1))
    assert f"{url}: more than 255,999 bytes" in message
    fetch(tmp_path, source(url, max_bytes=len(CONTENT)))


def test_a_missing_file_and_an_unreachable_site_are_named(tmp_path, server):
    url = server.put("/file", b"gone", status=404)
    assert f"{url}: HTTP Error 404: Not Found" in problem(tmp_path, source(url))
    closed = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    port = closed.server_port
    closed.server_close()
    assert "refused" in problem(tmp_path, source(f"http://127.0.0.1:{port}/"))


def test_the_next_site_is_tried_when_one_fails(tmp_path, server):
    urls = (
        server.put("/gone", b"", status=503),
        server.put("/longer", CONTENT + b"junk"),
        server.put("/right", CONTENT),
        server.put("/never", CONTENT),
    )
    fetch(tmp_path, source(*urls))
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.requests == ["/gone", "/longer", "/right"]


def test_all_sites_are_named_when_all_fail(tmp_path, server):
    urls = server.put("/gone", b"", status=500), server.put("/short", CONTENT[:5])
    message = problem(tmp_path, source(*urls))
    assert message.startswith("file.bin could not be downloaded: ")
    assert all(url in message for url in urls)


def test_the_content_of_a_packed_file_counts_not_how_it_was_packed(tmp_path, server):
    for level in (1, 9):
        url = server.put(f"/{level}", gzip.compress(CONTENT, level))
        folder = tmp_path / str(level)
        fetch(folder, source(url, unpacked=True))
        assert gzip.decompress((folder / "file.bin").read_bytes()) == CONTENT


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (gzip.compress(CONTENT)[:-9], "not a whole gzip file"),
        (CONTENT, "not a whole gzip file"),
        (gzip.compress(CONTENT + b"!"), "SHA-256"),
    ],
)
def test_a_packed_file_with_wrong_content_is_refused(tmp_path, server, body, said):
    assert said in problem(tmp_path, source(server.put("/file", body), unpacked=True))


def test_a_packed_file_is_unpacked_up_to_a_limit(tmp_path, server, monkeypatch):
    monkeypatch.setattr(unpacking, "RATIO", 3)
    url = server.put("/file", gzip.compress(bytes(100_000)))
    message = problem(tmp_path, source(url, unpacked=True, max_bytes=1000))
    assert message.endswith("more than 3,000 bytes")


def test_another_file_of_that_name_is_not_replaced(tmp_path, server):
    (tmp_path / "file.bin").write_bytes(b"mine")
    message = problem(tmp_path, source(server.put("/file", CONTENT)))
    assert message.startswith(f"{tmp_path / 'file.bin'}: SHA-256 ")
    assert message.endswith("remove it, or give another folder")
    assert (tmp_path / "file.bin").read_bytes() == b"mine"
    assert server.requests == []


def test_files_downloaded_before_a_failure_are_kept_and_not_downloaded_again(tmp_path, server):
    one = source(server.put("/one", CONTENT))
    two = Source("two.bin", (server.put("/two", CONTENT[:9]),), SHA256, max_bytes=1_000_000)
    with pytest.raises(ValueError, match=r"two\.bin could not be downloaded"):
        fetch(tmp_path, one, two)
    server.put("/two", CONTENT)
    fetch(tmp_path, one, two)
    assert server.requests == ["/one", "/two", "/two"]


def test_an_interrupted_download_leaves_no_file(tmp_path, server):
    def interrupt(file, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(tmp_path, source(server.put("/file", CONTENT)), progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_name_is_refused(tmp_path):
    with pytest.raises(ValueError, match="unknown 'cifar', should be one of mnist, imdb"):
        download.fetch("cifar", tmp_path)


def test_data_are_kept_in_the_users_cache(tmp_path, server, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    wanted = source(server.put("/file", CONTENT))
    assert download.fetch("some", sources={"some": [wanted]}) == tmp_path / "alphazero" / "some"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert download.cache() == tmp_path / ".cache" / "alphazero"


def test_every_source_has_a_public_address_and_a_checksum():
    for name, sources in download.SOURCES.items():
        assert sources, name
        for source in sources:
            assert len(bytes.fromhex(source.sha256)) == 32
            assert all(url.startswith("https://") for url in source.urls)
            assert all(url.endswith("/" + source.file) for url in source.urls)


def test_downloaded_mnist_is_recognised_as_mnist(tmp_path, server):
    """The local server sends MNIST's own files, where they are on this machine."""
    folder = Path(__file__).parents[2] / "shared" / "data" / "mnist"
    if not folder.is_dir():
        pytest.skip(f"needs MNIST's files in {folder}")
    sources = [
        Source(file.file, (server.put("/" + file.file, (folder / file.file).read_bytes()),),
               file.sha256, file.max_bytes, file.unpacked)
        for file in download.SOURCES["mnist"]
    ]  # fmt: skip
    dataset = images.load(download.fetch("mnist", tmp_path, sources={"mnist": sources}))
    assert dataset.name == "mnist"
