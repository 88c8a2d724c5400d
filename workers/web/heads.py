"""Requests from other sites' pages are refused, and every answer has the headers of a closed page.

``serve.heads`` refuses another Host. What is left is a page of another site that sends requests to
this machine's own address: it cannot read the answers, but it could start searches. Browsers say
in ``Sec-Fetch-Site`` where a request comes from; a link to the page itself is followed.
"""

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workers.serve.bodies import error_response

OWN = ("same-origin", "none")
"""Values of ``Sec-Fetch-Site`` of our own page and of an address that a person has typed."""
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; object-src 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class OwnPageMiddleware:
    """Refuses requests of other sites (403) and adds ``HEADERS`` to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        answer = self.app
        if scope["type"] == "http" and not is_own(Headers(scope=scope), scope["path"]):
            answer = error_response(403, "only this program's own page may send requests")
        await answer(scope, receive, send_with_headers)


def is_own(headers: Headers, path: str) -> bool:
    """Whether the request does not come from a page of another site, or follows a link to ours."""
    if headers.get("sec-fetch-site", "none") not in OWN:
        return path == "/" and headers.get("sec-fetch-mode") == "navigate"
    origin, host = headers.get("origin"), headers.get("host", "")
    return origin is None or origin == f"http://{host}"
