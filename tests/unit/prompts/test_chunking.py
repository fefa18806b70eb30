"""Cutting and splitting long texts: what is kept, where it ends, and what finding out costs."""

from __future__ import annotations

import unicodedata
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rerankd.domain import TokenIds, TruncationSide
from rerankd.prompts.chunking import GOOD_ENOUGH, SPARE, TextPart, Tokenize, covers, cut, split

pytestmark = pytest.mark.slow

QUICK = settings(max_examples=150, deadline=None, derandomize=True, database=None)


def letters(text: str) -> TokenIds:
    """Return one id a character."""
    return np.array([ord(one) for one in text], dtype=np.int32)


def octets(text: str) -> TokenIds:
    """Return one id a byte, so that characters take one to four."""
    return np.frombuffer(text.encode("utf-8", "replace"), dtype=np.uint8).astype(np.int32)


def words(text: str) -> TokenIds:
    """Return one id a word; blanks have none."""
    return np.array([sum(map(ord, word)) for word in text.split()], dtype=np.int32)


def pairs(text: str) -> TokenIds:
    """Return one id for two characters, so that a token may reach over a cut."""
    return np.array([ord(text[at]) for at in range(0, len(text), 2)], dtype=np.int32)


TOKENIZERS: list[Tokenize] = [letters, octets, words, pairs]
tokenizers = st.sampled_from(TOKENIZERS)
sides: st.SearchStrategy[TruncationSide] = st.sampled_from(["right", "left"])
texts = st.text(st.sampled_from("abcé漢🐼 .!?\n\u0301\u200d\U0001f3fd"), max_size=120) | st.text(
    max_size=60
)
"""Letters of one to four bytes, what joins them, ends of words, sentences and paragraphs."""

SENTENCES = "One two three. Four five six! Seven eight nine? Ten eleven."


def read(text: str, parts: list[TextPart]) -> list[str]:
    """Return the texts of parts."""
    return [text[part.start : part.end] for part in parts]


# Cutting


@QUICK
@given(text=texts, most=st.integers(0, 40), side=sides, tokenize=tokenizers)
@example(text="🐼🐼", most=5, side="right", tokenize=octets)
@example(text="🐼🐼", most=3, side="left", tokenize=octets)
@example(text="a\ud800b", most=2, side="right", tokenize=octets)
def test_a_cut_is_a_part_that_fits(
    text: str, most: int, side: TruncationSide, tokenize: Tokenize
) -> None:
    """A cut keeps one end of the text, whole characters, and their ids, which fit."""
    tokens = len(tokenize(text))
    if tokens <= most:
        return
    part = cut(text, tokens, most, side, tokenize)

    assert 0 <= part.start <= part.end <= len(text)
    assert (part.start == 0) if side == "right" else (part.end == len(text))
    assert part.ids.tolist() == tokenize(text[part.start : part.end]).tolist()
    assert len(part.ids) <= most


@QUICK
@given(
    text=st.text("abc ", min_size=1, max_size=3000),
    most=st.integers(1, 2000),
    side=sides,
)
def test_a_cut_gives_up_little(text: str, most: int, side: TruncationSide) -> None:
    """A cut gives up a word's beginning and hardly more, wherever the blanks are."""
    if len(text) <= most:
        return
    part = cut(text, len(text), most, side, letters)

    assert len(part.ids) >= most - most // GOOD_ENOUGH - SPARE


@pytest.mark.parametrize(
    ("most", "right", "left"),
    [
        (3, "One", "en."),
        (7, "One two", "eleven."),
        (8, "One two", "eleven."),
        (9, "One two", "eleven."),
        (12, "One two", "Ten eleven."),
        (14, "One two three.", "Ten eleven."),
        (0, "", ""),
    ],
)
def test_cuts_fall_between_words(most: int, right: str, left: str) -> None:
    """Half a word at the cut is given up with the blank before it, if that is near."""
    for side, expected in (("right", right), ("left", left)):
        part = cut(SENTENCES, len(SENTENCES), most, side, letters)  # type: ignore[arg-type]
        assert read(SENTENCES, [part]) == [expected]


@pytest.mark.parametrize(
    ("text", "right", "left"),
    [
        ("ae\u0301\u0302bcd", "a", "bcd"),
        ("xx👍🏽yz", "xx", "yz"),
        ("a👩\u200d👧\u200d👦b", "a", "b"),
        ("ab漢字cd", "ab漢", "字cd"),
    ],
)
def test_cuts_part_no_character_from_what_it_carries(text: str, right: str, left: str) -> None:
    """Accents, skin tones and joined signs stay with their character."""
    assert read(text, [cut(text, len(text), 3, "right", letters)]) == [right]
    assert read(text, [cut(text, len(text), 3, "left", letters)]) == [left]


def test_long_words_are_cut_where_little_else_fits() -> None:
    """A word that fills most of the part is cut rather than given up."""
    text = "ab " + "c" * 40
    assert read(text, [cut(text, len(text), 20, "right", letters)]) == [text[:20]]


def test_endless_accents_are_cut_all_the_same() -> None:
    """A character with hundreds of accents doesn't empty the part."""
    text = "a" + "\u0301" * 500
    assert len(cut(text, len(text), 100, "right", letters).ids) == 100


# Splitting


def chunks(text: str, most: int, overlap: int = 0, tokenize: Tokenize = letters) -> list[TextPart]:
    return list(split(text, len(tokenize(text)), most, overlap, tokenize))


