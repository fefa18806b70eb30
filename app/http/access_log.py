"""One log line a request, and its id in and out; never a body, a query string or a key."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Mapping
from typing import Any

from litestar.datastructures import Headers, MutableScopeHeaders
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

KEY = "rerankd.request_id"

_GOOD_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)
_UNPRINTABLE = re.compile(r"[^\x21-\x7e]")


class AccessLog:
    """Keeps the caller's X-Request-Id, or makes one, and logs what was answered.

    It wraps the whole application: Litestar's own middleware doesn't see unknown paths.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        begun = time.monotonic()
        own_id = _choose_id(scope)
        scope[KEY] = own_id  # type: ignore[literal-required]
        status = 0

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableScopeHeaders(message)["X-Request-Id"] = own_id
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            spent = (time.monotonic() - begun) * 1000
            path = _UNPRINTABLE.sub("?", scope["path"])[:200]
            logger.info("%s %s %d %.1f ms %s", scope.get("method"), path, status, spent, own_id)


def request_id(scope: Mapping[str, Any]) -> str:
    """Return the id of a request that came through AccessLog, a new one for any other."""
    return str(scope.get(KEY) or uuid.uuid4().hex)


def _choose_id(scope: Scope) -> str:
    given = Headers.from_scope(scope).get("x-request-id", "")
    return given if _GOOD_ID.fullmatch(given) else uuid.uuid4().hex
