"""The documents that `rerankd rank` reads: pictures, texts, and the records of files."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from msgspec import Struct

from rerankd.cli.rank_pictures import (
    content_of,
    is_picture_file,
    picture_named,
    picture_of_file,
)
from rerankd.cli.rank_records import (
    IMAGE_FIELD,
    Fields,
    RankedFields,
    Record,
    RecordFormat,
    is_json,
    parquet_rows,
    records_of,
)
from rerankd.domain import Content, Picture
from rerankd.errors import InvalidRequest, RerankdError
from rerankd.utf8 import is_utf16, without_bom

PlainFormat = Literal["lines", "text"]
"""What a text is that looks like no other format: a document on each line, or one document."""
InputFormat = Literal["auto", "lines", "text", "jsonl", "json", "csv", "tsv", "parquet"]

FORMAT_OF_ENDING: Mapping[str, InputFormat] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}
STDIN, STDIN_NAME = "-", "<stdin>"


class InputDocument(Struct, frozen=True):
    """A document, its other fields, and its 1-based line, row or place in its file."""

    text: str
    file: str
    line: int
    fields: Fields = {}
    picture: Picture | None = None
    image: str = ""
    """What names the picture: a file, a path, a data: URI or an address."""
    is_file: bool = False
    """Whether it is all of its file."""

    @property
    def content(self) -> Content:
        """What is ranked."""
        return content_of(self.text, self.picture)

    @property
    def place(self) -> str:
        """Where it comes from, as errors and tables show it."""
        return self.file if self.is_file else f"{self.file}:{self.line}"


class ReadDocuments(Struct):
    """The documents of all inputs, and how much was skipped."""

    documents: list[InputDocument] = []
    blank_lines: int = 0
    empty: int = 0
    """Records whose text is empty or null."""

    def take(self, document: InputDocument | None) -> None:
        """Add a document, or count one without content."""
        if document is None:
            self.empty += 1
        else:
            self.documents.append(document)

    @property
    def skipped(self) -> str:
        """Say what was skipped, nothing where nothing was."""
        counts = ((self.blank_lines, "blank line"), (self.empty, "document without text"))
        parts = [f"{count} {_plural(what, count)}" for count, what in counts if count]
        return " and ".join(parts)


def _plural(what: str, count: int) -> str:
    noun, _, rest = what.partition(" without")
    return what if count == 1 else f"{noun}s{' without' + rest if rest else ''}"


def read_documents(names: Sequence[str], form: InputFormat, fields: RankedFields) -> ReadDocuments:
    """Read all inputs; `-` is standard input.

    A file that is a picture is a document, whatever the format. Beside one, a plain text is one
    document too, unless a format is named. Raises InvalidRequest or BadPicture that names file and
    line for malformed content, and InvalidRequest where there is no document at all.
    """
    found = ReadDocuments()
    plain: PlainFormat = "text" if any(map(is_picture_file, names)) else "lines"
    for name in names:
        _read_input(found, name, form, fields, plain)
    if not found.documents:
        shown = ", ".join(STDIN_NAME if name == STDIN else name for name in names)
        reason = f" ({found.skipped})" if found.skipped else ""
        raise InvalidRequest(f"no documents in {shown}{reason}", param="documents")
    return found


def _read_input(
    found: ReadDocuments, name: str, form: InputFormat, fields: RankedFields, plain: PlainFormat
) -> None:
    """Add the documents of one input; `plain` is the format of a text that looks like no other."""
    shown = STDIN_NAME if name == STDIN else name
    if form == "auto":
        form = FORMAT_OF_ENDING.get(Path(name).suffix.lower(), "auto")
    if form == "parquet" and not is_picture_file(name):
        _take_records(found, parquet_rows(name, fields.text, STDIN), shown, fields)
        return
    content = _bytes_of(name)
    picture = picture_of_file(shown, content)
    if picture:
        found.take(InputDocument("", shown, 1, {IMAGE_FIELD: shown}, picture, shown, is_file=True))
        return
    if is_utf16(content):
        raise InvalidRequest(f"{shown} is encoded in UTF-16; convert it to UTF-8")
    text = without_bom(content).decode("utf-8", "replace")
    detected = _detected(text, form, plain)
    if detected == "text":
        found.take(InputDocument(text, shown, 1, is_file=True) if text.strip() else None)
        return
    if detected in {"lines", "jsonl"}:
        found.blank_lines += sum(not line.strip() for line in io.StringIO(text, newline=None))
    _take_records(found, records_of(text, detected, shown, fields), shown, fields)


def _take_records(
    found: ReadDocuments, records: Iterable[Record], name: str, fields: RankedFields
) -> None:
    for line, record in records:
        found.take(_document_of_record(record, name, line, fields))


def _bytes_of(name: str) -> bytes:
    if name == STDIN:
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise InvalidRequest(f"{name}: {error.strerror}") from error


def _detected(text: str, form: InputFormat, plain: PlainFormat) -> RecordFormat | PlainFormat:
    """Return the format of a text: what is said, else what its beginning looks like."""
    match form:
        case "json":  # some programs write JSON Lines into files of this name
            return "json" if text.lstrip().startswith("[") else "jsonl"
        case "auto" | "parquet":
            return _looks_like(text, plain)
        case _:
            return form


def _looks_like(text: str, plain: PlainFormat) -> RecordFormat | PlainFormat:
    first = next((line for line in text.splitlines() if line.strip()), "").strip()
    if first.startswith("{") and is_json(first, dict):
        return "jsonl"
    if first.startswith("[") and is_json(text, list):
        return "json"
    return plain


def _document_of_record(
    record: str | Fields, name: str, line: int, fields: RankedFields
) -> InputDocument | None:
    """Return a record's document, None where it has no content.

    Raises InvalidRequest or BadPicture.
    """
    place, others, picture = f"{name}:{line}", {}, None
    text: object = record
    if isinstance(record, dict):
        fields.require_text(record, place)
        others = {key: value for key, value in record.items() if key != fields.text}
        text = record.get(fields.text)
        picture = _picture_of_record(record, name, place, fields)
    if text is not None and not isinstance(text, str):
        what = f"the field {fields.text!r}" if isinstance(record, dict) else "the document"
        raise InvalidRequest(f"{place}: {what} is {_kind_of(text)}, not a text")
    if not (text and text.strip()) and picture is None:
        return None
    image = str(fields.image_of(record)) if isinstance(record, dict) and picture else ""
    return InputDocument(text or "", name, line, others, picture, image)


def _picture_of_record(
    record: Fields, name: str, place: str, fields: RankedFields
) -> Picture | None:
    value = fields.image_of(record)
    if value is None:
        return None
    folder = Path() if name == STDIN_NAME else Path(name).parent
    try:
        return picture_named(value, folder, place)
    except RerankdError as error:
        hint = "" if fields.image else "; --image-field '' ranks by the text alone"
        raise type(error)(f"{error.message}{hint}", param="documents") from error


def _kind_of(value: object) -> str:
    return json.dumps(value, default=str)[:40]
