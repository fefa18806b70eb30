"""Questions and the passages that answer them, made from sections of documentation."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .readers import READERS, Section
from .sources import Source, fetch, files_of

LEAST_WORDS = 12
PASSAGE_WORDS = (25, 150)
"""Words of a training passage, drawn evenly."""
HELD_OUT_WORDS = 110
SOME_SECTIONS = 20_000
"""Sections that are taken of one source at most."""
HIDDEN = re.compile(r"panda", re.IGNORECASE)
"""The README's example is never trained on."""
ASKED = ("what is {}", "what is {}?", "What does {} mean?", "define {}", "tell me about {}", "{}")
WANTED = ("how do I use {}", "{}", "{}", "explain {}", "{} documentation", "What about {}?")


@dataclass(frozen=True)
class Item:
    """A question, the passage that answers it, and the source both are of."""

    source: str
    kind: str
    query: str
    passage: str


def sections_of(source: Source, packages: Path) -> list[Section]:
    """Return a source's different sections, shuffled the same way each time."""
    folder = fetch(source, packages)
    read = READERS[source.reader]
    found = dict.fromkeys(
        section
        for path in files_of(source, folder)
        for section in read(path)
        if not HIDDEN.search(section.title + section.text) and _is_english(section.text)
    )
    if not found:
        raise SystemExit(f"{source.name}: no sections in {source.package}; have its files moved?")
    sections = list(found)
    random.Random(source.name).shuffle(sections)
    return sections[:SOME_SECTIONS]


def _is_english(text: str) -> bool:
    foreign = sum(ord(character) > 0x17F for character in text)  # noqa: PLR2004 - past Latin
    return foreign <= len(text) * 0.05


def training_items(source: Source, sections: Sequence[Section]) -> Iterator[Item]:
    """Yield the questions of a source, one or two a section."""
    chance = random.Random(source.name + "/items")
    titles = Counter(section.title for section in sections)
    for section in sections:
        if source.reader == "wordnet":
            yield from _of_synonyms(source, section, chance)
            continue
        passage = _passage(section.text, chance)
        if len(passage.split()) < LEAST_WORDS:
            continue
        telling = titles[section.title] == 1 or source.reader == "dictd"
        if telling and 1 <= len(section.title.split()) <= 20:  # noqa: PLR2004
            yield Item(source.name, "heading", _asked(source, section.title, chance), passage)
        drawn = chance.random()
        cloze = _cloze(passage, chance) if drawn < 0.5 else None  # noqa: PLR2004
        if cloze:
            query, rest = cloze
            with_title = chance.random() < 0.3  # noqa: PLR2004
            told = f"{section.title}\n{rest}" if with_title else rest
            yield Item(source.name, "cloze", query, told)
        elif drawn > 0.8:  # noqa: PLR2004
            yield Item(source.name, "keywords", _keywords(passage, chance), passage)


def _of_synonyms(source: Source, section: Section, chance: random.Random) -> Iterator[Item]:
    words = section.title.split(", ")
    definition, *examples = re.split(r";\s*(?=\")", section.text)
    if len(definition.split()) < 4:  # noqa: PLR2004
        return
    told = f"{words[0]}: {section.text}" if chance.random() < 0.5 else definition  # noqa: PLR2004
    if len(words) > 1 and chance.random() < 0.4:  # noqa: PLR2004 - asked by another name
        told = f"{words[0]}: {definition}"
        yield Item(source.name, "heading", _asked(source, words[-1], chance), told)
    elif chance.random() < 0.7:  # noqa: PLR2004
        yield Item(source.name, "heading", _asked(source, words[0], chance), told)
    else:
        yield Item(source.name, "reverse", definition, ", ".join([*words, *examples]))


def _asked(source: Source, title: str, chance: random.Random) -> str:
    if title.endswith("?"):
        return title
    forms = ASKED if source.reader in {"wordnet", "dictd"} else WANTED
    return chance.choice(forms).format(title)


def _passage(text: str, chance: random.Random) -> str:
    words = text.split()
    length = chance.randint(*PASSAGE_WORDS)
    # Mostly the beginning, which the heading is about.
    last = max(0, len(words) - length)
    start = 0 if chance.random() < 0.7 else chance.randint(0, min(last, 40))  # noqa: PLR2004
    return " ".join(words[start : start + length])


def _sentences(text: str) -> list[str]:
    return re.split(r"(?<=[.?!])\s+", text)


def _cloze(passage: str, chance: random.Random) -> tuple[str, str] | None:
    """Return a sentence of a passage and the passage, mostly without it."""
    sentences = _sentences(passage)
    usable = [one for one in sentences if 5 <= len(one.split()) <= 25]  # noqa: PLR2004
    if len(sentences) < 3 or not usable:  # noqa: PLR2004
        return None
    query = chance.choice(usable)
    if chance.random() < 0.1:  # noqa: PLR2004 - sometimes the words themselves are to be found
        return query, passage
    rest = " ".join(one for one in sentences if one != query)
    return (query, rest) if len(rest.split()) >= LEAST_WORDS else None


def _keywords(passage: str, chance: random.Random) -> str:
    words = list(dict.fromkeys(re.findall(r"[A-Za-z_]{4,}", passage)))
    rare = sorted(words, key=lambda word: (passage.count(word), -len(word)))[:12]
    return " ".join(chance.sample(rare, min(len(rare), chance.randint(2, 5)))).lower()


def held_out_items(source: Source, sections: Sequence[Section]) -> Iterator[Item]:
    """Yield questions to measure with: headings as they are, and sentences taken out."""
    chance = random.Random(source.name + "/held-out")
    titles = Counter(section.title for section in sections)
    for section in sections:
        words = section.text.split()
        if len(words) < LEAST_WORDS:
            continue
        passage = " ".join(words[:HELD_OUT_WORDS])
        cloze = _cloze(passage, chance) if chance.random() < 0.3 else None  # noqa: PLR2004
        if cloze and cloze[1] != passage:
            yield Item(source.name, "cloze", *cloze)
        elif source.reader == "dictd" or (
            titles[section.title] == 1 and len(section.title.split()) > 1
        ):
            kind = "question" if section.title.endswith("?") else "heading"
            yield Item(source.name, kind, section.title, passage)
