"""One operation of the API as OpenAPI writes it: what it takes, what it gives, what it refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from rerankd import errors
from rerankd.dialects.error_format import error_reply
from rerankd.http.negotiation import JSON, MSGPACK, NDJSON
from rerankd.http.openapi.components import Components
from rerankd.http.streaming import Line

Parameter = dict[str, Any]

MEANINGS: dict[int, tuple[type[errors.RerankdError], str]] = {
    400: (
        errors.InvalidRequest,
        "A malformed body, a wrong type or a missing field; `param` has the field's path",
    ),
    401: (errors.Unauthorized, "Missing or wrong API key"),
    403: (errors.Forbidden, "This caller may not do this"),
    404: (errors.ModelNotFound, "There is none of this name"),
    408: (errors.RequestTimeout, "The body did not arrive in time"),
    409: (errors.Conflict, "The id is taken, or the deployment is in another state"),
    413: (errors.BodyTooLarge, "The body is over `max_body_bytes`, as sent or decompressed"),
    415: (errors.UnsupportedMedia, "The body is compressed in a way that is not read"),
    422: (errors.TooManyDocuments, "Beyond a limit, or what this server or model can't do"),
    424: (errors.EngineFailure, "The engine failed on this request, as TEI says it"),
    429: (errors.QueueFull, "The queue is full, or the key's own limit reached"),
    500: (errors.EngineFailure, "The engine failed on this request"),
    503: (errors.ModelLoading, "The model is still loading, or the server is stopping"),
    504: (errors.DeadlineExceeded, "It was not done in the time allowed"),
}
"""What each refusal means, and an error that has this status."""

READS = (400, 408, 413, 415)
"""What any operation with a body may refuse."""

RETRIED = (429, 503)
"""Refusals that come with `Retry-After`."""

STREAMED = (
    "A JSON value a line: a score as soon as it is final, for each document in no order; then"
    " the whole answer, or the error that ended it"
)


class BodySchema(Struct, frozen=True):
    """A body's struct, with an example and the name that tells it from others."""

    kind: Any
    """A struct, or a type of such."""
    example: Any = None
    name: str = "Example"


class ErrorFormat(Struct, frozen=True):
    """How a family of clients is told of errors."""

    name: str = "Example"
    write: Callable[[errors.RerankdError], Any] = error_reply
    statuses: Mapping[type[errors.RerankdError], int] = {}
    """Where it expects another status than MEANINGS says."""


class Operation(Struct, frozen=True, kw_only=True):
    """A method of a path."""

    path: str
    method: str
    id: str
    summary: str
    tag: str
    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    takes: tuple[BodySchema, ...] = ()
    status: int = 200
    gives: tuple[BodySchema, ...] = ()
    media_types: tuple[str, ...] = ()
    """Those of an answer which is text."""
    streams: bool = False
    """Whether scores can be had line by line."""
    refuses: tuple[int, ...] = ()
    voices: tuple[ErrorFormat, ...] = (ErrorFormat(),)
    headers: Mapping[str, str] = {}
    """What a success has in its headers."""
    public: bool = False


def parameter(name: str, place: str, description: str, **schema: Any) -> Parameter:
    """Return a parameter of a path or a query; the rest is its schema."""
    found: Parameter = {"name": name, "in": place, "description": description, "schema": schema}
    return found | ({"required": True} if place == "path" else {})


def kinds_of(operations: Iterable[Operation]) -> tuple[Any, ...]:
    """Return the types of all bodies, each once."""
    found: dict[Any, None] = {}
    for one in operations:
        found |= {shape.kind: None for shape in (*one.takes, *one.gives)}
        found |= {type(voice.write(errors.RerankdError(""))): None for voice in one.voices}
        found |= {Line: None} if one.streams else {}
    return tuple(found)


def written(one: Operation, components: Components) -> dict[str, Any]:
    """Return an operation as OpenAPI has it."""
    found: dict[str, Any] = {"operationId": one.id, "summary": one.summary, "tags": [one.tag]}
    if one.description:
        found["description"] = one.description
    if one.parameters:
        found["parameters"] = list(one.parameters)
    if one.takes:
        found["requestBody"] = {"required": True, "content": _content(one.takes, components)}
    if one.public:
        found["security"] = []
    refusals = {str(status): _refusal(one.voices, status, components) for status in one.refuses}
    return found | {
        "responses": {str(one.status): _success(one, components), **dict(sorted(refusals.items()))}
    }


def _success(one: Operation, components: Components) -> dict[str, Any]:
    found: dict[str, Any] = {"description": one.summary}
    if one.headers:
        found["headers"] = {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in one.headers.items()
        }
    if one.gives or one.media_types:
        found["content"] = _answers(one, components)
    return found


def _answers(one: Operation, components: Components) -> dict[str, Any]:
    if one.media_types:
        return {name: {"schema": {"type": "string"}} for name in one.media_types}
    found = _content(one.gives, components)
    if one.streams:
        lines = {"anyOf": [components.reference(kind) for kind in (Line, one.gives[0].kind)]}
        schema = {"type": "string", "description": STREAMED, "contentSchema": lines}
        example = msgspec.json.Encoder().encode_lines([Line(1, 0.0375), one.gives[0].example])
        found[NDJSON] = {"schema": schema, "example": example.decode()}
    return found


def _refusal(voices: Sequence[ErrorFormat], status: int, components: Components) -> dict[str, Any]:
    """Return the answer of one status, in the words of every family that has it."""
    kind, meaning = MEANINGS[status]
    speaking = [voice for voice in voices if voice.statuses.get(kind, status) == status]
    bodies = {voice.name: voice.write(kind(meaning)) for voice in speaking}
    shapes = [BodySchema(type(one), msgspec.to_builtins(one), name) for name, one in bodies.items()]
    found: dict[str, Any] = {"description": meaning, "content": _content(shapes, components)}
    if status in RETRIED:
        seconds = {"description": "Seconds until a retry helps", "schema": {"type": "integer"}}
        found["headers"] = {"Retry-After": seconds}
    names = [shape.kind.__name__ for shape in shapes]
    return components.share("Or".join(names) + str(status), found)


def _content(shapes: Sequence[BodySchema], components: Components) -> dict[str, Any]:
    """Return a body that is one of some shapes, in every format that says the same."""
    body: dict[str, Any] = {"schema": _schema(shapes, components)}
    shown = {shape.name: {"value": shape.example} for shape in shapes if shape.example is not None}
    return {JSON: body | {"examples": shown} if shown else body, MSGPACK: body}


def _schema(shapes: Sequence[BodySchema], components: Components) -> dict[str, Any]:
    names: dict[Any, list[str]] = {}
    for shape in shapes:
        names.setdefault(shape.kind, []).append(shape.name)
    if len(names) == 1:
        return components.reference(shapes[0].kind)
    return {
        "anyOf": [
            components.reference(kind) | {"title": ", ".join(of)} for kind, of in names.items()
        ]
    }
