"""The native dialect: GPUStack's, Jina's, vLLM's and Cohere's request, and what rerankd adds to it.

Cohere's second API and Infinity take the same request but expect another form of the reply.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from rerankd.dialects.answer_options import listed_unscored
from rerankd.dialects.dialect import (
    SHARED_PATHS,
    Body,
    Dialect,
    ParsedRequest,
    RequestContext,
)
from rerankd.dialects.examples import EXAMPLE_DOCUMENTS, EXAMPLE_MODEL, EXAMPLE_QUERY
from rerankd.dialects.options import RankOptions, request_of
from rerankd.dialects.reading import NonNegative, Texts, WireText, documents_of
from rerankd.dialects.results import (
    Document,
    ReplyMeta,
    Result,
    ResultRow,
    TokenUsage,
    document_of,
    meta_of,
    passages_of,
    result_rows,
    usage_of,
)
from rerankd.dialects.texts import query_of
from rerankd.domain import RankedResult, RankRequest, text_in


class Request(RankOptions, kw_only=True):
    """The body of a rerank request; unknown keys are ignored, and null means the default."""

    query: Annotated[
        WireText,
        Meta(
            description='What to rank the documents for: a string, `{"text": …}`, `{"image": …}` or'
            " content parts"
        ),
    ]
    documents: Annotated[
        Texts | None,
        Meta(
            description='The candidates: strings, `{"text": …}`, `{"image": …}` or content parts;'
            " an image is base64, a data: URI or an https: address"
        ),
    ] = None
    top_n: Annotated[
        NonNegative | UnsetType | None,
        Meta(description="How many results to return; null, 0 and more than there are mean all"),
    ] = UNSET
    topn: Annotated[
        NonNegative | UnsetType | None, Meta(description="Flowise's name for `top_n`")
    ] = field(default=UNSET, name="topN")
    return_documents: Annotated[
        bool | UnsetType | None,
        Meta(
            description="Whether to repeat each document's text, and its pictures' addresses or"
            " sizes; default: true"
        ),
    ] = UNSET
    return_passages: Annotated[
        bool | None,
        Meta(description="Whether to return the parts of each document that its score comes from"),
    ] = False
    rank_fields: Annotated[
        list[str] | None, Meta(description="The fields to rank by, for documents that are objects")
    ] = None


class Reply(Struct, kw_only=True):
    """The reply to a rerank request, best document first, ties by index."""

    id: str
    model: str
    object: Annotated[
        Literal["list", "rerank"], Meta(description="`rerank` for Infinity's clients")
    ] = "list"
    created: Annotated[int | UnsetType, Meta(description="For Infinity's clients")] = UNSET
    results: list[Result]
    usage: TokenUsage
    meta: ReplyMeta
    data: Annotated[
        list[ResultRow] | UnsetType,
        Meta(
            description="The same as `results`, for Voyage's clients that send no mark of their own"
        ),
    ] = UNSET


class ReplyStyle(Struct, frozen=True, kw_only=True):
    """The form of the reply that a family expects."""

    object: Literal["list", "rerank"] = "list"
    version: Literal["1", "2"] = "1"
    documents: Literal["gpustack", "object", "string"]
    """With GPUStack's `multi_modal` also for texts, with `text` alone, or as a bare string."""
    documents_by_default: bool = True
    """Whether documents are repeated when the request doesn't say."""
    voyage_rows: bool = False
    """Whether the results come a second time, as Voyage has them."""


TOGETHER_1 = "together/v1 pythonbindings/1."
"""How Together's first Python SDK begins its User-Agent, in lower case."""


def parse_native(body: Body, context: RequestContext) -> ParsedRequest:
    """Read a native request.

    A few clients can be known by their headers. Weaviate's for Jina doesn't ask for no documents,
    but fails on one that is an object; Elasticsearch's for Cohere refuses keys that Cohere
    doesn't have; Together's first Python SDK refuses "list". A request with no option at all may
    be from a client of Voyage, which reads `data`.
    """
    wire = body.decode(Request)
    plain = Request(
        query=wire.query,
        documents=wire.documents,
        model=wire.model,
        return_documents=wire.return_documents,
    )
    source = context.source.lower()
    style = ReplyStyle(
        documents="object" if "elasticsearch" in source else "gpustack",
        documents_by_default="weaviate" not in source,
        object="rerank" if context.agent.lower().startswith(TOGETHER_1) else "list",
        voyage_rows=wire == plain and not source,
    )
    return _native_request(wire, style, context)


def parse_as(style: ReplyStyle, body: Body, context: RequestContext) -> ParsedRequest:
    """Read a request of a family that expects another form of the reply."""
    return _native_request(body.decode(Request), style, context)


def _native_request(wire: Request, style: ReplyStyle, context: RequestContext) -> ParsedRequest:
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
        (request,), lambda results: _native_reply(context, style, wire, request, results[0])
    )


def _native_reply(
    context: RequestContext,
    style: ReplyStyle,
    wire: Request,
    request: RankRequest,
    result: RankedResult,
) -> Reply:
    asked_for = wire.return_documents
    unsaid = asked_for is UNSET or asked_for is None
    wanted = style.documents_by_default if unsaid else bool(asked_for)
    return Reply(
        id=f"rerank-{context.id}",
        model=result.model,
        object=style.object,
        created=context.created if style.object == "rerank" else UNSET,
        results=[
            *(
                Result(
                    index=ranked.index,
                    document=_document(request, ranked.index, style) if wanted else UNSET,
                    relevance_score=ranked.score,
                    passages=passages_of(request, ranked),
                )
                for ranked in result.results
            ),
            *(
                Result(
                    index=index,
                    document=_document(request, index, style) if wanted else UNSET,
                    relevance_score=None,
                    scored=False,
                )
                for index in listed_unscored(request, result)
            ),
        ],
        data=result_rows(request, result, documents=wanted) if style.voyage_rows else UNSET,
        usage=usage_of([result]),
        meta=meta_of(style.version, request, result),
    )


def _document(request: RankRequest, index: int, style: ReplyStyle) -> Document | str:
    content = request.documents[index]
    if style.documents == "string":
        return text_in(content)
    found = document_of(content)
    if style.documents == "gpustack" and found.multi_modal is UNSET:
        found.multi_modal = None
    return found


EXAMPLE: dict[str, Any] = {
    "model": EXAMPLE_MODEL,
    "query": EXAMPLE_QUERY,
    "top_n": 3,
    "documents": EXAMPLE_DOCUMENTS,
}

DIALECT = Dialect(
    name="native",
    title="rerankd, GPUStack, Jina, Cohere v1, vLLM, Together, SiliconFlow, Xinference, LocalAI, "
    "llama.cpp, and DashScope's compatible mode",
    paths=(
        *SHARED_PATHS,
        "/v1/reranks",
        "/reranks",
        "/compatible-api/v1/reranks",
        "/compatible-mode/v1/reranks",
    ),
    request=Request,
    reply=Reply,
    example=EXAMPLE,
    parse=parse_native,
    has_warnings=True,
)
