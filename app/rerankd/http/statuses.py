"""The one table that maps errors to HTTP statuses, and the responses to errors."""

from __future__ import annotations

import logging
from typing import Any

from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.exceptions.http_exceptions import (
    MethodNotAllowedException,
    NotFoundException,
    RequestEntityTooLarge,
)

from rerankd import errors
from rerankd.dialects import embedding_table, table
from rerankd.dialects.dialect import Dialect
from rerankd.dialects.error_format import ErrorFormat
from rerankd.http.content_encoding import READABLE
from rerankd.http.wire import Encoded
from rerankd.logs import note_error

logger = logging.getLogger(__name__)

SPOKEN = "rerankd_error_format"
RETRIED = (429, 503)
"""Statuses that clients retry. Without a `Retry-After`, some retry at once."""

STATUSES: dict[type[errors.RerankdError], int] = {
    errors.RerankdError: 500,
    errors.RequestError: 400,
    errors.MalformedJson: 400,
    errors.InvalidRequest: 400,
    errors.UnsupportedOption: 422,
    errors.MissingDocuments: 400,
    errors.NotFound: 404,
    errors.MethodNotAllowed: 405,
    errors.ModelNotFound: 404,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.Conflict: 409,
    errors.CannotEmbed: 422,
    errors.TextOnly: 422,
    errors.BadPicture: 422,
    errors.PictureTooLarge: 422,
    errors.TooManyPictures: 422,
    errors.PictureNotFetched: 422,
    errors.RateLimited: 429,
    errors.RequestTimeout: 408,
    errors.BodyTooLarge: 413,
    errors.UnsupportedMedia: 415,
    errors.TooManyDocuments: 422,
    errors.TooManyTokens: 422,
    errors.PairTooLong: 422,
    errors.Unavailable: 503,
    errors.QueueFull: 429,
    errors.ModelLoading: 503,
    errors.ModelFailed: 503,
    errors.OutOfMemory: 503,
    errors.Overloaded: 503,
    errors.DeadlineExceeded: 504,
    errors.ShuttingDown: 503,
    errors.EngineFailure: 500,
    errors.ModelFileError: 422,
    errors.LoadCheckFailed: 422,
    errors.UnprovenModel: 422,
    errors.DownloadError: 502,
    errors.ServerRefused: 502,
    errors.ClosedReranker: 500,
    errors.StateError: 500,
    errors.StateUnavailable: 503,
    errors.SettingsError: 422,
}


def error_response(
    error: errors.RerankdError, expected: ErrorFormat | None = None
) -> Response[Any]:
    """Return the response to an error, in a dialect's format if one is known."""
    note_error(error.code)
    expected = expected or ErrorFormat()
    status = status_of(type(error), expected)
    body = expected.body(error)
    return Encoded(body, status_code=status, headers=_error_headers(error, status))


def status_of(kind: type[errors.RerankdError], expected: ErrorFormat) -> int:
    """Return the HTTP status of a class of errors for clients that expect a format."""
    return expected.statuses.get(kind, STATUSES[kind])


def _error_headers(error: errors.RerankdError, status: int) -> dict[str, str]:
    headers = {}
    if error.retry_after is not None or status in RETRIED:
        headers["Retry-After"] = str(max(error.retry_after or 0, 1))
    if isinstance(error, errors.Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, errors.UnsupportedMedia):
        headers["Accept-Encoding"] = ", ".join(READABLE)
    if isinstance(error, errors.ShuttingDown):
        headers["Connection"] = "close"
    return headers


def speak(request: Request[Any, Any, Any], dialect: Dialect) -> None:
    """Answer the errors of a request in a dialect from now on."""
    request.state[SPOKEN] = dialect.errors


def _error_format_of(request: Request[Any, Any, Any]) -> ErrorFormat | None:
    known: ErrorFormat | None = request.state.get(SPOKEN)
    path = path_of(request)
    only = table.DIALECTS.only_one(path) or embedding_table.BY_PATH.get(path)
    return known or (only.errors if only else None)


def path_of(request: Request[Any, Any, Any]) -> str:
    """Return the path of a request as the routes have it."""
    return str(request.scope.get("path_template") or request.url.path)


def answer_error(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Answer our own errors."""
    if not isinstance(error, errors.RerankdError):
        return answer_unexpected(request, error)
    return error_response(error, _error_format_of(request))


def answer_framework(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Answer what Litestar refuses by itself, in our own words and shape."""
    expected = _error_format_of(request)
    if isinstance(error, RequestEntityTooLarge):
        return error_response(
            errors.BodyTooLarge("the body is larger than max_body_bytes"), expected
        )
    if isinstance(error, NotFoundException):
        return error_response(errors.NotFound(f"no such path: {request.url.path}"))
    if isinstance(error, MethodNotAllowedException):
        refused = error_response(
            errors.MethodNotAllowed(f"{request.method} is not allowed on this path"), expected
        )
        refused.headers.update(error.headers or {})
        return refused
    if isinstance(error, HTTPException) and error.status_code < 500:  # noqa: PLR2004
        refused = error_response(errors.InvalidRequest(error.detail), expected)
        refused.status_code = error.status_code
        return refused
    return answer_unexpected(request, error)


def answer_unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Answer a fault of ours without its details, which are in the log."""
    logger.error("unexpected error", exc_info=error)
    hidden = errors.RerankdError("internal error; see the server's log")
    return error_response(hidden, _error_format_of(request))
