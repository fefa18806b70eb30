"""Logging: what a line is about, and which lines are kept. Lines never contain texts or keys.

Every module logs through the standard library; `log_format` renders a server's lines.
"""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

from msgspec import Struct

ASIDE = {"aside": True}
"""`extra` of lines that are kept for a deployment, but written only at the level debug."""

ROUTINE = ("/health", "/metrics", "/static")
"""Prefixes of paths that probes, scrapers and pages request all the time."""

KEPT_LINES = 200
KEPT_DEPLOYMENTS = 256


class Notes(Struct, kw_only=True):
    """What is known of a request so far; code that learns more adds it here."""

    request_id: str
    model: str = ""
    documents: int = 0
    tokens: int = 0
    caller: str = ""
    error: str = ""
    """Code of the error in its response."""
    ranked: bool = False
    """Whether an Observer has counted it."""


REQUEST: ContextVar[Notes | None] = ContextVar("request", default=None)
"""The request that the running code works for; set by the access log."""

DEPLOYMENT: ContextVar[str] = ContextVar("deployment", default="")
"""Id of the deployment that the running code works for."""

TRACE: ContextVar[str] = ContextVar("trace", default="")
"""Id of the trace that the running code is part of, where there are traces."""


@contextmanager
def about_deployment(deployment_id: str) -> Iterator[None]:
    """Mark every line of this task, and of the threads it waits for, as about a deployment."""
    token = DEPLOYMENT.set(deployment_id)
    try:
        yield
    finally:
        DEPLOYMENT.reset(token)


def note_error(code: str) -> None:
    """Note an error's code for the log line of the current request, if there is one."""
    notes = REQUEST.get()
    if notes:
        notes.error = code


def install_handler(handler: logging.Handler, level: str) -> None:
    """Make `handler` the only one, from `level` on; of libraries only warnings are written."""
    handler.setLevel(level.upper())
    if handler.level > logging.DEBUG:
        handler.addFilter(_is_for_all)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    # The handler decides what is written; what is kept of deployments doesn't depend on that.
    logging.getLogger("rerankd").setLevel(min(logging.INFO, handler.level))
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


def _is_for_all(record: logging.LogRecord) -> bool:
    return not getattr(record, "aside", False)


class LogLine(Struct, frozen=True):
    """A log line; `time` is a Unix time in seconds."""

    time: float
    level: str
    message: str


class RecentLines(logging.Handler):
    """Keeps the last lines about each deployment, from `info` on, whatever the log's level."""

    def __init__(self, lines: int = KEPT_LINES, deployments: int = KEPT_DEPLOYMENTS) -> None:
        super().__init__(logging.INFO)
        self._most_lines = lines
        self._most_deployments = deployments
        self._kept: OrderedDict[str, deque[LogLine]] = OrderedDict()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record that is about a deployment."""
        deployment_id = getattr(record, "deployment", "") or DEPLOYMENT.get()
        if not deployment_id:
            return
        message = record.getMessage()
        if record.exc_info and record.exc_info[0]:
            message = f"{message} ({record.exc_info[0].__name__})"
        kept = self._kept.setdefault(deployment_id, deque(maxlen=self._most_lines))
        kept.append(LogLine(round(record.created, 3), record.levelname.lower(), message))
        self._kept.move_to_end(deployment_id)
        while len(self._kept) > self._most_deployments:
            self._kept.popitem(last=False)

    def of(self, deployment_id: str) -> tuple[LogLine, ...]:
        """Return the lines about a deployment, oldest first."""
        self.acquire()
        try:
            return tuple(self._kept.get(deployment_id, ()))
        finally:
            self.release()


@cache
def recent_lines() -> RecentLines:
    """Return the handler that keeps this process's lines, from the first call on."""
    kept = RecentLines()
    ours = logging.getLogger("rerankd")
    ours.addHandler(kept)
    if ours.level == logging.NOTSET:
        ours.setLevel(logging.INFO)
    return kept
