"""Voyage's dialect: top_k, and rows under `data`."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from rerankd.dialects.dialect import Body, ParsedRequest, RequestContext
from rerankd.dialects.native import Row, rows
from rerankd.dialects.reading import Count, Text, documents_of, instruction_of
from rerankd.dialects.results import Usage, usage_of
from rerankd.dialects.texts import query_of
from rerankd.domain import RankRequest, Truncation
from rerankd.errors import RerankdError


class VoyageRequest(Struct):
    """The body of Voyage's request."""

    query: Text
    documents: list[Text] | None = None
    model: str | None = None
    top_k: Count | None = None
    top_n: Count | None = None
    """Not Voyage's, but what a client of several families may send beside `truncation`."""
    return_documents: bool | None = False
    truncation: bool | None = True
    instruction: str | None = None


class VoyageFailure(Struct):
    """Voyage's error: its first Python SDK fails on an `error` that is an object."""

    message: str
    detail: str


def failure(error: RerankdError) -> VoyageFailure:
    """Build the body for an error."""
    return VoyageFailure(error.message, error.message)


class VoyageReply(Struct, kw_only=True):
    """Voyage's answer."""

    object: Literal["list"] = "list"
    data: list[Row]
    model: str
    usage: Usage


def read(body: Body, context: RequestContext) -> ParsedRequest:
    """Read a request: what Voyage would refuse to cut is refused here."""
    del context
    wire = body.decode(VoyageRequest)
    request = RankRequest(
        query=query_of(wire.query),
        documents=documents_of(wire.documents, "documents"),
        model=wire.model,
        instruction=instruction_of(wire.instruction),
        top_n=wire.top_k or wire.top_n or None,
        truncation=Truncation(overflow="error" if wire.truncation is False else None),
    )
    wanted = bool(wire.return_documents)
    return ParsedRequest(
        (request,),
        lambda results: VoyageReply(
            data=rows(request, results[0], documents=wanted),
            model=results[0].model,
            usage=usage_of(results),
        ),
    )
