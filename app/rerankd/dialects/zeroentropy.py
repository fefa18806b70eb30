"""ZeroEntropy's dialect."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from rerankd.dialects.dialect import Body, ParsedRequest, RequestContext
from rerankd.dialects.native import Row, rows
from rerankd.dialects.reading import Count, Text, documents_of, instruction_of
from rerankd.dialects.texts import query_of
from rerankd.domain import RankedResult, RankRequest


class ZeroEntropyRequest(Struct):
    """The body of ZeroEntropy's request; `latency` is ignored: there is one speed."""

    query: Text
    documents: list[Text] | None = None
    model: str | None = None
    top_n: Count | None = None
    instruction: str | None = None


class ZeroEntropyReply(Struct, kw_only=True):
    """ZeroEntropy's answer; latencies are seconds."""

    results: list[Row]
    actual_latency_mode: Literal["fast"] = "fast"
    e2e_latency: float
    inference_latency: float
    total_bytes: int
    total_tokens: int


def read(body: Body, context: RequestContext) -> ParsedRequest:
    """Read a request."""
    del context
    wire = body.decode(ZeroEntropyRequest)
    request = RankRequest(
        query=query_of(wire.query),
        documents=documents_of(wire.documents, "documents"),
        model=wire.model,
        instruction=instruction_of(wire.instruction),
        top_n=wire.top_n or None,
    )
    return ParsedRequest((request,), lambda results: _reply(request, results[0]))


def _reply(request: RankRequest, result: RankedResult) -> ZeroEntropyReply:
    return ZeroEntropyReply(
        results=rows(request, result, documents=False),
        e2e_latency=result.timings.total_ms / 1000,
        inference_latency=result.timings.engine_ms / 1000,
        total_bytes=len(request.query.encode()) * len(request.documents)
        + sum(len(text.encode()) for text in request.documents),
        total_tokens=result.prompt_tokens,
    )
