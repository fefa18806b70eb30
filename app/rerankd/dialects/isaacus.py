"""Isaacus's dialect: `texts` in, scores under `results` out."""

from __future__ import annotations

from msgspec import Struct

from rerankd.dialects.dialect import Body, ParsedRequest, RequestContext
from rerankd.dialects.reading import Count, Text, documents_of
from rerankd.dialects.texts import query_of
from rerankd.domain import RankRequest


class IsaacusRequest(Struct):
    """The body of Isaacus's request; how its own service would split texts is ignored."""

    query: Text
    texts: list[Text] | None = None
    model: str | None = None
    top_n: Count | None = None


class IsaacusRow(Struct):
    """One ranked text."""

    index: int
    score: float


class IsaacusUsage(Struct):
    """Tokens the model read."""

    input_tokens: int


class IsaacusReply(Struct):
    """Isaacus's answer."""

    results: list[IsaacusRow]
    usage: IsaacusUsage


def read(body: Body, context: RequestContext) -> ParsedRequest:
    """Read a request."""
    del context
    wire = body.decode(IsaacusRequest)
    request = RankRequest(
        query=query_of(wire.query),
        documents=documents_of(wire.texts, "texts"),
        model=wire.model,
        top_n=wire.top_n or None,
    )
    return ParsedRequest(
        (request,),
        lambda results: IsaacusReply(
            [IsaacusRow(one.index, one.score) for one in results[0].results],
            IsaacusUsage(results[0].prompt_tokens),
        ),
    )
