"""Rows of a file's matrices, read without llama.cpp."""

from __future__ import annotations

import os
import weakref
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

RECONVERT = "use another conversion"
MOST_APART = 0.04
"""See `repeats_output`."""


class TensorRows:
    """A matrix of a file, its rows read and dequantised when they are asked for.

    The file is read, not mapped: a mapped file that is cut short, as `cp` does before it copies
    over one, ends the process. Nothing is kept: the system has the pages in memory, and a step's
    rows take far less time than to decode them. A cache or the whole table in float32 (47 MB for
    30,522 rows of 384) would cost memory and win nothing.
    """

    def __init__(self, header: Header, name: str, *, as_row: bool = False) -> None:
        """Open tensor `name`, with `as_row` as one row of all its numbers.

        Raises ModelFileError when the file is gone, cut or of odd types.
        """
        tensor = header.tensors.get(name)
        if tensor is None:
            raise ModelFileError(f"{header.path}: tensor {name} is missing")
        self._what = f"{header.path}: tensor {name}"
        try:
            _, self._count = (0, 1) if as_row else tensor.shape
            self._size, self._start = tensor.bytes // self._count, tensor.offset
            self._type = GGMLQuantizationType[tensor.type]
            self._file = os.open(header.file_of(tensor), os.O_RDONLY)
            weakref.finalize(self, os.close, self._file)
            self._state = self._state_now()
            self.read(np.asarray([0, self._count - 1], dtype=np.int32))
        except (OSError, ArithmeticError, ValueError, KeyError, NotImplementedError) as error:
            raise ModelFileError(f"{self._what} can't be read: {error}; {RECONVERT}") from error
        except EngineFailure as error:
            raise ModelFileError(f"{error}; {RECONVERT}") from error

    def read(self, ids: TokenIds) -> RowVectors:
        """Return one float32 row an id.

        Raises EngineFailure for an id outside the matrix, and when the file was changed since.
        """
        if ids.min() < 0 or ids.max() >= self._count:
            raise EngineFailure("a token id outside the vocabulary")
        wanted, places = np.unique(ids, return_inverse=True)
        parts = (
            os.pread(self._file, self._size, self._start + row * self._size)
            for row in wanted.tolist()
        )
        data = b"".join(parts)
        if len(data) != len(wanted) * self._size or self._state_now() != self._state:
            raise EngineFailure(f"{self._what} was changed while it was used; restart the model")
        rows = np.frombuffer(data, np.uint8).reshape(len(wanted), self._size)
        found: RowVectors = dequantize(rows[places], self._type)
        return found

    def _state_now(self) -> tuple[int, int]:
        facts = os.fstat(self._file)
        return facts.st_size, facts.st_mtime_ns


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
