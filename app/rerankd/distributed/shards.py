"""How a large set of pairs is split into parts, and which parts are done.

A part is done when its file is there: files appear complete, by renaming. The manifest beside
them describes the run; with other input files or settings it is another run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from rerankd.errors import InvalidRequest, StateError
from rerankd.settings import SCORE_SETTINGS, Settings
from rerankd.utf8 import is_utf16

MANIFEST = "manifest.json"
SAMPLE_BYTES = 1 << 20
LINE_BYTES = 1024
"""The assumed length of a line where the sample has no line break."""

Form = Literal["parquet", "jsonl"]


class PairFile(Struct, frozen=True):
    """A file of pairs."""

    path: str
    form: Form
    bytes: int
    modified_ns: int
    end: int
    """Rows of a Parquet file, bytes of a JSONL file."""
    step: int
    """Rows or bytes of a part."""


class Shard(Struct, frozen=True):
    """A part of a file: rows of Parquet, or the lines of JSONL that begin within these bytes."""

    number: int
    source: str
    form: Form
    start: int
    end: int

    @property
    def name(self) -> str:
        return f"part-{self.number:08d}.{self.form}"


class RunManifest(Struct, frozen=True):
    """What a run reads and how it scores; a run is only resumed with the same."""

    sources: tuple[PairFile, ...]
    options: dict[str, str]


def score_options(settings: Settings) -> dict[str, str]:
    """Return the settings that a run's scores depend on, as a manifest has them."""
    return {name: str(getattr(settings, name)) for name in sorted(SCORE_SETTINGS)}


def form_of(path: Path) -> Form:
    """Return a file's format by its name. Raises InvalidRequest, also for lines in UTF-16."""
    if path.suffix == ".parquet":
        return "parquet"
    if path.suffix in {".jsonl", ".ndjson"}:
        with path.open("rb") as file:
            if is_utf16(file.read(2)):
                raise InvalidRequest(f"{path} is encoded in UTF-16; convert it to UTF-8")
        return "jsonl"
    raise InvalidRequest(f"{path}: pairs must be in .parquet, .jsonl or .ndjson files")


def pair_files(inputs: Sequence[Path]) -> list[Path]:
    """Return the files of pairs, those of a folder by name. Raises InvalidRequest."""
    found: list[Path] = []
    for one in inputs:
        if one.is_dir():
            inside = [*one.glob("*.parquet"), *one.glob("*.jsonl"), *one.glob("*.ndjson")]
            found += sorted(path.resolve() for path in inside)
        elif one.is_file():
            found.append(one.resolve())
        else:
            raise InvalidRequest(f"{one}: no such file or folder")
    if not found:
        raise InvalidRequest("no files with pairs found")
    return found


def describe_file(path: Path, rows: int | None, part_rows: int) -> PairFile:
    """Describe a file; `rows` are those of Parquet, None for JSONL, which is cut by bytes."""
    facts = path.stat()
    step = part_rows if rows is not None else part_rows * _line_bytes(path)
    return PairFile(
        path=str(path),
        form=form_of(path),
        bytes=facts.st_size,
        modified_ns=facts.st_mtime_ns,
        end=facts.st_size if rows is None else rows,
        step=step,
    )


def _line_bytes(path: Path) -> int:
    with path.open("rb") as file:
        sample = file.read(SAMPLE_BYTES)
    return max(1, len(sample) // lines) if (lines := sample.count(b"\n")) else LINE_BYTES


def shards_of(sources: Sequence[PairFile]) -> Iterator[Shard]:
    """Yield the parts of all files; they are the same every time."""
    number = 0
    for one in sources:
        for start in range(0, one.end, one.step):
            end = min(start + one.step, one.end)
            yield Shard(number, one.path, one.form, start, end)
            number += 1


def begin_run(
    output: Path, manifest: RunManifest, defaults: Mapping[str, str] | None = None
) -> None:
    """Write the manifest, or check that the one in the folder is the same. Raises StateError.

    `defaults` are taken for options that a run of an earlier version did not record.
    """
    output.mkdir(parents=True, exist_ok=True)
    file = output / MANIFEST
    if not file.exists():
        if any(output.iterdir()):
            raise StateError(f"{output} is not empty and contains no run of this kind")
        write_atomically(file, msgspec.json.encode(manifest))
        return
    try:
        kept = msgspec.json.decode(file.read_bytes(), type=RunManifest)
    except (OSError, msgspec.DecodeError) as error:
        raise StateError(f"cannot read {file}: {error}") from error
    recorded = RunManifest(kept.sources, {**(defaults or {}), **kept.options})
    if recorded != manifest:
        raise StateError(
            f"{output} contains a run with other files or settings "
            f"({_change(recorded, manifest)}); choose another folder"
        )


def _change(kept: RunManifest, wanted: RunManifest) -> str:
    if kept.sources != wanted.sources:
        return "the input files changed"
    names = sorted(kept.options.keys() | wanted.options.keys())
    return ", ".join(
        f"{name} was {kept.options.get(name)!r} and is now {wanted.options.get(name)!r}"
        for name in names
        if kept.options.get(name) != wanted.options.get(name)
    )


def missing_shards(output: Path, parts: Iterator[Shard]) -> list[Shard]:
    """Return the parts whose file is not there yet."""
    there = {path.name for path in output.glob("part-*")}
    return [part for part in parts if part.name not in there]


def write_atomically(file: Path, content: bytes) -> None:
    """Write a file so that it appears complete or not at all."""
    half = file.with_name(f".{file.name}.half")
    half.write_bytes(content)
    half.replace(file)
