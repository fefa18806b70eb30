"""A log that a fault in a loop can't fill: the same warning at most once a second."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable

INTERVAL = 1.0
"""Seconds between two lines that say the same."""
MOST_KEPT = 256
"""Different lines that are remembered; beyond it the one that was written longest ago is not."""


class RepeatFilter(logging.Filter):
    """Drops a warning or error that was written within the last second, and counts them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._written: OrderedDict[tuple[object, ...], tuple[float, int]] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        """Let a line pass, with the number of those dropped before it."""
        if record.levelno < logging.WARNING:
            return True
        kind = record.exc_info[0] if record.exc_info else None
        key = (record.name, record.levelno, str(record.msg), repr(record.args), kind)
        now = self._clock()
        before, dropped = self._written.get(key, (-INTERVAL, 0))
        if now - before < INTERVAL:
            self._written[key] = (before, dropped + 1)
            return False
        self._written[key] = (now, 0)
        self._written.move_to_end(key)
        if len(self._written) > MOST_KEPT:
            self._written.popitem(last=False)
        if dropped:
            record.msg = f"{record.msg} ({dropped} more of these were not logged)"
        return True
