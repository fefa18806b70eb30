"""How errors are written, so that clients of each API family find the message."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from msgspec import Struct

from rerankd.errors import (
    EngineFailure,
    InvalidRequest,
    ModelFileError,
    RateLimited,
    RequestError,
    RerankdError,
    SettingsError,
    Unauthorized,
    Unavailable,
)


class ErrorBody(Struct):
    """An error with a stable `code` and the field it concerns."""

    message: str
    type: str
    code: str
    param: str | None


class ErrorReply(Struct):
    """The body of an error, which clients of most families can read.

    Cohere's read `message`; Voyage's, Xinference's and FastAPI's `detail`; OpenAI's `error`. It
    has no `results` and no `data`, because some clients take their presence for success.
    """

    message: str
    detail: str
    error: ErrorBody


def error_reply(error: RerankdError) -> ErrorReply:
    """Build the body of an error that clients of most families can read."""
    found = ErrorBody(error.message, error_type(error), error.code, error.param)
    return ErrorReply(error.message, error.message, found)


def error_type(error: RerankdError) -> str:
    """Return the OpenAI-style class of an error."""
    if isinstance(error, Unauthorized):
        return "authentication_error"
    if isinstance(error, RateLimited):
        return "rate_limit_error"
    if isinstance(error, RequestError | SettingsError | ModelFileError):
        return "invalid_request_error"
    if isinstance(error, Unavailable):
        return "unavailable_error"
    return "engine_error" if isinstance(error, EngineFailure) else "server_error"


def validation_error(message: str) -> InvalidRequest:
    """Turn msgspec's message into an error that carries the field's path."""
    path = re.search(r" - at `\$\.?(.*)`$", message)
    missing = re.search(r"missing required field `(\w+)`", message)
    names = [path[1]] if path and path[1] else []
    if missing:
        names.append(missing[1])
    return InvalidRequest(message.replace("`$.", "`"), param=".".join(names) or None)


class ErrorFormat(Struct, frozen=True, kw_only=True):
    """How the clients of a family expect errors."""

    body: Callable[[RerankdError], object] = error_reply
    """Builds the body of an error."""
    statuses: Mapping[type[RerankdError], int] = {}
    """Errors for which they expect another HTTP status than other clients do."""
