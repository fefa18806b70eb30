"""Public collections with judgements, which are in no package: read from a folder of files.

They only judge. Nothing is fitted or chosen on them.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.train.readers import squeeze

TABLE = Path(__file__).with_name("judged.toml")
LINES_OF_A_TOPIC = re.compile(r"^\.([A-Z])\s*", re.MULTILINE)


@dataclass(frozen=True)
class Asked:
    """A question and the numbers of the documents that answer it."""

    query: str
    relevant: frozenset[int]
    own: frozenset[int]
    """Documents that are candidates whatever a search finds: all that are relevant, at least."""


@dataclass(frozen=True)
class Collection:
    """A collection's distinct documents and the questions that have an answer in it."""

    name: str
    documents: tuple[str, ...]
    questions: tuple[Asked, ...]

    @property
    def is_english(self) -> bool:
        """Whether its name says no other language."""
        return self.name.split()[1:] in ([], ["en"])


def read(folder: Path) -> Iterator[Collection]:
    """Yield the collections of `judged.toml` whose files a folder has, checked by checksum."""
    for name, entry in tomllib.loads(TABLE.read_text("utf-8")).items():
        if all((folder / file).exists() for file in entry["files"]):
            yield read_one(folder, name)
        else:
            print(f"{name}: not in {folder}, left out", flush=True)


def read_one(folder: Path, name: str) -> Collection:
    """Return a collection of `judged.toml`; ends the program where a file has other bytes."""
    entry = tomllib.loads(TABLE.read_text("utf-8"))[name]
    paths = [folder / file for file in entry["files"]]
    for path, expected in zip(paths, entry["files"].values(), strict=True):
        if hashlib.sha256(path.read_bytes()).hexdigest() != expected:
            raise SystemExit(f"{path}: it has another checksum than judged.toml")
    return READERS[entry["reader"]](name, paths)


def _collection(
    name: str, texts: Mapping[str, str], topics: Sequence[tuple[str, set[str], set[str]]]
) -> Collection:
    """Return a collection of texts by id, and of (query, relevant ids, other ids of its own)."""
    place: dict[str, int] = {}
    numbers = {one: place.setdefault(text, len(place)) for one, text in texts.items() if text}

    def known(ids: set[str]) -> frozenset[int]:
        return frozenset(numbers[one] for one in ids if one in numbers)

    asked = [Asked(query, known(good), known(good | own)) for query, good, own in topics]
    return Collection(name, tuple(place), tuple(one for one in asked if one.relevant))


def _wikiqa(name: str, paths: Sequence[Path]) -> Collection:
    """Read questions with the sentences of the article that each was asked of."""
    with paths[0].open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    texts = {row["SentenceID"]: squeeze(row["Sentence"]) for row in rows}
    good, own = defaultdict(set), defaultdict(set)
    for row in rows:
        own[row["Question"]].add(row["SentenceID"])
        if row["Label"] == "1":
            good[row["Question"]].add(row["SentenceID"])
    return _collection(name, texts, [(query, good[query], own[query]) for query in own])


def _topics(
    queries: Sequence[tuple[str, str]], judgements: Sequence[tuple[str, str]]
) -> list[tuple[str, set[str], set[str]]]:
    good = defaultdict(set)
    for topic, document in judgements:
        good[topic].add(document)
    return [(query, good[topic], set()) for topic, query in queries]


def _cranfield(name: str, paths: Sequence[Path]) -> Collection:
    """Read titles and abstracts; queries are judged by their place, not by their number."""
    documents, queries, judgements = (path.read_text("utf-8") for path in paths)
    texts = {}
    for one in re.findall(r"<doc>(.*?)</doc>", documents, re.DOTALL):
        found = dict(re.findall(r"<(docno|title|text)>(.*?)</\1>", one, re.DOTALL))
        title, text = squeeze(found.get("title", "")), squeeze(found.get("text", ""))
        texts[found["docno"].strip()] = text if text.startswith(title) else f"{title} {text}"
    asked = re.findall(r"<top>.*?<title>(.*?)</title>", queries, re.DOTALL)
    rows = [line.split() for line in judgements.splitlines()]
    return _collection(
        name,
        texts,
        _topics(
            [(str(place), squeeze(query)) for place, query in enumerate(asked, 1)],
            [(row[0], row[2]) for row in rows if row[3] != "0"],
        ),
    )


def _smart(path: Path, wanted: str) -> list[tuple[str, str]]:
    """Return the numbered texts of a file of the SMART system, from its fields in `wanted`."""
    found = []
    for one in re.split(r"^\.I ", path.read_text("latin-1"), flags=re.MULTILINE)[1:]:
        number, _, rest = one.partition("\n")
        parts = LINES_OF_A_TOPIC.split(rest)
        text = " ".join(
            part for kind, part in zip(parts[1::2], parts[2::2], strict=True) if kind in wanted
        )
        found.append((str(int(number)), squeeze(text)))
    return found


def _smart_collection(name: str, paths: Sequence[Path]) -> Collection:
    """Read a collection of the SMART system: titles (T) and texts (W), queries, judgements."""
    documents, queries, judgements = paths
    rows = [line.split() for line in judgements.read_text("latin-1").splitlines()]
    return _collection(
        name,
        dict(_smart(documents, "TW")),
        _topics(_smart(queries, "W"), [(str(int(row[0])), str(int(row[1]))) for row in rows]),
    )


def _npl(name: str, paths: Sequence[Path]) -> Collection:
    """Read titles and abstracts on electronics, in small letters and without punctuation."""
    documents, queries, judgements = (_numbered(path) for path in paths)
    pairs = [(topic, one) for topic, numbers in judgements for one in numbers.split()]
    return _collection(
        name, dict(documents), _topics([(one, text.lower()) for one, text in queries], pairs)
    )


def _numbered(path: Path) -> list[tuple[str, str]]:
    """Return texts below their numbers, each ended by a slash."""
    entries = re.split(r"^\s*/\s*$", path.read_text("latin-1"), flags=re.MULTILINE)
    parted = [entry.split(maxsplit=1) for entry in entries]
    return [(one[0], squeeze(one[1])) for one in parted if len(one) > 1]


def _xquad(name: str, paths: Sequence[Path]) -> Collection:
    """Read paragraphs of the encyclopaedia and questions on them."""
    articles = json.loads(paths[0].read_text("utf-8"))["data"]
    texts, topics = {}, []
    for paragraph in (one for article in articles for one in article["paragraphs"]):
        number = str(len(texts))
        texts[number] = squeeze(paragraph["context"])
        topics += [(squeeze(asked["question"]), {number}, set()) for asked in paragraph["qas"]]
    return _collection(name, texts, topics)


Reader = Callable[[str, Sequence[Path]], Collection]
READERS: Mapping[str, Reader] = {
    "wikiqa": _wikiqa,
    "cranfield": _cranfield,
    "smart": _smart_collection,
    "npl": _npl,
    "xquad": _xquad,
}
