"""When keys were last used, stored by one task however many requests come."""

from __future__ import annotations

import asyncio
import logging

from rerankd.errors import StateError
from rerankd.store import Store
from rerankd.threads import WorkerPool

logger = logging.getLogger(__name__)


class LastUses:
    """Collects times of use and stores them together; used on one event loop.

    Those that can't be stored wait for the next use of any key, so at most one a key waits.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: dict[str, int] = {}
        self._failing = False
        self._task: asyncio.Task[None] | None = None
        self._pool = WorkerPool("store-last-uses", 1)

    def note(self, key_id: str, now: int) -> None:
        """Have a key's time of use stored soon."""
        self._waiting[key_id] = now
        if self._task is None:
            self._task = asyncio.create_task(self._store_all(), name="store-last-uses")

    async def written(self) -> None:
        """Wait until nothing is being stored."""
        while self._task:
            await asyncio.wait({self._task})

    async def _store_all(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, {}
                try:
                    await self._pool.run(self._store.set_keys_used, batch)
                except StateError as error:
                    self._waiting = batch | self._waiting
                    self._report(error)
                    return
                self._failing = False
        finally:
            self._task = None

    def _report(self, error: StateError) -> None:
        if not self._failing:
            self._failing = True
            logger.warning("cannot store when keys were last used: %s", error.message)
