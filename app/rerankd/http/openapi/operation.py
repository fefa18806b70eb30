"""One method of one path, as the OpenAPI document describes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from rerankd.dialects.error_format import ErrorFormat
from rerankd.errors import (
    BodyTooLarge,
    InvalidRequest,
    MalformedJson,
    RequestTimeout,
    RerankdError,
    UnsupportedMedia,
)

Parameter = dict[str, Any]
"""A parameter object of OpenAPI."""

BODY_ERRORS = (MalformedJson, InvalidRequest, RequestTimeout, BodyTooLarge, UnsupportedMedia)
"""What any operation that reads a body may refuse it with."""


class Tag(Struct, frozen=True):
    """A group of operations."""

    name: str
    description: str


class BodySchema(Struct, frozen=True):
    """The type of a body, with an example."""

    kind: Any
    """A struct, or a type made of structs."""
    example: Any = None
    name: str = "Example"
    """What distinguishes this schema and its example from others of the same operation."""
    more: Mapping[str, Any] = {}
    """Further examples, by their names."""


class Operation(Struct, frozen=True, kw_only=True):
    """A method of a path."""

    path: str
    method: str
    id: str
    summary: str
    tag: Tag
    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    requests: tuple[BodySchema, ...] = ()
    status: int = 200
    """The status of a success."""
    replies: tuple[BodySchema, ...] = ()
    text_types: tuple[str, ...] = ()
    """Media types of a reply that is text."""
    streams: bool = False
    """Whether scores can be had line by line."""
    errors: tuple[type[RerankdError], ...] = ()
    error_formats: Mapping[str, ErrorFormat] = field(
        default_factory=lambda: {"Example": ErrorFormat()}
    )
    """By the names of those who expect them."""
    headers: Mapping[str, str] = {}
    """The headers of a success, and what they mean."""
    public: bool = False
    """Whether no API key is asked for."""
