"""The words of a text, for BM25, in any script.

Text is normalised first, so that é is one character however it was typed and full-width letters are
plain ones. Combining marks stay with their letters, as Hindi's vowels do. Scripts without spaces
between words have no words that a rule could find: each pair of adjacent characters counts as one.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Set as AbstractSet
from functools import cache
from operator import add

UNSPACED = (
    "\u0e01-\u0e3a\u0e40-\u0e4e"  # Thai
    "\u0e81-\u0ece\u0edc-\u0edf"  # Lao
    "\u0f40-\u0fbc"  # Tibetan
    "\u1000-\u103f\u1050-\u109d"  # Myanmar
    "\u1780-\u17d3\u17dc\u17dd"  # Khmer
    "\u3005-\u3007\u3041-\u30fa\u30fc-\u30ff\u31f0-\u31ff"  # Hiragana, Katakana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
)
"""Characters of scripts without spaces, as a regular expression's set has them."""
IGNORED = "\u00ad\u200b\u200c\u200d\u2060"
"""Soft hyphens and joiners, which change how a word looks and not what it is."""
LAST_MARK = 0xFFFF
"""The last character that may be taken for a mark: the scripts beyond it are no longer written."""

_ascii_words = re.compile(r"\w+").findall
_unspaced = re.compile(f"[{UNSPACED}]+")


@cache
def _any_words() -> re.Pattern[str]:
    """Return the pattern of words beyond ASCII; it takes some 20 ms to make."""
    known = map(chr, range(LAST_MARK))
    marks = "".join(one for one in known if unicodedata.category(one) in {"Mn", "Mc"})
    return re.compile(rf"\w+(?:[{marks}]+\w*)*")


def query_words(text: str) -> set[str]:
    """Return the distinct words of a query; a character alone counts where nothing is beside it."""
    words, runs = _words(text)
    return {*words, *(pair for run in runs for pair in _pairs(run) or run)}


def first_characters(wanted: AbstractSet[str]) -> re.Pattern[str]:
    """Return what finds the characters with which wanted words begin in scripts without spaces."""
    found = "".join(sorted({word[0] for word in wanted if _unspaced.match(word)}))
    return re.compile(f"[{re.escape(found)}]" if found else r"(?!)")


def count_words(
    text: str, wanted: AbstractSet[str], beginnings: re.Pattern[str]
) -> tuple[Counter[str], int]:
    """Return how often a document has each wanted word, and the document's length in words.

    In scripts without spaces, each character adds to the length, and only what follows one of
    the `first_characters` is looked up: few of a text's pairs are wanted.
    """
    words, runs = _words(text)
    count = Counter(filter(wanted.__contains__, words))
    parted = " ".join((*runs, ""))  # so that no pair reaches into another run
    for found in beginnings.finditer(parted):
        start = found.start()
        both = (parted[start], parted[start : start + 2])
        count.update(word for word in both if word in wanted)
    return count, len(words) + sum(map(len, runs))


def _pairs(run: str) -> list[str]:
    return list(map(add, run, run[1:]))


def _words(text: str) -> tuple[list[str], list[str]]:
    """Return the words between spaces, and the runs of characters of scripts without them."""
    if text.isascii():
        return _ascii_words(text.casefold()), []
    is_plain = unicodedata.is_normalized("NFKC", text)
    plain = (text if is_plain else unicodedata.normalize("NFKC", text)).casefold()
    for character in IGNORED:  # faster than str.translate, which looks each character up
        plain = plain.replace(character, "")
    runs = _unspaced.findall(plain)
    spaced = _unspaced.sub(" ", plain) if runs else plain
    return _any_words().findall(spaced), runs
