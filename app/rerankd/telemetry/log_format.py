"""A server's log lines, rendered by structlog: for people on a terminal, JSON elsewhere."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator
from typing import Literal, TextIO

from structlog.dev import ConsoleRenderer
from structlog.processors import (
    EventRenamer,
    ExceptionRenderer,
    JSONRenderer,
    TimeStamper,
)
from structlog.stdlib import ExtraAdder, ProcessorFormatter, add_log_level, add_logger_name
from structlog.typing import EventDict, ExcInfo, Processor

from rerankd.logs import DEPLOYMENT, REQUEST, TRACE, install_handler
from rerankd.telemetry.repeats import RepeatFilter
from rerankd.terminal import escaped_json, visible
from rerankd.utf8 import encode_json

LogFormat = Literal["auto", "human", "json"]

ACCESS_FIELDS = (
    *("method", "path", "status", "ms", "route", "model", "documents", "tokens", "caller"),
    "error",
)
"""The fields of a request's line beside its message."""
IN_MESSAGE = frozenset({"method", "path", "status", "ms", "route"})
"""Fields that the message already shows to a person."""

QUOTING = (ValueError, LookupError, TypeError)
"""Exceptions whose messages often quote the value they rejected, which may be a document."""


def configure_server_logging(
    level: str, log_format: LogFormat, stream: TextIO | None = None, *, colours: bool = True
) -> None:
    """Send rerankd's and the libraries' records to stderr, from `level` on.

    `auto` writes for people where the stream is a terminal, JSON elsewhere; `colours` come on a
    terminal only.
    """
    stream = stream or sys.stderr
    terminal = stream.isatty()
    human = log_format == "human" or (log_format == "auto" and terminal)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter(human=human, colours=colours and terminal))
    handler.addFilter(RepeatFilter())
    install_handler(handler, level)


def formatter(*, human: bool, colours: bool = False) -> logging.Formatter:
    """Return the formatter for records of all loggers."""
    rendering = _for_people(colours=colours) if human else _as_json()
    return ProcessorFormatter(
        foreign_pre_chain=[
            add_log_level,
            add_logger_name,
            ExtraAdder((*ACCESS_FIELDS, "deployment")),
            _add_context,
            TimeStamper(fmt="%Y-%m-%d %H:%M:%S" if human else "iso", utc=not human, key="time"),
        ],
        processors=[ProcessorFormatter.remove_processors_meta, *rendering],
    )


def _for_people(*, colours: bool) -> list[Processor]:
    return [
        _without_repeats,
        _without_steering,
        ConsoleRenderer(
            colors=colours,
            timestamp_key="time",
            pad_event_to=0,
            sort_keys=False,
            # Not rich's, the default: it shows local variables, and with them documents.
            exception_formatter=_write_trace,
        ),
    ]


def _as_json() -> list[Processor]:
    exceptions = ExceptionRenderer(lambda found: "".join(_trace(found[1])))
    return [exceptions, EventRenamer("message"), _ordered_fields, JSONRenderer(_encode)]


def _write_trace(stream: TextIO, found: ExcInfo) -> None:
    stream.write("\n" + visible("".join(_trace(found[1])).rstrip("\n"), lines=True))


def _trace(error: BaseException | None) -> Iterator[str]:
    """Yield the traceback of an exception and its causes, without messages that quote values."""
    if error is None:
        return
    earlier = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if earlier:
        yield from _trace(earlier)
        yield "\nwhich led to\n\n"
    yield from traceback.format_tb(error.__traceback__)
    # Indented, so that no further line of a message looks like one of the log.
    shown = "" if isinstance(error, QUOTING) else f": {error}".replace("\n", "\n    ")
    yield f"{type(error).__qualname__}{shown}\n"


def _encode(value: object, **_options: object) -> str:
    return escaped_json(encode_json(value, enc_hook=repr).decode())


def _add_context(_logger: object, _method: str, event: EventDict) -> EventDict:
    notes = REQUEST.get()
    if notes:
        event["request_id"] = notes.request_id
    deployment = event.get("deployment") or DEPLOYMENT.get()
    if deployment:
        event["deployment"] = deployment
    trace = TRACE.get()
    if trace:
        event["trace_id"] = trace
    return event


def _without_repeats(_logger: object, _method: str, event: EventDict) -> EventDict:
    named = str(event.get("deployment", "")) in str(event["event"])
    left_out = {*IN_MESSAGE, *(["deployment"] if named else [])}
    return {name: value for name, value in event.items() if name not in left_out}


def _without_steering(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Make what came from outside harmless on the terminal where a person reads the log."""
    return {
        name: visible(value) if isinstance(value, str) else value for name, value in event.items()
    }


def _ordered_fields(_logger: object, _method: str, event: EventDict) -> EventDict:
    first = {name: event.pop(name, "") for name in ("time", "level", "logger", "message")}
    return {**first, **event}
