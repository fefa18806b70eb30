"""Records of the formats that `rerankd rank` reads: lines, JSONL, JSON, CSV, TSV and Parquet."""

from __future__ import annotations

import csv
import importlib
import importlib.util
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Struct

from rerankd.cli.rank_pictures import ADDRESSES
from rerankd.errors import InvalidRequest, SettingsError
from rerankd.utf8 import decode_json

RecordFormat = Literal["lines", "jsonl", "json", "csv", "tsv"]

IMAGE_FIELD = "image"
LARGEST_CELL = 1 << 27
"""Characters of a cell of CSV; the library's own limit is a page of text."""

Fields: TypeAlias = dict[str, Any]
Record: TypeAlias = "tuple[int, str | Fields]"
"""The 1-based line or row where a document begins, and its text or its fields."""


class RankedFields(Struct, frozen=True):
    """The fields or columns of records that are ranked."""

    text: str = "text"
    image: str | None = None
    """None: `image`, but not an address there, which records have for other reasons too."""

    def image_of(self, record: Fields) -> object:
        """Return what a record names as its picture, None for nothing."""
        value = record.get(IMAGE_FIELD if self.image is None else self.image)
        is_address = isinstance(value, str) and value.startswith(ADDRESSES)
        return None if not value or (is_address and self.image is None) else value

    def require_text(self, record: Fields, place: str) -> None:
        """Raise InvalidRequest for a record with neither a text nor a picture."""
        if self.text not in record and not self.image_of(record):
            require_field(self.text, record, place)


def records_of(text: str, form: RecordFormat, name: str, fields: RankedFields) -> Iterator[Record]:
    """Yield the records of a file's text. Raises InvalidRequest that names file and line."""
    if form == "json":
        yield from enumerate(_decoded(text, list[Any], name, 1), start=1)
    elif form in {"csv", "tsv"}:
        yield from _table_rows(text, "," if form == "csv" else "\t", name, fields)
    else:
        for number, line in enumerate(io.StringIO(text, newline=None), start=1):
            if line.strip():
                content = line.rstrip("\n")
                yield number, content if form == "lines" else _decoded(content, Any, name, number)


def is_json(text: str, kind: type) -> bool:
    """Return whether a text is JSON of a kind."""
    try:
        decode_json(text, kind)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _decoded(text: str, kind: Any, name: str, line: int) -> Any:
    try:
        return decode_json(text, kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidRequest(f"{name}:{line}: {error}") from error


def _table_rows(text: str, delimiter: str, name: str, fields: RankedFields) -> Iterator[Record]:
    """Yield the rows of CSV or TSV, whose first row names the columns."""
    csv.field_size_limit(LARGEST_CELL)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = next(rows, [])
        if (fields.image or IMAGE_FIELD) not in header:
            require_field(fields.text, header, f"{name}:1")
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


def parquet_rows(name: str, text_field: str, stdin: str) -> Iterator[Record]:
    """Yield the rows of a Parquet file. Raises SettingsError without the library that reads it."""
    if importlib.util.find_spec("pyarrow") is None:
        raise SettingsError("Parquet files need the extra `ray`: pip install 'rerankd[ray]'")
    if name == stdin:
        raise InvalidRequest("a Parquet file can't be read from standard input; name the file")
    tables = importlib.import_module("rerankd.distributed.tables")
    for position, row in tables.rows_of_file(Path(name), text_field):
        yield position + 1, row


def require_field(text_field: str, there: Iterable[str], place: str) -> None:
    """Raise InvalidRequest, which names the fields that there are, for one that isn't."""
    names = list(there)
    if text_field not in names:
        shown = ", ".join(names[:12]) or "none"
        raise InvalidRequest(
            f"{place}: no field {text_field!r}; the fields are {shown}: name one with --text-field"
        )
