"""Questions and the passages that answer them, of documentation in many languages."""

from __future__ import annotations

import random
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from models.train.readers import Section

LEAST, MOST = 60, 520
"""Characters of a passage; ideographs count for more: see `cut`."""
IDEOGRAPHS = 0x2E80
"""The first of the characters of which one says as much as two or three letters."""
SENTENCE = re.compile(r"(?<=[.?!])\s+|(?<=[。！？।])\s*")
SCRIPTS = {
    "el": ("GREEK",),
    "hi": ("DEVANAGARI",),
    "ja": ("HIRAGANA", "KATAKANA", "CJK"),
    "km": ("KHMER",),
    "ko": ("HANGUL",),
    "ru": ("CYRILLIC",),
    "zh": ("CJK",),
}
"""The names of the letters of languages whose packages leave much in English."""


@dataclass(frozen=True)
class Question:
    """A question, the passage that answers it, and the set and language that both are of."""

    source: str
    language: str
    query: str
    passage: str


def is_dense(text: str) -> bool:
    """Return whether a text is written in a script of which a character says much."""
    return sum(ord(character) >= IDEOGRAPHS for character in text[:200]) > min(len(text), 200) / 5


def cut(text: str, most: int = MOST) -> str:
    """Return the beginning of a text, to the end of a word where it has blanks."""
    length = most * 2 // 5 if is_dense(text) else most
    if len(text) <= length:
        return text
    kept = text[:length]
    return kept.rsplit(" ", 1)[0] if " " in kept[-60:] else kept


def translated(language: str, text: str) -> bool:
    """Return whether a text is mostly in its language's letters."""
    scripts = SCRIPTS.get(language.split("-", maxsplit=1)[0])
    if not scripts:
        return True
    names = [unicodedata.name(one, "") for one in text if one.isalpha()]
    return sum(name.startswith(scripts) for name in names) > 0.6 * len(names)


def titles(
    source: str, language: str, sections: Iterable[Section], untranslated: frozenset[str]
) -> list[Question]:
    """Return headings with the text below them, shuffled the same way each time.

    Only headings and texts that occur once, and are not in `untranslated`, are telling.
    """
    known = [section for section in sections if translated(language, section.text)]
    headings = Counter(section.title for section in known)
    texts = Counter(section.text for section in known)
    found = [
        Question(source, language, section.title, cut(section.text))
        for section in known
        if headings[section.title] == texts[section.text] == 1
        and len(section.title) > 2  # noqa: PLR2004
        and len(section.text) >= LEAST
        and not untranslated & {section.title, section.text}
    ]
    random.Random(source + language).shuffle(found)
    return found


def with_sentences(questions: Sequence[Question]) -> list[Question]:
    """Return questions of which every second one asks by a sentence taken out of its passage."""
    found = []
    for question in questions:
        chance = random.Random(question.passage)
        passage = cut(question.passage, chance.choice((300, MOST)))
        taken = _sentence(passage, chance) if chance.random() < 0.5 else None  # noqa: PLR2004
        query, rest = taken or (question.query, passage)
        found.append(Question(question.source, question.language, query, rest))
    return found


def _sentence(passage: str, chance: random.Random) -> tuple[str, str] | None:
    sentences = [one for one in SENTENCE.split(passage) if one]
    shortest, longest = (12, 80) if is_dense(passage) else (30, 200)
    usable = [one for one in sentences if shortest <= len(one) <= longest]
    if len(sentences) < 3 or not usable:  # noqa: PLR2004
        return None
    query = chance.choice(usable)
    rest = " ".join(one for one in sentences if one != query)
    return (query, rest) if len(rest) > LEAST else None
