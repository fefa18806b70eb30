"""Mixedbread's dialect: `input` in, scores under `data` out."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from rerankd.dialects.dialect import Body, ParsedRequest, RequestContext
from rerankd.dialects.reading import Count, Text, documents_of, instruction_of
from rerankd.dialects.results import Usage, usage_of
from rerankd.dialects.texts import query_of
from rerankd.domain import RankRequest


class MixedbreadRequest(Struct):
    """The body of Mixedbread's request; `rewrite_query` is ignored."""

    query: Text
    input: list[Text] | None = None
    model: str | None = None
    rank_fields: list[str] | None = None
    top_k: Count | None = None
    return_input: bool | None = False
    instruction: str | None = None


class MixedbreadRow(Struct, kw_only=True):
    """One ranked input, which comes back as it was sent."""

    index: int
    score: float
    input: Text | UnsetType = UNSET
    object: Literal["rank_result"] = "rank_result"


class MixedbreadReply(Struct, kw_only=True):
    """Mixedbread's answer."""

    usage: Usage
    model: str
    data: list[MixedbreadRow]
    object: Literal["list"] = "list"
    top_k: int
    return_input: bool


def read(body: Body, context: RequestContext) -> ParsedRequest:
    """Read a request."""
    del context
    wire = body.decode(MixedbreadRequest)
    inputs = wire.input or []
    request = RankRequest(
        query=query_of(wire.query),
        documents=documents_of(inputs, "input", wire.rank_fields),
        model=wire.model,
        instruction=instruction_of(wire.instruction),
        top_n=wire.top_k or None,
    )
    return_input = bool(wire.return_input)
    return ParsedRequest(
        (request,),
        lambda results: MixedbreadReply(
            usage=usage_of(results),
            model=results[0].model,
            data=[
                MixedbreadRow(
                    index=one.index,
                    score=one.score,
                    input=inputs[one.index] if return_input else UNSET,
                )
                for one in results[0].results
            ],
            top_k=len(results[0].results),
            return_input=return_input,
        ),
    )
