"""Work that ends when the client that asked for it has left."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeVar

Result = TypeVar("Result")
ReceiveMessage = Callable[[], Awaitable[Mapping[str, Any]]]


async def unless_gone(receive: ReceiveMessage, work: Coroutine[Any, Any, Result]) -> Result | None:
    """Return what the work returns; None, and the work cancelled, once the client has left.

    The request's body must have been read. Neither Litestar nor Ray Serve cancels by itself.
    """
    doing = asyncio.create_task(work)
    watching = asyncio.create_task(_client_left(receive))
    try:
        await asyncio.wait({doing, watching}, return_when=asyncio.FIRST_COMPLETED)
        return doing.result() if doing.done() else None
    finally:
        for task in (doing, watching):
            task.cancel()
        await asyncio.wait({doing, watching})
        del doing, task  # the work's error holds this frame, and with it the request's body


async def _client_left(receive: ReceiveMessage) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
