"""Files that only their owner may read, whatever the folder's mode and the process's umask.

SQLite gives a database's journal and its other companions the mode of the database.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PRIVATE_MODE = 0o600
PRIVATE_FOLDER_MODE = 0o700
STATE_PATTERNS = (
    *("state.sqlite3*", "scores.sqlite3*", "usage.sqlite3*", "keys-required"),
    *("tuned.json*", ".*-tuned.json", "weights/*"),
)
"""The files in a state folder that rerankd writes, and copies made beside them."""

# Closing a file drops all locks that this process holds on it, those of SQLite included. A new
# file has none yet, and nobody in this process opens it before it is closed here.
_creating = threading.Lock()


def make_private_folder(folder: Path) -> None:
    """Create a folder that only its owner may enter; one that exists keeps its mode."""
    folder.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER_MODE)


def create_private_file(path: Path, content: bytes = b"") -> None:
    """Create a file that only its owner may read; one that exists is left alone."""
    with _creating, suppress(FileExistsError):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_MODE)
        with os.fdopen(opened, "wb") as file:
            file.write(content)


def write_private_file(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, in place of an earlier one, all at once."""
    made = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        made.unlink(missing_ok=True)  # left by a process that was killed, in whatever mode
        create_private_file(made, content)
        made.replace(path)
    finally:
        with suppress(OSError):
            made.unlink()


def tighten_files(folder: Path) -> None:
    """Take others' rights away from the state files in a folder, where the owner permits it."""
    for path in _state_files(folder):
        with suppress(OSError):
            if path.is_file() and not path.is_symlink() and path.stat().st_mode & 0o077:
                path.chmod(PRIVATE_MODE)


def _state_files(folder: Path) -> Iterator[Path]:
    for pattern in STATE_PATTERNS:
        yield from folder.glob(pattern)
