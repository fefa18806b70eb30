"""The routes that rank, for every dialect. They read, ask and write; decisions live below."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler

from rerankd.dialects import table
from rerankd.dialects.dialect import Body, Dialect, ParsedRequest, RequestContext
from rerankd.domain import RankedResult, Timings
from rerankd.errors import (
    BadPicture,
    DeadlineExceeded,
    EngineFailure,
    ModelFailed,
    ModelLoading,
    ModelNotFound,
    PairTooLong,
    PictureNotFetched,
    PictureTooLarge,
    QueueFull,
    RateLimited,
    RerankdError,
    ShuttingDown,
    TextOnly,
    TooManyDocuments,
    TooManyPictures,
    TooManyTokens,
)
from rerankd.http import negotiation
from rerankd.http.access_log import arrival_of, request_id
from rerankd.http.content_encoding import codec_threads
from rerankd.http.disconnects import unless_gone
from rerankd.http.guard import caller_of
from rerankd.http.large_answers import encode_apart
from rerankd.http.limits import limiter_of
from rerankd.http.openapi.ranking import RankingDoc
from rerankd.http.statuses import path_of, speak
from rerankd.http.streaming import ScoreStream, Wording
from rerankd.http.wire import Encoded, body_of
from rerankd.service import Service

CLIENT_CLOSED = 499
LARGE_BODY = 64 * 1024
"""Bytes of a body that is read and answered on the event loop, in at most a few milliseconds."""
WARNING = "X-Rerankd-Warning"
"""Has the warnings of a reply that has no place for them."""

RANKING_HEADERS = {
    "Server-Timing": "Milliseconds that each part of the work took",
    WARNING: "Warnings about the scores, in dialects whose replies have no field for them",
}
PICTURE_ERRORS = (TextOnly, BadPicture, PictureTooLarge, TooManyPictures, PictureNotFetched)
RANKING_ERRORS = (
    *(ModelNotFound, TooManyDocuments, TooManyTokens, PairTooLong, RateLimited, *PICTURE_ERRORS),
    *(QueueFull, ModelLoading, ModelFailed, ShuttingDown, DeadlineExceeded),
    *(EngineFailure, RerankdError),
)
"""What ranking may refuse with; a bare RerankdError is a fault of ours."""


def rerank_route() -> HTTPRouteHandler:
    """Return the route of every path in the table of dialects."""
    dialects = table.DIALECTS
    paths = [re.sub(r"\{(\w+)\}", r"{\1:str}", path) for path in dialects.paths]
    doc = RankingDoc(dialects=dialects, headers=RANKING_HEADERS, errors=RANKING_ERRORS)
    return post(paths, status_code=200, doc=doc)(rerank)


async def rerank(
    request: Request[Any, Any, Any], service: NamedDependency[Service]
) -> Response[Any]:
    """Rank documents for a query.

    The answer is in the dialect of the request.
    """
    context = RequestContext(
        id=request_id(request.scope),
        path=path_of(request),
        model="/".join(request.path_params.values()),
        source=request.headers.get("request-source", ""),
        agent=request.headers.get("user-agent", ""),
        created=int(time.time()),
    )
    body = await encoded_body(request, service)
    is_large = len(body.content) > LARGE_BODY
    if is_large:
        most = service.settings.max_documents
        dialect, parsed = await codec_threads().run(_parsed_large, request, body, context, most)
    else:
        dialect, parsed = _parsed(request, body, context)
    return await _answer(request, service, dialect, parsed, is_large=is_large)


async def encoded_body(request: Request[Any, Any, Any], service: Service) -> Body:
    """Return the body of a request. Raises what `body_of` raises."""
    content = await body_of(request, service.settings.read_timeout)
    kind = negotiation.bare(request.headers.get("content-type", ""))
    return Body(content, packed=kind in negotiation.MSGPACK_NAMES)


def _parsed_large(
    request: Request[Any, Any, Any], body: Body, context: RequestContext, max_documents: int
) -> tuple[Dialect, ParsedRequest]:
    return _parsed(request, body.split(max_documents), context)


def _parsed(
    request: Request[Any, Any, Any], body: Body, context: RequestContext
) -> tuple[Dialect, ParsedRequest]:
    dialect = table.DIALECTS.detect(context.path, body)
    speak(request, dialect)
    return dialect, dialect.read(body, context)


async def _answer(
    request: Request[Any, Any, Any],
    service: Service,
    dialect: Dialect,
    parsed: ParsedRequest,
    *,
    is_large: bool,
) -> Response[Any]:
    """Rank, and answer with the whole or, if the client asks for it, with scores as they come.

    The answer to a large request may repeat all of its texts.
    """
    caller, limiter = caller_of(request), limiter_of(request)
    begun = arrival_of(request.scope)
    accepted = negotiation.media_type(request.headers.get("accept", ""), streams=True)
    if accepted in negotiation.NDJSON_NAMES and len(parsed.requests) == 1:
        (only,) = parsed.requests
        told = Wording(lambda result: parsed.reply([result]), dialect.errors.body)
        ranking = partial(service.rank, only, caller=caller, limiter=limiter, begun=begun)
        stream = ScoreStream(ranking, told, accepted, is_large=is_large)
        return stream if await stream.begin(request) else answer_to_nobody()
    ranked = service.rank_many(parsed.requests, caller=caller, limiter=limiter, begun=begun)
    results = await unless_gone(request.receive, ranked)
    if results is None:
        return answer_to_nobody()
    headers = _headers(dialect, parsed, results)
    if is_large:
        media_type = negotiation.media_type(request.headers.get("accept", ""))
        content = await encode_apart(partial(parsed.reply, results), media_type)
        return Response(content, headers=headers, media_type=media_type)
    return Encoded(parsed.reply(results), headers=headers)


def answer_to_nobody() -> Response[Any]:
    """Return what is logged for a client that has gone."""
    return Response(b"", status_code=CLIENT_CLOSED)


def _headers(
    dialect: Dialect, parsed: ParsedRequest, results: Sequence[RankedResult]
) -> dict[str, str]:
    headers = {"Server-Timing": server_timing([result.timings for result in results])}
    warnings = [] if dialect.has_warnings else _warnings(results)
    if warnings:
        headers[WARNING] = "; ".join(warnings).encode("ascii", "replace").decode()
    if dialect.headers:
        headers |= dialect.headers(parsed, results)
    return headers


def _warnings(results: Sequence[RankedResult]) -> list[str]:
    found = dict.fromkeys(text for result in results for text in result.warnings)
    counts = {
        "documents that were cut to fit": sum(len(result.truncated) for result in results),
        "documents that were not scored in time": sum(len(result.unscored) for result in results),
        "documents below min_score": sum(result.below_min_score for result in results),
    }
    return [*found, *(f"{what}: {count}" for what, count in counts.items() if count)]


def server_timing(timings: Sequence[Timings]) -> str:
    """Return the header of that name for work that was done one after the other."""
    of_pictures = {
        "read_pictures": sum(one.read_pictures_ms or 0.0 for one in timings),
        "encode_pictures": sum(one.encode_pictures_ms or 0.0 for one in timings),
    }
    spent = (of_pictures if any(of_pictures.values()) else {}) | {
        "tokenize": sum(one.tokenize_ms for one in timings),
        "queue": sum(one.queue_ms for one in timings),
        "engine": sum(one.engine_ms for one in timings),
        "total": sum(one.total_ms for one in timings),
    }
    return ", ".join(f"{name};dur={round(ms, 3)}" for name, ms in spent.items())
