"""Statuses of deployments for those who follow them as they change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable

from rerankd.deployments.state import Status

MOST_EVENTS_WAITING = 256
"""Statuses that wait for a slow listener; it misses the oldest ones beyond."""


class StatusEvents:
    """Hands every status that changes to all who listen."""

    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[Status | None]] = set()

    def publish(self, status: Status) -> None:
        """Give a status to all listeners."""
        for queue in self._queues:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(status)

    def end(self) -> None:
        """End all who listen: nothing is published any more."""
        for queue in self._queues:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(None)

    async def listen(self, now: Callable[[], Iterable[Status]]) -> AsyncGenerator[Status, None]:
        """Yield the statuses that `now` returns, then each that is published, until `end`."""
        queue: asyncio.Queue[Status | None] = asyncio.Queue(MOST_EVENTS_WAITING)
        for known in now():
            queue.put_nowait(known)
        self._queues.add(queue)
        try:
            while (status := await queue.get()) is not None:
                yield status
        finally:
            self._queues.discard(queue)
