"""What survives a restart: deployments and load checks, in one SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct, field

from app.errors import StateError

SCHEMA = 1
TABLES = """
CREATE TABLE deployment (id TEXT PRIMARY KEY, spec BLOB NOT NULL, created REAL NOT NULL);
CREATE TABLE checked (file TEXT PRIMARY KEY, bytes INTEGER NOT NULL, changed INTEGER NOT NULL,
                      engine TEXT NOT NULL);
"""
FILE = "state.sqlite3"


class Spec(Struct, frozen=True, kw_only=True):
    """What somebody asked to have served: a model's source, its id, and settings of its own."""

    id: str
    source: str
    pinned: bool = False
    options: dict[str, str | int | bool] = field(default_factory=dict)


class Store:
    """The state file in a folder, made when something is first written to it.

    Raises StateError, one line, where the file can't be read or written.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE

    def deployments(self) -> list[Spec]:
        """Return what was deployed, oldest first."""
        if not self._file.exists():
            return []
        with self._open() as database:
            rows = database.execute("SELECT spec FROM deployment ORDER BY created, id").fetchall()
        return [msgspec.json.decode(row[0], type=Spec) for row in rows]

    def keep(self, spec: Spec, created: float) -> None:
        """Remember a deployment, or what it has become."""
        with self._open() as database:
            database.execute(
                "INSERT INTO deployment VALUES (?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET spec = excluded.spec",
                (spec.id, msgspec.json.encode(spec), created),
            )

    def forget(self, deployment_id: str) -> None:
        """Forget a deployment, if it is known."""
        if self._file.exists():
            with self._open() as database:
                database.execute("DELETE FROM deployment WHERE id = ?", (deployment_id,))

    def is_checked(self, path: Path, engine: str) -> bool:
        """Tell whether this very file passed its load check with this engine."""
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
        """Remember that a file passed its load check."""
        size, changed = _stamp(path)
        with self._open() as database:
            database.execute(
                "INSERT OR REPLACE INTO checked VALUES (?, ?, ?, ?)",
                (str(path), size, changed, engine),
            )

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with closing(sqlite3.connect(self._file, timeout=10)) as database, database:
                _migrate(database)
                yield database
        except (sqlite3.Error, OSError) as error:
            raise StateError(f"the state in {self._file} can't be used: {error}") from error


def _migrate(database: sqlite3.Connection) -> None:
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version == SCHEMA:
        return
    if version > SCHEMA:
        raise sqlite3.DatabaseError(f"it is of schema {version}, this rerankd knows {SCHEMA}")
    database.executescript(f"BEGIN; {TABLES} PRAGMA user_version = {SCHEMA}; COMMIT;")


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
