"""Judged queries in TREC's files: topics, documents, qrels, and a first-stage run.

Topics and documents are TSV (id, text) or JSONL; qrels have TREC's four columns or BEIR's three.
Only ids stay in memory: a document's text is read from its file when its query's turn comes.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct, field

from rerankd.errors import InvalidRequest
from rerankd.measuring.evaluation.data import (
    MAX_GRADE,
    MAX_LINE,
    Candidate,
    FileLine,
    JudgedQuery,
    JudgedText,
    decode_line,
    lines_of,
)

MAX_PAIRS = 5_000_000
"""The most lines of qrels or of a run, and the most queries, that are kept in memory."""

QRELS_COLUMNS, BEIR_COLUMNS, RUN_COLUMNS = 4, 3, 6


class TrecFiles(Struct, frozen=True, kw_only=True):
    """Where the parts of a data set are; without a run, the judged documents are the candidates."""

    queries: Path
    documents: Path
    qrels: Path
    run: Path | None = None


class _Text(JudgedText):
    text: str
    id: str | int | None = None
    beir_id: str | int | None = field(default=None, name="_id")
    title: str = ""

    @property
    def name(self) -> str:
        found = self.beir_id if self.id is None else self.id
        return "" if found is None else str(found)


class _Found(Struct, frozen=True, order=True):
    """A candidate by its rank: higher scores first, then earlier lines."""

    score: float
    later: int
    """The negative of the line, so that of equal scores the earlier line is the greater."""
    document: str


class TrecData(Struct, frozen=True, kw_only=True):
    """A data set whose ids, grades and orders are in memory, and whose documents are not."""

    documents: Path
    topics: Mapping[str, str]
    grades: Mapping[str, Mapping[str, int]]
    candidates: Mapping[str, tuple[str, ...]]
    cut: frozenset[str]
    """Queries with more candidates than the depth."""
    places: Mapping[str, FileLine]
    """Each candidate's line in `documents`, without its content."""

    def __iter__(self) -> Iterator[JudgedQuery]:
        """See `Data`; in the order of the topics."""
        try:
            with self.documents.open("rb") as file:
                for name, text in self.topics.items():
                    yield JudgedQuery(
                        name,
                        text,
                        tuple(self._candidate(file, key) for key in self.candidates.get(name, ())),
                        self.grades.get(name, {}),
                        name in self.cut,
                    )
        except OSError as error:
            raise InvalidRequest(f"{self.documents}: {error.strerror}") from error

    def _candidate(self, file: BinaryIO, key: str) -> Candidate:
        place = self.places[key]
        file.seek(place.offset)
        line = FileLine(place.number, place.offset, file.readline(MAX_LINE))
        name, text = _named_text(self.documents, line)
        if name != key:
            raise InvalidRequest(f"{self.documents}:{line.number}: changed while being read")
        return Candidate(key, text)


def read_trec(files: TrecFiles, depth: int) -> TrecData:
    """Read all but the documents' texts; judgements and runs of other queries are ignored.

    Raises InvalidRequest, which names file and line.
    """
    topics = _topics(files.queries)
    grades, judged = _qrels(files.qrels, topics)
    source, found = (files.qrels, judged)
    if files.run is not None:
        source, found = files.run, _read_run(files.run, topics, depth)
    answerable = {name for name, own in grades.items() if any(own.values())}
    # Queries that can't be measured are not ranked, so their documents are not needed.
    found = {name: own for name, own in found.items() if name in answerable}
    kept = {name: own[:depth] for name, own in found.items()}
    return TrecData(
        documents=files.documents,
        topics=topics,
        grades=grades,
        candidates={name: tuple(one.document for one in own) for name, own in kept.items()},
        cut=frozenset(name for name, own in found.items() if len(own) > depth),
        places=_places(files.documents, source, kept),
    )


def _topics(path: Path) -> dict[str, str]:
    topics: dict[str, str] = {}
    for line in lines_of(path):
        name, text = _named_text(path, line)
        if name in topics:
            raise InvalidRequest(f"{path}:{line.number}: duplicate query id")
        topics[name] = text
        _bounded(path, line, len(topics))
    return topics


def _named_text(path: Path, line: FileLine) -> tuple[str, str]:
    """Return id and text of a line of JSON or TSV."""
    if line.content.lstrip().startswith(b"{"):
        wire = decode_line(path, line, _Text)
        if not wire.name:
            raise InvalidRequest(f"{path}:{line.number}: no id")
        return wire.name, f"{wire.title} {wire.text}" if wire.title else wire.text
    name, tab, text = _decoded_text(path, line).rstrip("\r\n").partition("\t")
    if not tab or not name.strip():
        raise InvalidRequest(f"{path}:{line.number}: expected JSON, or id, tab, text")
    return name.strip(), text


