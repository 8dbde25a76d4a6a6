"""Who may use the studio."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from burnish.studio.gate import COOKIE, Access, Gate

HOSTS = ("127.0.0.1", "localhost", "[::1]")


async def _app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"page"})


def ask(
    access: Access, path: str = "/", kind: str = "http", method: str = "GET", **headers: str
) -> list[dict[str, Any]]:
    """What is sent in answer to a request."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    place, _, query = path.partition("?")
    given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": kind, "method": method, "path": place, "query_string": query.encode(), "headers": given}
    asyncio.run(Gate(_app, access)(scope, receive, send))
    return sent


def status(sent: list[dict[str, Any]]) -> int:
    return sent[0].get("status", 0)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"host": "127.0.0.1:8080"}, 200),
        ({"host": "localhost:8080", "origin": "http://localhost:8080"}, 200),
        ({"host": "[::1]:8080", "origin": "http://[::1]:8080"}, 200),
        ({"host": "evil.example:8080"}, 421),
        ({"host": "127.0.0.1:8080", "origin": "http://evil.example"}, 403),
        ({"host": "127.0.0.1:8080", "origin": "null"}, 403),
        ({"host": "127.0.0.1:8080", "origin": "http://127.0.0.1:9999"}, 403),
        ({"host": "127.0.0.1:8080", "content_length": "99999999"}, 413),
        ({}, 421),
    ],
)
def test_loopback_answers_its_own_pages_alone(headers: dict[str, str], expected: int) -> None:
    assert status(ask(Access(hosts=HOSTS), **headers)) == expected


def test_uploads_may_be_larger_than_anything_else() -> None:
    access = Access(hosts=HOSTS, upload_bytes=10**8)
    headers = {"host": "localhost", "method": "POST"}
    assert status(ask(access, "/upload", content_length=str(10**8), **headers)) == 200
    assert status(ask(access, "/upload", content_length=str(10**8 + 1), **headers)) == 413


def test_a_socket_of_another_origin_is_closed() -> None:
    good = {"host": "localhost:80", "origin": "http://localhost:80"}
    assert ask(Access(hosts=HOSTS), kind="websocket", **good)[0]["type"] == "websocket.accept"
    bad = {**good, "origin": "http://evil.example"}
    assert ask(Access(hosts=HOSTS), kind="websocket", **bad) == [{"type": "websocket.close", "code": 1008}]


def test_without_the_token_nothing_is_shown() -> None:
    access = Access("secret-token")
    assert status(ask(access, host="box:80")) == 401
    assert status(ask(access, "/?token=wrong", host="box:80")) == 401
    assert status(ask(access, host="box:80", cookie=f"{COOKIE}=wrong")) == 401
    assert ask(access, kind="websocket", host="box:80")[0]["type"] == "websocket.close"


def test_the_link_with_the_token_opens_the_page_and_is_forgotten() -> None:
    sent = ask(Access("secret-token"), "/runs/a?token=secret-token&x=1", host="box:80")
    headers = dict(sent[0]["headers"])
    assert (status(sent), headers[b"location"]) == (303, b"/runs/a?x=1")
    cookie = headers[b"set-cookie"].decode()
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert status(ask(Access("secret-token"), host="box:80", cookie=cookie.partition(";")[0])) == 200


def test_pages_may_load_nothing_from_elsewhere() -> None:
    headers = dict(ask(Access(hosts=HOSTS), host="localhost")[0]["headers"])
    policy = headers[b"content-security-policy"].decode()
    assert "default-src 'self'" in policy
    assert "connect-src 'self'" in policy
    assert "http:" not in policy
