"""What all traffic of a soak shares, and how one request is sent and judged."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import httpx

from support.soak.answers import AskedQuestion, Wire, fault_of
from support.soak.tally import Tally

REQUEST_PATIENCE = 60.0
BUSY_STATUSES = {429, 503}
"""Statuses with which a server may refuse a request that is in order."""
HOSTILE_ADDRESS = "127.0.0.2"
"""Where hostile clients come from: also the loopback, but another address than the others'."""


@dataclass(kw_only=True)
class World:
    """A server under test, and what is sent to it."""

    port: int
    key: str
    seed: int
    tally: Tally
    small: Sequence[AskedQuestion]
    large: Sequence[AskedQuestion]
    hub: str = ""
    ending: asyncio.Event

    @property
    def url(self) -> str:
        """The server's address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        """Whether the soak goes on."""
        return not self.ending.is_set()

    def client(self, key: str = "", **options: Any) -> httpx.AsyncClient:
        """Return a client with a key, by default the one that allows everything."""
        headers = {"Authorization": f"Bearer {key or self.key}"}
        return httpx.AsyncClient(
            base_url=self.url, headers=headers, timeout=REQUEST_PATIENCE, trust_env=False, **options
        )

    async def pause(self, chosen: random.Random, longest: float) -> None:
        """Wait a while, as users do, but not beyond the end."""
        seconds = chosen.uniform(0, longest)
        try:
            await asyncio.wait_for(self.ending.wait(), seconds)
        except TimeoutError:
            return

    async def ask(
        self, client: httpx.AsyncClient, kind: str, question: AskedQuestion, wire: Wire, **more: Any
    ) -> None:
        """Send one request of a client that behaves, and judge what comes."""
        reply = await self.fetch(
            client, kind, "POST", wire.path, json={**wire.body(question), **more}
        )
        if reply is not None:
            found = wire.read(reply.json())
            self.tally.judge(kind, fault_of(question.logits, found, more.get("top_n")))

    async def fetch(
        self, client: httpx.AsyncClient, kind: str, method: str, path: str, **given: Any
    ) -> httpx.Response | None:
        """Send one request; return its answer, or count it as refused or lost."""
        begun = time.monotonic()
        try:
            reply = await client.request(method, path, **given)
        except (httpx.HTTPError, OSError) as error:
            self.tally.sent(kind)
            self.tally.lose(kind, f"{type(error).__name__} {error}")
            return None
        self.tally.sent(kind, time.monotonic() - begun)
        return reply if self.settled(kind, reply.status_code, reply.text) else None

    def settled(self, kind: str, status: int, text: str) -> bool:
        """Return whether a request was served; count it as refused or lost if not."""
        if 200 <= status < 300:
            return True
        self.tally.refuse(status)
        if status not in BUSY_STATUSES:
            self.tally.lose(kind, f"{status} {text[:200]}")
        return False


Traffic: TypeAlias = Callable[[World, random.Random], Coroutine[Any, Any, None]]
"""One client's doings from the beginning to the end, with its own source of chance."""
