"""The dialect of Weaviate's own inference container for rerankers (`reranker-transformers`)."""

from __future__ import annotations

from msgspec import Struct

from rerankd.dialects.answer_options import AnswerOptions, answer_options
from rerankd.dialects.dialect import Body, Dialect, ParsedRequest, RequestContext
from rerankd.dialects.error_format import ErrorFormat
from rerankd.dialects.examples import EXAMPLE_DOCUMENTS, EXAMPLE_QUERY
from rerankd.dialects.marks import Marks
from rerankd.dialects.reading import Texts, WireText, documents_of
from rerankd.dialects.results import text_of_result
from rerankd.dialects.texts import query_of
from rerankd.domain import RankRequest, text_in
from rerankd.errors import RerankdError


class WeaviateRequest(AnswerOptions):
    """The body of the module's request; its `property` is ignored."""

    query: WireText
    documents: Texts | None = None
    model: str | None = None


class WeaviateScore(Struct):
    """One document and its score."""

    document: str
    score: float


class WeaviateReply(Struct):
    """The answer, in the order of the request, because the module sorts the documents itself."""

    query: str
    scores: list[WeaviateScore]


class WeaviateError(Struct):
    """The container's error."""

    error: str


def _parse_weaviate(body: Body, context: RequestContext) -> ParsedRequest:
    del context
    wire = body.decode(WeaviateRequest)
    request = RankRequest(
        query=query_of(wire.query),
        documents=documents_of(wire.documents, "documents"),
        model=wire.model,
        **answer_options(wire),
    )
    return ParsedRequest(
        (request,),
        lambda results: WeaviateReply(
            text_in(request.query),
            [
                WeaviateScore(text_of_result(request, one), one.score)
                for one in sorted(results[0].results, key=lambda one: one.index)
            ],
        ),
    )


def _weaviate_error(error: RerankdError) -> WeaviateError:
    return WeaviateError(error.message)


DIALECT = Dialect(
    name="weaviate",
    title="Weaviate's reranker-transformers",
    paths=("/rerank",),
    marks=Marks("`property`", ("property",), lambda fields: fields.has("property")),
    request=WeaviateRequest,
    reply=WeaviateReply,
    example={"query": EXAMPLE_QUERY, "documents": EXAMPLE_DOCUMENTS, "property": "text"},
    parse=_parse_weaviate,
    needs_all_scores=True,
    errors=ErrorFormat(body=_weaviate_error),
)
