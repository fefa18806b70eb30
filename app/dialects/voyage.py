"""Voyage's dialect: top_k, and rows under `data`."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from app.dialects.dialect import Asked, Body, Call
from app.dialects.native import Row, rows
from app.dialects.reading import Count, Text, documents_of, instruction_of
from app.dialects.results import Usage, usage_of
from app.dialects.texts import query_of
from app.domain import Fit, RankRequest
from app.errors import RerankdError


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


def read(body: Body, call: Call) -> Asked:
    """Read a request: what Voyage would refuse to cut is refused here."""
    del call
    wire = body.decode(VoyageRequest)
    request = RankRequest(
        query=query_of(wire.query),
        documents=documents_of(wire.documents, "documents"),
        model=wire.model,
        instruction=instruction_of(wire.instruction),
        top_n=wire.top_k or wire.top_n or None,
        fit=Fit(overflow="error" if wire.truncation is False else None),
    )
    wanted = bool(wire.return_documents)
    return Asked(
        (request,),
        lambda results: VoyageReply(
            data=rows(request, results[0], documents=wanted),
            model=results[0].model,
            usage=usage_of(results),
        ),
    )
