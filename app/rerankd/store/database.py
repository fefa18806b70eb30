"""Opens the state file: its schema, its locks, and what is said when it can't be used.

The file keeps SQLite's rollback journal. Writes are rare and take milliseconds, so a write-ahead
log would gain little; it doesn't work on network file systems, and its writes don't change the
file's time, by which running servers notice changes.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from rerankd.errors import StateError, StateUnavailable
from rerankd.store.private_files import create_private_file, make_private_folder

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
    (
        """CREATE TABLE trial (deployment TEXT PRIMARY KEY, digest BLOB NOT NULL,
                               deaths INTEGER NOT NULL, trying INTEGER NOT NULL)""",
    ),
)
"""The statements that lead from each schema to the next; 0 is an empty file."""

STATE_SCHEMA = len(MIGRATIONS)
STATE_FILE = "state.sqlite3"

BUSY_SECONDS = 1.0
"""How long to wait for another connection's lock."""
LOCKED_CODES = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
COMPANIONS = ("-journal", "-wal", "-shm")
DAMAGED_CODES = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


@contextmanager
def open_state(
    file: Path, busy_seconds: float = BUSY_SECONDS, *, create: bool = False
) -> Iterator[sqlite3.Connection]:
    """Open the state file for one transaction; with `create`, make it if it is missing.

    Raises StateUnavailable while another process locks it, StateError, one line, where it can't be
    read or written.
    """
    try:
        if create:
            make_private_folder(file.parent)
            create_private_file(file)
        with (
            closing(sqlite3.connect(_existing(file), timeout=busy_seconds, uri=True)) as database,
            database,
        ):
            database.text_factory = _lenient_text
            _migrate(database)
            yield database
    except (sqlite3.Error, OSError) as error:
        raise state_failure(file, error) from error


def state_failure(file: Path, error: Exception) -> StateError:
    """Return what to raise where the state file can't be used."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF
    reason = f"cannot use the state in {file}: {error}"
    if code in LOCKED_CODES:
        return StateUnavailable(f"{reason}; another process is using it", retry_after=1)
    if code in DAMAGED_CODES:
        return StateError(
            f"{reason}; restore it from a backup, or run `rerankd keys reset` to move it aside and "
            "start without keys and deployments"
        )
    return StateError(reason)


def is_damaged(error: StateError) -> bool:
    """Return whether an error says that the file's contents make no sense."""
    code: int = getattr(error.__cause__, "sqlite_errorcode", sqlite3.SQLITE_OK)
    return code & 0xFF in DAMAGED_CODES


def set_aside(file: Path) -> Path:
    """Rename a damaged state file and its companions; return its new name. Raises StateError."""
    aside = file.with_name(f"{file.name}.damaged-{time.time_ns()}")
    try:
        for suffix in COMPANIONS:  # before the file: a journal must never meet another database
            with suppress(FileNotFoundError):
                file.with_name(file.name + suffix).rename(aside.with_name(aside.name + suffix))
        file.rename(aside)
    except OSError as error:
        raise state_failure(file, error) from error
    return aside


def _existing(file: Path) -> str:
    return f"{file.absolute().as_uri()}?mode=rw"


def _lenient_text(text: bytes) -> str:
    return text.decode("utf-8", "replace")


def _migrate(database: sqlite3.Connection) -> None:
    if _schema_version(database) == STATE_SCHEMA:
        return
    database.execute("BEGIN IMMEDIATE")  # another process may be about to do the same
    version = _schema_version(database)
    if not 0 <= version <= STATE_SCHEMA:
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
