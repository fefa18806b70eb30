"""What the replies of most families share: rows, usage, what else there is to know."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from rerankd.domain import RankedDocument, RankedResult, RankRequest, ScoreScale, Scoring, Timings

SEARCH_UNIT = 100
"""Documents of one query that Cohere counts as one search."""


class TokenUsage(Struct):
    """Tokens the model read: every document's pair, the query counted with each."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Document(Struct):
    """A document as it is given back."""

    text: str
    multi_modal: UnsetType | None = UNSET


class ResultPassage(Struct, kw_only=True):
    """A part of a document, from character `start` up to `end`, and its own score."""

    start: int
    end: int
    text: str
    relevance_score: float


class Result(Struct, kw_only=True):
    """One ranked document: its index in the request and its score."""

    index: int
    document: Document | str | UnsetType = UNSET
    relevance_score: float
    passages: Annotated[
        list[ResultPassage] | UnsetType,
        Meta(description="With return_passages: the best ones first"),
    ] = UNSET


class ResultRow(Struct):
    """A result whose document is a bare text, as Voyage and others have it."""

    index: int
    relevance_score: float
    document: str | UnsetType = UNSET


class ApiVersion(Struct):
    """The version of Cohere's API that an answer follows."""

    version: str


class BilledUnits(Struct):
    """What Cohere would count; nothing is billed here."""

    search_units: int


class Tokens(Struct):
    """The same as in `usage`, by Cohere's names."""

    input_tokens: int
    output_tokens: int = 0


class ReplyMeta(Struct, kw_only=True):
    """What else there is to know about an answer."""

    api_version: ApiVersion
    billed_units: BilledUnits
    tokens: Tokens
    score_scale: Annotated[
        ScoreScale, Meta(description="`probability` in [0, 1], or `logit` with raw_scores")
    ]
    truncated: Annotated[list[int], Meta(description="Indices of the documents that were cut")]
    query_truncated: Annotated[bool, Meta(description="Whether the query was cut")]
    chunks: Annotated[int, Meta(description="Parts scored: as many as documents if none was split")]
    cached: Annotated[int, Meta(description="Documents whose score was known already")]
    warnings: Annotated[list[str], Meta(description="What a caller should know about the scores")]
    device: Annotated[str, Meta(description="Where it was computed: `cpu` or `gpu`")]
    timings: Timings
    scoring: Annotated[
        Scoring | UnsetType,
        Meta(description="How texts were compared, where the model is no cross-encoder"),
    ] = UNSET
    hybrid: Annotated[
        float | UnsetType, Meta(description="Logits that BM25's best document was given")
    ] = UNSET


def usage_of(results: Sequence[RankedResult]) -> TokenUsage:
    """Add up the tokens that were read."""
    tokens = sum(result.prompt_tokens for result in results)
    return TokenUsage(tokens, 0, tokens)


def text_of_result(request: RankRequest, ranked: RankedDocument) -> str:
    """Return the text of a ranked document as it was read from the request."""
    return request.documents[ranked.index]


def passages_of(request: RankRequest, ranked: RankedDocument) -> list[ResultPassage] | UnsetType:
    """Return the parts that a document's score comes from, if they were asked for."""
    if not request.return_passages:
        return UNSET
    text = text_of_result(request, ranked)
    return [
        ResultPassage(
            start=one.start,
            end=one.end,
            text=text[one.start : one.end],
            relevance_score=one.score,
        )
        for one in ranked.passages
    ]


def rows_of(request: RankRequest, result: RankedResult, *, documents: bool) -> list[ResultRow]:
    """Build a result's rows, with their documents if wanted."""
    return [
        ResultRow(one.index, one.score, text_of_result(request, one) if documents else UNSET)
        for one in result.results
    ]


def meta_of(version: Literal["1", "2"], request: RankRequest, result: RankedResult) -> ReplyMeta:
    """Build what else there is to know about an answer."""
    return ReplyMeta(
        api_version=ApiVersion(version),
        billed_units=BilledUnits(math.ceil(len(request.documents) / SEARCH_UNIT)),
        tokens=Tokens(result.prompt_tokens),
        score_scale=result.score_scale,
        truncated=list(result.truncated),
        query_truncated=result.query_truncated,
        chunks=result.chunks,
        cached=result.cached,
        warnings=list(result.warnings),
        device=result.device,
        timings=result.timings,
        scoring=UNSET if result.scoring == "cross-encoder" else result.scoring,
        hybrid=result.hybrid or UNSET,
    )
