"""Rows of a file's matrices, read without llama.cpp."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from gguf import GGMLQuantizationType, dequantize
from numpy.typing import NDArray

from rerankd.domain import TokenIds
from rerankd.errors import EngineFailure, ModelFileError
from rerankd.families.header import Header
from rerankd.families.score import HEAD

RowVectors: TypeAlias = NDArray[np.float32]
"""`[rows, width]`."""

MOST_APART = 0.04
"""See `repeats_output`."""


class TensorRows:
    """A matrix of a file, its rows read and dequantised when they are asked for.

    Nothing is kept: the file's pages are in memory already, llama.cpp maps them as well, and a
    step's rows take far less time to dequantise than to decode. A cache or the whole table in
    float32 (47 MB for 30,522 rows of 384) would cost memory and win nothing.
    """

    def __init__(self, header: Header, name: str, *, as_row: bool = False) -> None:
        """Map tensor `name`, with `as_row` as one row of all its numbers.

        Raises ModelFileError when the file is gone, cut or of odd types.
        """
        tensor = header.tensors.get(name)
        if tensor is None:
            raise ModelFileError(f"{header.path}: tensor {name} is missing")
        try:
            _, self._count = (0, 1) if as_row else tensor.shape
            shape = (self._count, tensor.bytes // self._count)
            mapped = np.memmap(header.file_of(tensor), np.uint8, "r", tensor.offset, shape)
            self._rows = np.asarray(mapped)
            self._type = GGMLQuantizationType[tensor.type]
            self.read(np.zeros(1, dtype=np.int32))
        except (OSError, ArithmeticError, ValueError, NotImplementedError) as error:
            raise ModelFileError(
                f"{header.path}: tensor {name} can't be read: {error}; use another conversion"
            ) from error

    def read(self, ids: TokenIds) -> RowVectors:
        """Return one float32 row an id. Raises EngineFailure for an id outside the matrix."""
        if ids.min() < 0 or ids.max() >= self._count:
            raise EngineFailure("a token id outside the vocabulary")
        found: RowVectors = dequantize(self._rows[ids], self._type)
        return found


def repeats_output(header: Header, answers: TokenIds) -> bool:
    """Return whether the score head's rows are those of the answers' tokens in the output matrix.

    Rows count as equal when they differ by no more than 4 % of their length, as two quantisations
    of one row may: the cosine of their directions is then over 0.999. False too for types that
    can't be read.
    """
    output = "output.weight" if "output.weight" in header.tensors else "token_embd.weight"
    try:
        head = TensorRows(header, HEAD).read(np.arange(len(answers), dtype=np.int32))
        rows = TensorRows(header, output).read(answers)
    except ModelFileError:
        return False  # an optimisation only: the head itself can be served
    if head.shape != rows.shape:
        return False
    apart = np.linalg.norm(head - rows, axis=1)
    return bool(np.all(apart <= MOST_APART * np.linalg.norm(rows, axis=1)))
