"""Input embeddings for models that tell query and document apart by token types.

llama.cpp adds the row of token type 0 to every token and takes no token types. An encoder fed with
embeddings instead of ids gets the right sum if tokens of type 1 carry the difference of the two
rows: `token + (second − first)`, to which llama.cpp adds `first`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from gguf import GGMLQuantizationType, dequantize
from numpy.typing import NDArray

from rerankd.domain import TokenIds
from rerankd.errors import EngineFailure, ModelFileError
from rerankd.sources.gguf import Header

Vectors: TypeAlias = NDArray[np.float32]
"""Rows of a model's width, one a token."""

MOST_APART = 0.04


class TensorRows:
    """A matrix of a file, its rows read and dequantised when they are asked for.

    Nothing is kept: the file's pages are in memory already, llama.cpp maps them as well, and a
    step's rows take far less time to dequantise than to decode. A cache or the whole table in
    float32 (47 MB for 30,522 rows of 384) would cost memory and win nothing.
    """

    def __init__(self, header: Header, name: str) -> None:
        """Map tensor `name`. Raises ModelFileError when the file is gone, cut or of odd types."""
        tensor = header.tensors.get(name)
        if tensor is None:
            raise ModelFileError(f"{header.path}: tensor {name} is missing")
        try:
            _, self._count = tensor.shape
            shape = (self._count, tensor.bytes // self._count)
            mapped = np.memmap(header.path, np.uint8, "r", tensor.offset, shape)
            self._rows = np.asarray(mapped)
            self._type = GGMLQuantizationType[tensor.type]
            self.read(np.zeros(1, dtype=np.int32))
        except (OSError, ArithmeticError, ValueError, NotImplementedError) as error:
            raise ModelFileError(
                f"{header.path}: tensor {name} can't be read: {error}; use another conversion"
            ) from error

    def read(self, ids: TokenIds) -> Vectors:
        """Return one float32 row an id. Raises EngineFailure for an id outside the matrix."""
        if ids.min() < 0 or ids.max() >= self._count:
            raise EngineFailure("a token id outside the vocabulary")
        found: Vectors = dequantize(self._rows[ids], self._type)
        return found


class TokenTypeEmbedder:
    """Embeds `[CLS] query [SEP] document [SEP]` with token types 0 and 1 for its two texts.

    It keeps no state between calls, so the workers of a model share one.
    """

    def __init__(self, header: Header, separator: int) -> None:
        """`separator` is the id of [SEP]. Raises ModelFileError as TensorRows does."""
        self._tokens = TensorRows(header, "token_embd.weight")
        first, second = TensorRows(header, "token_types.weight").read(np.arange(2, dtype=np.int32))
        self._difference = second - first
        self._separator = separator

    def embed(self, rows: Sequence[TokenIds]) -> Vectors:
        """Return one embedding a token of all rows, end to end.

        Type 1 is everything after a row's first [SEP]: user text is tokenised without control
        tokens (`prompts`), so that one is the layout's own. Raises EngineFailure for a
        row without it, and for ids outside the vocabulary.
        """
        found = self._tokens.read(np.concatenate(rows))
        second = np.concatenate([self._in_second(row) for row in rows])
        found[second] += self._difference
        return found

    def _in_second(self, row: TokenIds) -> NDArray[np.bool_]:
        separators = np.flatnonzero(row == self._separator)
        if not len(separators):
            raise EngineFailure("a pair without a separator between query and document")
        after: NDArray[np.bool_] = np.arange(len(row)) > separators[0]
        return after


def repeats_output(header: Header, yes: int, no: int) -> bool:
    """Tell whether the head's two rows are those of tokens yes and no of the output matrix.

    Equal is what differs by no more than 4 % of a row's length, which two quantisations of one
    row may: its direction then has a cosine over 0.999. False too for types that can't be read.
    """
    output = "output.weight" if "output.weight" in header.tensors else "token_embd.weight"
    try:
        head = TensorRows(header, "cls.output.weight").read(np.arange(2, dtype=np.int32))
        rows = TensorRows(header, output).read(np.array([yes, no], dtype=np.int32))
    except ModelFileError:
        return False  # an optimisation only: the head itself can be served
    if head.shape != rows.shape:
        return False
    apart = np.linalg.norm(head - rows, axis=1)
    return bool(np.all(apart <= MOST_APART * np.linalg.norm(rows, axis=1)))
