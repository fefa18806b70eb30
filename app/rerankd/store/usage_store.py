"""Usage that survives a restart: counts by window, step, model and key, in a file of its own.

Not in the state file: that one's time says when keys and deployments changed, and losing counts
must never lock anybody out. Writers add to what is there, so several servers may share a folder.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from rerankd.errors import StateError
from rerankd.store.database import BUSY_SECONDS
from rerankd.store.private_files import create_private_file, make_private_folder

USAGE_FILE = "usage.sqlite3"
USAGE_SCHEMA = 1
USAGE_TABLE = """CREATE TABLE usage (span TEXT NOT NULL, step INTEGER NOT NULL, model TEXT NOT NULL,
                               key TEXT NOT NULL, amounts BLOB NOT NULL,
                               PRIMARY KEY (span, step, model, key)) WITHOUT ROWID"""


class UsageAmounts(Struct):
    """Usage in one step; `latencies` counts requests by bucket."""

    requests: int = 0
    documents: int = 0
    tokens: int = 0
    errors: int = 0
    cached: int = 0
    latencies: dict[int, int] = field(default_factory=dict)

    def include(self, other: UsageAmounts) -> None:
        """Add what another has counted."""
        self.requests += other.requests
        self.documents += other.documents
        self.tokens += other.tokens
        self.errors += other.errors
        self.cached += other.cached
        for place, count in other.latencies.items():
            self.latencies[place] = self.latencies.get(place, 0) + count


class UsagePlace(Struct, frozen=True):
    """What an amount is of: a window's name, a step's number in it, a model and a key's id."""

    window: str
    step: int
    model: str
    key: str


class UsageStore:
    """The usage file in a folder. Its methods wait for the disk, so none is for an event loop.

    They raise StateError, one line, where the file can't be read or written.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / USAGE_FILE

    def load(self) -> list[tuple[UsagePlace, UsageAmounts]]:
        """Return all that is stored; what can't be read is left out."""
        if not self._file.exists():
            return []
        with self._opened() as database:
            rows = database.execute("SELECT span, step, model, key, amounts FROM usage").fetchall()
        return [
            (UsagePlace(str(window), int(step), str(model), str(key)), amounts)
            for window, step, model, key, blob in rows
            if (amounts := _amounts_of(blob)) is not None
        ]

    def add(
        self, counted: Iterable[tuple[UsagePlace, UsageAmounts]], expired: Mapping[str, int]
    ) -> None:
        """Add to what is stored, and delete each window's steps before the one in `expired`."""
        make_private_folder(self._file.parent)
        create_private_file(self._file)
        with self._opened() as database:
            database.execute("BEGIN IMMEDIATE")  # others may add to the same rows
            for place, amounts in counted:
                _add_to_row(database, place, amounts)
            for window, step in expired.items():
                database.execute("DELETE FROM usage WHERE span = ? AND step < ?", (window, step))

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            with (
                closing(sqlite3.connect(self._file, timeout=BUSY_SECONDS)) as database,
                database,
            ):
                _require_table(database)
                yield database
        except (sqlite3.Error, OSError) as error:
            raise StateError(f"cannot use the usage in {self._file}: {error}") from error


def _require_table(database: sqlite3.Connection) -> None:
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version == USAGE_SCHEMA:
        return
    if version:
        raise sqlite3.DatabaseError(f"its schema is {version}, of another version of rerankd")
    database.execute("BEGIN IMMEDIATE")
    if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'usage'").fetchone():
        database.execute(USAGE_TABLE)
    database.execute(f"PRAGMA user_version = {USAGE_SCHEMA}")
    database.commit()


def _add_to_row(database: sqlite3.Connection, place: UsagePlace, amounts: UsageAmounts) -> None:
    named = (place.window, place.step, place.model, place.key)
    found = database.execute(
        "SELECT amounts FROM usage WHERE (span, step, model, key) = (?, ?, ?, ?)", named
    ).fetchone()
    total = (_amounts_of(found[0]) if found else None) or UsageAmounts()
    total.include(amounts)
    database.execute(
        "INSERT OR REPLACE INTO usage VALUES (?, ?, ?, ?, ?)",
        (*named, msgspec.msgpack.encode(total)),
    )


def _amounts_of(blob: Any) -> UsageAmounts | None:
    try:
        found: UsageAmounts = msgspec.msgpack.decode(blob, type=UsageAmounts)
    except (msgspec.DecodeError, TypeError):
        return None
    return found
