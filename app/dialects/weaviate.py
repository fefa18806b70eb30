"""The dialect of Weaviate's own inference container for rerankers (`reranker-transformers`)."""

from __future__ import annotations

from msgspec import Struct

from app.dialects.dialect import Asked, Body, Call
from app.dialects.reading import Text, documents_of
from app.dialects.texts import query_of
from app.domain import RankRequest
from app.errors import RerankdError


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


def read(body: Body, call: Call) -> Asked:
    """Read a request."""
    del call
    wire = body.decode(WeaviateRequest)
    request = RankRequest(
        query=query_of(wire.query),
        documents=documents_of(wire.documents, "documents"),
        model=wire.model,
    )
    return Asked(
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
