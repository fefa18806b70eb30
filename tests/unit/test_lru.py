"""The bounded cache: digests for keys, bytes for a bound, the least recently used dropped."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rerankd.lru import ENTRY_BYTES, LRUCache, digest_of

texts = st.text(max_size=12)


def keys(count: int) -> list[bytes]:
    return [digest_of(str(number)) for number in range(count)]


@given(st.lists(texts, max_size=4), st.lists(texts, max_size=4))
def test_different_parts_have_different_digests(left: list[str], right: list[str]) -> None:
    """Where one part ends and the next begins counts: ("ab", "c") is not ("a", "bc")."""
    assert (digest_of(*left) == digest_of(*right)) == (left == right)


def test_a_digest_takes_text_that_utf8_does_not() -> None:
    """A lone surrogate, which JSON may bring, is a text like another."""
    assert len({digest_of("\ud800"), digest_of("\ud801"), digest_of("?")}) == 3


def test_the_least_recently_used_goes_first() -> None:
    """A look-up makes an entry young again."""
    entry = ENTRY_BYTES + 10
    bounded = LRUCache(3 * entry)
    (a, b, c, d) = keys(4)
    bounded.put((key, b"x" * 10) for key in (a, b, c))
    bounded.get([a])
    bounded.put([(d, b"x" * 10)])

    assert [True, False, True, True] == [value is not None for value in bounded.get([a, b, c, d])]


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 900)), max_size=60))
def test_bytes_are_the_sum_of_what_is_there_and_never_over_the_bound(
    puts: list[tuple[int, int]],
) -> None:
    """Whatever is put, replaced and dropped, the account is right."""
    bounded = LRUCache(4000)
    for number, size in puts:
        bounded.put([(digest_of(str(number)), bytes(size))])
        found = [value for value in bounded.get(keys(21)) if value is not None]
        assert bounded.stats.bytes == sum(ENTRY_BYTES + len(value) for value in found)
        assert bounded.stats.bytes <= 4000
