"""The token cache: which texts' ids are kept, and that they are the tokenizer's own."""

from __future__ import annotations

import numpy as np
import pytest

from rerankd.domain import TokenIds
from rerankd.prompts.token_cache import LONGEST, SHORTEST, TokenCache

from support.fakes import FakeTokenizer

ROOM = 1_000_000


class CountingTokenizer(FakeTokenizer):
    """A tokenizer that counts what it is asked for."""

    calls = 0

    def tokenize(self, text: str, *, special: bool = False) -> TokenIds:
        """See FakeTokenizer."""
        self.calls += 1
        return super().tokenize(text, special=special)


def test_a_text_is_tokenised_once() -> None:
    """A document that comes again has its ids from the cache, and they are the same."""
    own = CountingTokenizer()
    cache = TokenCache(own, ROOM)
    text = "word " * SHORTEST
    first, second = cache.tokenize(text), cache.tokenize(text)

    assert own.calls == 1
    assert np.array_equal(first, second)
    assert second.dtype == np.int32


@pytest.mark.parametrize(
    ("text", "special"),
    [("word " * SHORTEST, True), ("short", False), ("w" * (LONGEST + 1), False)],
)
def test_what_is_not_worth_keeping_is_tokenised_each_time(text: str, special: bool) -> None:
    """Control tokens on, very short and very long texts pass through."""
    own = CountingTokenizer()
    cache = TokenCache(own, ROOM)
    cache.tokenize(text, special=special)
    cache.tokenize(text, special=special)

    assert own.calls == 2


def test_without_bytes_no_tokens_are_kept() -> None:
    """Size 0 switches it off; special tokens are the vocabulary's own."""
    own = CountingTokenizer()
    cache = TokenCache(own, 0)
    for _ in range(2):
        cache.tokenize("word " * SHORTEST)

    assert own.calls == 2
    assert cache.special("bos") == own.special("bos")
