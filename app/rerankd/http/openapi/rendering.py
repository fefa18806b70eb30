"""Operations as OpenAPI writes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from rerankd import errors
from rerankd.dialects.error_format import ErrorFormat
from rerankd.http.negotiation import JSON, MSGPACK, NDJSON
from rerankd.http.openapi.components import Components
from rerankd.http.openapi.operation import BodySchema, Operation
from rerankd.http.statuses import RETRIED, status_of
from rerankd.http.streaming import Line

MEANINGS: dict[int, tuple[type[errors.RerankdError], str]] = {
    400: (
        errors.InvalidRequest,
        "The body is malformed, or a field is missing or wrong; `param` has the field's path",
    ),
    401: (errors.Unauthorized, "The API key is missing or wrong"),
    403: (errors.Forbidden, "The caller may not do this"),
    404: (errors.ModelNotFound, "Nothing with this name exists"),
    408: (errors.RequestTimeout, "The body did not arrive in time"),
    409: (errors.Conflict, "The id is taken, or the current state does not allow this"),
    413: (errors.BodyTooLarge, "The body exceeds `max_body_bytes`, as it was sent or decompressed"),
    415: (errors.UnsupportedMedia, "The body is compressed in a way that is not supported"),
    422: (
        errors.TooManyDocuments,
        "A limit is exceeded, or this server or model cannot do what was requested",
    ),
    424: (errors.EngineFailure, "The engine failed on this request (TEI's status for it)"),
    429: (errors.QueueFull, "The queue is full, or the key's own limit is reached"),
    500: (errors.EngineFailure, "The engine or the server failed; see the log"),
    502: (errors.DownloadError, "The Hub could not be asked, or refused"),
    503: (errors.ModelLoading, "The model is still loading, or the server is stopping"),
    504: (errors.DeadlineExceeded, "The request did not finish in the allowed time"),
}
"""What the status of an error means, and an error that has this status."""

STREAMED = (
    "One JSON value per line: each document's score as soon as it is final, in no particular"
    " order; then the whole answer, or the error that ended it"
)


def types_of(operations: Iterable[Operation]) -> tuple[Any, ...]:
    """Return the types of all bodies, each once."""
    found: dict[Any, None] = {}
    for one in operations:
        found |= {body.kind: None for body in (*one.requests, *one.replies)}
        found |= {type(_example_of(expected)): None for expected in one.error_formats.values()}
        found |= {Line: None} if one.streams else {}
    return tuple(found)


def _example_of(expected: ErrorFormat) -> object:
    return expected.body(errors.RerankdError(""))


def rendered(one: Operation, components: Components) -> dict[str, Any]:
    """Return an operation object of OpenAPI."""
    found: dict[str, Any] = {"operationId": one.id, "summary": one.summary, "tags": [one.tag.name]}
    if one.description:
        found["description"] = one.description
    if one.parameters:
        found["parameters"] = list(one.parameters)
    if one.requests:
        found["requestBody"] = {"required": True, "content": _content(one.requests, components)}
    if one.public:
        found["security"] = []
    refused = {str(status): _error_response(one, status, components) for status in statuses_of(one)}
    return found | {"responses": {str(one.status): _success(one, components), **refused}}


def statuses_of(one: Operation) -> list[int]:
    """Return the statuses of an operation's errors, ascending."""
    formats = one.error_formats.values()
    return sorted({status_of(kind, expected) for kind in one.errors for expected in formats})


def _success(one: Operation, components: Components) -> dict[str, Any]:
    found: dict[str, Any] = {"description": one.summary}
    if one.headers:
        found["headers"] = {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in one.headers.items()
        }
    if one.replies or one.text_types:
        found["content"] = _reply_content(one, components)
    return found


def _reply_content(one: Operation, components: Components) -> dict[str, Any]:
    if one.text_types:
        return {name: {"schema": {"type": "string"}} for name in one.text_types}
    found = _content(one.replies, components)
    if one.streams:
        lines = {"anyOf": [components.reference(kind) for kind in (Line, one.replies[0].kind)]}
        schema = {"type": "string", "description": STREAMED, "contentSchema": lines}
        example = msgspec.json.Encoder().encode_lines([Line(1, 0.0375), one.replies[0].example])
        found[NDJSON] = {"schema": schema, "example": example.decode()}
    return found


def _error_response(one: Operation, status: int, components: Components) -> dict[str, Any]:
    """Return the response of one status, in the format of everyone who may get it."""
    usual, meaning = MEANINGS[status]
    bodies = [
        _error_body(name, expected.body(kinds[0](meaning)))
        for name, expected in one.error_formats.items()
        if (kinds := _with_status(status, expected, (usual, *one.errors)))
    ]
    found: dict[str, Any] = {"description": meaning, "content": _content(bodies, components)}
    if status in RETRIED:
        seconds = {
            "description": "Seconds to wait before the next try",
            "schema": {"type": "integer"},
        }
        found["headers"] = {"Retry-After": seconds}
    names = [body.kind.__name__ for body in bodies]
    return components.share("Or".join(names) + str(status), found)


def _with_status(
    status: int, expected: ErrorFormat, kinds: Sequence[type[errors.RerankdError]]
) -> list[type[errors.RerankdError]]:
    return [kind for kind in kinds if status_of(kind, expected) == status]


def _error_body(name: str, body: object) -> BodySchema:
    return BodySchema(type(body), msgspec.to_builtins(body), name)


def _content(bodies: Sequence[BodySchema], components: Components) -> dict[str, Any]:
    """Return a body that has one of some schemas, in every format that can hold it."""
    body: dict[str, Any] = {"schema": _any_of(bodies, components)}
    examples = {one.name: one.example for one in bodies if one.example is not None}
    examples |= {name: more for one in bodies for name, more in one.more.items()}
    shown = {name: {"value": example} for name, example in examples.items()}
    return {JSON: body | {"examples": shown} if shown else body, MSGPACK: body}


def _any_of(bodies: Sequence[BodySchema], components: Components) -> Mapping[str, Any]:
    names: dict[Any, list[str]] = {}
    for one in bodies:
        names.setdefault(one.kind, []).append(one.name)
    if len(names) == 1:
        return components.reference(bodies[0].kind)
    return {
        "anyOf": [
            components.reference(kind) | {"title": ", ".join(of)} for kind, of in names.items()
        ]
    }
