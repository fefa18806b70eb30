"""llama.cpp's log: its warnings go to ours, and its last lines give the reason for a failure."""

from __future__ import annotations

import logging
from collections import deque

from rerankd.logs import ASIDE

logger = logging.getLogger(__name__)

INFO, WARNING, ERROR = 2, 3, 4  # of ggml_log_level
OUR_LEVELS = {WARNING: logging.INFO, ERROR: logging.WARNING}
"""One level lower than llama.cpp's own: it warns about much that is normal."""

_recent: deque[str] = deque(maxlen=8)


def note(level: int, text: bytes) -> None:
    """Log a line from llama.cpp, and keep it if it may be the reason for a failure."""
    line = text.decode("utf-8", "replace").strip()
    if not line or line == ".":
        return
    if level in OUR_LEVELS:
        _recent.append(line)
        logger.log(OUR_LEVELS[level], "%s", line, extra=ASIDE)
    else:
        logger.debug("%s", line)


def forget() -> None:
    """Forget earlier lines, before a call whose failure is to be explained."""
    _recent.clear()


def last_words() -> str:
    """Return the reason llama.cpp logged for its latest failure."""
    # The very last line only says that loading failed; the reason is on the line before it.
    lines = [line for line in _recent if "failed to load model" not in line]
    return lines[-1] if lines else "no reason given"
