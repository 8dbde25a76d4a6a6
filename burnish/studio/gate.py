"""Who may use the studio: requests and sockets of this page alone, with the token where others could reach it."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, quote, urlencode

from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "burnish_studio"
UPLOAD_PATH = "/upload"
_POLICY = "; ".join(
    (
        "default-src 'self'",
        # NiceGUI compiles its templates in the browser, and starts them from the page
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
"""What a page may load and ask: nothing of another machine."""
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
}


@dataclass(frozen=True, slots=True)
class Access:
    """Who may use the studio, and how much may be sent."""

    token: str | None = None
    """In the link that is opened; None on loopback."""
    hosts: tuple[str, ...] = ()
    """Names by which it may be called; empty for any. On loopback this keeps web pages from asking it under a name of
    their own."""
    body_bytes: int = 4 << 20
    upload_bytes: int = 512 << 20
    """Most of an uploaded file."""


class Gate:
    """Refuses what may not ask before any of it is read, and has every answer forbid what is not of this server.

    Args:
        app: that answers the rest.
        access: who may ask.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request or a socket."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, _guarded(send) if scope["type"] == "http" else send)
        elif scope["type"] == "http":
            await refusal(scope, receive, send)
        else:
            await receive()
            await send({"type": "websocket.close", "code": 1008})

    def _refusal(self, scope: Scope) -> Response | None:
        """The answer to what may not ask; None for all others."""
        headers = {name.lower().decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("host", "")
        name = host[: host.rfind("]") + 1] if host.startswith("[") else host.partition(":")[0]
        if self._access.hosts and name.lower() not in self._access.hosts:
            return PlainTextResponse("This studio is not called by that name.", 421)
        origin = headers.get("origin", "")
        if origin and origin.lower().partition("://")[2] != host.lower():
            return PlainTextResponse("Web pages of other origins may not use this studio.", 403)
        length = headers.get("content-length", "0")
        is_upload = scope["path"].startswith(UPLOAD_PATH)
        most = self._access.upload_bytes if is_upload else self._access.body_bytes
        if not length.isdigit() or int(length) > most:
            return PlainTextResponse(f"This may have at most {most:,} bytes.", 413)
        return self._token_refusal(scope, headers)

    def _token_refusal(self, scope: Scope, headers: dict[str, str]) -> Response | None:
        token = self._access.token
        if token is None or hmac.compare_digest(_cookie(headers.get("cookie", "")).encode(), token.encode()):
            return None
        query = parse_qs(scope["query_string"].decode("latin-1"))
        given = query.pop("token", [""])[0]
        if scope["type"] == "http" and scope["method"] == "GET" and hmac.compare_digest(given.encode(), token.encode()):
            rest = urlencode(query, doseq=True)
            answer = RedirectResponse(quote(scope["path"]) + (f"?{rest}" if rest else ""), 303)
            answer.set_cookie(COOKIE, token, httponly=True, samesite="strict")
            return answer
        return PlainTextResponse("Open the link that `burnish studio` printed: it holds the token.", 401)


def _guarded(send: Send) -> Send:
    """Adds the headers that forbid the browser what is not of this server."""

    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            names = {name.lower() for name, _ in message["headers"]}
            added = [(name.encode(), value.encode()) for name, value in _HEADERS.items() if name.encode() not in names]
            message = {**message, "headers": [*message["headers"], *added]}
        await send(message)

    return guarded


def _cookie(header: str) -> str:
    try:
        found = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""
