"""The documents that `rerankd rank` reads: lines, JSONL, JSON, CSV, TSV and Parquet."""

from __future__ import annotations

import csv
import importlib
import importlib.util
import io
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Struct

from rerankd.errors import InvalidRequest, SettingsError
from rerankd.utf8 import decode_json, is_utf16, without_bom

InputFormat = Literal["auto", "lines", "jsonl", "json", "csv", "tsv", "parquet"]

FORMAT_OF_ENDING: Mapping[str, InputFormat] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}
STDIN, STDIN_NAME = "-", "<stdin>"
LARGEST_CELL = 1 << 27
"""Characters of a cell of CSV; the library's own limit is a page of text."""

Fields: TypeAlias = dict[str, Any]
Record: TypeAlias = "tuple[int, str | Fields]"
"""The 1-based line or row where a document begins, and its text or its fields."""


class InputDocument(Struct, frozen=True):
    """A document, its other fields, and its 1-based line, row or place in its file."""

    text: str
    file: str
    line: int
    fields: Fields = {}


class ReadDocuments(Struct):
    """The documents of all inputs, and how much was skipped."""

    documents: list[InputDocument] = []
    blank_lines: int = 0
    empty: int = 0
    """Records whose text is empty or null."""

    @property
    def skipped(self) -> str:
        """Say what was skipped, nothing where nothing was."""
        counts = ((self.blank_lines, "blank line"), (self.empty, "document without text"))
        parts = [f"{count} {_plural(what, count)}" for count, what in counts if count]
        return " and ".join(parts)


def _plural(what: str, count: int) -> str:
    noun, _, rest = what.partition(" without")
    return what if count == 1 else f"{noun}s{' without' + rest if rest else ''}"


def read_documents(names: Sequence[str], form: InputFormat, text_field: str) -> ReadDocuments:
    """Read all inputs; `-` is standard input.

    Raises InvalidRequest that names file and line for malformed content, and where there is no
    document at all.
    """
    found = ReadDocuments()
    for name in names:
        _read_input(found, name, form, text_field)
    if not found.documents:
        shown = ", ".join(STDIN_NAME if name == STDIN else name for name in names)
        reason = f" ({found.skipped})" if found.skipped else ""
        raise InvalidRequest(f"no documents in {shown}{reason}", param="documents")
    return found


def _read_input(found: ReadDocuments, name: str, form: InputFormat, text_field: str) -> None:
    shown = STDIN_NAME if name == STDIN else name
    if form == "auto":
        form = FORMAT_OF_ENDING.get(Path(name).suffix.lower(), "auto")
    if form == "parquet":
        records: Iterable[Record] = _parquet_rows(name, text_field)
    else:
        content = _content_of(name)
        if is_utf16(content):
            raise InvalidRequest(f"{shown} is encoded in UTF-16; convert it to UTF-8")
        text = without_bom(content).decode("utf-8", "replace")
        form = _detected(text, form)
        if form in {"lines", "jsonl"}:
            found.blank_lines += sum(not line.strip() for line in io.StringIO(text, newline=None))
        records = _records(text, form, shown, text_field)
    for line, record in records:
        document = _document_of_record(record, shown, line, text_field)
        if document is None:
            found.empty += 1
        else:
            found.documents.append(document)


def _content_of(name: str) -> bytes:
    if name == STDIN:
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise InvalidRequest(f"{name}: {error.strerror}") from error


def _detected(text: str, form: InputFormat) -> InputFormat:
    """Return the format of a text: what is said, else what its beginning looks like."""
    if form == "json":  # some programs write JSON Lines into files of this name
        return "json" if text.lstrip().startswith("[") else "jsonl"
    if form != "auto":
        return form
    first = next((line for line in text.splitlines() if line.strip()), "").strip()
    if first.startswith("{"):
        return "jsonl" if _is_json(first, dict) else "lines"
    if first.startswith("[") and _is_json(text, list):
        return "json"
    return "lines"


def _is_json(text: str, kind: type) -> bool:
    try:
        decode_json(text, kind)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _records(text: str, form: InputFormat, name: str, text_field: str) -> Iterator[Record]:
    if form == "json":
        yield from enumerate(_decoded(text, list[Any], name, 1), start=1)
    elif form in {"csv", "tsv"}:
        yield from _table_rows(text, "," if form == "csv" else "\t", name, text_field)
    else:
        for number, line in enumerate(io.StringIO(text, newline=None), start=1):
            if line.strip():
                content = line.rstrip("\n")
                yield number, content if form == "lines" else _decoded(content, Any, name, number)


def _decoded(text: str, kind: Any, name: str, line: int) -> Any:
    try:
        return decode_json(text, kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidRequest(f"{name}:{line}: {error}") from error


def _table_rows(text: str, delimiter: str, name: str, text_field: str) -> Iterator[Record]:
    """Yield the rows of CSV or TSV, whose first row names the columns."""
    csv.field_size_limit(LARGEST_CELL)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = next(rows, [])
        _require_field(text_field, header, f"{name}:1")
        line = rows.line_num + 1
        for row in rows:
            if len(row) > len(header):
                raise InvalidRequest(
                    f"{name}:{line}: {len(row)} columns, but the header has {len(header)}"
                )
            if row:
                yield line, dict(zip(header, row + [""] * (len(header) - len(row)), strict=True))
            line = rows.line_num + 1
    except csv.Error as error:
        raise InvalidRequest(f"{name}:{rows.line_num}: {error}") from error


def _parquet_rows(name: str, text_field: str) -> Iterator[Record]:
    if importlib.util.find_spec("pyarrow") is None:
        raise SettingsError("Parquet files need the extra `ray`: pip install 'rerankd[ray]'")
    if name == STDIN:
        raise InvalidRequest("a Parquet file can't be read from standard input; name the file")
    tables = importlib.import_module("rerankd.distributed.tables")
    for position, row in tables.rows_of_file(Path(name), text_field):
        yield position + 1, row


def _document_of_record(
    record: str | Fields, name: str, line: int, text_field: str
) -> InputDocument | None:
    """Return a record's document, None where it has no text. Raises InvalidRequest."""
    fields: Fields = {}
    text: object = record
    if isinstance(record, dict):
        _require_field(text_field, record, f"{name}:{line}")
        fields = {key: value for key, value in record.items() if key != text_field}
        text = record[text_field]
    if text is not None and not isinstance(text, str):
        what = f"the field {text_field!r}" if isinstance(record, dict) else "the document"
        raise InvalidRequest(f"{name}:{line}: {what} is {_kind_of(text)}, not a text")
    return InputDocument(text, name, line, fields) if text and text.strip() else None


def _kind_of(value: object) -> str:
    return json.dumps(value, default=str)[:40]


def _require_field(text_field: str, there: Iterable[str], place: str) -> None:
    names = list(there)
    if text_field not in names:
        shown = ", ".join(names[:12]) or "none"
        raise InvalidRequest(
            f"{place}: no field {text_field!r}; the fields are {shown}: name one with --text-field"
        )
