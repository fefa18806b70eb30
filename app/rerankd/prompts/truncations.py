"""What a Truncation comes to, in tokens."""

from __future__ import annotations

import math

from rerankd.domain import Truncation
from rerankd.errors import InvalidRequest

LEAST = {
    "max_tokens_per_doc": 1,
    "max_tokens_per_query": 1,
    "chunk_tokens": 1,
    "overlap_tokens": 0,
    "max_chunks_per_doc": 1,
}
"""The least that each number of a Truncation may be."""


def most_whole(truncation: Truncation) -> float:
    """Return the most tokens of a document that `truncation` leaves as they are."""
    chunk = truncation.chunk_tokens if truncation.overflow == "chunk" else None
    return min(truncation.max_tokens_per_doc or math.inf, chunk or math.inf)


def most_read(truncation: Truncation, pair_tokens: int) -> float:
    """Return the most tokens of a document that can be read, in all its rows."""
    most: float = pair_tokens
    if truncation.overflow == "chunk":
        chunk = min(pair_tokens, truncation.chunk_tokens or pair_tokens)
        most = chunk * (truncation.max_chunks_per_doc or math.inf)
    return min(most, truncation.max_tokens_per_doc or math.inf)


def require_sensible(truncation: Truncation) -> None:
    """Raise InvalidRequest for a number that is too small."""
    for name, least in LEAST.items():
        value = getattr(truncation, name)
        if value is not None and value < least:
            raise InvalidRequest(f"{name} must be at least {least}", param=name)
