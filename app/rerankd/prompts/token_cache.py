"""A tokenizer that remembers: the same documents come again and again with other queries."""

from __future__ import annotations

import numpy as np

from rerankd.domain import TokenIds
from rerankd.lru import LRUCache, digest_of
from rerankd.prompts import Vocabulary

SHORTEST = 64
"""Characters below which a look-up costs as much as tokenising."""
LONGEST = 65_536
"""Characters above which a text is not kept: a few such would push out all others."""


class TokenCache:
    """A `prompts.Vocabulary` over another one. Safe from any thread."""

    def __init__(self, vocabulary: Vocabulary, max_bytes: int) -> None:
        """`max_bytes` bounds what is kept, 0 keeps nothing."""
        self._vocabulary = vocabulary
        self._known = LRUCache(max_bytes)
        self._enabled = max_bytes > 0

    def special(self, name: str) -> int | None:
        """Return the id of a special token."""
        return self._vocabulary.special(name)

    def tokenize(self, text: str, *, special: bool = False) -> TokenIds:
        """Return the ids of `text`, read-only where they were kept."""
        if special or not self._enabled or not SHORTEST <= len(text) <= LONGEST:
            return self._vocabulary.tokenize(text, special=special)
        key = digest_of(text)
        (found,) = self._known.get((key,))
        if found is not None:
            return np.frombuffer(found, dtype=np.int32)
        ids = self._vocabulary.tokenize(text)
        self._known.put(((key, ids.tobytes()),))
        return ids