@QUICK
@given(text=texts, most=st.integers(1, 40), overlap=st.integers(0, 40), tokenize=tokenizers)
@example(text="🐼🐼", most=5, overlap=0, tokenize=octets)
@example(text="a\ud800b. c", most=4, overlap=1, tokenize=octets)
@example(text="hello", most=1, overlap=0, tokenize=letters)
def test_chunks_are_parts_in_order_that_fit(
    text: str, most: int, overlap: int, tokenize: Tokenize
) -> None:
    """Chunks go forward, fit, and have the ids of their own characters."""
    found = chunks(text, most, overlap, tokenize)

    places = [(part.start, part.end) for part in found]
    assert places == sorted(set(places))
    assert [end for _, end in places] == sorted(end for _, end in places)
    for part in found:
        assert 0 <= part.start < part.end <= len(text)
        assert part.ids.tolist() == tokenize(text[part.start : part.end]).tolist()
        assert len(part.ids) <= most


@QUICK
@given(text=texts, most=st.integers(4, 40), overlap=st.integers(0, 40), tokenize=tokenizers)
def test_chunks_hold_the_whole_text(text: str, most: int, overlap: int, tokenize: Tokenize) -> None:
    """Where every character fits, nothing but blanks is in no chunk."""
    assert covers(chunks(text, most, overlap, tokenize), text)


@QUICK
@given(text=st.text("ab. \n", max_size=300), most=st.integers(2, 40), overlap=st.integers(0, 40))
def test_chunks_repeat_no_more_than_their_overlap(text: str, most: int, overlap: int) -> None:
    """Two neighbours share at most the overlap, which is at most half a chunk."""
    found = chunks(text, most, overlap)

    shared = [one.end - two.start for one, two in pairwise(found)]
    assert all(length <= min(overlap, most // 2) for length in shared)


def test_chunks_end_where_sentences_do() -> None:
    """A text is split between sentences while they fit."""
    assert read(SENTENCES, chunks(SENTENCES, 30)) == [
        "One two three. Four five six!",
        "Seven eight nine? Ten eleven.",
    ]


def test_chunks_repeat_the_last_sentence() -> None:
    """With an overlap, a chunk begins with the sentence before if that is short enough."""
    assert read(SENTENCES, chunks(SENTENCES, 40, 20)) == [
        "One two three. Four five six!",
        "Four five six! Seven eight nine?",
        "Seven eight nine? Ten eleven.",
    ]


def test_chunks_end_where_paragraphs_do() -> None:
    """A paragraph that fits is not added to in the middle of the next."""
    text = "Alpha beta.\n\nGamma delta. Epsilon zeta.\n\nEta theta."
    assert read(text, chunks(text, 30)) == [
        "Alpha beta.",
        "Gamma delta. Epsilon zeta.",
        "Eta theta.",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("猫が好き。犬も好き。鳥は？", ["猫が好き。", "犬も好き。", "鳥は？"]),
        ("abcdefghij", ["abcdefg", "hij"]),
        ("ae\u0301e\u0301e\u0301z", ["ae\u0301e\u0301e\u0301", "z"]),
        ("👩\u200d👧\u200d👦👩\u200d👧\u200d👦", ["👩\u200d👧\u200d👦", "👩\u200d👧\u200d👦"]),
    ],
)
def test_chunks_end_with_sentences_of_other_scripts(text: str, expected: list[str]) -> None:
    """Sentences end in other scripts too; what has no end is split between whole characters."""
    assert read(text, chunks(text, 7)) == expected


def test_a_character_over_a_whole_chunk_is_left_out() -> None:
    """A character that takes more tokens than a chunk has is not cut to pieces."""
    found = chunks("a🐼b", 3, tokenize=octets)

    assert read("a🐼b", found) == ["a", "b"]
    assert not covers(found, "a🐼b")


@pytest.mark.parametrize("text", ["", " ", "\n\n \t"])
def test_blanks_have_no_chunks(text: str) -> None:
    """There is nothing to read in blanks."""
    assert chunks(text, 5) == []
    assert covers([], text)


@QUICK
@given(text=st.text("e\u0301\u0302🐼 .", max_size=80))
def test_no_chunk_begins_with_an_accent(text: str) -> None:
    """A chunk never begins with what belongs to the character before, while that fits."""
    for part in chunks(text, 100):
        before = text[part.start - 1 : part.start]
        first = text[part.start]
        assert not before.strip() or unicodedata.category(first)[0] != "M"


# What it costs


@pytest.mark.parametrize(
    "text",
    [
        "a" * 40_000,
        "word " * 8_000,
        "漢" * 40_000,
        SENTENCES * 700,
        (SENTENCES + "\n") * 700,
        (SENTENCES + "\n\n") * 700,
    ],
    ids=["one word", "one sentence", "no blanks", "a line", "lines", "paragraphs"],
)
def test_splitting_tokenises_a_text_a_fixed_number_of_times(text: str) -> None:
    """The work grows with the text, not with its square, wherever it may be split."""
    seen: list[int] = []

    def counted(part: str) -> TokenIds:
        seen.append(len(part))
        return letters(part)

    list(split(text, len(text), 200, 20, counted))

    assert sum(seen) < 60 * len(text)


def test_a_cut_is_found_in_a_few_tries() -> None:
    """A cut of ordinary text tokenises what is kept a few times, and never the whole text."""
    text = SENTENCES * 1000
    seen: list[int] = []

    def counted(part: str) -> TokenIds:
        seen.append(len(part))
        return words(part)

    part = cut(text, len(words(text)), 300, "right", counted)

    assert len(seen) <= 6
    assert max(seen) < 2 * (part.end - part.start)
