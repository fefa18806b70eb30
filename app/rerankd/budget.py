"""Bytes that many share: taken in turn, and given back."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress

from rerankd.errors import Overloaded

WAIT_SECONDS = 5.0
"""Seconds that somebody waits for room."""


class ByteBudget:
    """Bytes that may be taken; who finds none left waits its turn. For one event loop."""

    def __init__(self, most: int, refusal: str = "no room is left; try again later") -> None:
        """`refusal` is what those are told who have waited for too long."""
        self.most = most
        self.taken = 0
        self._refusal = refusal
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, count: int, patience: float = WAIT_SECONDS) -> None:
        """Take bytes, after waiting for them if need be.

        Raises Overloaded when that takes longer than `patience`, in seconds.
        """
        if not self._waiting and self.taken + count <= self.most:
            self.taken += count
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (count, turn)
        self._waiting.append(entry)
        try:
            async with asyncio.timeout(patience):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():  # granted in the same instant
                self.give_back(count)
            else:
                with suppress(ValueError):  # passed over in the same instant
                    self._waiting.remove(entry)
                self.give_back(0)  # whoever stood behind it may have room
            if not isinstance(error, TimeoutError):
                raise
            raise Overloaded(self._refusal, retry_after=1) from error

    def give_back(self, count: int) -> None:
        """Return bytes, and let those pass whose turn has come."""
        self.taken -= count
        while self._waiting and self.taken + self._waiting[0][0] <= self.most:
            wanted, turn = self._waiting.popleft()
            if not turn.done():
                self.taken += wanted
                turn.set_result(None)
