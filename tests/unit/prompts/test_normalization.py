"""Texts reach llama.cpp in the form that models' own tokenizers give them."""

from __future__ import annotations

import time
import unicodedata

import numpy as np
import pytest

from rerankd.domain import TokenIds
from rerankd.families.prompt_format import Normalization
from rerankd.prompts.normalization import MOST_MARKS, NormalizedVocabulary


class Codes:
    """A vocabulary of code points."""

    def special(self, name: str) -> int | None:
        return len(name)

    def tokenize(self, text: str, *, special: bool = False) -> TokenIds:
        del special
        return np.array([ord(one) for one in text], dtype=np.int32)


def seen(text: str, form: Normalization) -> str:
    return "".join(map(chr, NormalizedVocabulary(Codes(), form).tokenize(text)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("plain", "plain"), ("e\u0301a\u0300", "éà"), ("é", "é"), ("ﬁ", "ﬁ"), ("\u1112\u1161", "하")],
)
def test_texts_are_composed(text: str, expected: str) -> None:
    """ModernBERT's tokenizer begins with NFC, which leaves compatibility characters."""
    assert expected == seen(text, "NFC")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Café", "Cafe"),
        ("하", "\u1112\u1161"),
        ("ü\u0323", "u"),
        ("पांडा", "पाडा"),
        ("熊🐼", "熊🐼"),
    ],
)
def test_accents_are_dropped(text: str, expected: str) -> None:
    """BERT's uncased tokenizers decompose letters, of all scripts, and drop the marks."""
    assert expected == seen(text, "unaccented")


@pytest.mark.parametrize("form", ["NFC", "unaccented"])
def test_many_marks_on_a_letter_cost_no_time(form: Normalization) -> None:
    """Sorting marks takes quadratic time, so only so many of them are kept."""
    began = time.process_time()
    found = seen("a" + "\u0301\u0323" * 100_000 + "b", form)

    assert time.process_time() - began < 5  # 150 s if all were sorted
    assert (found[0], found[-1]) in {("a", "b"), ("ạ", "b"), ("á", "b")}
    assert sum(map(unicodedata.combining, found)) <= MOST_MARKS * 230


def test_fixed_text_stays_as_it_is() -> None:
    """A layout's own text may have control tokens, whatever letters are in them."""
    vocabulary = NormalizedVocabulary(Codes(), "NFC")

    assert len(vocabulary.tokenize("e\u0301", special=True)) == 2
    assert vocabulary.special("sep") == 3
