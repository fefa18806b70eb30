"""The one table that maps errors to HTTP statuses, and their answers."""

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

from app import errors
from app.dialects import native

logger = logging.getLogger(__name__)

STATUSES: dict[type[errors.RerankdError], int] = {
    errors.RerankdError: 500,
    errors.RequestError: 400,
    errors.MalformedJson: 400,
    errors.InvalidRequest: 400,
    errors.MissingDocuments: 400,
    errors.NotFound: 404,
    errors.MethodNotAllowed: 405,
    errors.ModelNotFound: 404,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.Conflict: 409,
    errors.TextOnly: 422,
    errors.RateLimited: 429,
    errors.RequestTimeout: 408,
    errors.BodyTooLarge: 413,
    errors.TooManyDocuments: 422,
    errors.TooManyTokens: 422,
    errors.PairTooLong: 422,
    errors.Unavailable: 503,
    errors.QueueFull: 429,
    errors.ModelLoading: 503,
    errors.ModelFailed: 503,
    errors.OutOfMemory: 503,
    errors.DeadlineExceeded: 504,
    errors.ShuttingDown: 503,
    errors.EngineFailure: 500,
    errors.ModelFileError: 422,
    errors.LoadCheckFailed: 422,
    errors.DownloadError: 502,
    errors.ServerRefused: 502,
    errors.StateError: 500,
    errors.SettingsError: 422,
}


def answer(error: errors.RerankdError) -> Response[bytes]:
    """Return an error as its status, body and headers."""
    headers = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, errors.Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, errors.ShuttingDown):
        headers["Connection"] = "close"
    return Response(
        native.encode(native.error_reply(error)),
        status_code=STATUSES[type(error)],
        headers=headers,
        media_type="application/json",
    )


def answer_error(_request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer our own errors."""
    if not isinstance(error, errors.RerankdError):
        return answer_unexpected(_request, error)
    return answer(error)


def answer_framework(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer what Litestar refuses by itself, in our own words and shape."""
    if isinstance(error, RequestEntityTooLarge):
        return answer(errors.BodyTooLarge("the body is larger than max_body_bytes"))
    if isinstance(error, NotFoundException):
        return answer(errors.NotFound(f"no such path: {request.url.path}"))
    if isinstance(error, MethodNotAllowedException):
        refused = answer(errors.MethodNotAllowed(f"{request.method} is not allowed here"))
        refused.headers.update(error.headers or {})
        return refused
    if isinstance(error, HTTPException) and error.status_code < 500:  # noqa: PLR2004
        refused = answer(errors.InvalidRequest(error.detail))
        refused.status_code = error.status_code
        return refused
    return answer_unexpected(request, error)


def answer_unexpected(_request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer a fault of ours without telling its insides; the log has them."""
    logger.error("unexpected error", exc_info=error)
    return answer(errors.RerankdError("internal error; the server's log says more"))
