"""Hostile repositories of the hub, and a hub that refuses or is not there."""

import hashlib
import itertools
import re
import sys

import pytest

hub_library = pytest.importorskip("huggingface_hub")

import hub_stand_in  # noqa: E402
from hub_stand_in import (  # noqa: E402
    ADDRESS,
    AGENT,
    LISTING,
    SOURCE,
    WEIGHTS,
    answer_listing,
    commit_of,
    files_of,
    refused,
)

from alphazero import agents, checkpoint, hub, hub_requests, sealed  # noqa: E402
from workers import cli  # noqa: E402

server = hub_stand_in.server


@pytest.mark.parametrize("name", [WEIGHTS, "config.yaml", "MANIFEST.json", "README.md"])
def test_a_file_that_is_listed_as_too_large_is_not_requested(server, tmp_path, name):
    def swell(listing):
        entry = next(entry for entry in listing["siblings"] if entry["rfilename"] == name)
        entry["size"] = hub.LARGEST[name] + 1

    answer_listing(server, swell)
    assert f"{name} has {hub.LARGEST[name] + 1:,} bytes" in refused(server, tmp_path)
    assert [path for _, path, _ in server.log] == [LISTING]


def test_a_file_that_never_ends_is_cut_at_its_listed_size(server, tmp_path):
    sent = []

    def endless(request):
        request.send_response(200)
        request.end_headers()
        for number in itertools.count():
            try:
                request.wfile.write(b"x" * 65536)
            except OSError:
                break
            sent.append(number)
        request.close_connection = True

    server.answers[f"/storage/{hashlib.sha256((SOURCE / WEIGHTS).read_bytes()).hexdigest()}"] = (
        endless
    )
    assert "the hub sends more than 174,736 bytes" in refused(server, tmp_path)
    hub_library.close_session()
    assert len(sent) < 1000  # 64 MB, mostly in the buffers of the connection


def test_a_list_of_files_that_never_ends_is_cut(server, tmp_path):
    server.answers[LISTING] = lambda request: request.send(b"[" * (2**20 + 1))
    assert "the hub sends more than 1,048,576 bytes" in refused(server, tmp_path)


def test_an_answer_that_trickles_is_given_up(server, tmp_path, monkeypatch):
    clock = itertools.count(0, 50)
    monkeypatch.setattr(hub_requests.time, "monotonic", lambda: float(next(clock)))
    server.answers[LISTING] = lambda request: request.send(b"{" * 200_000)
    assert "the hub sends too slowly" in refused(server, tmp_path)


def test_a_packed_answer_is_not_unpacked(server, tmp_path):
    import gzip

    packed = gzip.compress(b" " * 10**8)  # 100 kB
    server.answers[LISTING] = lambda request: request.send(packed, content_encoding="gzip")
    assert "the hub's list of files cannot be used" in refused(server, tmp_path)


def test_names_with_paths_are_ignored(server, tmp_path):
    def trick(listing):
        entry = {"size": 4, "blobId": hub_stand_in.sha1("x")}
        names = ["../weights.safetensors", "/etc/passwd", "a/config.yaml", "..", "x\0y", ".bashrc"]
        listing["siblings"] += [{"rfilename": name, **entry} for name in names]

    answer_listing(server, trick)
    hub.download(ADDRESS, tmp_path / "here/agent")
    assert {path.name for path in (tmp_path / "here/agent").iterdir()} == {
        path.name for path in SOURCE.iterdir()
    }
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["agent"]


def without(name):
    def change(listing):
        listing["siblings"] = [e for e in listing["siblings"] if e["rfilename"] != name]

    return change


def entry_with(**fields):
    def change(listing):
        next(e for e in listing["siblings"] if e["rfilename"] == "config.yaml").update(fields)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without(WEIGHTS), "it is no agent of this program: it has no weights.safetensors"),
        (without("MANIFEST.json"), "it has no MANIFEST.json"),
        (entry_with(size="5"), "a size or a hash is missing"),
        (entry_with(size=None), "a size or a hash is missing"),
        (entry_with(size=True), "a size or a hash is missing"),
        (entry_with(size=-1), "config.yaml has -1 bytes"),
        (entry_with(size=10**30), "config.yaml has 1,000,000"),
        (entry_with(blobId=7), "a size or a hash is missing"),
        (entry_with(lfs=7), "cannot be used"),
        (entry_with(blobId="0" * 40), "config.yaml is not the file that the hub lists"),
        (lambda listing: listing.update(sha="../../x"), "it names no commit"),
        (lambda listing: listing.update(sha=["x"]), "cannot be used"),
        (lambda listing: listing.update(siblings="abc"), "cannot be used"),
        (lambda listing: listing.pop("siblings"), "cannot be used"),
    ],
)
def test_a_list_of_files_that_is_none_is_refused(server, tmp_path, change, message):
    answer_listing(server, change)
    assert message in refused(server, tmp_path)


