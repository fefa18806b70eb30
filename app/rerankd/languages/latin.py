"""The language of texts in Latin script, by function words and letters.

The words of a text are counted that belong to each language's function words, or that have letters
which only some alphabets have. Names, code and numbers count for none, so they leave the language
open, where models of letter sequences would guess.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache, reduce
from operator import or_

from msgspec import Struct

from rerankd.languages.function_words import FUNCTION_WORDS
from rerankd.languages.language import Language

ALPHABETS = {
    "af": "êëéîôû",
    "ca": "àçéèíïòóúü",
    "cs": "áčďéěíňóřšťúůýž",
    "cy": "âêîôûŵŷ",
    "da": "æøåé",
    "de": "äöüß",
    "eo": "ĉĝĥĵŝŭ",
    "es": "áéíñóúü",
    "et": "äöõüšž",
    "eu": "ñ",
    "fi": "äöå",
    "fr": "àâæçéèêëîïôœùûüÿ",
    "ga": "áéíóú",
    "gl": "áéíñóúü",
    "hr": "čćđšž",
    "hu": "áéíóöőúüű",
    "is": "áæðéíóöþúý",
    "it": "àèéìòù",
    "lt": "ąčęėįšųūž",
    "lv": "āčēģīķļņšūž",
    "nl": "éëïèöü",
    "no": "æøåéòô",
    "pl": "ąćęłńóśźż",
    "pt": "áâãàçéêíóôõú",
    "ro": "ăâîșțşţ",
    "sk": "áäčďéíĺľňóôŕšťúýž",
    "sl": "čšž",
    "sq": "çë",
    "sv": "åäöé",
    "tl": "ñ",
    "tr": "çğıöşüâîû",
    "vi": ("àáâãèéêìíòóôõùúýăđĩũơưạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹ"),
}
"""Letters of each language beyond a to z."""
SHARED_CODES = {
    "no": frozenset({"nb", "nn"}),
    "hr": frozenset({"bs", "sr", "sh", "cnr"}),
    "id": frozenset({"ms", "jv", "su"}),
    "tl": frozenset({"fil"}),
    "es": frozenset({"ast"}),
    "nl": frozenset({"fy"}),
}
"""Languages that share a list of function words with another one."""

ENGLISH = "en"
LEAST_WORDS = 4
LEAST_DISTINCT = 2
"""Distinct function words that a text needs, and one more several texts together.

Those of one letter don't count: initials and code have many.
"""
LEAST_SHARE = 0.15
"""Share of a text's words that must speak for its language; running text has 0.2 to 0.5."""
LEAST_HITS = 3
OVER_ENGLISH = 1.5
"""How many times English's words another language needs: foreign words stand in English texts."""
CLOSE = 0.8
"""Share of the best language's words from which another is close to it."""

words_of = re.compile(r"[^\W\d_]+").findall
_beyond_ascii = re.compile(r"[^a-z]").findall


CODES = tuple(FUNCTION_WORDS)
_ENGLISH = CODES.index(ENGLISH)


class LatinEvidence(Struct):
    """What was found of each language of CODES in some texts."""

    words: int
    hits: list[int]
    """Words that speak for each language."""
    seen: list[int]
    """Which of each language's function words are among them, as bits."""
    texts: int = 1

    @property
    def language(self) -> Language | None:
        """The language that the findings show, None where they are too few or contradict."""
        hits = self.hits
        distinct = [one.bit_count() for one in self.seen]
        best = max(range(len(CODES)), key=lambda place: (hits[place], distinct[place]))
        if hits[_ENGLISH] * OVER_ENGLISH >= hits[best] - 1:
            best = _ENGLISH
        enough = max(LEAST_HITS, LEAST_SHARE * self.words)
        varied = LEAST_DISTINCT + (self.texts > 1)  # lists of names repeat a few, as "de la"
        if self.words < LEAST_WORDS or hits[best] < enough or distinct[best] < varied:
            return None
        if best == _ENGLISH:
            return Language(ENGLISH)
        near = {CODES[place] for place, one in enumerate(hits) if one >= CLOSE * hits[best]}
        shared = (SHARED_CODES.get(code, frozenset()) for code in near)
        close = near.union(*shared) - {CODES[best], ENGLISH}
        return Language(CODES[best], frozenset(close))


def evidence_in(text: str) -> LatinEvidence:
    """Return what a text has of each language."""
    counts = Counter(words_of(text.lower()))
    hits, seen = [0] * len(CODES), [0] * len(CODES)
    known = _function_words()
    for word in counts.keys() & known.keys():
        times = counts[word]
        for place, bit in known[word]:
            hits[place] += times
            seen[place] |= bit
    if not text.isascii():
        for word in words_of(text):
            # A capital begins many a name, and names travel.
            if not word.isascii() and word.islower() and word not in known:
                for place in _places_with(word):
                    hits[place] += 1
    return LatinEvidence(counts.total(), hits, seen)


def sum_of(findings: Sequence[LatinEvidence]) -> LatinEvidence:
    """Add up what was found in several texts."""
    return LatinEvidence(
        sum(one.words for one in findings),
        [sum(hits) for hits in zip(*(one.hits for one in findings), strict=True)],
        [reduce(or_, seen) for seen in zip(*(one.seen for one in findings), strict=True)],
        len(findings),
    )


@cache
def _function_words() -> dict[str, tuple[tuple[int, int], ...]]:
    """Return each word's languages, each with the word's bit there; initials have none."""
    found: dict[str, list[tuple[int, int]]] = {}
    for place, words in enumerate(FUNCTION_WORDS.values()):
        for number, word in enumerate(dict.fromkeys(words.split())):
            found.setdefault(word, []).append((place, len(word) > 1 and 1 << number))
    return {word: tuple(places) for word, places in found.items()}


@cache
def _places_by_letter() -> dict[str, frozenset[int]]:
    found: dict[str, set[int]] = {}
    for code, alphabet in ALPHABETS.items():
        for letter in alphabet:
            found.setdefault(letter, set()).add(CODES.index(code))
    return {letter: frozenset(places) for letter, places in found.items()}


def _places_with(word: str) -> frozenset[int]:
    """Return the languages whose alphabet has every letter of a word beyond ASCII."""
    by_letter = _places_by_letter()
    first, *others = (by_letter.get(one, frozenset()) for one in _beyond_ascii(word))
    return first.intersection(*others)
