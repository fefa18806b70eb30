"""Judged queries, read one at a time so that a data set may be larger than memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Protocol, TypeVar

import msgspec
from msgspec import Meta, Struct

from rerankd.errors import InvalidRequest
from rerankd.utf8 import decode_json, is_utf16

MAX_LINE = 64 * 1024 * 1024
"""Bytes of the longest line of any input file."""
MAX_CANDIDATES = 10_000
MAX_GRADE = 1000
"""The highest grade: the metrics' memory grows with it."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

LineForm = TypeVar("LineForm")
Grade = Annotated[int, Meta(ge=0, le=MAX_GRADE)]


class Candidate(Struct, frozen=True):
    """A document that the first stage found."""

    id: str
    text: str


class JudgedQuery(Struct, frozen=True):
    """A query with its candidates in first-stage order, and the grades of its judged documents.

    A grade over 0 is relevant. Judged documents need not be among the candidates.
    """

    id: str
    text: str
    candidates: tuple[Candidate, ...]
    grades: Mapping[str, int]
    cut: bool = False
    """Whether candidates beyond the depth were left out, the same for every order."""

    @property
    def answerable(self) -> bool:
        """Whether any document is relevant, so that a ranking can be good or bad."""
        return any(grade > 0 for grade in self.grades.values())


class Data(Protocol):
    """Judged queries that can be read again for each model, in the same order."""

    def __iter__(self) -> Iterator[JudgedQuery]:
        """Yield each query once. Raises InvalidRequest, which names file and line."""
        ...


class FileLine(Struct, frozen=True):
    """A line of a file: its 1-based number, and the byte at which its content starts."""

    number: int
    offset: int
    content: bytes


def lines_of(path: Path) -> Iterator[FileLine]:
    """Yield a file's lines that are not blank.

    Raises InvalidRequest for a file that can't be read or is UTF-16, and for a line over
    `MAX_LINE`.
    """
    try:
        with path.open("rb") as file:
            offset = 0
            for number in itertools.count(1):
                content = file.readline(MAX_LINE + 1)
                if len(content) > MAX_LINE:
                    raise InvalidRequest(f"{path}:{number}: longer than {MAX_LINE} bytes")
                if not content:
                    return
                if number == 1 and is_utf16(content):
                    raise InvalidRequest(f"{path} is encoded in UTF-16; convert it to UTF-8")
                text = content.removeprefix(BYTE_ORDER_MARK) if number == 1 else content
                if text.strip():
                    yield FileLine(number, offset + len(content) - len(text), text)
                offset += len(content)
    except OSError as error:
        raise InvalidRequest(f"{path}: {error.strerror}") from error


def decode_line(path: Path, line: FileLine, form: type[LineForm]) -> LineForm:
    """Return a line's JSON as a struct. Raises InvalidRequest, which names file and line."""
    try:
        return decode_json(line.content, form)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{path}:{line.number}: {error}") from error


class JudgedText(Struct, kw_only=True):
    """A query or document without a picture: a picture would be judged by its text alone.

    Addresses are let pass, which records have for other reasons too.
    """

    image: object = None

    def __post_init__(self) -> None:
        if isinstance(self.image, str) and self.image.lower().startswith("data:"):
            raise ValueError("there is a picture under `image`, and evaluation reads texts alone")


class _Document(JudgedText):
    text: str
    relevance: Grade
    id: str | int | None = None


class _Query(JudgedText):
    query: str
    documents: Annotated[list[_Document], Meta(min_length=1, max_length=MAX_CANDIDATES)]
    id: str | int | None = None


class JsonlData(Struct, frozen=True):
    """A JSONL file: on each line a query with its judged documents in first-stage order."""

    path: Path
    depth: int

    def __iter__(self) -> Iterator[JudgedQuery]:
        """See `Data`; a query without id is named by its line, a document by its place."""
        seen: set[str] = set()
        for line in lines_of(self.path):
            wire = decode_line(self.path, line, _Query)
            name = f"line {line.number}" if wire.id is None else str(wire.id)
            if name in seen:
                raise InvalidRequest(f"{self.path}:{line.number}: duplicate query id")
            seen.add(name)
            yield self._judged(name, wire, line)

    def _judged(self, name: str, wire: _Query, line: FileLine) -> JudgedQuery:
        known: dict[str, _Document] = {}
        for place, document in enumerate(wire.documents):
            key = f"#{place}" if document.id is None else str(document.id)
            first = known.setdefault(key, document)
            if first.text != document.text:
                raise InvalidRequest(
                    f"{self.path}:{line.number}: document id {key!r} has two different texts"
                )
            # Judged twice, it is as relevant as one of its judges found it.
            first.relevance = max(first.relevance, document.relevance)
        grades = {key: one.relevance for key, one in known.items()}
        found = tuple(Candidate(key, one.text) for key, one in known.items())
        kept = found[: self.depth]
        return JudgedQuery(name, wire.query, kept, grades, cut=len(kept) < len(found))
