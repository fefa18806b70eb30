"""The dialect of vLLM's scores: pairs of texts, one query with many or each with its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import Meta, Struct

from rerankd.dialects.dialect import Body, Dialect, ParsedRequest, RequestContext
from rerankd.dialects.examples import EXAMPLE_DOCUMENTS, EXAMPLE_MODEL, EXAMPLE_QUERY
from rerankd.dialects.options import RankOptions, request_of
from rerankd.dialects.pairs import Pairs, Side, pairs_of, scores_of
from rerankd.dialects.results import TokenUsage, usage_of
from rerankd.domain import RankedResult
from rerankd.errors import InvalidRequest

SIDES = (
    ("text_1", "text_2"),
    ("queries", "documents"),
    ("queries", "items"),
    ("data_1", "data_2"),
)
"""Names that the two sides of the pairs may have."""


class ScoreRequest(RankOptions, kw_only=True):
    """The body of a score request: two sides, under one of four pairs of names."""

    text_1: Annotated[Side | None, Meta(description="The query, or one for each document")] = None
    text_2: Annotated[Side | None, Meta(description="One document or many")] = None
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
    usage: TokenUsage


def _parse_scores(body: Body, context: RequestContext) -> ParsedRequest:
    """Read a request: pairs of one query are one request of the domain."""
    wire = body.decode(ScoreRequest)
    left, right = _sides(wire)
    pairs = pairs_of(getattr(wire, left), getattr(wire, right), (left, right))
    requests = tuple(request_of(wire, one.query, one.documents, places=one.places) for one in pairs)
    return ParsedRequest(requests, lambda results: _score_reply(context, pairs, results))


def _sides(wire: ScoreRequest) -> tuple[str, str]:
    for left, right in SIDES:
        if getattr(wire, left) is not None and getattr(wire, right) is not None:
            return left, right
    raise InvalidRequest("text_1 and text_2 are needed", param="text_1")


def _score_reply(
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


DIALECT = Dialect(
    name="vllm-score",
    title="vLLM's scores",
    paths=("/v1/score", "/score"),
    request=ScoreRequest,
    reply=ScoreReply,
    example={"model": EXAMPLE_MODEL, "text_1": EXAMPLE_QUERY, "text_2": EXAMPLE_DOCUMENTS},
    parse=_parse_scores,
    needs_all_scores=True,
)
