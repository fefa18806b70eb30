"""Rows of pairs read from Parquet and JSONL, and scored rows written back, in batches.

Every row says where it came from: `source` and `position`, the row's number in a Parquet file
or the byte where its line begins.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from rerankd.distributed.scoring import PairScores
from rerankd.distributed.shards import Form, Shard
from rerankd.errors import InvalidRequest
from rerankd.utf8 import decode_json

BATCH = 1024
"""Rows that are in memory at a time."""
BATCH_BYTES = 1 << 24
"""Bytes of lines that end a batch early."""

Row = dict[str, Any]


class Batch(Protocol):
    """Some rows in the order of the file."""

    positions: Sequence[int]

    def column(self, name: str) -> Sequence[object]:
        """Return a column's values; None where a row has none."""
        ...


def rows_of(path: Path) -> int:
    """Return the rows of a Parquet file. Raises InvalidRequest."""
    try:
        return int(pq.read_metadata(path).num_rows)
    except (OSError, pa.ArrowException) as error:
        raise InvalidRequest(f"{path} is not a Parquet file: {error}") from error


def require_columns(path: Path, names: Sequence[str]) -> None:
    """Raise InvalidRequest where a Parquet file lacks a column."""
    there = pq.read_schema(path).names
    for name in names:
        if name not in there:
            raise InvalidRequest(f"{path} has no column {name!r}; it has {', '.join(there)}")


def rows_of_file(path: Path, column: str) -> Iterator[tuple[int, Row]]:
    """Yield a Parquet file's rows with their numbers. Raises InvalidRequest without the column."""
    rows = rows_of(path)
    require_columns(path, [column])
    part = Shard(0, str(path), "parquet", 0, rows)
    for batch in read_parquet(part):
        yield from zip(batch.positions, batch.rows.to_pylist(), strict=True)


class ParquetBatch:
    """Rows of a Parquet file, in Arrow's columns."""

    def __init__(self, rows: pa.RecordBatch, first: int) -> None:
        self.rows = rows
        self.positions = range(first, first + rows.num_rows)

    def column(self, name: str) -> Sequence[object]:
        """See Batch."""
        values: list[object] = self.rows.column(name).to_pylist()
        return values


class JsonBatch:
    """Lines of a JSONL file; a line that is no JSON object has no columns."""

    def __init__(self, rows: list[Row | None], positions: list[int]) -> None:
        self.rows = rows
        self.positions = positions

    def column(self, name: str) -> Sequence[object]:
        """See Batch."""
        return [row.get(name) if row else None for row in self.rows]


def read_parquet(part: Shard, batch: int = BATCH) -> Iterator[ParquetBatch]:
    """Yield a part's rows; what lies before it in its row group is decoded and dropped."""
    with pq.ParquetFile(part.source) as file:
        at = 0
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            if at < part.end and at + rows > part.start:
                yield from _read_group(file, group, at, part, batch)
            at += rows


def _read_group(
    file: pq.ParquetFile, group: int, first: int, part: Shard, batch: int
) -> Iterator[ParquetBatch]:
    at = first
    for rows in file.iter_batches(batch_size=batch, row_groups=[group]):
        start, end = max(part.start - at, 0), min(part.end - at, rows.num_rows)
        if start < end:
            yield ParquetBatch(rows.slice(start, end - start), at + start)
        at += rows.num_rows
        if at >= part.end:
            return


def read_jsonl(part: Shard, batch: int = BATCH) -> Iterator[JsonBatch]:
    """Yield the lines that begin within a part, blank ones left out."""
    rows: list[Row | None] = []
    positions: list[int] = []
    size = 0
    for position, line in _shard_lines(part):
        rows.append(_row(line))
        positions.append(position)
        size += len(line)
        if len(rows) == batch or size > BATCH_BYTES:
            yield JsonBatch(rows, positions)
            rows, positions, size = [], [], 0
    if rows:
        yield JsonBatch(rows, positions)


def _shard_lines(part: Shard) -> Iterator[tuple[int, bytes]]:
    with Path(part.source).open("rb") as file:
        if part.start:
            file.seek(part.start - 1)
            file.readline()  # ends the line that began before this part, if one did
        while (position := file.tell()) < part.end and (line := file.readline()):
            if line.strip():
                yield position, line


def _row(line: bytes) -> Row | None:
    try:
        return decode_json(line, Row)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


class ParquetWriter:
    """Writes scored rows into a file that appears when it is complete."""

    def __init__(self, file: Path, source: str, leave_out: Sequence[str]) -> None:
        self._file, self._half = file, _half(file)
        self._source = source
        self._leave_out = frozenset(leave_out)
        self._writer: pq.ParquetWriter | None = None

    def write(self, batch: ParquetBatch, scored: Sequence[PairScores]) -> None:
        """Add rows."""
        added = {
            "source": pa.array([self._source] * len(scored), pa.string()),
            "position": pa.array(batch.positions, pa.int64()),
            "score": pa.array([one.score for one in scored], pa.float64()),
            "error": pa.array([one.error for one in scored], pa.string()),
        }
        kept = {
            name: batch.rows.column(name)
            for name in batch.rows.schema.names
            if name not in self._leave_out and name not in added
        }
        table = pa.table(kept | added)
        self._writer = self._writer or pq.ParquetWriter(self._half, table.schema)
        self._writer.write_table(table)

    def close(self) -> None:
        """Make the file appear."""
        if self._writer:
            self._writer.close()
            _appear(self._half, self._file)


class JsonWriter:
    """Writes JSONL likewise; a line that is no object loses its columns but keeps its position."""

    def __init__(self, file: Path, source: str, leave_out: Sequence[str]) -> None:
        self._file, self._half = file, _half(file)
        self._source = source
        self._leave_out = frozenset(leave_out)
        self._out = self._half.open("wb")

    def write(self, batch: JsonBatch, scored: Sequence[PairScores]) -> None:
        """Add rows."""
        for row, position, one in zip(batch.rows, batch.positions, scored, strict=True):
            kept = {name: it for name, it in (row or {}).items() if name not in self._leave_out}
            added = {"source": self._source, "position": position}
            line = kept | added | {"score": one.score, "error": one.error}
            self._out.write(msgspec.json.encode(line) + b"\n")

    def close(self) -> None:
        """Make the file appear."""
        self._out.close()
        _appear(self._half, self._file)


def tally(file: Path, form: Form) -> tuple[int, int]:
    """Return how many rows a written part has, and how many of them have no score."""
    if form == "parquet":
        scores = pq.read_table(file, columns=["score"]).column("score")
        return len(scores), scores.null_count
    rows = failed = 0
    with file.open("rb") as lines:
        for line in lines:
            rows += 1
            failed += msgspec.json.decode(line, type=_Line).score is None
    return rows, failed


class _Line(msgspec.Struct):
    score: float | None


def _half(file: Path) -> Path:
    """Return a name that no other attempt at the same part has."""
    return file.with_name(f".{file.name}.{os.getpid()}-{os.urandom(4).hex()}.half")


def _appear(half: Path, file: Path) -> None:
    with half.open("rb") as written:
        os.fsync(written.fileno())
    half.replace(file)
