"""What llama.cpp says: its warnings to the log, and its last words as the reason of a failure."""

from __future__ import annotations

import logging
from collections import deque

from rerankd.logs import ASIDE

logger = logging.getLogger(__name__)

INFO, WARNING, ERROR = 2, 3, 4  # of ggml_log_level
LEVELS = {WARNING: logging.INFO, ERROR: logging.WARNING}
"""llama.cpp warns of much that is as it should be."""

_recent: deque[str] = deque(maxlen=8)


def note(level: int, text: bytes) -> None:
    """Take a line that llama.cpp logs."""
    line = text.decode("utf-8", "replace").strip()
    if not line or line == ".":
        return
    if level in LEVELS:
        _recent.append(line)
        logger.log(LEVELS[level], "%s", line, extra=ASIDE)
    else:
        logger.debug("%s", line)


def forget() -> None:
    """Begin anew, before a call whose last words may be asked for."""
    _recent.clear()


def last_words() -> str:
    """Return why llama.cpp failed just now, as far as it said."""
    # Its very last words are only that it failed; the reason stands before them.
    said = [line for line in _recent if "failed to load model" not in line]
    return said[-1] if said else "no reason given"
