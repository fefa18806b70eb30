"""What a client is told by its connection, where no application answers."""

from __future__ import annotations

from typing import Any

import msgspec

from rerankd.dialects.error_format import error_reply
from rerankd.errors import InvalidRequest, Overloaded, RequestTimeout, RerankdError

HEALTH = "/health"


def _answer_of(error: RerankdError, status: str) -> bytes:
    """Return an error as it goes over the wire."""
    body = msgspec.json.encode(error_reply(error))
    lines = (
        f"HTTP/1.1 {status}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


TOO_SLOW = _answer_of(
    RequestTimeout("the request's header did not arrive in time (header_timeout)"),
    "408 Request Timeout",
)
NOT_HTTP = _answer_of(
    InvalidRequest("the server can't read this as an HTTP/1.1 request"), "400 Bad Request"
)
_TOO_MANY = msgspec.json.encode(
    error_reply(Overloaded("too many connections (max_connections); try again later"))
)


def health_only(app: Any) -> Any:
    """Return an application that answers for the server's health and refuses all else."""

    async def answering(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"].startswith(HEALTH):
            await app(scope, receive, send)
            return
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(_TOO_MANY)).encode()),
            (b"retry-after", b"1"),
            (b"connection", b"close"),
        ]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": _TOO_MANY})

    return answering
