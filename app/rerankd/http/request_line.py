"""Request lines that Litestar's router can't read: HEAD, absolute targets, slashes within names."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

DEPLOYMENTS = "/v1/deployments/"
_DEPLOYMENT = re.compile(rf"{DEPLOYMENTS}(.+?)(/restart|/logs)?/?", re.DOTALL)
"""A deployment's path, in which everything before the last word's slash is its id."""


class RequestLine:
    """Answers HEAD as GET without its body, and reads targets such as `http://host/v1/models`.

    Proxies write such targets, and RFC 9112 obliges every server to read them. The id of a
    deployment stays one segment of its path; see `deployment_id_of`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; the scope has its own method again afterwards."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        _read_absolute_form(scope)
        _join_deployment_id(scope)
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


def deployment_id_of(segment: str) -> str:
    """Return the id that a segment of a deployment's path stands for, as the router gives it."""
    return unquote(segment)


def _join_deployment_id(scope: HTTPScope) -> None:
    """Make an id with slashes one segment, whether or not a client or a proxy escaped them."""
    if not scope["path"].startswith(DEPLOYMENTS):
        return
    raw = scope["raw_path"].decode("latin-1") if scope.get("raw_path") else scope["path"]
    found = _DEPLOYMENT.fullmatch(raw)
    if found:
        segment = unquote(found[1]).replace("%", "%25").replace("/", "%2F")
        scope["path"] = f"{DEPLOYMENTS}{segment}{found[2] or ''}"
