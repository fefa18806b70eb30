"""ZeroEntropy's dialect."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from rerankd.dialects.answer_options import AnswerOptions, answer_options
from rerankd.dialects.dialect import Body, Dialect, ParsedRequest, RequestContext
from rerankd.dialects.examples import EXAMPLE_DOCUMENTS, EXAMPLE_MODEL, EXAMPLE_QUERY
from rerankd.dialects.reading import NonNegative, Texts, WireText, documents_of, instruction_of
from rerankd.dialects.results import ResultRow, result_rows
from rerankd.dialects.texts import query_of
from rerankd.domain import Content, Picture, Pictured, RankedResult, RankRequest, text_in


class ZeroEntropyRequest(AnswerOptions):
    """The body of ZeroEntropy's request; its `latency` is ignored."""

    query: WireText
    documents: Texts | None = None
    model: str | None = None
    top_n: NonNegative | None = None
    instruction: str | None = None


class ZeroEntropyReply(Struct, kw_only=True):
    """ZeroEntropy's answer. Latencies are in seconds."""

    results: list[ResultRow]
    actual_latency_mode: Literal["fast"] = "fast"
    e2e_latency: float
    inference_latency: float
    total_bytes: int
    total_tokens: int


def _parse_zeroentropy(body: Body, context: RequestContext) -> ParsedRequest:
    del context
    wire = body.decode(ZeroEntropyRequest)
    request = RankRequest(
        query=query_of(wire.query),
        documents=documents_of(wire.documents, "documents"),
        model=wire.model,
        instruction=instruction_of(wire.instruction),
        top_n=wire.top_n or None,
        **answer_options(wire),
    )
    return ParsedRequest((request,), lambda results: _zeroentropy_reply(request, results[0]))


def _zeroentropy_reply(request: RankRequest, result: RankedResult) -> ZeroEntropyReply:
    return ZeroEntropyReply(
        results=result_rows(request, result, documents=False),
        e2e_latency=result.timings.total_ms / 1000,
        inference_latency=result.timings.engine_ms / 1000,
        total_bytes=_content_bytes(request.query) * len(request.documents)
        + sum(map(_content_bytes, request.documents)),
        total_tokens=result.prompt_tokens,
    )


def _content_bytes(content: Content) -> int:
    """Return the bytes of a text and of the pictures that were sent with it."""
    pictures = content.pictures if isinstance(content, Pictured) else ()
    sent = sum(len(one.data) for one in pictures if isinstance(one, Picture))
    return len(text_in(content).encode()) + sent


DIALECT = Dialect(
    name="zeroentropy",
    title="ZeroEntropy",
    paths=("/v1/models/rerank",),
    request=ZeroEntropyRequest,
    reply=ZeroEntropyReply,
    example={
        "model": EXAMPLE_MODEL,
        "query": EXAMPLE_QUERY,
        "documents": EXAMPLE_DOCUMENTS,
        "top_n": 2,
    },
    parse=_parse_zeroentropy,
)
