"""Requests that are refused by their head, before a byte of the body is read.

A page in a browser can reach a server on the same machine: a name of its own that leads to
127.0.0.1 makes it look like the page's own site ("DNS rebinding"). The browser sends that name as
Host, so a server that only this machine can reach answers its own names and no others.

A head with both Content-Length and Transfer-Encoding announces two bodies of different length. A
proxy may believe the one and this server the other, and the rest would be read as a request
of another client ("request smuggling"). RFC 9112, section 6.3, lets a server refuse it.
"""

import ipaddress
from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from workers.serve.bodies import RequestError, error_response

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


def allowed_hosts(*hosts: str) -> Collection[str] | None:
    """The names under which a server on ``hosts`` is addressed, without a port; None: any name.

    Where one of ``hosts`` stands for all addresses of the machine, its names are not known.
    """
    if any(map(is_any, hosts)):
        return None
    return {*LOOPBACK, *(in_url(host).lower() for host in hosts)}


def in_url(host: str) -> str:
    """``host`` as a URL has it: an IPv6 address in brackets, without its network interface."""
    return f"[{host.partition('%')[0]}]" if ":" in host else host


def is_any(host: str) -> bool:
    """Whether ``host`` is 0.0.0.0, :: or empty."""
    try:
        return not host or ipaddress.ip_address(host).is_unspecified
    except ValueError:  # a name
        return False


class HeadMiddleware:
    """Refuses requests by their head; ``hosts`` as ``allowed_hosts`` returns them."""

    def __init__(self, app: ASGIApp, hosts: Collection[str] | None):
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self.app
        if scope["type"] == "http":
            try:
                check(Headers(scope=scope), self.hosts)
            except RequestError as error:
                # What follows the head is not read as another request.
                close = {"Connection": "close"}
                answer = error_response(error.status, error.error, error.field, close)
        await answer(scope, receive, send)


def check(headers: Headers, hosts: Collection[str] | None) -> None:
    """``RequestError`` for a head that is refused.

    A request without Host, which only HTTP/1.0 allows, does not come from a browser.
    """
    if hosts is not None and any(_name(host) not in hosts for host in headers.getlist("host")):
        raise RequestError(421, f"this server answers {', '.join(sorted(hosts))} only", "host")
    if "content-length" in headers and "transfer-encoding" in headers:
        text = "send either Content-Length or Transfer-Encoding, not both"
        raise RequestError(400, text, "transfer-encoding")
    codings = ",".join(headers.getlist("content-encoding")).lower().split(",")
    if any(coding.strip() not in ("", "identity") for coding in codings):
        raise RequestError(415, "send the body as it is, without compression", "content-encoding")


def _name(host: str) -> str:
    """The name in a Host header, without the port: "[::1]" of "[::1]:8000"."""
    name, _, port = host.strip().rpartition(":")
    return (name if name and (port.isdigit() or not port) else host.strip()).lower()
