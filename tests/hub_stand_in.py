"""A small server that answers the requests which ``huggingface_hub`` and we send to the hub.

Repositories are dictionaries of files; a commit replaces the last one. ``answers`` replaces the
answer of a path: a function that is called with the handler, for hostile ones. Large files lie on
a second address, to which ``/resolve/`` refers, as on the hub. ``server`` is its fixture.
"""

import base64
import hashlib
import json
import sys
import threading
from collections.abc import Callable
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from alphazero import agents, hub

AGENT = "ann/ttt"
ADDRESS = f"hf://{AGENT}"
LISTING = f"/api/models/{AGENT}/revision/main"
WEIGHTS = "weights.safetensors"
SOURCE = agents.find("tic_tac_toe")
LARGE = ".safetensors"
TOKEN = "hf_secret_of_the_test"


def sha1(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


class StandIn:
    """The state of the server, and what it was sent."""

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.commits: dict[str, str] = {}
        self.storage: dict[str, bytes] = {}
        self.answers: dict[str, Callable[[Handler], None]] = {}
        self.log: list[tuple[str, str, bool]] = []
        """Method, path and whether the token was sent, of each request to the hub itself."""
        self.upload_mode = "regular"
        self.url = self.other_url = ""

    def add(self, repository: str, files: dict[str, bytes]) -> None:
        """Commit ``files`` to a repository, in place of those it had."""
        self.repositories[repository] = dict(files)
        number = len(self.commits)
        self.commits[repository] = sha1(f"{repository} {number} {sorted(files)}")
        self.storage |= {hashlib.sha256(data).hexdigest(): data for data in files.values()}

    def listing(self, repository: str) -> dict:
        """The answer of ``/api/models/USER/NAME/revision/main?blobs=true``."""
        siblings = []
        for name, data in self.repositories[repository].items():
            digest = hashlib.sha1(f"blob {len(data)}\0".encode() + data, usedforsecurity=False)
            entry = {"rfilename": name, "size": len(data), "blobId": digest.hexdigest()}
            if name.endswith(LARGE):
                sha = hashlib.sha256(data).hexdigest()
                entry |= {"blobId": sha1(name), "lfs": {"sha256": sha, "size": len(data)}}
            siblings.append(entry)
        return {"id": repository, "sha": self.commits[repository], "siblings": siblings}

    def commit(self, repository: str, lines: list[dict]) -> None:
        files = dict(self.repositories[repository])
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.storage[value["oid"]]
        self.add(repository, files)


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server_version = "stand-in"
    protocol_version = "HTTP/1.1"
    hub: StandIn
    is_other = False

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is printed."""

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def send(self, data: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, text in {"content-length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()
        self.wfile.write(data)

    def send_json(self, value: object, status: int = 200) -> None:
        self.send(json.dumps(value).encode(), status, content_type="application/json")

    def redirect(self, location: str) -> None:
        self.send(b"", 302, location=location)

    def handled(self) -> bool:
        """Note the request, and send the answer of a test, if it has one for the path."""
        path = urlsplit(self.path).path
        if self.is_other:
            assert "authorization" not in self.headers, "the token has left the hub"
        else:
            self.hub.log.append((self.command, path, "authorization" in self.headers))
        if path in self.hub.answers:
            self.hub.answers[path](self)
        return path in self.hub.answers

    def do_GET(self) -> None:
        if self.handled():
            return
        parts = urlsplit(self.path).path.strip("/").split("/")
        match parts:
            case ["api", "models", user, name, "revision", _] if self.known(user, name):
                self.send_json(self.hub.listing(f"{user}/{name}"))
            case [user, name, "resolve", _, file] if self.known(user, name):
                data = self.hub.repositories[f"{user}/{name}"].get(file)
                if data is None:
                    self.send_json({"error": "Entry not found"}, 404)
                elif file.endswith(LARGE):
                    sha = hashlib.sha256(data).hexdigest()
                    self.redirect(f"{self.hub.other_url}/storage/{sha}")
                else:
                    self.send(data)
            case ["storage", sha]:
                self.send(self.hub.storage[sha])
            case _:
                self.send_json({"error": "Repository not found"}, 404)

    def known(self, user: str, name: str) -> bool:
        return f"{user}/{name}" in self.hub.repositories

    def do_PUT(self) -> None:
        data = self.body()
        sha = urlsplit(self.path).path.rpartition("/")[2]
        assert hashlib.sha256(data).hexdigest() == sha
        self.hub.storage[sha] = data
        self.send(b"")

    def do_POST(self) -> None:
        data = self.body()
        if self.handled():
            return
        parts = urlsplit(self.path).path.strip("/").split("/")
        if self.headers.get("authorization") != f"Bearer {TOKEN}":
            self.send_json({"error": "Invalid username or password."}, 401)
            return
        match parts:
            case ["api", "validate-yaml"]:
                self.send_json({"errors": [], "warnings": []})
            case ["api", "repos", "create"]:
                fields = json.loads(data)
                name = f"{fields['organization']}/{fields['name']}"
                if name in self.hub.repositories:
                    self.send_json({"error": "You already created this model repo"}, 409)
                    return
                self.hub.add(name, {".gitattributes": b"*.safetensors filter=lfs\n"})
                self.send_json({"url": f"{self.hub.url}/{name}", "name": name})
            case ["api", "models", _, _, "preupload", _]:
                files = [
                    {
                        "path": file["path"],
                        "uploadMode": self.hub.upload_mode
                        if file["path"].endswith(LARGE)
                        else "regular",
                        "shouldIgnore": False,
                    }
                    for file in json.loads(data)["files"]
                ]
                self.send_json({"files": files})
            case [_, _, "info", "lfs", "objects", "batch"]:
                objects = [
                    {
                        "oid": entry["oid"],
                        "size": entry["size"],
                        "actions": {"upload": {"href": f"{self.hub.other_url}/put/{entry['oid']}"}},
                    }
                    for entry in json.loads(data)["objects"]
                ]
                self.send_json({"transfer": "basic", "objects": objects})
            case ["api", "models", user, name, "commit", "main"]:
                lines = [json.loads(line) for line in data.splitlines()]
                self.hub.commit(f"{user}/{name}", lines)
                commit = self.hub.commits[f"{user}/{name}"]
                url = f"{self.hub.url}/{user}/{name}/commit/{commit}"
                self.send_json({"commitUrl": url, "commitOid": commit})
            case _:
                self.send_json({"error": "not found"}, 404)


class Server(ThreadingHTTPServer):
    """A server that is silent about clients which have left."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


@contextmanager
def running():
    """A stand-in on two ports of this machine: the hub, and the storage to which it refers."""
    hub = StandIn()
    own = type("Hub", (Handler,), {"hub": hub})
    other = type("Storage", (Handler,), {"hub": hub, "is_other": True})
    servers = [Server(("127.0.0.1", 0), kind) for kind in (own, other)]
    hub.url, hub.other_url = (f"http://127.0.0.1:{server.server_port}" for server in servers)
    threads = [threading.Thread(target=server.serve_forever, args=(0.05,)) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield hub
    finally:
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()


def files_of(folder: Path) -> dict[str, bytes]:
    """The files of an agent under their names on the hub."""
    names = {agents.CARD: "README.md"}
    return {names.get(path.name, path.name): path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def server(monkeypatch, tmp_path):
    """The stand-in with one agent; the user's cache is a folder of the test."""
    import huggingface_hub

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in (
        "http_proxy",
        "https_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "all_proxy",
        "ALL_PROXY",
    ):
        monkeypatch.delenv(name, raising=False)
    with running() as stand_in:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", stand_in.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        stand_in.add(AGENT, files_of(SOURCE) | {".gitattributes": b"", "training.pt": b"evil"})
        yield stand_in
    huggingface_hub.close_session()


def commit_of(server) -> str:
    return server.commits[AGENT]


def answer_listing(server, change) -> None:
    """Let the stand-in send its list of files after ``change(list)``."""
    listing = server.listing(AGENT)
    change(listing)
    server.answers[LISTING] = lambda request: request.send_json(listing)


def refused(server, tmp_path) -> str:
    """The message with which the download is refused, and which nothing is left of."""
    with pytest.raises(ValueError, match=f"^{ADDRESS}: ") as error:
        hub.download(ADDRESS, tmp_path / "here/agent")
    assert [path.name for path in (tmp_path / "here").glob("*")] == []
    assert "\n" not in str(error.value)
    return str(error.value)
