"""Debian's Firefox through WebDriver BiDi, its own protocol: no driver program between them.

Playwright 1.65 drives a Firefox that is not its own through BiDi, too, but sends a command for each
page that Firefox 153 does not know (``emulation.setMediaFeaturesOverride``), and selenium needs
geckodriver.
"""

import json
import re
import shutil
import subprocess
import threading
import time
from collections import deque
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
WAIT = 120.0
"""Seconds: a bound against hanging, nothing is measured."""
PREFERENCES = {
    "layout.css.prefers-color-scheme.content-override": 0,  # dark
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "extensions.update.enabled": False,
    "app.normandy.enabled": False,
}


class Page:
    """One page of Firefox. ``said`` has what it wrote into its console, errors included."""

    def __init__(self, socket: ClientConnection, width: int, height: int) -> None:
        self.said: list[str] = []
        self._socket, self._sent = socket, 0
        self._send("session.new", capabilities={})
        self._send("session.subscribe", events=["log.entryAdded"])
        self._context = self._send("browsingContext.getTree")["contexts"][0]["context"]
        viewport = {"width": width, "height": height}
        self._send("browsingContext.setViewport", context=self._context, viewport=viewport)

    def goto(self, address: str) -> None:
        """Load the address, also where it differs from the one before only behind its ``#``."""
        for url in ("about:blank", address):
            self._send("browsingContext.navigate", context=self._context, url=url, wait="complete")

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, as JSON has it."""
        target = {"context": self._context}
        answer = self._send(
            "script.evaluate",
            expression=f"JSON.stringify(({expression}) ?? null)", target=target, awaitPromise=True,
        )  # fmt: skip
        if answer["type"] == "exception":
            raise AssertionError(answer["exceptionDetails"]["text"])
        return json.loads(answer["result"]["value"])

    def wait_for(self, expression: str) -> Any:
        """The value of the expression as soon as it is true."""
        end = time.monotonic() + WAIT
        while not (value := self.evaluate(expression)):
            assert time.monotonic() < end, f"not true in time: {expression}; {self.said}"
            time.sleep(0.05)
        return value

    def wait_for_text(self, selector: str, text: str) -> None:
        """Wait for an element with ``text`` in it."""
        wanted, places = json.dumps(text), json.dumps(selector)
        self.wait_for(
            f"[...document.querySelectorAll({places})].some(e => e.textContent.includes({wanted}))"
        )

    def click(self, selector: str) -> None:
        """Click into the middle of the first element, as a mouse does."""
        self.wait_for(f"document.querySelector({json.dumps(selector)}) !== null")
        self.evaluate(f"document.querySelector({json.dumps(selector)}).scrollIntoView()")
        element = {"type": "element", "element": {"sharedId": self._node(selector)}}
        steps = [
            {"type": "pointerMove", "x": 0, "y": 0, "origin": element},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        mouse = {"type": "pointer", "id": "mouse", "actions": steps}
        self._send("input.performActions", context=self._context, actions=[mouse])

    def choose_file(self, selector: str, path: Path) -> None:
        node = {"sharedId": self._node(selector)}
        self._send("input.setFiles", context=self._context, element=node, files=[str(path)])

    def _node(self, selector: str) -> str:
        locator = {"type": "css", "value": selector}
        nodes = self._send("browsingContext.locateNodes", context=self._context, locator=locator)
        return nodes["nodes"][0]["sharedId"]

    def _send(self, method: str, **parameters: Any) -> Any:
        """The result of a command; what arrives before it are events."""
        self._sent += 1
        self._socket.send(json.dumps({"id": self._sent, "method": method, "params": parameters}))
        while (got := json.loads(self._socket.recv(WAIT))).get("id") != self._sent:
            if got.get("method") == "log.entryAdded":
                self.said.append(got["params"]["text"])
        assert got["type"] == "success", f"{method}: {got.get('message')}"
        return got["result"]


@contextmanager
def opened(folder: Path, width: int = 420, height: int = 900):
    """A ``Page`` of a Firefox with an empty profile in ``folder``, without a window."""
    assert FIREFOX
    lines = [f"user_pref({json.dumps(k)}, {json.dumps(v)});\n" for k, v in PREFERENCES.items()]
    (folder / "user.js").write_text("".join(lines))
    words = [FIREFOX, "--headless", "--no-remote", "--profile", folder, "--remote-debugging-port=0"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            with connect(f"{_address(process)}/session", max_size=None) as socket:
                yield Page(socket, width, height)
        finally:
            process.terminate()


def _address(process: subprocess.Popen) -> str:
    """Where Firefox says that it listens; what it says later is read and left."""
    assert process.stderr
    for line in process.stderr:
        if match := re.search(rb"listening on (ws://\S+)", line):
            # A full pipe would stop it.
            threading.Thread(target=deque, args=(process.stderr, 0), daemon=True).start()
            return match[1].decode()
    raise AssertionError("Firefox has ended")
