"""One log line a request, and its id in and out; never a body, a query string or a key."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Mapping
from typing import Any

from litestar.datastructures import MutableScopeHeaders
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from rerankd.logs import REQUEST, ROUTINE, Notes
from rerankd.telemetry.metrics import Answer
from rerankd.telemetry.observers import Telemetry

logger = logging.getLogger(__name__)

KEY = "rerankd.request_id"
ARRIVED = "rerankd.arrived"
BAD_REQUEST, CLIENT_CLOSED = 400, 499

_GOOD_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)
_UNPRINTABLE = re.compile(r"[^\x21-\x7e]")


class AccessLog:
    """Keeps the caller's X-Request-Id, or makes one, and logs and counts what was answered.

    It wraps the whole application: Litestar's own middleware doesn't see unknown paths.
    """

    def __init__(self, app: ASGIApp, telemetry: Telemetry | None = None) -> None:
        self._app = app
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        begun = time.monotonic()
        notes = Notes(request_id=_choose_id(scope))
        scope[KEY] = notes.request_id  # type: ignore[literal-required]
        scope[ARRIVED] = begun  # type: ignore[literal-required]
        status = CLIENT_CLOSED

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableScopeHeaders(message)["X-Request-Id"] = notes.request_id
            await send(message)

        token = REQUEST.set(notes)
        try:
            await self._app(scope, receive, noting)
        finally:
            self._tell(scope, notes, status, time.monotonic() - begun)
            REQUEST.reset(token)

    def _tell(self, scope: Scope, notes: Notes, status: int, seconds: float) -> None:
        if status == CLIENT_CLOSED and not notes.error:
            notes.error = "client_closed"
        notes.caller = notes.caller or getattr(scope.get("auth"), "id", "")
        route = str(scope.get("path_template", ""))
        method = str(scope.get("method", ""))
        if self._telemetry:
            error = "" if notes.ranked else notes.error
            self._telemetry.answered(
                Answer(method=method, route=route, status=status, seconds=seconds, error=error)
            )
        path = _UNPRINTABLE.sub("?", scope["path"])[:200]
        spent = round(seconds * 1000, 1)
        fields = {"method": method, "path": path, "status": status, "ms": spent, "route": route}
        logger.log(
            *(_level(path, status), "%s %s %d %.1f ms", method, path, status, spent),
            extra=fields | _known(notes),
        )


def _level(path: str, status: int) -> int:
    """Return the level of a line: successful probes would drown everything else."""
    went_well = status < BAD_REQUEST
    return logging.DEBUG if went_well and path.startswith(ROUTINE) else logging.INFO


def _known(notes: Notes) -> dict[str, str | int]:
    """Return a line's fields besides the answer: only those that are known."""
    found: dict[str, str | int] = {
        "model": notes.model,
        "documents": notes.documents,
        "tokens": notes.tokens,
        "caller": notes.caller,
        "error": notes.error,
    }
    return {name: value for name, value in found.items() if value}


def request_id(scope: Mapping[str, Any]) -> str:
    """Return the id of a request that came through AccessLog, a new one for any other."""
    return str(scope.get(KEY) or uuid.uuid4().hex)


def arrival_of(scope: Mapping[str, Any]) -> float | None:
    """Return when a request came through AccessLog, on the monotonic clock; None for any other."""
    return scope.get(ARRIVED)


def _choose_id(scope: Scope) -> str:
    # Not Litestar's Headers: it keeps them in the scope, and RequestLine may still change the host.
    found = (value for name, value in scope["headers"] if name == b"x-request-id")
    given = next(found, b"").decode("latin-1")
    return given if _GOOD_ID.fullmatch(given) else uuid.uuid4().hex
