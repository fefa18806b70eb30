"""What a request may ask for beside its texts, in every spelling that native clients send."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from msgspec import Meta, Struct

from rerankd.dialects.reading import NonNegative, instruction_of, options_of, side_of
from rerankd.domain import ChunkScore, Overflow, RankRequest, Truncation

HYBRID_WEIGHT = 1.0
"""Logits that BM25's best document gets by default (docs/embedding.md)."""


class RankOptions(Struct, kw_only=True):
    """The optional fields; null means the default."""

    model: Annotated[
        str | None, Meta(description="Id of the model; the server's own when missing")
    ] = None
    raw_scores: Annotated[bool | None, Meta(description="Give logits instead of probabilities")] = (
        False
    )
    use_activation: Annotated[bool | None, Meta(description="vLLM's name: false gives logits")] = (
        None
    )
    normalize: Annotated[bool | None, Meta(description="false gives logits")] = None
    truncate: Annotated[
        bool | None, Meta(description='false is the same as `overflow: "error"`')
    ] = True
    overflow: Annotated[
        Overflow | None,
        Meta(description="Cut documents that are too long, score them in chunks, or refuse"),
    ] = None
    truncation_side: Annotated[
        str | None, Meta(description="The side that is cut: `right` (the end) or `left`")
    ] = None
    max_tokens_per_doc: Annotated[
        NonNegative | None, Meta(description="Tokens of a document that count; 0 means all")
    ] = None
    max_tokens_per_query: Annotated[
        NonNegative | None, Meta(description="Tokens of the query that count; 0 means all")
    ] = None
    truncate_prompt_tokens: Annotated[
        Annotated[int, Meta(ge=-1)] | None,
        Meta(description="vLLM's name for max_tokens_per_doc; -1 means all"),
    ] = None
    chunk_tokens: Annotated[
        NonNegative | None, Meta(description="Most tokens of a chunk; 0: as many as fit")
    ] = None
    overlap_tokens: Annotated[
        NonNegative | None, Meta(description="Tokens that a chunk repeats of the one before it")
    ] = None
    max_chunks_per_doc: Annotated[
        NonNegative | None,
        Meta(description="Chunks of a document that are scored; asks for chunks"),
    ] = None
    chunk_score: Annotated[
        ChunkScore | None,
        Meta(description="A document's score: its best chunk's, or the mean of its best few"),
    ] = None
    hybrid: Annotated[
        bool | Annotated[float, Meta(ge=0, le=20)] | None,
        Meta(
            description="Add BM25 over these documents: true, or its weight in logits;"
            " scores then depend on the other documents"
        ),
    ] = None
    instruction: Annotated[
        str | None, Meta(description="What counts as relevant, for models that take one")
    ] = None
    instruct: Annotated[str | None, Meta(description="The same, by DashScope's name")] = None
    task: Annotated[str | None, Meta(description="The same, by another name")] = None
    prompt: Annotated[str | None, Meta(description="The same, by another name")] = None
    chat_template_kwargs: Annotated[
        dict[str, Any] | None, Meta(description="vLLM's place for `instruction`")
    ] = None
    kwargs: Annotated[
        dict[str, Any] | str | None,
        Meta(description="Xinference's place for `instruction` and `normalize`, also as JSON"),
    ] = None
    priority: Annotated[
        int | None, Meta(description="Requests of a lower number are computed first")
    ] = None
    timeout_ms: Annotated[
        Annotated[int, Meta(gt=0)] | None,
        Meta(description="Milliseconds after which the answer is of no use"),
    ] = None


def request_of(
    options: RankOptions, query: str, documents: tuple[str, ...], *, top_n: int | None = None
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
        timeout_ms=options.timeout_ms,
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
