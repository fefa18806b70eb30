"""BM25 over one request's documents."""

from __future__ import annotations

import bisect
import math
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerankd.ranking.bm25 import K1, B, bm25_shares
from rerankd.ranking.words import count_words, first_characters, query_words

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


@pytest.mark.parametrize(
    ("query", "documents", "best"),
    [
        ("机器学习", ["今天天气很好，适合出去散步。", "机器学习是人工智能的一个重要分支。"], 1),
        ("猫", ["犬がいる。", "黒い猫がいる。"], 1),
        ("新幹線", ["今日は天気がいいです。", "東京から新幹線に乗りました。"], 1),
        ("ｶﾀｶﾅ", ["ひらがな", "カタカナの本"], 1),
        ("ปลา", ["สุนัขวิ่งเร็ว", "แมวกินปลา"], 1),
        ("ប្រាសាទ", ["ឆ្មាស៊ីត្រី", "ប្រាសាទអង្គរវត្ត"], 1),
        ("किताब", ["कतब कीतबा", "यह किताब अच्छी है"], 1),
        ("cafe\u0301", ["cafe", "un café noir"], 1),
        ("ＧＰＵ", ["cpu", "a GPU, measured"], 1),
        ("co\u00adoperate", ["operate", "cooperate"], 1),
        ("STRASSE", ["Weg", "Straße"], 1),
        ("GPU显存", ["CPU内存", "这块GPU的显存很大"], 1),
    ],
)
def test_words_are_found_in_every_script(query: str, documents: list[str], best: int) -> None:
    """With and without spaces, composed or not, whatever the case and the width."""
    shares = bm25_shares(query, documents)

    assert shares.index(max(shares)) == best
    assert shares[best] == 1.0
    assert shares[1 - best] < 0.5


@given(st.text(st.characters(max_codepoint=127), max_size=40))
def test_ascii_text_has_the_words_it_always_had(text: str) -> None:
    """So English scores are what they were; a mark or accent elsewhere changes no other word."""
    words = re.findall(r"\w+", text.casefold())

    assert query_words(text) == set(words)
    assert counted(text, set(words)) == (Counter(words), len(words))
    assert counted(f"{text} é", set(words)) == (Counter(words), len(words) + 1)


def counted(text: str, wanted: set[str]) -> tuple[Counter[str], int]:
    return count_words(text, wanted, first_characters(wanted))


@given(query=st.text("熊猫貓-[]^ aé", max_size=8), text=st.text("熊猫貓-[]^ aé，", max_size=40))
def test_pairs_of_characters_are_counted_wherever_they_begin(query: str, text: str) -> None:
    """Overlapping ones as well; a rule without shortcuts finds the same."""
    wanted = query_words(query)
    expected = Counter(word for word in re.findall(r"[aé]+", text) if word in wanted)
    for run in re.findall("[熊猫貓]+", text):
        pairs = [run[start : start + 2] for start in range(len(run) - 1)]
        expected.update(word for word in (*pairs, *run) if word in wanted)

    assert counted(text, wanted)[0] == expected
