"""rerankd's own dialect, which is GPUStack's documented one: POST /v1/rerank and /rerank."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from app.deployments import Status
from app.domain import Fit, ModelFacts, RankedDocument, RankedResult, RankRequest, ScoreScale, Timings
from app.errors import (
    EngineFailure,
    InvalidRequest,
    MalformedJson,
    MissingDocuments,
    ModelFileError,
    RequestError,
    RerankdError,
    SettingsError,
    Unauthorized,
    Unavailable,
)
from app.scheduler import Load


class TextDocument(Struct):
    """A document given as an object; keys other than `text` are ignored."""

    text: str


class Request(Struct):
    """The body of a rerank request; unknown keys are ignored."""

    query: Annotated[str, Meta(description="What the documents are ranked for")]
    documents: Annotated[
        list[str | TextDocument] | None,
        Meta(description='Candidates, as strings or as `{"text": …}`; at least one'),
    ] = None
    model: Annotated[
        str | None, Meta(description="Id of the model; the server's own when missing")
    ] = None
    top_n: Annotated[
        int | float | None,
        Meta(description="How many results to give; null or 0 means all, more than all clamps"),
    ] = None
    return_documents: Annotated[
        bool | None, Meta(description="Repeat each document's text in its result")
    ] = True
    raw_scores: Annotated[bool | None, Meta(description="Give logits instead of probabilities")] = (
        False
    )
    truncate: Annotated[
        bool | None,
        Meta(description="Cut a pair over the model's context at the document's end, or refuse it"),
    ] = True
    instruction: Annotated[
        str | None, Meta(description="What counts as relevant, for models that take one")
    ] = None


class Document(Struct):
    """A document as it is given back."""

    text: str
    multi_modal: None = None


class Result(Struct, kw_only=True):
    """One ranked document: its index in the request and its score."""

    index: int
    document: Document | UnsetType = UNSET
    relevance_score: float


class Usage(Struct):
    """Tokens the model read: every document's pair, the query counted with each."""

    prompt_tokens: int
    total_tokens: int


class Report(Struct, kw_only=True):
    """What else there is to know about an answer."""

    score_scale: Annotated[
        ScoreScale, Meta(description="`probability` in [0, 1], or `logit` with raw_scores")
    ]
    truncated: Annotated[list[int], Meta(description="Indices of the documents that were cut")]
    warnings: Annotated[list[str], Meta(description="What a caller should know about the scores")]
    device: Annotated[str, Meta(description="Where it was computed: `cpu` or `gpu`")]
    timings: Timings


class Reply(Struct, kw_only=True):
    """The answer to a rerank request, best document first, ties by index."""

    id: str
    model: str
    object: Literal["list"] = "list"
    results: list[Result]
    usage: Usage
    meta: Report


class ErrorBody(Struct):
    """What went wrong, with a stable `code` and the field it concerns."""

    message: str
    type: str
    code: str
    param: str | None


class ErrorReply(Struct):
    """The body of every answer that is not a success."""

    error: ErrorBody


class Model(Struct, kw_only=True):
    """A model as OpenAI's list shows it, and the facts we add once it is loaded."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "rerankd"
    state: str
    load: Load
    facts: ModelFacts | None


class ModelList(Struct, kw_only=True):
    """All models this server answers for."""

    object: Literal["list"] = "list"
    data: list[Model]


_decoder = msgspec.json.Decoder(Request)
_encoder = msgspec.json.Encoder()


def read(body: bytes) -> tuple[RankRequest, Request]:
    """Decode a body into the domain's request, and the wire's own for the answer.

    Raises MalformedJson, InvalidRequest with the field's path in `param`, or MissingDocuments.
    """
    try:
        wire = _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise invalid(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedJson(f"the body is not valid JSON: {error}") from error
    if not wire.documents:
        raise MissingDocuments("documents must hold at least one document", param="documents")
    return _domain(wire, wire.documents), wire


def _domain(wire: Request, documents: list[str | TextDocument]) -> RankRequest:
    return RankRequest(
        query=wire.query,
        documents=tuple(text if isinstance(text, str) else text.text for text in documents),
        model=wire.model,
        instruction=wire.instruction or None,
        top_n=_whole(wire.top_n),
        fit=Fit(overflow="error" if wire.truncate is False else "truncate"),
        raw_scores=bool(wire.raw_scores),
    )


def _whole(top_n: float | None) -> int | None:
    if top_n is None:
        return None
    if top_n < 0 or top_n != top_n // 1:
        raise InvalidRequest("top_n must be a whole number, 0 or more", param="top_n")
    return int(top_n) or None


def invalid(message: str) -> RequestError:
    """Turn msgspec's message into an error that carries the field's path."""
    path = re.search(r" - at `\$\.?(.*)`$", message)
    missing = re.search(r"missing required field `(\w+)`", message)
    names = [path[1]] if path and path[1] else []
    if missing:
        names.append(missing[1])
    return InvalidRequest(message.replace("`$.", "`"), param=".".join(names) or None)


def reply(request_id: str, wire: Request, request: RankRequest, result: RankedResult) -> Reply:
    """Build the answer."""
    with_documents = wire.return_documents is not False
    return Reply(
        id=request_id,
        model=result.model,
        results=[
            Result(
                index=ranked.index,
                document=_document(request, ranked, with_documents),
                relevance_score=ranked.score,
            )
            for ranked in result.results
        ],
        usage=Usage(result.prompt_tokens, result.prompt_tokens),
        meta=Report(
            score_scale=result.score_scale,
            truncated=list(result.truncated),
            device=result.device,
            timings=result.timings,
            warnings=list(result.warnings),
        ),
    )


def _document(request: RankRequest, ranked: RankedDocument, wanted: bool) -> Document | UnsetType:
    return Document(request.documents[ranked.index]) if wanted else UNSET


def model(status: Status) -> Model:
    """Build a model's entry in the list."""
    return Model(
        id=status.id,
        created=int(status.created),
        state=status.state,
        load=status.load,
        facts=status.facts,
    )


def error_type(error: RerankdError) -> str:
    """Return the OpenAI-style class of an error."""
    if isinstance(error, Unauthorized):
        return "authentication_error"
    if isinstance(error, RequestError | SettingsError | ModelFileError):
        return "invalid_request_error"
    if isinstance(error, Unavailable):
        return "unavailable_error"
    return "engine_error" if isinstance(error, EngineFailure) else "server_error"


def error_reply(error: RerankdError) -> ErrorReply:
    """Build the body for an error."""
    return ErrorReply(ErrorBody(error.message, error_type(error), error.code, error.param))


def encode(value: Any) -> bytes:
    """Return JSON in UTF-8."""
    return _encoder.encode(value)
