"""The door of a cluster: takes a request whole and asks replicas until one has answered.

Ranking changes nothing, so a request whose replica died is asked again; only an answer that has
begun to go out can't be taken back, and ends with its connection.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import msgspec

from rerankd.distributed.calls import ForwardedRequest, Part, Receive, Send
from rerankd.http.disconnects import unless_gone

logger = logging.getLogger(__name__)

Ask = Callable[[ForwardedRequest], AsyncGenerator[Part, None]]

ATTEMPTS = 6
FIRST_PAUSE = 0.1
"""Seconds before the second attempt, doubled each time: a cluster needs a moment to notice."""
UNAVAILABLE = 503


class ReplicaClosing(Exception):
    """A replica that is being replaced refused a request it had been given."""


class Ingress:
    """An ASGI application that forwards to replicas."""

    def __init__(
        self,
        ask: Ask,
        lost: tuple[type[Exception], ...] = (),
        *,
        max_body_bytes: int,
        read_timeout: float,
        pause: float = FIRST_PAUSE,
    ) -> None:
        """`lost` are the errors of `ask` that say that the replica, not the request, failed."""
        self._ask = ask
        self._lost: tuple[type[Exception], ...] = (ReplicaClosing, *lost)
        self._max_body_bytes = max_body_bytes
        self._read_timeout = read_timeout
        self._pause = pause

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer one request, or live as long as the server does."""
        if scope["type"] == "lifespan":
            await _answer_lifespan(receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Any, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(self._read_timeout):
                body = await _body(receive, self._max_body_bytes)
        except TimeoutError:
            await _send_error(send, 408, "request_timeout", "the body did not arrive in time")
            return
        if body is None:
            return
        await unless_gone(receive, self._answer(call_of(scope, body), send))

    async def _answer(self, call: ForwardedRequest, send: Send) -> None:
        for attempt in range(ATTEMPTS):
            answer = _Outgoing(send)
            try:
                async with aclosing(self._ask(call)) as parts:
                    async for part in parts:
                        await answer.send(part)
            except self._lost as error:
                if answer.begun:
                    raise
                logger.warning("lost a replica, trying another: %s", type(error).__name__)
                await asyncio.sleep(self._pause * 2**attempt)
            else:
                return
        await _send_error(send, UNAVAILABLE, "unavailable", "no replica responds; try again later")


class _Outgoing:
    """An answer on its way to the client."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = False

    async def send(self, part: Part) -> None:
        """Send a part. Raises ReplicaClosing when the replica only says that it stops."""
        if not self.begun:
            if part.status == UNAVAILABLE and (b"connection", b"close") in part.headers:
                raise ReplicaClosing
            self.begun = True
            # Ray Serve adds the id itself, the same one.
            headers = [one for one in part.headers if one[0].lower() != b"x-request-id"]
            start = {"type": "http.response.start", "status": part.status}
            await self._send({**start, "headers": headers})
        body = {"type": "http.response.body", "body": part.body, "more_body": part.more}
        await self._send(body)


def call_of(scope: Any, body: bytes) -> ForwardedRequest:
    """Return a request as a value."""
    client = scope.get("client")
    return ForwardedRequest(
        method=scope["method"],
        path=scope["path"],
        raw_path=scope.get("raw_path") or b"",
        query=scope.get("query_string", b""),
        headers=tuple((bytes(name), bytes(value)) for name, value in scope["headers"]),
        client=tuple(client) if client else None,
        scheme=scope.get("scheme", "http"),
        body=body,
    )


async def _body(receive: Receive, limit: int) -> bytes | None:
    """Return a body, no more than a byte over the limit: a replica says so in the right words.

    None for a client that left before its body had come.
    """
    found = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        found += message.get("body", b"")
        if len(found) > limit or not message.get("more_body", False):
            return bytes(found[: limit + 1])


async def _answer_lifespan(receive: Receive, send: Send) -> None:
    while (message := await receive())["type"] != "lifespan.shutdown":
        await send({"type": f"{message['type']}.complete"})
    await send({"type": "lifespan.shutdown.complete"})


async def _send_error(send: Send, status: int, code: str, message: str) -> None:
    error = {"code": code, "message": message}
    body = msgspec.json.encode({"error": error, "message": message, "detail": message})
    headers = ((b"content-type", b"application/json"), (b"retry-after", b"1"))
    await _Outgoing(send).send(Part(status=status, headers=headers, body=body))
