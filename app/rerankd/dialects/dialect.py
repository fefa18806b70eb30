"""What a dialect is: bytes to the domain's requests, results to its reply, errors to its format."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from rerankd.dialects.answer_options import require_all_scored
from rerankd.dialects.error_format import ErrorFormat, validation_error
from rerankd.dialects.long_texts import Skeleton, json_skeleton, msgpack_skeleton
from rerankd.dialects.marks import Marks
from rerankd.domain import RankedResult, RankRequest
from rerankd.errors import MalformedJson
from rerankd.utf8 import decode_json, decode_msgpack, is_utf16

BodyKind = TypeVar("BodyKind")

VALUES_PER_DOCUMENT = 8
"""Values that a large body may hold for each document that a request may have.

Each takes many times its bytes, and some time, once decoded.
"""

SHARED_PATHS = ("/v1/rerank", "/rerank", "/v1/reranking", "/reranking")
"""Paths on which several dialects are spoken."""


class Body(Struct, frozen=True):
    """The body of a request, in JSON or in MessagePack."""

    content: bytes
    packed: bool = False
    skeleton: Skeleton | None = None
    """What is decoded of a large body instead of `content`."""

    def split(self, max_documents: int) -> Body:
        """Return a large body so that decoding it holds up no other thread.

        This takes a while, so it belongs in a thread. Raises MalformedJson, or BodyTooLarge for
        more values than a request of `max_documents` needs.
        """
        divide = msgpack_skeleton if self.packed else json_skeleton
        skeleton = divide(self.content, VALUES_PER_DOCUMENT * max_documents)
        return msgspec.structs.replace(self, skeleton=skeleton)

    def decode(self, kind: type[BodyKind]) -> BodyKind:
        """Return the body as a `kind`; the strings `"true"` and `"3"` are read as true and 3.

        Raises MalformedJson, or InvalidRequest with the field's path.
        """
        decode = decode_msgpack if self.packed else decode_json
        content = self.skeleton.content if self.skeleton else self.content
        try:
            value = decode(content, kind, strict=False)
        except msgspec.ValidationError as error:
            raise validation_error(str(error)) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self._malformed(error) from error
        return self.skeleton.restore(value) if self.skeleton else value

    def _malformed(self, error: Exception) -> MalformedJson:
        if not self.packed and is_utf16(self.content):
            return MalformedJson("the body is encoded in UTF-16; send it in UTF-8")
        name = "MessagePack" if self.packed else "JSON"
        reason = str(error)
        if self.skeleton:  # what it counts are the skeleton's bytes
            reason = reason.partition(" (byte ")[0]
        return MalformedJson(f"the body is not valid {name}: {reason}")


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
    """How to recognise it among others on its path; None: it takes what no other claims."""
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
    needs_all_scores: bool = False
    """Whether its replies hold a score for each document, so that none may be left out."""
    has_warnings: bool = False
    """Whether its replies have a place for warnings; otherwise they are sent in a header."""

    def read(self, body: Body, context: RequestContext) -> ParsedRequest:
        """Parse a body. Raises what `parse` raises, and UnsupportedOption."""
        parsed = self.parse(body, context)
        if not self.needs_all_scores:
            return parsed
        requests = require_all_scored(parsed.requests, self.label)
        return msgspec.structs.replace(parsed, requests=requests)

    @property
    def label(self) -> str:
        """The best known of those who speak it."""
        return self.title.partition(",")[0]
