"""What tokenizers do to texts first, where llama.cpp's do not."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache

from rerankd.domain import TokenIds
from rerankd.families.header import Header
from rerankd.families.prompt_format import Normalization
from rerankd.prompts.vocabulary import Vocabulary

LONG_RUN = re.compile(r"[\u0300-\U0010ffff]{65,}")
MOST_MARKS = 64
"""Marks on one letter. Python sorts them in quadratic time, and no script needs so many."""


class NormalizedVocabulary:
    """A vocabulary whose model was trained on texts of one form."""

    def __init__(self, vocabulary: Vocabulary, form: Normalization) -> None:
        self._vocabulary = vocabulary
        self._apply = FORMS[form]

    def special(self, name: str) -> int | None:
        return self._vocabulary.special(name)

    def tokenize(self, text: str, *, special: bool = False) -> TokenIds:
        return self._vocabulary.tokenize(
            text if special or text.isascii() else self._apply(text), special=special
        )


def ignores_accents(header: Header) -> bool:
    """Return whether a WordPiece vocabulary reads letters without accents, as most do."""
    lowercase = header.metadata.get("tokenizer.ggml.normalizer.lowercase", True)
    return bool(header.metadata.get("tokenizer.ggml.normalizer.strip_accents", lowercase))


def composed(text: str) -> str:
    """Return a text in NFC."""
    if unicodedata.is_normalized("NFC", text):
        return text
    return unicodedata.normalize("NFC", LONG_RUN.sub(_with_few_marks, text))


def unaccented(text: str) -> str:
    """Return a text in NFD without its marks, as BERT's uncased tokenizers see it."""
    return "".join(map(_letters, text))


@lru_cache(maxsize=65_536)
def _letters(character: str) -> str:
    parts = unicodedata.normalize("NFD", character)
    return "".join(one for one in parts if unicodedata.category(one) != "Mn")


def _with_few_marks(run: re.Match[str]) -> str:
    """Return a run without the marks above MOST_MARKS on one letter."""
    kept, marks = [], 0
    for one in run[0]:
        marks = marks + 1 if unicodedata.combining(one) else 0
        if marks <= MOST_MARKS:
            kept.append(one)
    return "".join(kept)


FORMS: dict[Normalization, Callable[[str], str]] = {"NFC": composed, "unaccented": unaccented}
