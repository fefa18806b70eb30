"""Voyage's dialect: top_k, and rows under `data`."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from rerankd.dialects.answer_options import AnswerOptions, answer_options
from rerankd.dialects.dialect import SHARED_PATHS, Body, Dialect, ParsedRequest, RequestContext
from rerankd.dialects.error_format import ErrorFormat
from rerankd.dialects.examples import EXAMPLE_DOCUMENTS, EXAMPLE_MODEL, EXAMPLE_QUERY
from rerankd.dialects.marks import Marks
from rerankd.dialects.reading import NonNegative, Texts, WireText, documents_of, instruction_of
from rerankd.dialects.results import ResultRow, TokenUsage, result_rows, usage_of
from rerankd.dialects.texts import query_of
from rerankd.domain import RankRequest, Truncation
from rerankd.errors import RerankdError


class VoyageRequest(AnswerOptions):
    """The body of Voyage's request."""

    query: WireText
    documents: Texts | None = None
    model: str | None = None
    top_k: NonNegative | None = None
    top_n: NonNegative | None = None
    """Not Voyage's, but some clients of several families send it along with `truncation`."""
    return_documents: bool | None = False
    truncation: bool | None = True
    instruction: str | None = None


class VoyageError(Struct):
    """Voyage's error: its first Python SDK fails on an `error` that is an object."""

    message: str
    detail: str


def _voyage_error(error: RerankdError) -> VoyageError:
    return VoyageError(error.message, error.message)


class VoyageReply(Struct, kw_only=True):
    """Voyage's answer."""

    object: Literal["list"] = "list"
    data: list[ResultRow]
    model: str
    usage: TokenUsage


def _parse_voyage(body: Body, context: RequestContext) -> ParsedRequest:
    del context
    wire = body.decode(VoyageRequest)
    request = RankRequest(
        query=query_of(wire.query),
        documents=documents_of(wire.documents, "documents"),
        model=wire.model,
        instruction=instruction_of(wire.instruction),
        top_n=wire.top_k or wire.top_n or None,
        truncation=Truncation(overflow="error" if wire.truncation is False else None),
        **answer_options(wire),
    )
    wanted = bool(wire.return_documents)
    return ParsedRequest(
        (request,),
        lambda results: VoyageReply(
            data=result_rows(request, results[0], documents=wanted),
            model=results[0].model,
            usage=usage_of(results),
        ),
    )


DIALECT = Dialect(
    name="voyage",
    title="Voyage",
    paths=SHARED_PATHS,
    marks=Marks(
        "`top_k` or `truncation`, even if null",
        ("top_k", "truncation"),
        lambda fields: fields.has("top_k") or fields.has("truncation"),
    ),
    request=VoyageRequest,
    reply=VoyageReply,
    example={
        "model": EXAMPLE_MODEL,
        "query": EXAMPLE_QUERY,
        "documents": EXAMPLE_DOCUMENTS,
        "top_k": 2,
    },
    parse=_parse_voyage,
    errors=ErrorFormat(body=_voyage_error),
)
