"""vLLM's scores: pairs of texts, one with one, one with many, or each with its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import Meta, Struct

from rerankd.dialects.dialect import Body, ParsedRequest, RequestContext
from rerankd.dialects.options import Options, request_of
from rerankd.dialects.pairs import Pairs, Side, pairs_of, scores_of
from rerankd.dialects.results import Usage, usage_of
from rerankd.domain import RankedResult
from rerankd.errors import InvalidRequest

NAMES = (
    ("text_1", "text_2"),
    ("queries", "documents"),
    ("queries", "items"),
    ("data_1", "data_2"),
)
"""What the two sides of the pairs may be called."""


class ScoreRequest(Options, kw_only=True):
    """The body of a score request: two sides, by one of four pairs of names."""

    text_1: Annotated[Side | None, Meta(description="The queries: one, or one a document")] = None
    text_2: Annotated[Side | None, Meta(description="The documents: one or many")] = None
    queries: Side | None = None
    documents: Side | None = None
    items: Side | None = None
    data_1: Side | None = None
    data_2: Side | None = None


class Score(Struct, kw_only=True):
    """A pair's score."""

    index: int
    object: Literal["score"] = "score"
    score: float


class ScoreReply(Struct, kw_only=True):
    """The scores in the order of the pairs."""

    id: str
    object: Literal["list"] = "list"
    created: int
    model: str
    data: list[Score]
    usage: Usage


def read(body: Body, context: RequestContext) -> ParsedRequest:
    """Read a request: pairs of one query are one request of the domain."""
    wire = body.decode(ScoreRequest)
    left, right = _names(wire)
    pairs = pairs_of(getattr(wire, left), getattr(wire, right), (left, right))
    requests = tuple(request_of(wire, one.query, one.documents) for one in pairs)
    return ParsedRequest(requests, lambda results: _reply(context, pairs, results))


def _names(wire: ScoreRequest) -> tuple[str, str]:
    for left, right in NAMES:
        if getattr(wire, left) is not None and getattr(wire, right) is not None:
            return left, right
    raise InvalidRequest("text_1 and text_2 are needed", param="text_1")


def _reply(
    context: RequestContext, pairs: Sequence[Pairs], results: Sequence[RankedResult]
) -> ScoreReply:
    scores = scores_of(pairs, results)
    return ScoreReply(
        id=f"score-{context.id}",
        created=context.created,
        model=results[0].model,
        data=[Score(index=place, score=score) for place, score in enumerate(scores)],
        usage=usage_of(results),
    )
