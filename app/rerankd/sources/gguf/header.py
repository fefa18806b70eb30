"""Reading a GGUF file's header, and nothing of its weights."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFReader, GGUFValueType
from numpy.typing import NDArray

from rerankd.errors import ModelFileError
from rerankd.families.header import NUMBERS_PREFIX, Header, TensorInfo

MOST_DIMENSIONS = 4  # GGML_MAX_DIMS
KEPT_ARRAY = 64
"""Longer arrays (vocabularies, merges) are skipped: 250,000 strings cost seconds and memory."""
TOKENS_KEY = struct.pack("<Q21s", 21, b"tokenizer.ggml.tokens")
MOST_TOKENS, MOST_TOKEN_BYTES = 2_000_000, 64 * 1024**2  # many times the largest there is


class _HeaderReader(GGUFReader):  # type: ignore[misc]
    """The library's reader without what a header check can't afford: vocabularies and weights."""

    def __init__(self, path: Path) -> None:
        self.infos: dict[str, TensorInfo] = {}
        self.numbers: dict[str, tuple[int, int]] = {}
        self.needed_bytes = 0
        self._names: set[str] = set()
        self._path = path
        super().__init__(path)

    def _get(
        self, offset: int, dtype: Any, count: int = 1, override_order: Any = None
    ) -> NDArray[Any]:
        # The library takes what is left when less is there than the header says.
        if offset + np.dtype(dtype).itemsize * int(count) > len(self.data):
            raise ValueError("the header runs past the end of the file")
        part: NDArray[Any] = super()._get(offset, dtype, count, override_order)
        return part

    def _get_tensor_info_field(self, orig_offs: int) -> Any:
        name, _ = self._get_str(orig_offs)
        (dimensions,) = self._get(orig_offs + 8 + int(name[0]), np.uint32)
        if dimensions > MOST_DIMENSIONS:
            raise ValueError(f"a tensor of {dimensions} dimensions")
        entry = super()._get_tensor_info_field(orig_offs)
        if entry.name in self._names:  # at once: a claimed trillion of them would take hours
            raise ValueError(f"tensor {entry.name!r} appears twice")
        self._names.add(entry.name)
        return entry

    def _get_field_parts(
        self, orig_offs: int, raw_type: int
    ) -> tuple[int, list[NDArray[Any]], list[int], list[GGUFValueType]]:
        if raw_type == GGUFValueType.ARRAY:
            item = GGUFValueType(struct.unpack_from("<I", self.data, orig_offs)[0])
            (length,) = struct.unpack_from("<Q", self.data, orig_offs + 4)
            if item == GGUFValueType.ARRAY:
                raise ValueError("an array of arrays")
            distinct = self.data[: orig_offs - 4][-len(TOKENS_KEY) :].tobytes() == TOKENS_KEY
            if item == GGUFValueType.FLOAT32:
                self._note_numbers(orig_offs, int(length))
            if length > KEPT_ARRAY or distinct:
                size = self._array_bytes(orig_offs + 12, item, length, distinct=distinct)
                return 12 + size, [], [], [GGUFValueType.ARRAY, item]
        parts: tuple[int, list[NDArray[Any]], list[int], list[GGUFValueType]]
        parts = super()._get_field_parts(orig_offs, raw_type)
        return parts

    def _note_numbers(self, type_offset: int, length: int) -> None:
        """Keep the place of an array of numbers of ours: its name stands right before its type."""
        before = self.data[: type_offset - 4][-64:].tobytes()
        at = before.rfind(NUMBERS_PREFIX.encode())
        if at >= 0:
            self.numbers[before[at:].decode("utf-8", "replace")] = (type_offset + 12, length)

    def _array_bytes(self, start: int, item: GGUFValueType, length: int, *, distinct: bool) -> int:
        if item != GGUFValueType.STRING:
            return length * int(np.dtype(self.gguf_scalar_to_np[item]).itemsize)
        view, offset, end = memoryview(self.data), start, len(self.data)
        seen: set[bytes] = set()
        for number in range(length):
            begin, offset = offset + 8, offset + 8 + struct.unpack_from("<Q", view, offset)[0]
            if offset > end:
                raise ValueError("a string runs past the end of the file")
            if distinct:
                if number >= MOST_TOKENS or offset - start > MOST_TOKEN_BYTES:
                    raise ValueError("the vocabulary is larger than any model's")
                self._see(bytes(view[begin:offset]), number, seen)
        return offset - start

    def _see(self, token: bytes, number: int, seen: set[bytes]) -> None:
        """Refuse a second token of one text, as llama.cpp reads it: it would end the process."""
        text = token.partition(b"\0")[0] or b"[EMPTY_%d]" % number
        if text in seen:
            raise ModelFileError(
                f"{self._path}: the vocabulary has {text[:40].decode('utf-8', 'replace')!r} twice,"
                " so llama.cpp can't load it; use another conversion"
            )
        seen.add(text)

    def _build_tensors(self, start_offs: int, fields: list[Any]) -> None:
        start = int(start_offs)  # a NumPy uint32 where the file sets its alignment
        for entry in fields:
            _, name, _, dims, raw_type, offset = entry.parts
            kind = GGMLQuantizationType(int(raw_type[0]))
            block, block_bytes = GGML_QUANT_SIZES[kind]
            shape = tuple(int(dim) for dim in dims)
            size = math.prod(shape) * block_bytes // block
            place = start + int(offset[0])
            self.infos[bytes(name).decode()] = TensorInfo(shape, kind.name, size, place)
            self.needed_bytes = max(self.needed_bytes, place + size)


def read(path: Path) -> Header:
    """Read a file's header.

    Raises ModelFileError, one line that says what is wrong and what to do, when the file is
    missing, not GGUF, or cut short.
    """
    try:
        if not path.is_file():
            raise ModelFileError(
                f"{path}: no such file; give the path of a .gguf file or a catalog id"
            )
        size = path.stat().st_size
        with path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise ModelFileError(f"{path}: not a GGUF file; rerankd serves only GGUF weights")
        reader = _HeaderReader(path)
        metadata = _metadata(reader)
    except OSError as error:
        raise ModelFileError(f"{path}: can't be read: {error.strerror}") from error
    except (ArithmeticError, LookupError, TypeError, ValueError, struct.error) as error:
        raise ModelFileError(
            f"{path}: the GGUF header can't be read ({error}); download the file again"
        ) from error
    if reader.needed_bytes > size:
        raise ModelFileError(
            f"{path}: truncated, {size} bytes of {reader.needed_bytes}; download the file again"
        )
    return Header(path, size, metadata, reader.infos, reader.numbers)


def numbers(header: Header, name: str, length: int) -> NDArray[np.float32]:
    """Read one of rerankd's own arrays. Raises ModelFileError unless it has `length` numbers."""
    place, found = header.numbers.get(NUMBERS_PREFIX + name, (0, 0))
    if found != length:
        raise ModelFileError(
            f"{header.path}: {NUMBERS_PREFIX}{name} has {found} numbers, expected {length}"
        )
    values = np.fromfile(header.path, np.dtype("<f4"), length, offset=place)
    if len(values) != length or not np.isfinite(values).all():
        raise ModelFileError(f"{header.path}: {NUMBERS_PREFIX}{name} is damaged")
    return values.astype(np.float32)


def _metadata(reader: _HeaderReader) -> dict[str, Any]:
    return {
        key: entry.contents()
        for key, entry in reader.fields.items()
        if entry.data and not key.startswith("GGUF.")
    }
