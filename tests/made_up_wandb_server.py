"""A server on this machine that answers wandb's client and records what it sends.

It knows the few GraphQL operations that a run needs; everything else is answered with an empty
object. ``history`` are the rows of all runs' histories in the order of their arrival.
"""

import gzip
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PROJECT = {"id": "P", "name": "project", "entity": {"id": "E", "name": "me"}}


class RecordingServer:
    """The recorded history, summary, files and artifacts, and a switch that refuses requests."""

    def __init__(self) -> None:
        self.history: list[dict[str, Any]] = []
        self.summary: dict[str, Any] = {}
        self.config: dict[str, Any] = {}
        self.files: dict[str, bytes] = {}
        self.artifacts: list[dict[str, Any]] = []
        self.operations: list[str] = []
        self.unreachable = False
        """True: every request is answered by 503, as a proxy does without its network."""
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self._http.handle_error = lambda *_: None  # the client resets connections at its end
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def steps(self) -> list[int]:
        """The steps of all history rows that have one, as they arrived."""
        return [row["training_step"] for row in self.history if "training_step" in row]

    def graphql(self, request: dict[str, Any]) -> dict[str, Any]:
        match = re.search(r"(?:query|mutation)\s+(\w+)", request["query"])
        operation = request.get("operationName") or (match[1] if match else "")
        variables = request.get("variables") or {}
        self.operations.append(operation)
        answer = getattr(self, f"_{operation}", None)
        return answer(variables) if answer else {}

    def stream(self, body: dict[str, Any]) -> None:
        for name, part in (body.get("files") or {}).items():
            if name == "wandb-history.jsonl":
                self.history += map(json.loads, part["content"])
            elif name == "wandb-summary.json":
                self.summary = json.loads(part["content"][-1])

    def _Viewer(self, _: dict) -> dict:
        viewer = {"id": "V", "entity": "me", "username": "me", "email": "", "flags": "{}"}
        return {"viewer": viewer | {"teams": {"edges": []}}}

    def _RunResumeStatus(self, variables: dict) -> dict:
        bucket = self._bucket(variables) if self.history else None
        return {"model": PROJECT | {"bucket": bucket}}

    def _UpsertBucket(self, variables: dict) -> dict:
        self.config |= json.loads(variables.get("config") or "{}")
        return {"upsertBucket": {"bucket": self._bucket(variables), "inserted": not self.history}}

    def _CreateRunFiles(self, variables: dict) -> dict:
        return {
            "createRunFiles": {
                "runID": "B",
                "uploadHeaders": [],
                "files": [self._upload(name) for name in variables["files"]],
            }
        }

    def _ArtifactType(self, _: dict) -> dict:
        return {"project": {"artifact": None}}

    def _CreateArtifact(self, variables: dict) -> dict:
        self.artifacts.append(variables)
        artifact = {"id": f"A{len(self.artifacts)}", "state": "PENDING", "artifactSequence": {}}
        artifact["artifactSequence"] = {"id": "S", "latestArtifact": None}
        return {"createArtifact": {"artifact": artifact}}

    def _CreateArtifactManifest(self, variables: dict) -> dict:
        file = self._upload("manifest.json") | {"id": "F", "uploadHeaders": []}
        return {"createArtifactManifest": {"artifactManifest": {"id": "M", "file": file}}}

    def _UpdateArtifactManifest(self, variables: dict) -> dict:
        file = self._upload("manifest.json") | {"id": "F", "uploadHeaders": []}
        return {"updateArtifactManifest": {"artifactManifest": {"id": "M", "file": file}}}

    def _CreateArtifactFiles(self, variables: dict) -> dict:
        edges = []
        for spec in variables["input"]["artifactFiles"]:
            file = self._upload(spec["name"]) | {"uploadHeaders": [], "storagePath": spec["name"]}
            file |= {"uploadMultipartUrls": None, "artifact": {"id": spec["artifactID"]}}
            edges.append({"node": file})
        return {"createArtifactFiles": {"files": {"edges": edges}}}

    def _CommitArtifact(self, variables: dict) -> dict:
        return {"commitArtifact": {"artifact": {"id": "A", "digest": "0"}}}

    def _upload(self, name: str) -> dict[str, str]:
        return {"name": name, "uploadUrl": f"{self.url}/upload/{name}"}

    def _bucket(self, variables: dict) -> dict[str, Any]:
        tail = [json.dumps(row) for row in self.history[-1:]]
        return {
            "id": "B",
            "name": variables.get("name"),
            "displayName": "a run",
            "description": None,
            "config": json.dumps(self.config),
            "sweepName": None,
            "project": PROJECT,
            "historyLineCount": len(self.history),
            "logLineCount": 0,
            "eventsLineCount": 0,
            "historyTail": json.dumps(tail),
            "eventsTail": "[]",
            "summaryMetrics": json.dumps(self.summary),
            "tags": [],
            "notes": None,
            "wandbConfig": json.dumps({"t": {"1": [1]}}),
        }

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self._body()
                if server.unreachable:
                    return self._answer({}, 503)
                if self.path.endswith("/graphql"):
                    return self._answer({"data": server.graphql(json.loads(body))})
                if self.path.endswith("/file_stream"):
                    server.stream(json.loads(body))
                return self._answer({})

            def do_PUT(self) -> None:
                server.files[self.path.removeprefix("/upload/")] = self._body()
                self._answer({}, 503 if server.unreachable else 200)

            def do_GET(self) -> None:
                self._answer({}, 503 if server.unreachable else 200)

            def _body(self) -> bytes:
                data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                packed = self.headers.get("Content-Encoding") == "gzip"
                return gzip.decompress(data) if packed else data

            def _answer(self, value: dict, status: int = 200) -> None:
                data = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


@contextmanager
def recording_server():
    """A ``RecordingServer`` on a free port, stopped at the end."""
    server = RecordingServer()
    thread = threading.Thread(target=server._http.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server._http.shutdown()
        server._http.server_close()
