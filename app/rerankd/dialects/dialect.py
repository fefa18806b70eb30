"""What a dialect is: bytes to the domain's requests, results to its reply, errors to its format."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from rerankd.dialects.error_format import ErrorFormat, validation_error
from rerankd.dialects.marks import Marks
from rerankd.domain import RankedResult, RankRequest
from rerankd.errors import InvalidRequest, MalformedJson

BodyKind = TypeVar("BodyKind")

MAX_VALUES = 2_000_000
"""Objects and lists that a body may hold: each takes many times its bytes once decoded."""

SHARED_PATHS = ("/v1/rerank", "/rerank", "/v1/reranking", "/reranking")
"""Paths on which several dialects are spoken."""


class Body(Struct, frozen=True):
    """The body of a request, in JSON or in MessagePack."""

    content: bytes
    packed: bool = False

    def decode(self, kind: type[BodyKind]) -> BodyKind:
        """Return the body as a `kind`; the strings `"true"` and `"3"` are read as true and 3.

        Raises MalformedJson, or InvalidRequest with the field's path.
        """
        try:
            if self.packed:
                return msgspec.msgpack.decode(self.content, type=kind, strict=False)
            return msgspec.json.decode(self.content, type=kind, strict=False)
        except msgspec.ValidationError as error:
            raise validation_error(str(error)) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            name = "MessagePack" if self.packed else "JSON"
            raise MalformedJson(f"the body is not valid {name}: {error}") from error

    def require_few_values(self) -> None:
        """Raise InvalidRequest for a body whose many small values would fill the memory.

        In JSON they can be counted; a large body in MessagePack may hold plain texts only.
        """
        content = self.content
        if len(content) <= MAX_VALUES:
            return
        if self.packed:
            self.decode(_PlainTexts)
        elif content.count(b"{") + content.count(b"[") > MAX_VALUES:
            raise InvalidRequest(f"the body holds more than {MAX_VALUES} objects and lists")


class _PlainTexts(Struct):
    query: str | None = None
    documents: list[str] | None = None
    texts: list[str] | None = None
    input: list[str] | dict[str, str | list[str]] | None = None
    text_1: str | list[str] | None = None
    text_2: str | list[str] | None = None


class RequestContext(Struct, frozen=True, kw_only=True):
    """What a dialect may know of a request besides its body."""

    id: str = ""
    path: str = ""
    """As the table of dialects has it."""
    model: str = ""
    """The model named in the path, its owner included."""
    source: str = ""
    """The header Request-Source, by which Weaviate names itself."""
    agent: str = ""
    """The header User-Agent, by which some SDKs of one family name themselves."""
    created: int = 0
    """When the request came, in Unix seconds."""


class ParsedRequest(Struct, frozen=True):
    """What a body asks for, and how to answer it."""

    requests: tuple[RankRequest, ...]
    """One, except in dialects that send many queries at once."""
    reply: Callable[[Sequence[RankedResult]], object]
    """Builds the reply from the results, which are in the order of `requests`."""

    @property
    def documents(self) -> int:
        """How many documents the requests have together."""
        return sum(len(request.documents) for request in self.requests)


class Dialect(Struct, frozen=True, kw_only=True):
    """One API family: how its requests are read, and how they are answered."""

    name: str
    title: str
    """Who speaks it, the best known first."""
    paths: tuple[str, ...]
    marks: Marks | None = None
    """What tells it from others on the same path; None: what nobody else claims is its own."""
    request: type[Struct]
    reply: object
    """The type of its replies."""
    example: Mapping[str, Any]
    """A request, for the API reference."""
    parse: Callable[[Body, RequestContext], ParsedRequest]
    """Raises RequestError for a body that it can't read."""
    errors: ErrorFormat = ErrorFormat()
    headers: Callable[[ParsedRequest, Sequence[RankedResult]], dict[str, str]] | None = None
    """Headers that its replies have in addition to those of every dialect."""
    has_warnings: bool = False
    """Whether its replies have a place for warnings; otherwise they are sent in a header."""

    @property
    def label(self) -> str:
        """The best known of those who speak it."""
        return self.title.partition(",")[0]
