"""What a dialect is: bytes to the domain's requests, results to its reply, errors to its words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import msgspec
from msgspec import Struct

from rerankd.dialects.failures import error_reply, invalid
from rerankd.domain import RankedResult, RankRequest
from rerankd.errors import InvalidRequest, MalformedJson, RerankdError

T = TypeVar("T")

MOST_VALUES = 2_000_000
"""Objects and lists that a body may hold: each takes many times its bytes once decoded."""


class Body(Struct, frozen=True):
    """The body of a request, in JSON or in MessagePack."""

    content: bytes
    packed: bool = False

    def decode(self, kind: type[T]) -> T:
        """Return the body as a `kind`; `"true"` and `"3"` are read as what they say.

        Raises MalformedJson, or InvalidRequest with the field's path.
        """
        try:
            if self.packed:
                return msgspec.msgpack.decode(self.content, type=kind, strict=False)
            return msgspec.json.decode(self.content, type=kind, strict=False)
        except msgspec.ValidationError as error:
            raise invalid(str(error)) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            name = "MessagePack" if self.packed else "JSON"
            raise MalformedJson(f"the body is not valid {name}: {error}") from error

    def require_few_values(self) -> None:
        """Raise InvalidRequest for a body whose many small values would fill the memory.

        In JSON they can be counted; a large body in MessagePack may have plain texts only.
        """
        content = self.content
        if len(content) <= MOST_VALUES:
            return
        if self.packed:
            self.decode(_PlainTexts)
        elif content.count(b"{") + content.count(b"[") > MOST_VALUES:
            raise InvalidRequest(f"the body holds more than {MOST_VALUES} objects and lists")


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
    """The name of a model that stands in the path, its owner included."""
    source: str = ""
    """The header Request-Source, by which Weaviate names itself."""
    agent: str = ""
    """The header User-Agent, by which some SDKs of one family name themselves."""
    created: int = 0
    """When it came, in Unix seconds."""


class ParsedRequest(Struct, frozen=True):
    """What a body asks for, and how to say what came of it."""

    requests: tuple[RankRequest, ...]
    """One, but for families that compare many queries at once."""
    reply: Callable[[Sequence[RankedResult]], object]
    """Makes the reply of the results, in the order of `requests`."""

    @property
    def documents(self) -> int:
        return sum(len(request.documents) for request in self.requests)


class Dialect(Struct, frozen=True, kw_only=True):
    """One API family."""

    name: str
    title: str
    """Who speaks it."""
    paths: tuple[str, ...]
    marks: str = ""
    """How its requests are known on paths that it shares, in words."""
    request: type[Struct]
    answer: object
    """The type of its replies."""
    read: Callable[[Body, RequestContext], ParsedRequest]
    """Raises RequestError for a body that makes no sense."""
    failure: Callable[[RerankdError], object] = error_reply
    statuses: Mapping[type[RerankdError], int] = {}
    """Where its clients expect another status than the table of all."""
    headers: Callable[[ParsedRequest, Sequence[RankedResult]], dict[str, str]] | None = None
    """More headers of its successes."""
    tells_warnings: bool = False
    """Whether its replies have a place for warnings; otherwise a header tells them."""