@pytest.mark.parametrize(
    "data",
    [b"<html><body>Welcome to the hotel's network</body></html>", b"", b"null", b"[[[[" * 9999],
)
def test_an_answer_that_is_no_list_is_refused(server, tmp_path, data):
    server.answers[LISTING] = lambda request: request.send(data, content_type="text/html")
    assert "the hub's list of files cannot be used" in refused(server, tmp_path)


def test_a_page_in_place_of_a_file_is_refused(server, tmp_path):
    path = f"/{AGENT}/resolve/{commit_of(server)}/MANIFEST.json"
    server.answers[path] = lambda request: request.send(b"<html>sign in</html>")
    assert "MANIFEST.json is not the file that the hub lists" in refused(server, tmp_path)


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("file:///etc/passwd", "the hub redirects to 'file:///etc/passwd'"),
        ("ftp://127.0.0.1/x", "the hub redirects to 'ftp://127.0.0.1/x'"),
        ("http://[::1", "gives no usable answer"),
        ("", "the hub redirects to ''"),
        (LISTING, "redirects more than 5 times"),
    ],
)
def test_a_redirect_that_leads_astray_is_not_followed(server, tmp_path, location, message):
    server.answers[LISTING] = lambda request: request.redirect(location)
    assert message in refused(server, tmp_path)
    assert len(server.log) <= 6


def test_a_connection_that_is_secret_is_not_continued_in_the_open():
    assert hub_requests._target("http://a/x", "https://b/y") == "https://b/y"
    assert hub_requests._target("https://a/x", "/y") == "https://a/y"
    with pytest.raises(hub_requests.HubError, match="redirects to 'http://b/y'"):
        hub_requests._target("https://a/x", "http://b/y")


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, "it is not public: `hf auth login`"), (403, "your token does not give access"),
        (404, "the hub has no such agent"), (429, "wait some minutes"),
        (500, "the hub answers with status 500"), (204, "the hub answers with status 204"),
    ],
)  # fmt: skip
def test_a_refusal_of_the_hub_is_one_line(server, tmp_path, status, message):
    server.answers[LISTING] = lambda request: request.send(b"", status)
    assert message in refused(server, tmp_path)


def test_a_hub_that_is_not_there_is_one_line(server, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    assert "http://127.0.0.1:9 gives no usable answer: " in refused(server, tmp_path)


def test_an_answer_that_is_cut_off_is_refused(server, tmp_path):
    def cut(request):
        request.send_response(200)
        request.send_header("content-length", "1000")
        request.end_headers()
        request.wfile.write(b"{")
        request.close_connection = True

    server.answers[LISTING] = cut
    assert "gives no usable answer" in refused(server, tmp_path)


def test_without_requests_a_downloaded_commit_is_used_and_another_refused(
    server, tmp_path, monkeypatch
):
    folder = hub.local_folder(ADDRESS)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert hub.local_folder(f"{ADDRESS}@{commit_of(server)}") == folder
    assert "offline mode is enabled" in refused(server, tmp_path)


def test_a_cache_that_cannot_be_written_is_named(server, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(ValueError, match=r"file/alphazero/.* cannot be written: Not a directory"):
        hub.local_folder(ADDRESS)
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    with pytest.raises(ValueError, match="no home folder to keep it in: set XDG_CACHE_HOME"):
        hub.local_folder(ADDRESS)


def test_files_that_do_not_belong_together_are_refused(server, tmp_path):
    other = files_of(agents.find("connect_four"))
    server.add(AGENT, files_of(SOURCE) | {"config.yaml": other["config.yaml"]})
    assert "config.yaml was altered" in refused(server, tmp_path)


def test_an_agent_of_the_hub_imports_nothing_that_was_not_allowed(server, tmp_path, capsys):
    folder = tmp_path / "made"
    trained = checkpoint.load(SOURCE)
    text = (SOURCE / "config.yaml").read_text()
    evil = re.sub(r"kind: gumbel\n(  .*\n)+", "kind: stranger.search:Evil\n", text).encode()
    weights = (SOURCE / WEIGHTS).read_bytes()
    fields = {"step": trained.step, "game": "tic_tac_toe"}
    sealed.write(folder, {WEIGHTS: weights, "config.yaml": evil}, fields)
    server.add(AGENT, files_of(folder))
    words = ["evaluate", "tic_tac_toe", "--positions", "all", "--player", ADDRESS]
    assert cli.main(words) == 2
    assert "add --allow stranger.search:Evil" in " ".join(capsys.readouterr().err.split())
    assert "stranger" not in sys.modules
