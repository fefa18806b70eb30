"""A file that remembers that there were API keys, for when the state file is lost.

A server that finds no keys answers without one. So a state file that was deleted, emptied or
restored from before the keys must not look like one that never had any.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path

from rerankd.errors import StateError
from rerankd.store.private_files import create_private_file, make_private_folder

logger = logging.getLogger(__name__)

MARKER_FILE = "keys-required"
MARKER_TEXT = b"""\
API keys were created in this folder. While this file is here, rerankd refuses to run without them.
To run without keys, use `rerankd keys revoke`, or `rerankd keys reset` if they are lost.
"""


class KeyMarker:
    """The marker in a state folder; whoever can't write there does without."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / MARKER_FILE
        self._warned = False

    @property
    def is_set(self) -> bool:
        """Whether there were keys, and not all of them were revoked."""
        with suppress(OSError):
            return self._file.exists()
        return True

    def set(self) -> None:
        """Remember that there are keys."""
        try:
            if not self._file.exists():
                make_private_folder(self._file.parent)
                create_private_file(self._file, MARKER_TEXT)
        except OSError as error:
            if not self._warned:
                logger.warning("cannot write %s: %s", self._file, error.strerror)
            self._warned = True

    def clear(self) -> None:
        """Forget that there were keys. Raises OSError."""
        self._file.unlink(missing_ok=True)


def lost_keys(state_file: Path) -> StateError:
    """Return what to raise where keys should be and aren't."""
    return StateError(
        f"API keys were created, but {state_file} no longer holds any; restore it from a backup, "
        "or run `rerankd keys reset` to start without keys"
    )
