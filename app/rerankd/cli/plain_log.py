"""The log of commands: one plain line for each record, on standard error."""

from __future__ import annotations

import logging
import sys
from typing import Any

from rerankd.logs import install_handler
from rerankd.terminal import visible


def configure_logging(level: str) -> None:
    """Send rerankd's and uvicorn's records to stderr, one plain line each, from `level` on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PlainFormatter())
    install_handler(handler, level)


class PlainFormatter(logging.Formatter):
    """Writes lines that steer no terminal, whatever a message holds."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        """See Formatter: one line."""
        return visible(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's own name
        """See Formatter."""
        return visible(super().formatException(ei), lines=True)
