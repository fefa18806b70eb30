"""ColBERT's vectors, one a token, and MaxSim between those of two texts (Khattab and Zaharia)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rerankd.domain import TokenIds
from rerankd.engine.backends.vectors import Calibration, Floats, normalized


class MaxSim:
    """One unit vector a token. A query's tokens each look for the best match in a document.

    The mean of their cosines is put on a scale by the calibration.
    """

    def __init__(
        self,
        projection: Floats | None,
        bias: Floats | None,
        skipped: TokenIds,
        fill: TokenIds,
        *,
        hides_fill: bool,
    ) -> None:
        """`projection` is `[dimensions, width]`, None where hidden states are projected already.

        Tokens in `skipped` don't count in documents. `fill` is what queries end with, if anything;
        with `hides_fill`, no token attends to it.
        """
        self._projection, self._bias = projection, bias
        self._skipped = skipped
        self._fill = fill if hides_fill else fill[:0]
        self.calibration = Calibration()

    def hidden(self, ids: TokenIds) -> int:
        """Return how many of a text's last tokens no token attends to."""
        if not len(self._fill):
            return 0
        others = np.flatnonzero(ids != self._fill[0])
        return len(ids) - 1 - int(others[-1]) if len(others) else 0

    def vectors(self, ids: TokenIds, states: Floats) -> bytes:
        """See Similarity: F32, also of tokens that don't count."""
        del ids
        if self._projection is not None:
            states = states @ self._projection.T
            if self._bias is not None:
                states = states + self._bias
        return normalized(states).tobytes()

    def logits(
        self, query: TokenIds, vectors: bytes, documents: Sequence[tuple[TokenIds, bytes]]
    ) -> list[float]:
        """See Similarity."""
        return [
            self.calibration.logit(total / len(query))
            for total in self.sums(query, vectors, documents)
        ]

    def embedding(self, vectors: bytes) -> None:
        """See Similarity: a text has one vector a token, and none as a whole."""
        del vectors

    def sums(
        self, query: TokenIds, vectors: bytes, documents: Sequence[tuple[TokenIds, bytes]]
    ) -> list[float]:
        """Return MaxSim of each document: its best cosines, summed over the query's tokens."""
        tokens = np.frombuffer(vectors, np.float32).reshape(len(query), -1)
        found: list[float] = []
        for ids, one in documents:
            others = np.frombuffer(one, np.float32).reshape(len(ids), -1)
            counting = others[~np.isin(ids, self._skipped)]
            found.append(float((tokens @ counting.T).max(axis=1, initial=-1.0).sum()))
        return found
