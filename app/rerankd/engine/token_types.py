"""Input embeddings for models that distinguish query and document by token types.

llama.cpp adds the row of token type 0 to every token and takes no token types. An encoder fed with
embeddings instead of ids gets the right sum if tokens of type 1 carry the difference of the two
rows: `token + (second − first)`, to which llama.cpp adds `first`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rerankd.domain import TokenIds
from rerankd.engine.tensor_rows import RowVectors, TensorRows
from rerankd.errors import EngineFailure
from rerankd.families.header import Header


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

    def embed(self, rows: Sequence[TokenIds]) -> RowVectors:
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
