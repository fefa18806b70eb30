"""A cache of bytes under digests, bounded in bytes, the least recently used dropped first."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from msgspec import Struct

ENTRY_BYTES = 260
"""What an entry costs beside its value: key, dictionary slot, object headers. Measured."""


class CacheStats(Struct, frozen=True, kw_only=True):
    """How full a cache is and how useful: look-ups that found something, and that did not."""

    entries: int
    bytes: int
    hits: int
    misses: int


def digest_of(*parts: str | bytes) -> bytes:
    """Return 16 bytes that stand for these parts in this order; each is framed by its length."""
    whole = hashlib.blake2b(digest_size=16)
    for part in parts:
        raw = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        whole.update(len(raw).to_bytes(8, "little"))
        whole.update(raw)
    return whole.digest()


class LRUCache:
    """Bytes under digests, the least recently used dropped first. Safe from any thread."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[bytes, bytes] = OrderedDict()
        self._lock = threading.Lock()
        self._bytes = 0
        self._hits = 0
        self._misses = 0

    @property
    def stats(self) -> CacheStats:
        with self._lock:
            return CacheStats(
                entries=len(self._entries), bytes=self._bytes, hits=self._hits, misses=self._misses
            )

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return each key's value, None where it isn't known."""
        with self._lock:
            found = [self._entries.get(key) for key in keys]
            for key, value in zip(keys, found, strict=True):
                if value is not None:
                    self._entries.move_to_end(key)
            hits = sum(value is not None for value in found)
            self._hits += hits
            self._misses += len(found) - hits
        return found

    def put(self, entries: Iterable[tuple[bytes, bytes]]) -> None:
        """Keep entries, as the most recently used ones."""
        with self._lock:
            for key, value in entries:
                old = self._entries.pop(key, None)
                if old is not None:
                    self._bytes -= ENTRY_BYTES + len(old)
                self._entries[key] = value
                self._bytes += ENTRY_BYTES + len(value)
            while self._bytes > self._max_bytes:
                _, dropped = self._entries.popitem(last=False)
                self._bytes -= ENTRY_BYTES + len(dropped)
