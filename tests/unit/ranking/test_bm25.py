"""BM25 over one request's documents."""

from __future__ import annotations

import bisect
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerankd.ranking.bm25 import K1, B, bm25_shares

TEXTS = st.lists(st.text("ab c.", max_size=20), max_size=8)


def test_the_best_document_has_all_and_the_rest_their_share() -> None:
    """The rare word of the query counts most; a document without any of them gets 0."""
    documents = ["the red panda", "the cat sat", "a dog", "the PANDA, the panda"]
    shares = bm25_shares("the panda", documents)
    assert max(shares) == shares[3] == 1.0
    assert shares[0] > shares[1] > shares[2] == 0.0


def test_scores_are_the_formula() -> None:
    """Lucene's BM25 with its constants, by hand for two documents."""
    documents = ["x y", "x x x z"]

    def worn(times: int, length: int) -> float:
        return times * (K1 + 1) / (times + K1 * (1 - B + B * length / 3))

    both = math.log(1 + 0.5 / 2.5)
    first, second = both * worn(1, 2), both * worn(3, 4)
    assert bm25_shares("x", documents) == pytest.approx([first / second, 1.0])


@pytest.mark.parametrize(("query", "documents"), [("", ["a"]), ("?", ["?"]), ("a", ["b", ""])])
def test_nothing_in_common_is_no_share(query: str, documents: list[str]) -> None:
    """No division by the best score of 0."""
    assert [0.0] * len(documents) == bm25_shares(query, documents)


@given(st.text("ab c", max_size=10), TEXTS)
def test_shares_lie_between_0_and_1_and_the_best_is_1(query: str, documents: list[str]) -> None:
    """For any texts; and case makes no difference."""
    shares = bm25_shares(query, documents)
    assert all(0.0 <= share <= 1.0 for share in shares)
    assert bisect.bisect(sorted(shares), 1.0) in {0, len(shares)}
    assert not any(shares) or max(shares) == 1.0
    assert shares == bm25_shares(query.upper(), documents)
