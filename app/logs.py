"""Logging, configured once by the command line. Documents, queries and keys never reach it."""

from __future__ import annotations

import logging
import sys

LEVELS = ("debug", "info", "warning", "error")


def configure(level: str) -> None:
    """Send rerankd's and uvicorn's records to stderr, one line each, from `level` on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("app").setLevel(level.upper())
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
