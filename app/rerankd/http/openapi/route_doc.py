"""What a route says of itself for the OpenAPI document, beside its handler."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from inspect import getdoc
from types import NoneType
from typing import Annotated, Any, Protocol

import msgspec
from litestar.handlers import HTTPRouteHandler
from litestar.params import ParameterKwarg, PathParameter, QueryParameter
from litestar.typing import FieldDefinition
from msgspec import Meta, Struct

from rerankd.errors import Forbidden, RerankdError, StateUnavailable, Unauthorized
from rerankd.http.guard import PUBLIC
from rerankd.http.openapi.operation import BODY_ERRORS, BodySchema, Operation, Parameter, Tag


class Documented(Protocol):
    """The `doc` that a route's decorator is given."""

    def operations(self, handler: HTTPRouteHandler) -> Iterator[Operation]:
        """Yield an operation for each of the handler's paths."""
        ...


class RouteDoc(Struct, frozen=True, kw_only=True):
    """Describes a route of one path and one method: `@get(path, doc=RouteDoc(...))`.

    The rest is read from the handler: its name is the operation's id (unless it has an
    `operation_id`), the first line of its docstring the summary, and its path and query
    parameters are those of its signature. Errors of the guard and of reading a body are added.
    """

    tag: Tag
    request: BodySchema | None = None
    reply: BodySchema | None = None
    text_types: tuple[str, ...] = ()
    """Media types of a reply that is text."""
    errors: tuple[type[RerankdError], ...] = ()
    """What the handler may refuse with."""

    def operations(self, handler: HTTPRouteHandler) -> Iterator[Operation]:
        """Yield the route's only operation."""
        (path,), (method,) = handler.paths, handler.http_methods
        yield Operation(
            path=without_types(path),
            method=method.lower(),
            id=str(handler.operation_id or handler.handler_name),
            summary=summary_of(handler),
            tag=self.tag,
            parameters=tuple(_parameters(handler)),
            requests=(self.request,) if self.request else (),
            status=handler.status_code,
            replies=(self.reply,) if self.reply else (),
            text_types=self.text_types,
            errors=(*guard_errors(handler), *(BODY_ERRORS if self.request else ()), *self.errors),
            public=is_public(handler),
        )


def operations_of(handlers: Sequence[object]) -> Iterator[Operation]:
    """Yield the operations of all handlers that take part in the document.

    Raises TypeError for one that has no `doc` and no `include_in_schema=False`.
    """
    for handler in handlers:
        if isinstance(handler, HTTPRouteHandler) and handler.include_in_schema is not False:
            doc: Documented | None = handler.opt.get("doc")
            if doc is None:
                raise TypeError(f"the route {handler.handler_name} has no `doc`")
            yield from doc.operations(handler)


def is_public(handler: HTTPRouteHandler) -> bool:
    """Return whether a route never asks for an API key."""
    return bool(handler.opt.get(PUBLIC))


def guard_errors(handler: HTTPRouteHandler) -> tuple[type[RerankdError], ...]:
    """Return what the guard may refuse a route's callers with."""
    return () if is_public(handler) else (Unauthorized, Forbidden, StateUnavailable)


def summary_of(handler: HTTPRouteHandler) -> str:
    """Return the first line of a handler's docstring, without its full stop."""
    return (getdoc(handler.fn) or "").partition("\n")[0].removesuffix(".")


def without_types(path: str) -> str:
    """Return OpenAPI's `/x/{id}` for Litestar's `/x/{id:str}`."""
    return re.sub(r"\{(\w+):\w+\}", r"{\1}", path)


def _parameters(handler: HTTPRouteHandler) -> Iterator[Parameter]:
    for field in handler.parsed_fn_signature.parameters.values():
        declared = field.kwarg_definition
        if isinstance(declared, PathParameter):
            yield _parameter("path", field, declared) | {"required": True}
        elif isinstance(declared, QueryParameter):
            required = {} if field.has_default else {"required": True}
            yield _parameter("query", field, declared) | required


def _parameter(place: str, field: FieldDefinition, declared: ParameterKwarg) -> Parameter:
    kinds = [kind for kind in (field.args or (field.annotation,)) if kind is not NoneType]
    lengths = Meta(min_length=declared.min_length, max_length=declared.max_length)
    schema: dict[str, Any] = msgspec.json.schema(
        Annotated[kinds[0], lengths] if declared.min_length or declared.max_length else kinds[0]
    )
    if declared.enum:
        schema["enum"] = list(declared.enum)
    if field.has_default and field.default not in {None, ""}:
        schema["default"] = field.default
    return {
        "name": declared.name or field.name,
        "in": place,
        "description": declared.description,
        "schema": schema,
    }