def _decoded_text(path: Path, line: FileLine) -> str:
    try:
        return line.content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"{path}:{line.number}: not UTF-8") from error


def _bounded(path: Path, line: FileLine, count: int) -> None:
    if count > MAX_PAIRS:
        raise InvalidRequest(f"{path}:{line.number}: more than {MAX_PAIRS} entries")


def _qrels(
    path: Path, topics: Mapping[str, str]
) -> tuple[dict[str, dict[str, int]], dict[str, list[_Found]]]:
    """Return each query's grades by document, and its judged documents in the file's order."""
    grades: dict[str, dict[str, int]] = {name: {} for name in topics}
    judged: dict[str, list[_Found]] = {}
    count = 0
    for line in lines_of(path):
        columns = _decoded_text(path, line).split()
        if len(columns) == BEIR_COLUMNS:
            columns.insert(1, "0")
        if line.number == 1 and columns[-1] == "score":
            continue
        if len(columns) != QRELS_COLUMNS:
            raise InvalidRequest(f"{path}:{line.number}: expected query, 0, document, grade")
        query, _, document, grade = columns
        if query not in topics:
            continue
        graded = _grade(path, line, grade)
        if document in grades[query]:
            if grades[query][document] != graded:
                raise InvalidRequest(f"{path}:{line.number}: judged twice, with different grades")
            continue
        grades[query][document] = graded
        judged.setdefault(query, []).append(_Found(0.0, -line.number, document))
        count += 1
        _bounded(path, line, count)
    return grades, judged


def _grade(path: Path, line: FileLine, text: str) -> int:
    """Return a grade; TREC's negative ones, for junk, are not relevant and so 0."""
    try:
        grade = int(text)
    except ValueError as error:
        raise InvalidRequest(f"{path}:{line.number}: the grade is not a whole number") from error
    if grade > MAX_GRADE:
        raise InvalidRequest(f"{path}:{line.number}: the grade is over {MAX_GRADE}")
    return max(0, grade)


def _read_run(path: Path, topics: Mapping[str, str], depth: int) -> dict[str, list[_Found]]:
    """Return each query's best documents, one more than `depth` where there are more."""
    best: dict[str, list[_Found]] = {}
    count = 0
    for line in lines_of(path):
        columns = _decoded_text(path, line).split()
        if len(columns) != RUN_COLUMNS:
            raise InvalidRequest(
                f"{path}:{line.number}: expected query, Q0, document, rank, score, tag"
            )
        if columns[0] not in topics:
            continue
        found = _Found(_parse_score(path, line, columns[4]), -line.number, columns[2])
        own = best.setdefault(columns[0], [])
        if len(own) <= depth:
            heapq.heappush(own, found)
            count += 1
            _bounded(path, line, count)
        else:
            heapq.heappushpop(own, found)
    return {query: _ordered(path, own) for query, own in best.items()}


def _parse_score(path: Path, line: FileLine, text: str) -> float:
    try:
        score = float(text)
    except ValueError as error:
        raise InvalidRequest(f"{path}:{line.number}: the score is not a number") from error
    if not math.isfinite(score):
        raise InvalidRequest(f"{path}:{line.number}: the score is not finite")
    return score


def _ordered(path: Path, found: list[_Found]) -> list[_Found]:
    ordered = sorted(found, reverse=True)
    seen: set[str] = set()
    for one in ordered:
        if one.document in seen:
            raise InvalidRequest(f"{path}:{-one.later}: ranked twice for this query")
        seen.add(one.document)
    return ordered


def _places(path: Path, source: Path, found: Mapping[str, list[_Found]]) -> dict[str, FileLine]:
    """Return where each candidate's line is; every one must be there, once."""
    wanted = {one.document for own in found.values() for one in own}
    places: dict[str, FileLine] = {}
    for line in lines_of(path):
        name, text = _named_text(path, line)
        if name in places:
            _require_same_text(path, line, places[name], text)
        elif name in wanted:
            places[name] = FileLine(line.number, line.offset, b"")
    for own in found.values():
        for one in own:
            if one.document not in places:
                raise InvalidRequest(f"{source}:{-one.later}: this document is not in {path}")
    return places


def _require_same_text(path: Path, line: FileLine, first: FileLine, text: str) -> None:
    """Raise InvalidRequest where a document stands twice in a file and its texts differ."""
    with path.open("rb") as file:
        file.seek(first.offset)
        known = FileLine(first.number, first.offset, file.readline(MAX_LINE))
    name, other = _named_text(path, known)
    if text != other:
        raise InvalidRequest(
            f"{path}:{line.number}: document id {name!r} has another text on line {first.number}"
        )
