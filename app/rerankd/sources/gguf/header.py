"""Reading a model's header, of all its parts where it is split, and nothing of its weights."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rerankd.errors import ModelFileError
from rerankd.families.header import NUMBERS_PREFIX, Header
from rerankd.sources.gguf.format import require_gguf
from rerankd.sources.gguf.limits import Allowance
from rerankd.sources.gguf.parts import joined, other_parts
from rerankd.sources.gguf.reader import HeaderCutShort, HeaderReader


def read(path: Path, available: Mapping[Path, int] | None = None) -> Header:
    """Read a model's header, given its file or the first of its parts.

    Time and memory are bounded, whatever the file says (`limits`). `available` says how many bytes
    of a file are there, where that isn't all; HeaderCutShort is raised if the header has more.
    Raises ModelFileError, one line that says what is wrong and what to do, when a file is missing,
    not GGUF, cut short, or not the first part.
    """
    allowance = Allowance()
    known = available or {}
    first = _read_part(path, allowance, known.get(path))
    others = other_parts(first)
    return (
        joined(first, [_read_part(one, allowance, known.get(one)) for one in others])
        if others
        else first
    )


def _read_part(path: Path, allowance: Allowance, available: int | None) -> Header:
    require_gguf(path)
    try:
        size = path.stat().st_size
        whole = available is None or available >= size
        reader = HeaderReader(path, allowance, None if whole else available)
        metadata = reader.metadata
    except OSError as error:
        raise ModelFileError(f"{path}: can't be read: {error.strerror}") from error
    except HeaderCutShort:
        raise
    except (ArithmeticError, LookupError, TypeError, ValueError, struct.error) as error:
        raise ModelFileError(
            f"{path}: the GGUF header can't be read ({error}); download the file again"
        ) from error
    if reader.needed_bytes > size:
        raise ModelFileError(
            f"{path}: truncated, {size} bytes of {reader.needed_bytes}; download the file again"
        )
    return Header(
        path,
        size,
        metadata,
        reader.infos,
        numbers=reader.numbers,
        tokens=reader.tokens,
        charsmap=reader.charsmap,
    )


def numbers(
    header: Header, name: str, length: int, prefix: str = NUMBERS_PREFIX
) -> NDArray[np.float32]:
    """Read one of rerankd's own arrays. Raises ModelFileError unless it has `length` numbers."""
    place, found = header.numbers.get(prefix + name, (0, 0))
    if found != length:
        raise ModelFileError(
            f"{header.path}: {prefix}{name} has {found} numbers, expected {length}"
        )
    values = np.fromfile(header.path, np.dtype("<f4"), length, offset=place)
    if len(values) != length or not np.isfinite(values).all():
        raise ModelFileError(f"{header.path}: {prefix}{name} is damaged")
    return values.astype(np.float32)


def token_text(header: Header, key: str) -> str:
    """Return the text of the token whose id a metadata key has, empty where it has none."""
    token = header.metadata.get(key)
    start, count = header.tokens
    if not isinstance(token, int) or not 0 <= token < count:
        return ""
    with header.path.open("rb") as file:
        file.seek(start)
        for number in range(token + 1):
            (length,) = struct.unpack("<Q", file.read(8))
            if number < token:
                file.seek(length, os.SEEK_CUR)
        return file.read(length).decode("utf-8", "replace")
