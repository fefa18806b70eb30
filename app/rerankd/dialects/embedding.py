"""What a dialect of requests for vectors is, and what those of all families share."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeAlias

from msgspec import Meta, Raw, Struct

from rerankd.dialects.dialect import Body
from rerankd.dialects.error_format import ErrorFormat
from rerankd.domain import EmbeddedResult, EmbedRequest, TextSide, Vector
from rerankd.errors import CannotEmbed, InvalidRequest

Encode: TypeAlias = Callable[[object], bytes]
"""Encodes a value in the format of the answer."""

SIDES: dict[str, TextSide] = {
    "query": "query",
    "search_query": "query",
    "document": "document",
    "passage": "document",
    "search_document": "document",
}
"""What families call the two sides, each with the words that its models see before a text."""

WireInput: TypeAlias = str | list[Any]
"""A text, or a list of texts; token ids are recognised, to be refused."""

JSON_NUMBER = 25
"""Bytes of the longest number in JSON, with its comma."""
BASE64_NUMBER = 6
NUMBERS: dict[str, Any] = {"type": "array", "items": {"type": "number"}}
WireVector: TypeAlias = Annotated[Raw, Meta(extra_json_schema=NUMBERS)]
"""An encoded list of numbers: those of many vectors would hold up all threads in one call."""
NumbersOrBase64: TypeAlias = Annotated[
    Raw,
    Meta(extra_json_schema={"anyOf": [NUMBERS, {"type": "string", "contentEncoding": "base64"}]}),
]
"""The same, or the numbers' bytes as F32, the lowest first, in Base64."""


class ParsedTexts(Struct, frozen=True):
    """What a body asks for, and how to answer it."""

    request: EmbedRequest
    reply: Callable[[EmbeddedResult, Encode], object]
    """Builds the reply from the result; it calls `Encode` once for each vector."""
    number_bytes: int = JSON_NUMBER
    """The most bytes that the reply takes for each number."""


class EmbeddingDialect(Struct, frozen=True, kw_only=True):
    """One API family: how its requests for vectors are read, and how they are answered."""

    name: str
    title: str
    """Who speaks it."""
    paths: tuple[str, ...]
    request: type[Struct]
    reply: Any
    """The type of its replies."""
    example: Mapping[str, Any]
    """A request, for the API reference."""
    parse: Callable[[Body], ParsedTexts]
    """Raises RequestError for a body that it can't read."""
    errors: ErrorFormat = ErrorFormat()
    headers: Callable[[EmbedRequest, EmbeddedResult], dict[str, str]] | None = None
    """Headers that its replies have in addition to those of every dialect."""


def texts_of(value: WireInput | None, name: str) -> tuple[str, ...]:
    """Return the texts of an input. Raises InvalidRequest, or CannotEmbed for token ids."""
    if value is None or value == []:
        raise InvalidRequest(f"{name} must hold at least one text", param=name)
    if isinstance(value, str):
        return (value,)
    return tuple(_text_in(one, f"{name}[{number}]") for number, one in enumerate(value))


def _text_in(value: object, where: str) -> str:
    if isinstance(value, str):
        return value
    if type(value) is int or (isinstance(value, list) and _are_ids(value)):
        raise CannotEmbed(
            f"{where} has token ids: another tokenizer's mean other words to this model;"
            " send text (LangChain: check_embedding_ctx_length=False)",
            param=where,
        )
    raise InvalidRequest(f"{where} must be a string", param=where)


def _are_ids(value: Sequence[object]) -> bool:
    return bool(value) and all(type(one) is int for one in value)


def side_named(value: str | None, name: str) -> TextSide | None:
    """Return the side that a request names. Raises CannotEmbed for a word that is none."""
    if value is None:
        return None
    found = SIDES.get(value)
    if found is None:
        raise CannotEmbed(f"{name} must be one of {', '.join(SIDES)}", param=name)
    return found


def base64_of(vector: Vector) -> str:
    """Return a vector's numbers as F32, the lowest byte first, in Base64."""
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()
