"""Answers of the Hugging Face hub, read within bounds: bytes, time, redirects.

``huggingface_hub`` has the connection, the address of the hub and the user's token. Its own
downloads are not used: they limit neither the bytes of an answer nor the time that it takes.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urljoin, urlsplit

from alphazero.errors import one_line, reason
from alphazero.nn import extras

QUIET_SECONDS = 30.0
"""The longest wait for a connection, and for the next bytes of an answer."""
SLOWEST = 20_000
"""Bytes per second; an answer that comes more slowly is given up."""
MOST_REDIRECTS = 5
REDIRECTS = (301, 302, 303, 307, 308)
SECRET = {"authorization", "cookie"}
"""Headers that are sent to the hub only, not to the server to which it refers."""
REFUSALS = {
    401: "there is no such agent, or it is not public: `hf auth login` stores your token",
    403: "your token does not give access to it",
    404: "the hub has no such agent, file or revision",
    429: "the hub answers no more requests of this machine for now: wait some minutes",
}
UPLOAD_REFUSALS = REFUSALS | {
    401: "the hub needs a valid token to publish an agent: `hf auth login` stores it"
}


class MissingLibrary(ValueError):
    """The package ``huggingface_hub`` is not installed; the message is one line."""


class HubError(ValueError):
    """An answer that cannot be used, or none at all; the message is one line."""


def library() -> Any:
    """The package ``huggingface_hub``, which takes a moment to import."""
    try:
        import huggingface_hub
        import huggingface_hub.constants
        import huggingface_hub.utils
    except ImportError:
        raise MissingLibrary(extras.missing("hf:// needs huggingface_hub", "hub")) from None
    return huggingface_hub


def endpoint() -> str:
    """The address of the hub, which ``HF_ENDPOINT`` in the environment replaces."""
    return library().constants.ENDPOINT


def words(error: Exception) -> str:
    """An error in one line; those of the library come from uploads only."""
    status = getattr(getattr(error, "response", None), "status_code", 0)
    cause = f" ({reason(error.__cause__)})" if isinstance(error.__cause__, Exception) else ""
    return UPLOAD_REFUSALS.get(status) or f"{reason(error)}{cause}"


def read(url: str, most: int) -> bytes:
    """The answer to a GET, at most ``most`` bytes; ``HubError`` for anything else."""
    return b"".join(pieces(url, most))


def pieces(url: str, most: int) -> Iterator[bytes]:
    """The answer to a GET piece by piece; ``HubError`` before it would exceed ``most`` bytes.

    It is read as it was sent: a compressed answer is not unpacked.
    """
    deadline = time.monotonic() + QUIET_SECONDS + most / SLOWEST
    with _transport_errors(), _answer(url) as response:
        if response.status_code != 200:
            status = f"the hub answers with status {response.status_code}"
            raise HubError(REFUSALS.get(response.status_code, status))
        length = 0
        for piece in response.iter_raw():
            length += len(piece)
            if length > most:
                raise HubError(f"the hub sends more than {most:,} bytes")
            if time.monotonic() > deadline:
                raise HubError("the hub sends too slowly")
            yield piece


@contextmanager
def _transport_errors() -> Iterator[None]:
    """Turn the errors of the connection into ``HubError``."""
    try:
        yield
    except (HubError, GeneratorExit):
        raise
    except Exception as error:  # the errors of a library that the package exchanges now and then
        raise HubError(f"{endpoint()} gives no usable answer: {reason(error)}") from None


@contextmanager
def _answer(url: str) -> Iterator[Any]:
    """The answer at the end of a few redirects, its body not yet read."""
    session, headers = library().utils.get_session(), _headers()
    with ExitStack() as stack:
        for _ in range(MOST_REDIRECTS + 1):
            response = stack.enter_context(
                session.stream(
                    "GET", url, headers=headers, timeout=QUIET_SECONDS, follow_redirects=False
                )
            )
            if response.status_code not in REDIRECTS:
                yield response
                return
            before, url = url, _target(url, response.headers.get("location", ""))
            if urlsplit(before)[:2] != urlsplit(url)[:2]:
                headers = {key: text for key, text in headers.items() if key.lower() not in SECRET}
    raise HubError(f"the hub redirects more than {MOST_REDIRECTS} times")


def _headers() -> dict[str, str]:
    """The user's token, and no more: the library's own headers describe the machine."""
    token = library().get_token()
    headers = {"user-agent": "distributed-alphazero", "accept-encoding": "identity"}
    return headers | ({"authorization": f"Bearer {token}"} if token else {})


def _target(url: str, location: str) -> str:
    """The address to which an answer of ``url`` refers; ``HubError`` where it is not followed."""
    target = urlsplit(urljoin(url, location))
    if not location or not target.hostname or target.scheme not in ("https", urlsplit(url).scheme):
        raise HubError(f"the hub redirects to {one_line(location, 100)!r}")
    return target.geturl()
