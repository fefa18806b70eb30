"""The options of a native request, under every name that its clients use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from msgspec import Meta

from rerankd.dialects.answer_options import AnswerOptions, answer_options
from rerankd.dialects.reading import NonNegative, instruction_of, options_of, side_of
from rerankd.domain import ChunkScore, Content, Overflow, RankRequest, RequestPlaces, Truncation

HYBRID_WEIGHT = 1.0
"""Logits that `hybrid: true` adds to BM25's best document (docs/embedding.md)."""


class RankOptions(AnswerOptions, kw_only=True):
    """The optional fields; null means the default."""

    model: Annotated[
        str | None, Meta(description="The model's id; none or `auto`: the server's choice")
    ] = None
    raw_scores: Annotated[
        bool | None, Meta(description="Return logits instead of scores from 0 to 1")
    ] = False
    use_activation: Annotated[
        bool | None, Meta(description="vLLM's name for it: false returns logits")
    ] = None
    normalize: Annotated[bool | None, Meta(description="false returns logits")] = None
    truncate: Annotated[bool | None, Meta(description='false means `overflow: "error"`')] = True
    overflow: Annotated[
        Overflow | None,
        Meta(description="Cut documents that are too long, score them in chunks, or refuse them"),
    ] = None
    truncation_side: Annotated[
        str | None, Meta(description="The side to cut: `right` (the end) or `left`")
    ] = None
    max_tokens_per_doc: Annotated[
        NonNegative | None, Meta(description="Tokens of a document to use; 0 means all")
    ] = None
    max_tokens_per_query: Annotated[
        NonNegative | None, Meta(description="Tokens of the query to use; 0 means all")
    ] = None
    truncate_prompt_tokens: Annotated[
        Annotated[int, Meta(ge=-1)] | None,
        Meta(description="vLLM's name for `max_tokens_per_doc`; -1 means all"),
    ] = None
    chunk_tokens: Annotated[
        NonNegative | None,
        Meta(description="Largest size of a chunk in tokens; 0 means as many as fit"),
    ] = None
    overlap_tokens: Annotated[
        NonNegative | None, Meta(description="Tokens by which a chunk overlaps the one before it")
    ] = None
    max_chunks_per_doc: Annotated[
        NonNegative | None,
        Meta(description='Chunks of a document to score; implies `overflow: "chunk"`'),
    ] = None
    chunk_score: Annotated[
        ChunkScore | None,
        Meta(
            description="A split document's score: its best chunk's, or the mean of its best three"
        ),
    ] = None
    hybrid: Annotated[
        bool | Annotated[float, Meta(ge=0, le=20)] | None,
        Meta(
            description="Add BM25 over these documents: true, or its weight in logits;"
            " scores then depend on the other documents"
        ),
    ] = None
    instruction: Annotated[
        str | None, Meta(description="What counts as relevant, for models that take an instruction")
    ] = None
    instruct: Annotated[str | None, Meta(description="DashScope's name for `instruction`")] = None
    task: Annotated[str | None, Meta(description="Another name for `instruction`")] = None
    prompt: Annotated[str | None, Meta(description="Another name for `instruction`")] = None
    chat_template_kwargs: Annotated[
        dict[str, Any] | None, Meta(description="vLLM's place for `instruction`")
    ] = None
    kwargs: Annotated[
        dict[str, Any] | str | None,
        Meta(description="Xinference's place for `instruction` and `normalize`, also as JSON"),
    ] = None
    priority: Annotated[
        int | None, Meta(description="Waiting requests with a lower number go first")
    ] = None


def request_of(
    options: RankOptions,
    query: Content,
    documents: tuple[Content, ...],
    *,
    top_n: int | None = None,
    places: RequestPlaces | None = None,
) -> RankRequest:
    """Build the domain's request. Raises InvalidRequest."""
    kwargs = options_of(options.kwargs)
    return RankRequest(
        query=query,
        documents=documents,
        model=options.model,
        instruction=_instruction(options, kwargs),
        top_n=top_n,
        truncation=_truncation_of(options),
        raw_scores=_wants_logits(options, kwargs),
        chunk_score=options.chunk_score or "max",
        hybrid=HYBRID_WEIGHT if options.hybrid is True else float(options.hybrid or 0),
        priority=options.priority or 0,
        places=places or RequestPlaces(),
        **answer_options(options),
    )


def _instruction(options: RankOptions, kwargs: Mapping[str, Any]) -> str | None:
    return instruction_of(
        options.instruction,
        options.instruct,
        options.task,
        options.prompt,
        (options.chat_template_kwargs or {}).get("instruction"),
        kwargs.get("instruction"),
    )


def _wants_logits(options: RankOptions, kwargs: Mapping[str, Any]) -> bool:
    return bool(options.raw_scores) or False in (
        options.use_activation,
        options.normalize,
        kwargs.get("normalize"),
    )


def _truncation_of(options: RankOptions) -> Truncation:
    overflow: Overflow | None = "error" if options.truncate is False else None
    if options.max_chunks_per_doc:  # Cohere's first API and SiliconFlow always split
        overflow = "chunk"
    own = options.truncate_prompt_tokens
    return Truncation(
        overflow=options.overflow or overflow,
        truncation_side=side_of(options.truncation_side, "truncation_side"),
        max_tokens_per_doc=options.max_tokens_per_doc or (own if own and own > 0 else None),
        max_tokens_per_query=options.max_tokens_per_query or None,
        chunk_tokens=options.chunk_tokens or None,
        overlap_tokens=options.overlap_tokens,
        max_chunks_per_doc=options.max_chunks_per_doc or None,
    )
