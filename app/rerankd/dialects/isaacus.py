"""Isaacus's dialect: `texts` in, scores under `results` out."""

from __future__ import annotations

from msgspec import Struct

from rerankd.dialects.answer_options import AnswerOptions, answer_options
from rerankd.dialects.dialect import Body, Dialect, ParsedRequest, RequestContext
from rerankd.dialects.examples import EXAMPLE_DOCUMENTS, EXAMPLE_MODEL, EXAMPLE_QUERY
from rerankd.dialects.reading import NonNegative, Texts, WireText, documents_of
from rerankd.dialects.texts import query_of
from rerankd.domain import RankRequest, RequestPlaces


class IsaacusRequest(AnswerOptions):
    """The body of Isaacus's request; its options for splitting texts are ignored."""

    query: WireText
    texts: Texts | None = None
    model: str | None = None
    top_n: NonNegative | None = None


class IsaacusRow(Struct):
    """One ranked text."""

    index: int
    score: float


class IsaacusUsage(Struct):
    """Tokens the model read."""

    input_tokens: int


class IsaacusReply(Struct):
    """Isaacus's answer."""

    results: list[IsaacusRow]
    usage: IsaacusUsage


def _parse_isaacus(body: Body, context: RequestContext) -> ParsedRequest:
    del context
    wire = body.decode(IsaacusRequest)
    request = RankRequest(
        query=query_of(wire.query),
        documents=documents_of(wire.texts, "texts"),
        model=wire.model,
        top_n=wire.top_n or None,
        places=RequestPlaces(documents="texts"),
        **answer_options(wire),
    )
    return ParsedRequest(
        (request,),
        lambda results: IsaacusReply(
            [IsaacusRow(one.index, one.score) for one in results[0].results],
            IsaacusUsage(results[0].prompt_tokens),
        ),
    )


DIALECT = Dialect(
    name="isaacus",
    title="Isaacus",
    paths=("/v1/rerankings",),
    request=IsaacusRequest,
    reply=IsaacusReply,
    example={
        "model": EXAMPLE_MODEL,
        "query": EXAMPLE_QUERY,
        "texts": EXAMPLE_DOCUMENTS,
        "top_n": 2,
    },
    parse=_parse_isaacus,
)
