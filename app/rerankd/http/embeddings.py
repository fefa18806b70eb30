"""The route that turns texts into vectors, for every dialect of such requests."""

from __future__ import annotations

from functools import partial
from typing import Any

from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler

from rerankd.dialects.dialect import Body
from rerankd.dialects.embedding import EmbeddingDialect, ParsedTexts
from rerankd.dialects.embedding_table import BY_PATH, EMBEDDING_DIALECTS
from rerankd.domain import EmbeddedResult
from rerankd.errors import CannotEmbed
from rerankd.http import negotiation
from rerankd.http.access_log import arrival_of
from rerankd.http.byte_budget import charge_of
from rerankd.http.content_encoding import codec_threads
from rerankd.http.disconnects import unless_gone
from rerankd.http.guard import caller_of
from rerankd.http.limits import limiter_of
from rerankd.http.openapi.embedding import EmbeddingDoc
from rerankd.http.routes import (
    LARGE_BODY,
    PICTURE_ERRORS,
    RANKING_ERRORS,
    RANKING_HEADERS,
    WARNING,
    answer_to_nobody,
    encoded_body,
    server_timing,
)
from rerankd.http.statuses import path_of
from rerankd.http.wire import encode
from rerankd.service import Service

LARGE_ANSWER = 256 * 1024
"""Bytes of an answer that is encoded on the event loop, in at most a few milliseconds."""
EMBEDDING_ERRORS = (CannotEmbed, *(one for one in RANKING_ERRORS if one not in PICTURE_ERRORS))


def embeddings_route() -> HTTPRouteHandler:
    """Return the route of every path of requests for vectors."""
    doc = EmbeddingDoc(
        dialects=EMBEDDING_DIALECTS, headers=RANKING_HEADERS, errors=EMBEDDING_ERRORS
    )
    return post(list(BY_PATH), status_code=200, doc=doc)(embed_texts)


async def embed_texts(
    request: Request[Any, Any, Any], service: NamedDependency[Service]
) -> Response[Any]:
    """Turn texts into vectors.

    The model is an embedding model that is deployed, or rerankd's own.
    """
    dialect = BY_PATH[path_of(request)]
    body = await encoded_body(request, service)
    if len(body.content) > LARGE_BODY:
        most = service.settings.max_documents
        parsed = await codec_threads().run(_parsed_large_texts, dialect, body, most)
    else:
        parsed = dialect.parse(body)
    work = service.embedding.embed(
        parsed.request,
        caller=caller_of(request),
        limiter=limiter_of(request),
        begun=arrival_of(request.scope),
        most_numbers=service.settings.max_body_bytes // parsed.number_bytes,
    )
    result = await unless_gone(request.receive, work)
    if result is None:
        return answer_to_nobody()
    return await _answer_vectors(request, dialect, parsed, result)


def _parsed_large_texts(dialect: EmbeddingDialect, body: Body, max_texts: int) -> ParsedTexts:
    return dialect.parse(body.split(max_texts))


async def _answer_vectors(
    request: Request[Any, Any, Any],
    dialect: EmbeddingDialect,
    parsed: ParsedTexts,
    result: EmbeddedResult,
) -> Response[Any]:
    """Encode the vectors one by one; many take a thread, and room for their bytes."""
    media_type = negotiation.media_type(request.headers.get("accept", ""))
    size = sum(map(len, result.vectors)) * parsed.number_bytes
    encoding = partial(_encoded_reply, parsed, result, media_type)
    if size > LARGE_ANSWER:
        await charge_of(request.scope).hold(size)
        content = await codec_threads().run(encoding)
    else:
        content = encoding()
    headers = {"Server-Timing": server_timing([result.timings])}
    if result.truncated:
        headers[WARNING] = f"texts that were cut to fit: {len(result.truncated)}"
    if dialect.headers:
        headers |= dialect.headers(parsed.request, result)
    return Response(content, headers=headers, media_type=media_type)


def _encoded_reply(parsed: ParsedTexts, result: EmbeddedResult, media_type: str) -> bytes:
    return encode(parsed.reply(result, partial(encode, media_type=media_type)), media_type)
