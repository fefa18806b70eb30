"""The stored keys, read again whenever the state file changes, by whichever process.

    current     the file is as it was read: known keys are in force
    failing     it can't be read: known keys stay in force for KNOWN_KEYS_SECONDS
    expired     it could not be read for that long: stored keys are refused

A file that has lost its keys can't be read in this sense. While it fails, one reading at a time
is tried in the background, and requests don't wait for it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import NamedTuple

from rerankd.errors import StateError, StateUnavailable
from rerankd.store import Key, Stamp, Store
from rerankd.threads import WorkerPool

logger = logging.getLogger(__name__)

KNOWN_KEYS_SECONDS = 60.0
"""How long known keys stay in force while the file can't be read."""

READ_SECONDS = 2.0
"""How long a request waits for a reading; a disk that takes longer counts as failing."""

COARSE_SECONDS = 0.05
"""File times come from a clock that ticks every 10 ms: a second change within may not show."""


class _Reading(NamedTuple):
    keys: dict[str, Key]
    """By their prefixes."""
    stamp: Stamp | None
    settled: bool
    """Whether a further change would show in the stamp."""


class KeyFile:
    """Keeps what a store's keys were at the last reading; used on one event loop."""

    def __init__(
        self, store: Store, take: Callable[[dict[str, Key]], None], monotonic: Callable[[], float]
    ) -> None:
        """`take` gets the keys of each reading; `monotonic` is a clock in seconds."""
        self._store = store
        self._hand_over = take
        self._monotonic = monotonic
        self._last = _Reading({}, None, settled=False)
        self._failing_since: float | None = None
        self._has_expired = False
        self._task: asyncio.Task[None] | None = None
        self._pool = WorkerPool("read-keys", 1)

    def load(self) -> None:
        """Read the file now, and wait for it. Raises StateError."""
        self._take(self._read())

    @property
    def failure(self) -> StateUnavailable | None:
        """What to refuse stored keys with; None while known keys are in force."""
        if self._failing_since is None or self._is_trusted:
            return None
        return StateUnavailable(
            "API keys cannot be looked up at present; see the server's log", retry_after=1
        )

    async def refresh(self) -> None:
        """Read the file if it has changed; a change before the call is seen unless this fails."""
        if self._is_current():
            return
        joins = self._task is not None
        await self._wait_for_reading()
        if joins and not self._is_current():  # that reading may have begun before the change
            await self._wait_for_reading()

    async def _wait_for_reading(self) -> None:
        task = self._task or self._start_reading()
        if self._failing_since is not None and self._is_trusted:
            return
        done, _ = await asyncio.wait({task}, timeout=READ_SECONDS)
        if not done:
            self._fail(f"the state file was not read within {READ_SECONDS:g} s")

    def _is_current(self) -> bool:
        if self._failing_since is not None or not self._last.settled:
            return False
        try:
            return self._store.stamp() == self._last.stamp
        except StateError:
            return False  # the reading will say why

    @property
    def _is_trusted(self) -> bool:
        since = self._failing_since
        return since is None or self._monotonic() < since + KNOWN_KEYS_SECONDS

    def _start_reading(self) -> asyncio.Task[None]:
        self._task = asyncio.create_task(self._read_apart(), name="read-keys")
        return self._task

    async def _read_apart(self) -> None:
        try:
            self._take(await self._pool.run(self._read))
        except StateError as error:
            self._fail(error.message)
        finally:
            self._task = None

    def _read(self) -> _Reading:
        stamp = self._store.stamp()  # before the keys: what changes meanwhile is read again
        changed = stamp[2] / 1e9 if stamp else 0.0
        settled = abs(time.time() - changed) > COARSE_SECONDS
        stored = self._store.api_keys(expected=_any_in_force(self._last.keys))
        found = {key.prefix: key for key in stored}
        if _any_in_force(found):
            self._store.mark_keys()  # an earlier version made them, or a backup was restored
        return _Reading(found, stamp, settled)

    def _take(self, reading: _Reading) -> None:
        if self._failing_since is not None:
            logger.warning("the API keys can be read again")
        self._last = reading
        self._failing_since, self._has_expired = None, False
        self._hand_over(reading.keys)

    def _fail(self, reason: str) -> None:
        if self._failing_since is None:
            self._failing_since = self._monotonic()
            logger.error(
                "cannot read the API keys: %s; those known are accepted for %d s",
                reason,
                KNOWN_KEYS_SECONDS,
            )
        elif not self._is_trusted and not self._has_expired:
            self._has_expired = True
            logger.error("cannot read the API keys: %s; they are refused until then", reason)


def _any_in_force(keys: dict[str, Key]) -> bool:
    return any(key.revoked is None for key in keys.values())
