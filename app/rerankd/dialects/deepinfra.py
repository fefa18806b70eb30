"""DeepInfra's dialect: pairs in, bare scores out, the model in the path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from rerankd.dialects.answer_options import AnswerOptions, answer_options
from rerankd.dialects.dialect import Body, Dialect, ParsedRequest, RequestContext
from rerankd.dialects.examples import EXAMPLE_DOCUMENTS, EXAMPLE_MODEL, EXAMPLE_QUERY
from rerankd.dialects.pairs import Pairs, pairs_of, scores_of
from rerankd.dialects.reading import Texts, WireText, instruction_of
from rerankd.domain import RankedResult, RankRequest


class DeepInfraRequest(AnswerOptions):
    """The body of DeepInfra's request: one query, or one for each document."""

    queries: list[WireText]
    documents: Texts | None = None
    model: str | None = None
    """An addition to DeepInfra's; it takes precedence over the model in the path."""
    instruction: str | None = None


class DeepInfraStatus(Struct):
    """Statistics that its clients read; rerankd bills nothing."""

    runtime_ms: int
    tokens_input: int
    tokens_generated: int = 0
    cost: float = 0.0
    status: Literal["succeeded"] = "succeeded"


class DeepInfraReply(Struct):
    """The scores in the order of the pairs."""

    scores: list[float]
    input_tokens: int
    request_id: str
    inference_status: DeepInfraStatus


def _parse_deepinfra(body: Body, context: RequestContext) -> ParsedRequest:
    """Read a request: pairs of one query are one request of the domain."""
    wire = body.decode(DeepInfraRequest)
    pairs = pairs_of(wire.queries, wire.documents, ("queries", "documents"))
    requests = tuple(
        RankRequest(
            query=one.query,
            documents=one.documents,
            model=wire.model or context.model or None,
            instruction=instruction_of(wire.instruction),
            places=one.places,
            **answer_options(wire),
        )
        for one in pairs
    )
    return ParsedRequest(requests, lambda results: _deepinfra_reply(context, pairs, results))


def _deepinfra_reply(
    context: RequestContext, pairs: Sequence[Pairs], results: Sequence[RankedResult]
) -> DeepInfraReply:
    tokens = sum(result.prompt_tokens for result in results)
    spent = round(sum(result.timings.total_ms for result in results))
    return DeepInfraReply(
        scores_of(pairs, results), tokens, context.id, DeepInfraStatus(spent, tokens)
    )


DIALECT = Dialect(
    name="deepinfra",
    title="DeepInfra",
    paths=(
        "/v1/inference/{model}",
        "/v1/inference/{owner}/{model}",
        "/inference/{model}",
        "/inference/{owner}/{model}",
    ),
    request=DeepInfraRequest,
    reply=DeepInfraReply,
    example={
        "model": EXAMPLE_MODEL,
        "queries": [EXAMPLE_QUERY],
        "documents": EXAMPLE_DOCUMENTS,
    },
    parse=_parse_deepinfra,
    needs_all_scores=True,
)
