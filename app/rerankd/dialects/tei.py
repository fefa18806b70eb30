"""The dialect of Text Embeddings Inference: `texts` in, a bare list out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from rerankd.dialects.answer_options import AnswerOptions, answer_options
from rerankd.dialects.dialect import SHARED_PATHS, Body, Dialect, ParsedRequest, RequestContext
from rerankd.dialects.error_format import ErrorFormat
from rerankd.dialects.examples import EXAMPLE_DOCUMENTS, EXAMPLE_QUERY
from rerankd.dialects.marks import Marks
from rerankd.dialects.reading import (
    NonNegative,
    Texts,
    WireText,
    documents_of,
    instruction_of,
    side_of,
)
from rerankd.dialects.results import text_of_result
from rerankd.dialects.texts import query_of
from rerankd.domain import RankedResult, RankRequest, RequestPlaces, Truncation, text_in
from rerankd.errors import (
    EngineFailure,
    MissingDocuments,
    ModelFailed,
    ModelLoading,
    QueueFull,
    RateLimited,
    RequestError,
    RerankdError,
    ShuttingDown,
)

ErrorType = Literal["Unhealthy", "Backend", "Overloaded", "Validation", "Empty"]


class TeiRequest(AnswerOptions):
    """The body of TEI's request, with the `top_n` that its clients in other libraries send."""

    query: WireText
    texts: Texts | None = None
    model: str | None = None
    top_n: NonNegative | None = None
    raw_scores: bool | None = False
    return_text: bool | None = False
    truncate: bool | None = True
    truncation_direction: str | None = None
    instruction: str | None = None


class TeiRank(Struct):
    """One ranked text."""

    index: int
    text: str | UnsetType = UNSET
    score: float = 0.0


class TeiError(Struct):
    """TEI's error: a message and a class."""

    error: str
    error_type: ErrorType


def _parse_tei(body: Body, context: RequestContext) -> ParsedRequest:
    del context
    wire = body.decode(TeiRequest)
    request = RankRequest(
        query=query_of(wire.query),
        documents=documents_of(wire.texts, "texts"),
        model=wire.model,
        instruction=instruction_of(wire.instruction),
        top_n=wire.top_n or None,
        truncation=Truncation(
            overflow="error" if wire.truncate is False else None,
            truncation_side=side_of(wire.truncation_direction, "truncation_direction"),
        ),
        raw_scores=bool(wire.raw_scores),
        places=RequestPlaces(documents="texts"),
        **answer_options(wire),
    )
    with_text = bool(wire.return_text)
    return ParsedRequest(
        (request,),
        lambda results: [
            TeiRank(one.index, text_of_result(request, one) if with_text else UNSET, one.score)
            for one in results[0].results
        ],
    )


def _tei_headers(parsed: ParsedRequest, results: Sequence[RankedResult]) -> dict[str, str]:
    """Return what TEI sends in headers, since its reply is a bare list. Times are milliseconds."""
    request, result = parsed.requests[0], results[0]
    texts = [text_in(one) for one in request.documents]
    characters = sum(map(len, texts)) + len(text_in(request.query)) * len(texts)
    timings = result.timings
    return {
        "x-compute-type": result.device,
        "x-compute-time": str(round(timings.total_ms)),
        "x-compute-characters": str(characters),
        "x-compute-tokens": str(result.prompt_tokens),
        "x-total-time": str(round(timings.total_ms)),
        "x-queue-time": str(round(timings.queue_ms)),
        "x-tokenization-time": str(round(timings.tokenize_ms)),
        "x-inference-time": str(round(timings.engine_ms)),
    }


def _tei_error(error: RerankdError) -> TeiError:
    return TeiError(error.message, _tei_error_type(error))


def _tei_error_type(error: RerankdError) -> ErrorType:
    match error:
        case MissingDocuments():
            return "Empty"
        case QueueFull() | RateLimited():
            return "Overloaded"
        case RequestError():
            return "Validation"
        case ModelLoading() | ModelFailed() | ShuttingDown():
            return "Unhealthy"
        case _:
            return "Backend"


ERRORS = ErrorFormat(body=_tei_error, statuses={EngineFailure: 424})

DIALECT = Dialect(
    name="tei",
    title="Text Embeddings Inference",
    paths=SHARED_PATHS,
    marks=Marks("`texts`", ("texts",), lambda fields: fields.has_value("texts")),
    request=TeiRequest,
    reply=list[TeiRank],
    example={
        "query": EXAMPLE_QUERY,
        "texts": EXAMPLE_DOCUMENTS,
        "raw_scores": False,
        "return_text": True,
    },
    parse=_parse_tei,
    errors=ERRORS,
    headers=_tei_headers,
)
