"""The dialect of NVIDIA's NIM: passages in, logits out."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from rerankd.dialects.dialect import Body, ParsedRequest, RequestContext
from rerankd.dialects.reading import Count, Text, documents_of
from rerankd.dialects.results import Usage, usage_of
from rerankd.dialects.texts import query_of
from rerankd.domain import RankRequest, Truncation
from rerankd.errors import InvalidRequest


class NvidiaRequest(Struct):
    """The body of a ranking request."""

    query: Text
    passages: list[Text] | None = None
    model: str | None = None
    top_k: Annotated[Count | None, Meta(description="Passages that come back; all if missing")] = (
        None
    )
    truncate: Annotated[str | None, Meta(description="`END` cuts, `NONE` refuses")] = None


class Ranking(Struct):
    """One ranked passage."""

    index: int
    logit: float


class NvidiaReply(Struct):
    """The answer to a ranking request."""

    rankings: list[Ranking]
    usage: Usage


def read(body: Body, context: RequestContext) -> ParsedRequest:
    """Read a request; scores are logits in this family."""
    del context
    wire = body.decode(NvidiaRequest)
    request = RankRequest(
        query=query_of(wire.query),
        documents=documents_of(wire.passages, "passages"),
        model=wire.model,
        top_n=wire.top_k or None,
        truncation=_truncation(wire.truncate),
        raw_scores=True,
    )
    return ParsedRequest(
        (request,),
        lambda results: NvidiaReply(
            [Ranking(one.index, one.score) for one in results[0].results], usage_of(results)
        ),
    )


def _truncation(truncate: str | None) -> Truncation:
    match (truncate or "END").upper():
        case "END":
            return Truncation()
        case "START":
            return Truncation(truncation_side="left")
        case "NONE":
            return Truncation(overflow="error")
        case _:
            raise InvalidRequest("truncate must be END, START or NONE", param="truncate")
