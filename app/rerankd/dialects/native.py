"""rerankd's own dialect: GPUStack's, Jina's, vLLM's and Cohere's, and what it adds to them.

Infinity's and Cohere's v2 are the same request with another reply.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from rerankd.dialects.dialect import Body, ParsedRequest, RequestContext
from rerankd.dialects.failures import ErrorReply, error_reply, invalid
from rerankd.dialects.models import ModelList
from rerankd.dialects.options import Options, request_of
from rerankd.dialects.reading import Count, Text, documents_of
from rerankd.dialects.results import (
    Document,
    Report,
    Result,
    Usage,
    passages_of,
    report_of,
    text_of_result,
    usage_of,
)
from rerankd.dialects.texts import query_of
from rerankd.domain import RankedDocument, RankedResult, RankRequest

__all__ = ["ErrorReply", "ModelList", "Reply", "Request", "encode", "error_reply", "invalid"]


class Request(Options, kw_only=True):
    """The body of a rerank request; unknown keys are ignored, and null means the default."""

    query: Annotated[
        Text, Meta(description='What the documents are ranked for: a string or `{"text": …}`')
    ]
    documents: Annotated[
        list[Text] | None,
        Meta(description='Candidates, as strings, `{"text": …}` or content parts; at least one'),
    ] = None
    top_n: Annotated[
        Count | UnsetType | None,
        Meta(description="How many results to give; null or 0 means all, more than all clamps"),
    ] = UNSET
    topn: Annotated[
        Count | UnsetType | None, Meta(description="The same as top_n, as Flowise writes it")
    ] = field(default=UNSET, name="topN")
    return_documents: Annotated[
        bool | UnsetType | None, Meta(description="Repeat each document's text; default: true")
    ] = UNSET
    return_passages: Annotated[
        bool | None, Meta(description="Tell which parts of a document its score comes from")
    ] = False
    rank_fields: Annotated[
        list[str] | None, Meta(description="Fields of object documents that count")
    ] = None


class Row(Struct):
    """A result as Voyage has it."""

    index: int
    relevance_score: float
    document: str | UnsetType = UNSET


class Reply(Struct, kw_only=True):
    """The answer to a rerank request, best document first, ties by index."""

    id: str
    model: str
    object: Annotated[
        Literal["list", "rerank"], Meta(description="`rerank` for Infinity's clients")
    ] = "list"
    created: Annotated[int | UnsetType, Meta(description="For Infinity's clients")] = UNSET
    results: list[Result]
    usage: Usage
    meta: Report
    data: Annotated[
        list[Row] | UnsetType,
        Meta(
            description="The same as results, for Voyage's clients that don't make themselves known"
        ),
    ] = UNSET


class Shape(Struct, frozen=True, kw_only=True):
    """How a family wants the reply."""

    object: Literal["list", "rerank"] = "list"
    version: Literal["1", "2"] = "1"
    documents: Literal["gpustack", "object", "string"]
    """With GPUStack's `multi_modal`, with `text` alone, or the bare text."""
    unasked: bool = True
    """Whether documents come back when the request doesn't say."""
    data: bool = False
    """Whether Voyage's rows come as well."""


COHERE_2 = Shape(documents="object", version="2")
TOGETHER_1 = "together/v1 pythonbindings/1."
"""How Together's first Python SDK begins its User-Agent, in lower case."""
INFINITY = Shape(object="rerank", documents="string", unasked=False)


def read(body: Body, context: RequestContext) -> ParsedRequest:
    """Read a native request.

    Weaviate's client for Jina fails on a document that is an object, and doesn't say that it
    wants none; Elasticsearch's for Cohere takes no key that Cohere hasn't; callers of Voyage
    without a limit leave no mark, and read `data`. Together's first Python SDK refuses "list".
    """
    wire = body.decode(Request)
    plain = Request(
        query=wire.query,
        documents=wire.documents,
        model=wire.model,
        return_documents=wire.return_documents,
    )
    source = context.source.lower()
    shape = Shape(
        documents="object" if "elasticsearch" in source else "gpustack",
        unasked="weaviate" not in source,
        object="rerank" if context.agent.lower().startswith(TOGETHER_1) else "list",
        data=wire == plain and not source,
    )
    return _asked(wire, shape, context)


def read_as(shape: Shape, body: Body, context: RequestContext) -> ParsedRequest:
    """Read a request of a family that wants its reply in another shape."""
    return _asked(body.decode(Request), shape, context)


def _asked(wire: Request, shape: Shape, context: RequestContext) -> ParsedRequest:
    documents = documents_of(wire.documents, "documents", wire.rank_fields)
    top_n = wire.topn if wire.top_n is UNSET else wire.top_n
    request = msgspec.structs.replace(
        request_of(
            wire,
            query_of(wire.query),
            documents,
            top_n=None if top_n is UNSET else top_n or None,
        ),
        return_passages=bool(wire.return_passages),
    )
    return ParsedRequest(
        (request,), lambda results: reply(context, shape, wire, request, results[0])
    )


def reply(
    context: RequestContext, shape: Shape, wire: Request, request: RankRequest, result: RankedResult
) -> Reply:
    """Build the answer."""
    asked_for = wire.return_documents
    wanted = shape.unasked if asked_for is UNSET or asked_for is None else asked_for
    return Reply(
        id=f"rerank-{context.id}",
        model=result.model,
        object=shape.object,
        created=context.created if shape.object == "rerank" else UNSET,
        results=[
            Result(
                index=ranked.index,
                document=_document(request, ranked, shape) if wanted else UNSET,
                relevance_score=ranked.score,
                passages=passages_of(request, ranked),
            )
            for ranked in result.results
        ],
        data=rows(request, result, documents=wanted) if shape.data else UNSET,
        usage=usage_of([result]),
        meta=report_of(shape.version, request, result),
    )


def _document(request: RankRequest, ranked: RankedDocument, shape: Shape) -> Document | str:
    text = text_of_result(request, ranked)
    if shape.documents == "string":
        return text
    return Document(text, None if shape.documents == "gpustack" else UNSET)


def rows(request: RankRequest, result: RankedResult, *, documents: bool) -> list[Row]:
    """Build Voyage's rows."""
    return [
        Row(one.index, one.score, text_of_result(request, one) if documents else UNSET)
        for one in result.results
    ]


def encode(value: object) -> bytes:
    """Return JSON in UTF-8."""
    return msgspec.json.encode(value)


read_cohere_2 = partial(read_as, COHERE_2)
read_infinity = partial(read_as, INFINITY)
