"""One budget of bytes for all bodies that are being read or answered.

A body is held several times over while its request runs: as it came, as decoded texts, and often
once more inside the answer. Each byte is therefore charged `HELD` times, from its arrival until
the answer has been handed to the client's connection.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPResponseBodyEvent, Message, Receive, Scope, Send

from rerankd.budget import ByteBudget

CHARGE = "rerankd.charge"
"""Key of a request's `Charge` in its scope."""
HELD = 3
FREE_BYTES = 64 * 1024
"""Bytes of each body that are not charged, so that small requests always pass."""
SLICE = 64 * 1024
"""An answer is handed on in parts of this size, each once the one before has begun to leave."""
PATIENCE = 5.0
"""Seconds that a body waits for room before its request is refused."""
NO_ROOM = "the server's memory for request bodies is in use (max_inflight_bytes); try again later"
TRIM_ABOVE = 16 * 1024 * 1024
"""Charged bytes of requests after which freed memory is given back to the system."""
TRIM_INTERVAL = 5.0
TRIM_DELAY = 1.0
"""Seconds after the request that exceeds them: by then its texts are freed."""
TRIM_QUIET = 20.0
"""Seconds without a request's body after which whatever was freed is given back."""


class BoundedBodies:
    """Charges the bodies of requests to a budget, and hands large answers on in parts."""

    def __init__(self, app: ASGIApp, budget: ByteBudget, trim: Callable[[bool], None]) -> None:
        """`trim` gives freed memory back, without blocking.

        It is called after large requests, and with True once none has come for a while.
        """
        self._app = app
        self._budget = budget
        self._trim = trim
        self._trimmed = -TRIM_INTERVAL
        self._untrimmed = 0
        """Bytes charged and returned since freed memory was last given back."""
        self._last_body = 0.0
        self._awaits_quiet = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        charge = Charge(self._budget)
        scope[CHARGE] = charge  # type: ignore[literal-required]

        async def charging() -> Any:
            message = await receive()
            if message["type"] == "http.request":
                await charge.add(len(message["body"]))
            return message

        try:
            await self._app(scope, charging, _in_parts(send))
        finally:
            charge.end()
            before, self._untrimmed = self._untrimmed, self._untrimmed + charge.taken
            if before <= TRIM_ABOVE < self._untrimmed:
                wait = max(TRIM_DELAY, self._trimmed + TRIM_INTERVAL - time.monotonic())
                asyncio.get_running_loop().call_later(wait, self._trim_now, False)
            if charge.has_read:
                self._last_body = time.monotonic()
                if not self._awaits_quiet:
                    self._await_quiet(TRIM_QUIET)

    def _await_quiet(self, seconds: float) -> None:
        self._awaits_quiet = True
        asyncio.get_running_loop().call_later(seconds, self._trim_if_quiet)

    def _trim_if_quiet(self) -> None:
        left = self._last_body + TRIM_QUIET - time.monotonic()
        if left > 0:
            self._await_quiet(left)
            return
        self._awaits_quiet = False
        self._trim_now(True)

    def _trim_now(self, quiet: bool) -> None:
        self._untrimmed = 0
        self._trimmed = time.monotonic()
        self._trim(quiet)


class Charge:
    """What one request has taken."""

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self._read = 0
        self.taken = 0

    @property
    def has_read(self) -> bool:
        """Whether the request had a body, however small."""
        return self._read > 0

    async def add(self, count: int) -> None:
        """Charge bytes that arrived. Raises Overloaded when there is no room for long."""
        self._read += count
        due = HELD * max(self._read - FREE_BYTES, 0) - self.taken
        if due > 0:
            await self._budget.take(due, PATIENCE)
            self.taken += due

    async def hold(self, size: int) -> None:
        """Charge at least `size` bytes in all: a body that grew since. Raises what `add` raises."""
        await self.add(max(size - self._read, 0))

    def end(self) -> None:
        """Return everything."""
        if self.taken:
            self._budget.give_back(self.taken)


def charge_of(scope: Mapping[str, Any]) -> Charge:
    """Return what a request is charged; a charge without bounds outside of `BoundedBodies`."""
    found: Charge | None = scope.get(CHARGE)
    return found or Charge(ByteBudget(sys.maxsize))


def _in_parts(send: Send) -> Send:
    """Return a `send` that never puts more than a part of an answer into the write buffer."""

    async def sending(message: Message) -> None:
        if message["type"] != "http.response.body" or len(message["body"]) <= SLICE:
            await send(message)
            return
        whole = memoryview(message["body"])
        for start in range(0, len(whole), SLICE):
            last = start + SLICE >= len(whole)
            part: HTTPResponseBodyEvent = {
                "type": "http.response.body",
                "body": bytes(whole[start : start + SLICE]),
                "more_body": message["more_body"] or not last,
            }
            await send(part)

    return sending
