"""What was computed before: raw scores under digests, bounded in bytes, kept on disk if wanted.

Nothing of a query or document is stored but a digest. Raw scores only: what is made of them
(its scale, order, top_n) is a request's own matter.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from queue import SimpleQueue

import msgspec
from msgspec import Struct

from rerankd.domain import Passage
from rerankd.lru import ENTRY_BYTES, CacheStats, LRUCache
from rerankd.store.private_files import create_private_file, make_private_folder

logger = logging.getLogger(__name__)

FILE = "scores.sqlite3"
SCHEMA = 1
READ_SCORES = (
    "SELECT key, value FROM score "
    "WHERE typeof(key) = 'blob' AND typeof(value) = 'blob' ORDER BY place"
)


class CachedScore(Struct, frozen=True, array_like=True):
    """A document's raw score for a query, and what to report with it again."""

    logit: float
    tokens: int
    """Tokens of all its pairs."""
    chunks: int
    truncated: bool
    passages: tuple[Passage, ...] = ()


class ScoreCache:
    """Scores of all models of this process."""

    def __init__(self, max_bytes: int, folder: Path | None = None) -> None:
        """`max_bytes` 0 keeps nothing; with `folder`, scores are written to a file there."""
        self.enabled = max_bytes > 0
        self._memory = LRUCache(max_bytes)
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(CachedScore)
        self._disk = None
        if self.enabled and folder is not None:
            self._disk = _Disk(folder / FILE, max_bytes // ENTRY_BYTES)
            self._memory.put(self._disk.load())

    @property
    def stats(self) -> CacheStats:
        return self._memory.stats

    def get(self, keys: Sequence[bytes]) -> list[CachedScore | None]:
        """Return what is known under each key."""
        found = self._memory.get(keys)
        return [None if value is None else self._decoded(value) for value in found]

    def put(self, entries: Iterable[tuple[bytes, CachedScore]]) -> None:
        """Keep scores."""
        if not self.enabled:
            return
        encoded = [(key, self._encoder.encode(known)) for key, known in entries]
        if encoded:
            self._memory.put(encoded)
            if self._disk:
                self._disk.write(encoded)

    def _decoded(self, value: bytes) -> CachedScore | None:
        try:
            return self._decoder.decode(value)
        except (msgspec.DecodeError, UnicodeError):  # a file that something else wrote to
            return None

    def close(self) -> None:
        """Write what is still to be written; nothing may be put afterwards."""
        if self._disk:
            self._disk.close()


class _Disk:
    """A file of scores, written by a thread of its own so that no request waits for a disk.

    It is a cache: a file that can't be read is replaced, and what can't be written is lost with one
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
                rows = database.execute(READ_SCORES).fetchall()
                return [(bytes(key), bytes(value)) for key, value in rows]
        except (sqlite3.Error, OSError) as error:
            logger.warning(
                "the score cache in %s can't be read: %s; starting with an empty one",
                self._file,
                error,
            )
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
                logger.warning("no longer storing scores in %s: %s", self._file, error)

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
            self._failed = True  # the warning before gave the reason

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        make_private_folder(self._file.parent)
        create_private_file(self._file)
        with closing(sqlite3.connect(self._file, timeout=10)) as database, database:
            (version,) = database.execute("PRAGMA user_version").fetchone()
            if version not in {0, SCHEMA}:
                raise sqlite3.DatabaseError(f"its schema is {version}, not {SCHEMA}")
            if version == 0:
                database.execute(
                    "CREATE TABLE IF NOT EXISTS score "
                    "(place INTEGER PRIMARY KEY, key BLOB UNIQUE NOT NULL, value BLOB NOT NULL)"
                )
                database.execute(f"PRAGMA user_version = {SCHEMA}")
            yield database
