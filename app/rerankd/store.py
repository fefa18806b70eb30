"""What survives a restart: deployments, load checks and API keys, in one SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct, field

from rerankd.errors import StateError

MIGRATIONS = (
    (
        "CREATE TABLE deployment (id TEXT PRIMARY KEY, spec BLOB NOT NULL, created REAL NOT NULL)",
        """CREATE TABLE checked (file TEXT PRIMARY KEY, bytes INTEGER NOT NULL,
                                 changed INTEGER NOT NULL, engine TEXT NOT NULL)""",
    ),
    (
        """CREATE TABLE key (id TEXT PRIMARY KEY, prefix TEXT NOT NULL UNIQUE, spec BLOB NOT NULL,
                             last_used INTEGER, revoked INTEGER)""",
    ),
)
"""The statements that lead from each schema to the next; 0 is an empty file."""

STATE_SCHEMA = len(MIGRATIONS)
STATE_FILE = "state.sqlite3"


class Spec(Struct, frozen=True, kw_only=True):
    """A model to serve: its source, its id, and settings of its own."""

    id: str
    source: str
    pinned: bool = False
    options: dict[str, str | int | bool] = field(default_factory=dict)


Scope = Literal["inference", "manage"]
"""What a key may be used for."""


class Key(Struct, frozen=True, kw_only=True):
    """An API key's record; of the key itself only its digest. Times are Unix seconds."""

    id: str
    name: str
    prefix: str
    """How the key begins, to recognise it by; empty for one from the settings."""
    digest: bytes
    created: int
    expires: int | None = None
    scopes: tuple[Scope, ...] = ("inference",)
    models: tuple[str, ...] | None = None
    """Deployments it may rank with; None: all."""
    requests_per_minute: int | None = None
    """None: the limit that the settings give every key; 0: no limit. Likewise the next two."""
    tokens_per_minute: int | None = None
    concurrent_requests: int | None = None
    last_used: int | None = None
    revoked: int | None = None


Stamp = tuple[int, int, int]
"""Inode, bytes and time of the last change in nanoseconds."""


class Store:
    """The state file in a folder, made when something is first written to it.

    Raises StateError, one line, where the file can't be read or written.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / STATE_FILE

    def deployments(self) -> list[Spec]:
        """Return the stored deployments, oldest first."""
        if not self._file.exists():
            return []
        with self._open() as database:
            rows = database.execute("SELECT spec FROM deployment ORDER BY created, id").fetchall()
        return [msgspec.json.decode(row[0], type=Spec) for row in rows]

    def keep(self, spec: Spec, created: float) -> None:
        """Store a deployment, in place of an earlier one of the same id."""
        with self._open() as database:
            database.execute(
                "INSERT INTO deployment VALUES (?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET spec = excluded.spec",
                (spec.id, msgspec.json.encode(spec), created),
            )

    def forget(self, deployment_id: str) -> None:
        """Delete a deployment, if it is stored."""
        if self._file.exists():
            with self._open() as database:
                database.execute("DELETE FROM deployment WHERE id = ?", (deployment_id,))

    def is_checked(self, path: Path, engine: str) -> bool:
        """Return whether this file, unchanged, passed its load check with this engine."""
        if not self._file.exists():
            return False
        size, changed = _stamp(path)
        with self._open() as database:
            found = database.execute(
                "SELECT 1 FROM checked WHERE file = ? AND bytes = ? AND changed = ? AND engine = ?",
                (str(path), size, changed, engine),
            ).fetchone()
        return found is not None

    def set_checked(self, path: Path, engine: str) -> None:
        """Store that a file passed its load check."""
        size, changed = _stamp(path)
        with self._open() as database:
            database.execute(
                "INSERT OR REPLACE INTO checked VALUES (?, ?, ?, ?)",
                (str(path), size, changed, engine),
            )

    def stamp(self) -> Stamp | None:
        """Return what differs after a change by any process, None without a file; 2 µs."""
        try:
            status = self._file.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StateError(f"cannot use the state in {self._file}: {error}") from error
        return status.st_ino, status.st_size, status.st_mtime_ns

    def api_keys(self) -> list[Key]:
        """Return all API keys, oldest first, revoked ones included."""
        if self.stamp() is None:
            return []
        with self._open() as database:
            rows = database.execute("SELECT spec, last_used, revoked FROM key ORDER BY rowid")
            return [_key(*row) for row in rows]

    def add_key(self, key: Key, forget_before: int) -> None:
        """Store a new key, and delete those that were revoked before a time."""
        with self._open() as database:
            database.execute("DELETE FROM key WHERE revoked < ?", (forget_before,))
            database.execute(
                "INSERT INTO key (id, prefix, spec) VALUES (?, ?, ?)",
                (key.id, key.prefix, msgspec.json.encode(key)),
            )

    def revoke_key(self, key_id: str, now: int) -> bool:
        """Revoke a key from now on; False where none of this id is in force."""
        if self.stamp() is None:
            return False
        with self._open() as database:
            changed = database.execute(
                "UPDATE key SET revoked = ? WHERE id = ? AND revoked IS NULL", (now, key_id)
            )
            return changed.rowcount > 0

    def set_key_used(self, key_id: str, now: int) -> None:
        """Store when a key was last used."""
        with self._open() as database:
            database.execute("UPDATE key SET last_used = ? WHERE id = ?", (now, key_id))

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with closing(sqlite3.connect(self._file, timeout=10)) as database, database:
                _migrate(database)
                yield database
        except (sqlite3.Error, OSError) as error:
            raise StateError(f"cannot use the state in {self._file}: {error}") from error


def _migrate(database: sqlite3.Connection) -> None:
    if _schema_version(database) == STATE_SCHEMA:
        return
    database.execute("BEGIN IMMEDIATE")  # another process may be about to do the same
    version = _schema_version(database)
    if version > STATE_SCHEMA:
        raise sqlite3.DatabaseError(
            f"its schema is {version}, but this version of rerankd supports {STATE_SCHEMA}"
        )
    for statements in MIGRATIONS[version:]:
        for statement in statements:
            database.execute(statement)
    database.execute(f"PRAGMA user_version = {STATE_SCHEMA}")
    database.commit()


def _schema_version(database: sqlite3.Connection) -> int:
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def _key(spec: bytes, last_used: int | None, revoked: int | None) -> Key:
    known = msgspec.json.decode(spec, type=Key)
    return msgspec.structs.replace(known, last_used=last_used, revoked=revoked)


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
