"""Parts that the replies of most families share: results, usage and metadata."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from rerankd.dialects.pictures import RepliedPictures, pictures_replied
from rerankd.domain import (
    Content,
    RankedDocument,
    RankedResult,
    RankRequest,
    ScoreScale,
    Scoring,
    Timings,
    text_in,
)

SEARCH_UNIT = 100
"""Documents that Cohere counts as one search."""


class PromptTokens(Struct):
    """Which of the prompt's tokens are what."""

    image_tokens: int


class TokenUsage(Struct):
    """Tokens that the model read; the query counts once for each document."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: Annotated[
        PromptTokens | UnsetType, Meta(description="Where there are pictures: tokens of pictures")
    ] = UNSET


class Document(Struct):
    """A document repeated in the reply."""

    text: str
    multi_modal: RepliedPictures = UNSET


class ScaledPicture(Struct):
    """A picture's size after scaling, in pixels."""

    index: Annotated[int | None, Meta(description="The document's; null for the query")]
    width: int
    height: int


class ResultPassage(Struct, kw_only=True):
    """A part of a document, from character `start` up to `end`, with its score."""

    start: int
    end: int
    text: str
    relevance_score: float


class Result(Struct, kw_only=True):
    """One ranked document: its index in the request and its score."""

    index: int
    document: Document | str | UnsetType = UNSET
    relevance_score: Annotated[
        float | None, Meta(description="null for a document that was not scored in time")
    ]
    scored: Annotated[
        Literal[False] | UnsetType,
        Meta(description="false for a document that was not scored in time, otherwise absent"),
    ] = UNSET
    passages: Annotated[
        list[ResultPassage] | UnsetType,
        Meta(description="With `return_passages`: the parts its score comes from, best first"),
    ] = UNSET


class ResultRow(Struct):
    """A result whose document is a bare text, as Voyage and others have it."""

    index: int
    relevance_score: float
    document: str | UnsetType = UNSET


class ApiVersion(Struct):
    """The version of Cohere's API that the reply follows."""

    version: str


class BilledUnits(Struct):
    """What Cohere would bill; rerankd bills nothing."""

    search_units: int


class Tokens(Struct):
    """The same counts as in `usage`, under Cohere's names."""

    input_tokens: int
    output_tokens: int = 0


class PartialAnswer(Struct):
    """How far the ranking was when its deadline came."""

    scored: Annotated[int, Meta(description="Documents with a score")]
    unscored: Annotated[
        int, Meta(description="Documents without one, which follow in the order of the request")
    ]


class ReplyMeta(Struct, kw_only=True):
    """Details about how a reply was computed."""

    api_version: ApiVersion
    billed_units: BilledUnits
    tokens: Tokens
    score_scale: Annotated[
        ScoreScale,
        Meta(
            description="`model` for the model's own scores in [0, 1], `calibrated` for those that"
            " say how often such a document is relevant, `uncalibrated` for models whose scores"
            " only order documents, or `logit` with `raw_scores`"
        ),
    ]
    truncated: Annotated[list[int], Meta(description="Indices of the documents that were cut")]
    query_truncated: Annotated[bool, Meta(description="Whether the query was cut")]
    chunks: Annotated[
        int, Meta(description="Chunks scored; as many as documents if none was split")
    ]
    cached: Annotated[int, Meta(description="Documents with a score in the cache of this API key")]
    warnings: Annotated[
        list[str], Meta(description="Anything else the caller should know about the scores")
    ]
    device: Annotated[str, Meta(description="Where it was computed: `cpu` or `gpu`")]
    timings: Timings
    scoring: Annotated[
        Scoring | UnsetType,
        Meta(description="How query and document were compared, if not by a cross-encoder"),
    ] = UNSET
    hybrid: Annotated[
        float | UnsetType, Meta(description="Logits that were added to BM25's best document")
    ] = UNSET
    identifiers: Annotated[
        float | UnsetType,
        Meta(
            description="Logits that a document gained with all identifiers of the query, where"
            " any document has one"
        ),
    ] = UNSET
    partial: Annotated[
        PartialAnswer | UnsetType,
        Meta(description='Only with `on_timeout: "partial"`, where the deadline came first'),
    ] = UNSET
    below_min_score: Annotated[
        int | UnsetType, Meta(description="Documents that `min_score` dropped")
    ] = UNSET
    model: Annotated[
        str | UnsetType,
        Meta(description="The model that ranked, where the server chose it by the language"),
    ] = UNSET
    language: Annotated[
        str | UnsetType,
        Meta(description="ISO 639 code of the texts' language, where it decided on the model"),
    ] = UNSET
    model_reason: Annotated[
        str | UnsetType, Meta(description="Why it was this model, where the server chose it")
    ] = UNSET
    pictures: Annotated[
        list[ScaledPicture] | UnsetType,
        Meta(description="Where there are pictures: what each was scaled to for the model"),
    ] = UNSET


def usage_of(results: Sequence[RankedResult]) -> TokenUsage:
    """Add up the tokens that were read."""
    tokens = sum(result.prompt_tokens for result in results)
    of_pictures = picture_tokens_of(results)
    details = UNSET if of_pictures is UNSET else PromptTokens(of_pictures)
    return TokenUsage(tokens, 0, tokens, details)


def picture_tokens_of(results: Sequence[RankedResult]) -> int | UnsetType:
    """Add up the tokens of pictures, UNSET where there are none."""
    return sum(result.picture_tokens for result in results) or UNSET


def document_of(content: Content) -> Document:
    """Return a document as replies repeat it: its text, and what they say of its pictures."""
    return Document(text_in(content), pictures_replied(content) or UNSET)


def text_of_result(request: RankRequest, ranked: RankedDocument) -> str:
    """Return the text of a ranked document."""
    return text_in(request.documents[ranked.index])


def passages_of(request: RankRequest, ranked: RankedDocument) -> list[ResultPassage] | UnsetType:
    """Return the passages that a document's score comes from, if the request asked for them."""
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


def result_rows(request: RankRequest, result: RankedResult, *, documents: bool) -> list[ResultRow]:
    """Build a result's rows, with their documents if wanted."""
    return [
        ResultRow(one.index, one.score, text_of_result(request, one) if documents else UNSET)
        for one in result.results
    ]


def meta_of(version: Literal["1", "2"], request: RankRequest, result: RankedResult) -> ReplyMeta:
    """Build the details about how a reply was computed."""
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
        identifiers=result.identifiers or UNSET,
        partial=_partial_answer(request, result),
        below_min_score=UNSET if request.min_score is None else result.below_min_score,
        model=result.model if result.model_reason else UNSET,
        language=result.language or UNSET,
        model_reason=result.model_reason or UNSET,
        pictures=[
            ScaledPicture(None if index < 0 else index, width, height)
            for index, width, height in result.picture_sizes
        ]
        or UNSET,
    )


def _partial_answer(request: RankRequest, result: RankedResult) -> PartialAnswer | UnsetType:
    missing = len(result.unscored)
    return PartialAnswer(len(request.documents) - missing, missing) if missing else UNSET
