"""The state file's contents: deployments, load checks and API keys."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec

from rerankd.errors import Conflict, StateError
from rerankd.store.database import (
    BUSY_SECONDS,
    STATE_FILE,
    is_damaged,
    open_state,
    set_aside,
    state_failure,
)
from rerankd.store.key_marker import KeyMarker, lost_keys
from rerankd.store.private_files import tighten_files
from rerankd.store.records import Key, Spec, key_from_row, spec_from_row

logger = logging.getLogger(__name__)

Stamp = tuple[int, int, int]
"""Inode, bytes and time of the last change in nanoseconds."""


class Store:
    """The state file in a folder, made when something is first written to it.

    Every method may wait for a disk or another process's lock, so none but `stamp` is called on
    an event loop. Raises StateUnavailable after `busy_seconds` of another's lock, StateError, one
    line, where the file can't be read or written.
    """

    def __init__(self, folder: Path, busy_seconds: float = BUSY_SECONDS) -> None:
        self._file = folder / STATE_FILE
        self._busy_seconds = busy_seconds
        self._marker = KeyMarker(folder)
        self._warned: set[tuple[str, str]] = set()

    def tighten(self) -> None:
        """Let only their owner read the state files, also those of earlier versions."""
        tighten_files(self._file.parent)

    def deployments(self) -> list[Spec]:
        """Return the stored deployments that can be read, oldest first."""
        if self.stamp() is None:
            return []
        with self._open() as database:
            rows = database.execute(
                "SELECT id, spec FROM deployment ORDER BY created, id"
            ).fetchall()
        return [spec for row in rows if (spec := spec_from_row(*row))]

    def keep(self, spec: Spec, created: float) -> None:
        """Store a deployment, in place of an earlier one of the same id."""
        with self._open(create=True) as database:
            database.execute(
                "INSERT INTO deployment VALUES (?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET spec = excluded.spec",
                (spec.id, msgspec.json.encode(spec), created),
            )

    def forget(self, deployment_id: str) -> bool:
        """Delete a deployment, readable or not; return whether it was stored."""
        if self.stamp() is None:
            return False
        with self._open() as database:
            database.execute("DELETE FROM trial WHERE deployment = ?", (deployment_id,))
            found = database.execute("DELETE FROM deployment WHERE id = ?", (deployment_id,))
            return found.rowcount > 0

    def begin_trial(self, deployment_id: str, digest: bytes) -> None:
        """Mark that a deployment is being loaded; `digest` is of all that its load depends on.

        No state file is made for it.
        """
        self._write_trial(
            "INSERT INTO trial VALUES (?, ?, 0, 1) ON CONFLICT (deployment) DO UPDATE SET "
            "trying = 1, digest = excluded.digest, "
            "deaths = iif(digest = excluded.digest, deaths, 0)",
            (deployment_id, digest),
        )

    def end_trial(self, deployment_id: str) -> None:
        """Remove a deployment's mark; how often the process ended under it stays known."""
        self._write_trial("UPDATE trial SET trying = 0 WHERE deployment = ?", (deployment_id,))

    def end_trials(self) -> None:
        """Remove all marks."""
        self._write_trial("UPDATE trial SET trying = 0 WHERE trying")

    def forget_trial(self, deployment_id: str) -> None:
        """Forget a deployment's mark and its deaths."""
        self._write_trial("DELETE FROM trial WHERE deployment = ?", (deployment_id,))

    def count_deaths(self) -> None:
        """Count a death for every mark that an earlier process left, and remove the marks."""
        self._write_trial("UPDATE trial SET deaths = deaths + 1, trying = 0 WHERE trying")

    def deaths(self, deployment_id: str, digest: bytes) -> int:
        """Return how often in a row the process ended while this was loading."""
        if self.stamp() is None:
            return 0
        with self._open() as database:
            found = database.execute(
                "SELECT deaths FROM trial WHERE deployment = ? AND digest = ?",
                (deployment_id, digest),
            ).fetchone()
        return int(found[0]) if found else 0

    def allow_trial(self, deployment_id: str, deaths: int) -> bool:
        """Lower a deployment's deaths to `deaths`; return whether any are known."""
        return self._write_trial(
            "UPDATE trial SET deaths = min(deaths + trying, ?), trying = 0 WHERE deployment = ?",
            (deaths, deployment_id),
        )

    def _write_trial(self, statement: str, values: tuple[object, ...] = ()) -> bool:
        if self.stamp() is None:
            return False
        with self._open() as database:
            return database.execute(statement, values).rowcount > 0

    def is_checked(self, path: Path, engine: str) -> bool:
        """Return whether this file, unchanged, passed its load check with this engine."""
        if self.stamp() is None:
            return False
        size, changed = _size_and_change(path)
        with self._open() as database:
            found = database.execute(
                "SELECT 1 FROM checked WHERE file = ? AND bytes = ? AND changed = ? AND engine = ?",
                (str(path), size, changed, engine),
            ).fetchone()
        return found is not None

    def set_checked(self, path: Path, engine: str) -> None:
        """Store that a file passed its load check."""
        size, changed = _size_and_change(path)
        with self._open(create=True) as database:
            database.execute(
                "INSERT OR REPLACE INTO checked VALUES (?, ?, ?, ?)",
                (str(path), size, changed, engine),
            )

    def stamp(self) -> Stamp | None:
        """Return what differs after a change by any process, None without a file; 2 µs."""
        try:
            status = self._file.stat()
        except FileNotFoundError:
            return None
        except NotADirectoryError as error:
            # A file stands where the folder was, or above it: there a folder can never have been.
            if self._file.parent.exists():
                raise state_failure(self._file, error) from error
            return None
        except OSError as error:
            raise state_failure(self._file, error) from error
        return status.st_ino, status.st_size, status.st_mtime_ns

    def api_keys(self, *, expected: bool = False) -> list[Key]:
        """Return all API keys, oldest first, revoked ones included.

        Raises StateError as well where there are none, although some were `expected` or made here.
        """
        found = self._stored_keys()
        if not found and (expected or self._marker.is_set):
            self._marker.set()  # it may be lost as well, with the folder
            raise lost_keys(self._file)
        return found

    def mark_keys(self) -> None:
        """Remember apart from the state file that there are keys."""
        self._marker.set()

    def reset_keys(self) -> Path | None:
        """Start without keys where they are lost; return where a damaged file was moved.

        Raises Conflict while keys can be read, StateError where the file belongs to a later
        version or can't be moved.
        """
        moved = None
        try:
            if any(key.revoked is None for key in self._stored_keys()):
                raise Conflict("there are API keys in force; use `rerankd keys revoke`")
        except StateError as error:
            if not is_damaged(error):
                raise
            moved = set_aside(self._file)
        try:
            self._marker.clear()
        except OSError as error:
            raise state_failure(self._file, error) from error
        return moved

    def _stored_keys(self) -> list[Key]:
        if self.stamp() is None:
            return []
        with self._open() as database:
            rows = database.execute(
                "SELECT id, prefix, spec, last_used, revoked FROM key ORDER BY rowid"
            ).fetchall()
        found = [key_from_row(*row) for row in rows]
        for key, reason in found:
            if reason and (key.id, reason) not in self._warned:
                self._warned.add((key.id, reason))
                logger.warning(
                    "the API key %r is refused, because its record can't be read: %s",
                    key.id,
                    reason,
                )
        return [key for key, _ in found]

    def add_key(self, key: Key, forget_before: int) -> None:
        """Store a new key, and delete those that were revoked before a time."""
        with self._open(create=True) as database:
            database.execute("DELETE FROM key WHERE revoked < ?", (forget_before,))
            database.execute(
                "INSERT INTO key (id, prefix, spec) VALUES (?, ?, ?)",
                (key.id, key.prefix, msgspec.json.encode(key)),
            )
        self._marker.set()

    def revoke_key(self, key_id: str, now: int) -> bool:
        """Revoke a key from now on; False where none of this id is in force."""
        if self.stamp() is None:
            return False
        with self._open() as database:
            changed = database.execute(
                "UPDATE key SET revoked = ? WHERE id = ? AND revoked IS NULL", (now, key_id)
            )
            if changed.rowcount and not _holds_active_key(database):
                self._marker.clear()
            return changed.rowcount > 0

    def set_keys_used(self, used: Mapping[str, int]) -> None:
        """Store when keys were last used, by their ids."""
        if self.stamp() is not None:
            with self._open() as database:
                database.executemany(
                    "UPDATE key SET last_used = :now WHERE id = :id",
                    [{"id": key_id, "now": now} for key_id, now in used.items()],
                )

    def _open(self, *, create: bool = False) -> AbstractContextManager[sqlite3.Connection]:
        return open_state(self._file, self._busy_seconds, create=create)


def _holds_active_key(database: sqlite3.Connection) -> bool:
    return bool(database.execute("SELECT 1 FROM key WHERE revoked IS NULL").fetchone())


def _size_and_change(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
