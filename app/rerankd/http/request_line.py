"""Request lines that Litestar's router doesn't know: HEAD, and targets in absolute form."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send


class RequestLine:
    """Answers HEAD as GET without its body, and reads targets such as `http://host/v1/models`.

    Proxies write such targets, and RFC 9112 obliges every server to read them.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; the scope has its own method again afterwards."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        _read_absolute_form(scope)
        if scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        scope["method"] = "GET"
        try:
            await self._app(scope, receive, _WithoutBody(send))
        finally:
            scope["method"] = "HEAD"


class _WithoutBody:
    """Sends an answer's head and ends it there, however much follows."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._send(message)
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})


def _read_absolute_form(scope: HTTPScope) -> None:
    """Make an absolute-form target a path; its authority takes the place of the Host header."""
    target = scope["path"]
    if not target.lower().startswith(("http://", "https://")):
        return
    raw = scope["raw_path"].decode("latin-1") if scope.get("raw_path") else target
    try:
        parts = urlsplit(raw)
    except ValueError:
        return
    scope["path"] = unquote(parts.path) or "/"
    scope["raw_path"] = (parts.path or "/").encode("latin-1")
    headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
    scope["headers"] = [(b"host", parts.netloc.encode("latin-1")), *headers]
