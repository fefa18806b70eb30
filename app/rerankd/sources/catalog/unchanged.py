"""What a file's content gave before, for as long as the file is the same one, unchanged."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

Result = TypeVar("Result")
FileState: TypeAlias = tuple[int, int, int, int, int]

SETTLED_SECONDS = 2.0
"""A change within this time of another may leave a file's times as they are: some file systems
keep whole seconds, or two."""


class PerFile(Generic[Result]):
    """A function of one file's content, called again only when the file has changed.

    Keeps the results of the `most` files used last; safe from any thread. An error is not kept.
    """

    def __init__(self, read: Callable[[Path], Result], most: int) -> None:
        self._read = read
        self._most = most
        self._known: OrderedDict[Path, tuple[FileState, Result]] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, path: Path) -> Result:
        """Return the result for a file; raises what the function raises."""
        state = _settled_state(path)
        with self._lock:
            known = self._known.get(path)
            if known is not None and known[0] == state:
                self._known.move_to_end(path)
                return known[1]
        result = self._read(path)
        # The same before and after: so it is that content which was read.
        if state is not None and _settled_state(path) == state:
            with self._lock:
                self._known[path] = (state, result)
                self._known.move_to_end(path)
                while len(self._known) > self._most:
                    self._known.popitem(last=False)
        return result


def _settled_state(path: Path) -> FileState | None:
    """Return what differs after any change, None where a change might not show or no file is."""
    try:
        found = path.stat()
    except OSError:
        return None
    changed = max(found.st_mtime, found.st_ctime)
    if abs(time.time() - changed) < SETTLED_SECONDS:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
