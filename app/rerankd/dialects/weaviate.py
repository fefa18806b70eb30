"""The dialect of Weaviate's own inference container for rerankers (`reranker-transformers`)."""

from __future__ import annotations

from msgspec import Struct

from rerankd.dialects.dialect import Body, ParsedRequest, RequestContext
from rerankd.dialects.reading import Text, documents_of
from rerankd.dialects.texts import query_of
from rerankd.domain import RankRequest
from rerankd.errors import RerankdError


class WeaviateRequest(Struct):
    """The body of the module's request; `property` only names where the texts come from."""

    query: Text
    documents: list[Text] | None = None
    model: str | None = None


class WeaviateScore(Struct):
    """One document and its score."""

    document: str
    score: float


class WeaviateReply(Struct):
    """The answer, in the order of the request: the module sorts by itself."""

    query: str
    scores: list[WeaviateScore]


class WeaviateError(Struct):
    """The container's error."""

    error: str


def read(body: Body, context: RequestContext) -> ParsedRequest:
    """Read a request."""
    del context
    wire = body.decode(WeaviateRequest)
    request = RankRequest(
        query=query_of(wire.query),
        documents=documents_of(wire.documents, "documents"),
        model=wire.model,
    )
    return ParsedRequest(
        (request,),
        lambda results: WeaviateReply(
            request.query,
            [
                WeaviateScore(request.documents[one.index], one.score)
                for one in sorted(results[0].results, key=lambda one: one.index)
            ],
        ),
    )


def failure(error: RerankdError) -> WeaviateError:
    """Build the body for an error."""
    return WeaviateError(error.message)
