"""The header of one file, read in bounded time and memory, and nothing of its weights."""

from __future__ import annotations

import math
import struct
from array import array
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFReader, GGUFValueType
from numpy.typing import NDArray

from rerankd.errors import ModelFileError
from rerankd.families.header import OWN_PREFIXES, TensorInfo
from rerankd.sources.gguf import limits
from rerankd.sources.gguf.limits import Allowance

TOKENS_KEY = struct.pack("<Q21s", 21, b"tokenizer.ggml.tokens")
CHARSMAP_KEY = b"tokenizer.ggml.precompiled_charsmap"


class HeaderCutShort(ValueError):
    """The header goes on behind the bytes of it that are here."""


FieldParts = tuple[int, list[NDArray[Any]], list[int], list[GGUFValueType]]


class HeaderReader(GGUFReader):  # type: ignore[misc]
    """The library's reader without what a header check can't afford: vocabularies and weights.

    Every count and length is compared with what is left of the file and with `limits` before
    anything of that size is read.
    """

    def __init__(self, path: Path, allowance: Allowance, available: int | None = None) -> None:
        """Read the header; of a split model, `allowance` is shared by its parts.

        `available` says how many of the file's bytes are there. Raises HeaderCutShort where the
        header needs more of them.
        """
        self._available = available
        self.infos: dict[str, TensorInfo] = {}
        self.numbers: dict[str, tuple[int, int]] = {}
        self.charsmap = (0, 0)
        self.tokens = (0, 0)
        self.needed_bytes = 0
        self._names: set[str] = set()
        self._path = path
        self._allowance = allowance
        super().__init__(path)

    @property
    def data(self) -> NDArray[np.uint8]:
        """The mapped file, as a plain array: slices of NumPy's own kind take five times as long."""
        return self._data

    @data.setter
    def data(self, mapped: NDArray[np.uint8]) -> None:
        self._data = np.asarray(mapped)[: self._available]

    @property
    def metadata(self) -> dict[str, Any]:
        """What was kept of the metadata, by its keys."""
        return {
            key: entry.contents()
            for key, entry in self.fields.items()
            if entry.data and not key.startswith("GGUF.")
        }

    def _get(
        self, offset: int, dtype: Any, count: int = 1, override_order: Any = None
    ) -> NDArray[Any]:
        # The library takes what is left when less is there than the header says.
        if offset + np.dtype(dtype).itemsize * int(count) > len(self.data):
            raise self._past_end("the header")
        part: NDArray[Any] = super()._get(offset, dtype, count, override_order)
        return part

    def _past_end(self, what: str) -> ValueError:
        if self._available is not None:
            return HeaderCutShort()
        return ValueError(f"{what} runs past the end of the file")

    def _get_str(self, offset: int) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
        length, text = super()._get_str(offset)
        self._allowance.take(limits.TEXT_BYTES, len(text))
        return length, text

    def _build_fields(self, offs: int, count: int) -> int:
        self._allowance.take(limits.KEYS, int(count))
        end: int = super()._build_fields(offs, count)
        return end

    def _push_field(self, field: Any, skip_sum: bool = False) -> int:
        if len(field.name) > limits.LONGEST_KEY:
            raise ValueError(f"a metadata key of {len(field.name)} characters")
        size: int = super()._push_field(field, skip_sum)
        return size

    def _build_tensor_info(self, offs: int, count: int) -> tuple[int, list[Any]]:
        if len(self.data) < offs <= limits.HEADER_BYTES and self._available is not None:
            raise HeaderCutShort
        if not offs <= min(len(self.data), limits.HEADER_BYTES):
            raise ValueError(f"{offs:,} bytes of metadata, which no model has")
        self._allowance.take(limits.TENSORS, int(count))
        found: tuple[int, list[Any]] = super()._build_tensor_info(offs, count)
        return found

    def _get_tensor_info_field(self, orig_offs: int) -> Any:
        (length,) = self._get(orig_offs, np.uint64)
        if length > limits.LONGEST_TENSOR_NAME:
            raise ValueError(f"a tensor's name of {length} bytes")
        (dimensions,) = self._get(orig_offs + 8 + int(length), np.uint32)
        if dimensions > limits.MOST_DIMENSIONS:
            raise ValueError(f"a tensor of {dimensions} dimensions")
        entry = super()._get_tensor_info_field(orig_offs)
        if entry.name in self._names:
            raise ValueError(f"tensor {entry.name!r} appears twice")
        self._names.add(entry.name)
        return entry

    def _get_field_parts(self, orig_offs: int, raw_type: int) -> FieldParts:
        if raw_type == GGUFValueType.ARRAY:
            (raw_item,) = self._get(orig_offs, np.uint32)
            (length,) = self._get(orig_offs + 4, np.uint64)
            skipped = self._skip_array(orig_offs, GGUFValueType(int(raw_item)), int(length))
            if skipped is not None:
                return skipped
        elif raw_type == GGUFValueType.STRING:
            (length,) = self._get(orig_offs, np.uint64)
            if length > limits.KEPT_TEXT_BYTES:
                return 8 + int(length), [], [], [GGUFValueType.STRING]
        parts: FieldParts = super()._get_field_parts(orig_offs, raw_type)
        return parts

    def _skip_array(self, place: int, item: GGUFValueType, length: int) -> FieldParts | None:
        """Return what stands for an array that isn't kept, None for one that is."""
        if item == GGUFValueType.ARRAY:
            raise ValueError("an array of arrays")
        tokens = self.data[: place - 4][-len(TOKENS_KEY) :].tobytes() == TOKENS_KEY
        if item == GGUFValueType.FLOAT32:
            self._note_numbers(place, length)
        elif self.data[: place - 4][-len(CHARSMAP_KEY) :].tobytes() == CHARSMAP_KEY:
            self.charsmap = (place + 12, length)
        if tokens:
            self.tokens = (place + 12, length)
        if length <= limits.KEPT_ARRAY and not tokens:
            self._allowance.take(limits.ITEMS, length)
            return None
        if item == GGUFValueType.STRING:
            size = self._strings_bytes(place + 12, length, tokens=tokens)
        else:
            size = length * int(np.dtype(self.gguf_scalar_to_np[item]).itemsize)
        return 12 + size, [], [], [GGUFValueType.ARRAY, item]

    def _note_numbers(self, type_offset: int, length: int) -> None:
        """Keep the place of an array of numbers of ours: its name stands right before its type."""
        before = self.data[: type_offset - 4][-64:].tobytes()
        at = max(before.rfind(prefix.encode()) for prefix in OWN_PREFIXES)
        if at >= 0:
            self.numbers[before[at:].decode("utf-8", "replace")] = (type_offset + 12, length)

    def _strings_bytes(self, start: int, length: int, *, tokens: bool) -> int:
        """Return the bytes of an array of strings; those of a vocabulary must differ."""
        self._allowance.take(limits.STRINGS, length)
        end = min(len(self.data), start + limits.MOST[limits.STRING_BYTES] + 1)
        if start + 8 * length > end:
            raise self._past_end("an array")
        hashes, offset, view = array("q"), start, self.data.data
        for number, (begin, offset) in enumerate(self._string_places(start, length, end)):
            if tokens:
                hashes.append(hash(_token(view[begin:offset], number)))
        self._allowance.take(limits.STRING_BYTES, offset - start)
        if tokens:
            self._require_distinct(hashes, start, end)
        return offset - start

    def _string_places(self, offset: int, length: int, end: int) -> Iterator[tuple[int, int]]:
        unpack, view = struct.Struct("<Q").unpack_from, self.data.data
        for _ in range(length):
            begin = offset + 8
            if begin > end:
                raise self._past_end("a string")
            offset = begin + unpack(view, offset)[0]
            if offset > end:
                raise self._past_end("a string")
            yield begin, offset

    def _require_distinct(self, hashes: array[int], start: int, end: int) -> None:
        """Refuse a vocabulary with a text twice: llama.cpp would end the process.

        Hashes take a tenth of the texts' memory; only texts with a hash in common are compared.
        """
        values, counts = np.unique(np.frombuffer(hashes, np.int64), return_counts=True)
        shared = set(values[counts > 1].tolist())
        if not shared:
            return
        seen: Counter[bytes] = Counter()
        places = self._string_places(start, len(hashes), end)
        for number, (begin, stop) in enumerate(places):
            if hashes[number] in shared:
                text = _token(self.data.data[begin:stop], number)
                seen[text] += 1
                if seen[text] > 1:
                    raise ModelFileError(
                        f"{self._path}: the vocabulary has"
                        f" {text[:40].decode('utf-8', 'replace')!r} twice, so llama.cpp can't load"
                        " it; use another conversion"
                    )

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


def _token(text: memoryview, number: int) -> bytes:
    """Return a token's text as llama.cpp reads it."""
    return bytes(text).partition(b"\0")[0] or b"[EMPTY_%d]" % number
