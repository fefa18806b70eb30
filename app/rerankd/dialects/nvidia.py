"""The dialect of NVIDIA's NIM: passages in, logits out."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from rerankd.dialects.answer_options import AnswerOptions, answer_options
from rerankd.dialects.dialect import Body, Dialect, ParsedRequest, RequestContext
from rerankd.dialects.examples import EXAMPLE_DOCUMENTS, EXAMPLE_MODEL, EXAMPLE_QUERY
from rerankd.dialects.reading import NonNegative, Texts, WireText, documents_of
from rerankd.dialects.results import TokenUsage, usage_of
from rerankd.dialects.texts import query_of
from rerankd.domain import RankRequest, RequestPlaces, Truncation
from rerankd.errors import InvalidRequest


class NvidiaRequest(AnswerOptions):
    """The body of a ranking request."""

    query: WireText
    passages: Texts | None = None
    model: str | None = None
    top_k: Annotated[
        NonNegative | None, Meta(description="How many passages to return; default: all")
    ] = None
    truncate: Annotated[
        str | None,
        Meta(description="The side of long passages to cut: `END` or `START`; `NONE` refuses them"),
    ] = None


class Ranking(Struct):
    """One ranked passage."""

    index: int
    logit: float


class NvidiaReply(Struct):
    """The answer to a ranking request."""

    rankings: list[Ranking]
    usage: TokenUsage


def _parse_nvidia(body: Body, context: RequestContext) -> ParsedRequest:
    del context
    wire = body.decode(NvidiaRequest)
    request = RankRequest(
        query=query_of(wire.query),
        documents=documents_of(wire.passages, "passages"),
        model=wire.model,
        top_n=wire.top_k or None,
        truncation=_nvidia_truncation(wire.truncate),
        raw_scores=True,
        places=RequestPlaces(documents="passages"),
        **answer_options(wire),
    )
    return ParsedRequest(
        (request,),
        lambda results: NvidiaReply(
            [Ranking(one.index, one.score) for one in results[0].results], usage_of(results)
        ),
    )


def _nvidia_truncation(truncate: str | None) -> Truncation:
    match (truncate or "END").upper():
        case "END":
            return Truncation()
        case "START":
            return Truncation(truncation_side="left")
        case "NONE":
            return Truncation(overflow="error")
        case _:
            raise InvalidRequest("truncate must be END, START or NONE", param="truncate")


DIALECT = Dialect(
    name="nvidia",
    title="NVIDIA NIM",
    paths=(
        "/v1/ranking",
        "/v1/retrieval/{model}/reranking",
        "/v1/retrieval/{owner}/{model}/reranking",
    ),
    request=NvidiaRequest,
    reply=NvidiaReply,
    example={
        "model": EXAMPLE_MODEL,
        "query": {"text": EXAMPLE_QUERY},
        "passages": [{"text": text} for text in EXAMPLE_DOCUMENTS],
    },
    parse=_parse_nvidia,
)
