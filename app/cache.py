"""What was computed before: raw scores under digests, bounded in bytes, kept on disk if wanted.

Nothing of a query or document is stored but a digest. Raw scores only: what is made of them
(probabilities, order, top_n) is a request's own matter.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from queue import SimpleQueue

import msgspec
from msgspec import Struct

from app.domain import Passage

logger = logging.getLogger(__name__)

ENTRY_BYTES = 260
"""What an entry costs beside its value: key, dictionary slot, object headers. Measured."""
FILE = "scores.sqlite3"
SCHEMA = 1


class Known(Struct, frozen=True, array_like=True):
    """A document's raw score for a query, and what has to be told about it again."""

    logit: float
    tokens: int
    """Tokens of all its pairs."""
    chunks: int
    truncated: bool
    passages: tuple[Passage, ...] = ()


class CacheStats(Struct, frozen=True, kw_only=True):
    """How full a cache is and how useful: look-ups that found something, and that did not."""

    entries: int
    bytes: int
    hits: int
    misses: int


def digest(*parts: str | bytes) -> bytes:
    """Return 16 bytes that stand for these parts in this order; each is framed by its length."""
    whole = hashlib.blake2b(digest_size=16)
    for part in parts:
        raw = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        whole.update(len(raw).to_bytes(8, "little"))
        whole.update(raw)
    return whole.digest()


class Bounded:
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


class ScoreCache:
    """Scores of all models of this process."""

    def __init__(self, max_bytes: int, folder: Path | None = None) -> None:
        """`max_bytes` 0 keeps nothing; with `folder`, scores are written to a file there."""
        self.enabled = max_bytes > 0
        self._memory = Bounded(max_bytes)
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(Known)
        self._disk = None
        if self.enabled and folder is not None:
            self._disk = _Disk(folder / FILE, max_bytes // ENTRY_BYTES)
            self._memory.put(self._disk.load())

    @property
    def stats(self) -> CacheStats:
        return self._memory.stats

    def get(self, keys: Sequence[bytes]) -> list[Known | None]:
        """Return what is known under each key."""
        found = self._memory.get(keys)
        return [None if value is None else self._decoder.decode(value) for value in found]

    def put(self, entries: Iterable[tuple[bytes, Known]]) -> None:
        """Keep scores."""
        if not self.enabled:
            return
        encoded = [(key, self._encoder.encode(known)) for key, known in entries]
        if encoded:
            self._memory.put(encoded)
            if self._disk:
                self._disk.write(encoded)

    def close(self) -> None:
        """Write what is still to be written; nothing may be put afterwards."""
        if self._disk:
            self._disk.close()


class _Disk:
    """A file of scores, written by a thread of its own so that no request waits for a disk.

    It is a cache: what can't be read is begun anew, and what can't be written is lost with one
    warning.
    """

    def __init__(self, file: Path, most: int) -> None:
        self._file = file
        self._most = most
        self._failed = False
        self._waiting: SimpleQueue[Sequence[tuple[bytes, bytes]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="score-cache", daemon=True)
        self._thread.start()

    def load(self) -> list[tuple[bytes, bytes]]:
        """Return what is in the file, oldest first."""
        try:
            with self._open() as database:
                rows = database.execute("SELECT key, value FROM score ORDER BY place").fetchall()
                return [(bytes(key), bytes(value)) for key, value in rows]
        except (sqlite3.Error, OSError) as error:
            logger.warning("the score cache in %s can't be read: %s; begun anew", self._file, error)
            self._begin_anew()
            return []

    def write(self, entries: Sequence[tuple[bytes, bytes]]) -> None:
        """Have entries written soon."""
        self._waiting.put(entries)

    def close(self) -> None:
        """Wait until all is written."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (entries := self._waiting.get()) is not None:
            if self._failed:
                continue
            try:
                self._write(entries)
            except (sqlite3.Error, OSError) as error:
                self._failed = True
                logger.warning("scores are not kept in %s any more: %s", self._file, error)

    def _write(self, entries: Sequence[tuple[bytes, bytes]]) -> None:
        with self._open() as database:
            database.executemany("INSERT OR REPLACE INTO score (key, value) VALUES (?, ?)", entries)
            database.execute(
                "DELETE FROM score WHERE place <= (SELECT max(place) FROM score) - ?", (self._most,)
            )

    def _begin_anew(self) -> None:
        try:
            self._file.unlink(missing_ok=True)
        except OSError:
            self._failed = True  # the warning before told why

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with closing(sqlite3.connect(self._file, timeout=10)) as database, database:
            (version,) = database.execute("PRAGMA user_version").fetchone()
            if version not in {0, SCHEMA}:
                raise sqlite3.DatabaseError(f"it is of schema {version}, not {SCHEMA}")
            if version == 0:
                database.execute(
                    "CREATE TABLE IF NOT EXISTS score "
                    "(place INTEGER PRIMARY KEY, key BLOB UNIQUE NOT NULL, value BLOB NOT NULL)"
                )
                database.execute(f"PRAGMA user_version = {SCHEMA}")
            yield database
