"""One HTTP request as a value, so that it can be asked again elsewhere, and its answer in parts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, MutableMapping
from typing import Any

from msgspec import Struct

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Any, Any, Any], Coroutine[Any, Any, None]]

Headers = tuple[tuple[bytes, bytes], ...]

MOST_PARTS_WAITING = 16


class ForwardedRequest(Struct, frozen=True, kw_only=True):
    """A request with its whole body."""

    method: str
    path: str
    raw_path: bytes = b""
    query: bytes = b""
    headers: Headers = ()
    client: tuple[str, int] | None = None
    scheme: str = "http"
    body: bytes = b""


class Part(Struct, frozen=True, kw_only=True):
    """A piece of an answer; the first has the status and the headers."""

    status: int = 0
    headers: Headers = ()
    body: bytes = b""
    more: bool = False


async def answer(application: Application, call: ForwardedRequest) -> AsyncGenerator[Part, None]:
    """Yield an ASGI application's answer; who stops taking parts is a client that has gone."""
    parts: asyncio.Queue[Part] = asyncio.Queue(MOST_PARTS_WAITING)
    conversation = _Conversation(call, parts)
    answering = application(_scope(call), conversation.receive, conversation.send)
    running = asyncio.create_task(answering)
    try:
        while (part := await _next(parts, running)) is not None:
            yield part
            if not part.more:
                await running
                return
    finally:
        conversation.gone.set()
        running.cancel()
        await asyncio.wait({running})


async def _next(parts: asyncio.Queue[Part], running: asyncio.Task[None]) -> Part | None:
    """Return the next part, None when the application ended without one. Raises what it raised."""
    getting = asyncio.create_task(parts.get())
    try:
        await asyncio.wait({getting, running}, return_when=asyncio.FIRST_COMPLETED)
        if getting.done():
            return getting.result()
        running.result()
        return None if parts.empty() else parts.get_nowait()
    finally:
        getting.cancel()


class _Conversation:
    """The two channels of an ASGI request."""

    def __init__(self, call: ForwardedRequest, parts: asyncio.Queue[Part]) -> None:
        self.gone = asyncio.Event()
        self._body: bytes | None = call.body
        self._parts = parts
        self._start: Message = {}

    async def receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        body, more = bytes(message.get("body", b"")), bool(message.get("more_body", False))
        if not more:
            self.gone.set()  # as servers do: whoever listens for the client's end is done, too
        start, self._start = self._start, {}
        await self._parts.put(
            Part(
                status=start.get("status", 0),
                headers=tuple((bytes(name), bytes(value)) for name, value in start["headers"])
                if start
                else (),
                body=body,
                more=more,
            )
        )


def _scope(call: ForwardedRequest) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": call.method,
        "scheme": call.scheme,
        "path": call.path,
        "raw_path": call.raw_path or call.path.encode(),
        "query_string": call.query,
        "root_path": "",
        "headers": list(call.headers),
        "client": call.client,
        "server": None,
        "state": {},
    }
