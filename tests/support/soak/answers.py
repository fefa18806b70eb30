"""What right answers are: a reference made by an idle server, and each dialect's answers read."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

LOGIT_TOLERANCE = 0.05
"""Logits by which a score may differ from its reference: texts that share a batch change the order
of additions, and keys and values are in half precision. Logits of the model spread over ±6."""

Scored: TypeAlias = Sequence[tuple[int, float]]
"""Indexes of documents and their logits, in the order of an answer."""

TOPICS = (
    *("pandas", "glaciers", "sourdough", "violins", "volcanoes", "bicycles", "lighthouses"),
    *("bees", "tides", "sailing", "telescopes", "chess", "tea", "batteries", "bridges"),
)
PREDICATES = ("describes", "explains", "mentions", "compares", "ignores", "praises", "photographs")
WHEREABOUTS = (
    "in Norway",
    "at night",
    "for beginners",
    "since 1950",
    "with children",
    "by the sea",
)


@dataclass(frozen=True)
class AskedQuestion:
    """A query, its documents, and the logit of each once they are known."""

    query: str
    documents: tuple[str, ...]
    logits: tuple[float, ...] = ()


def questions(seed: int, count: int, documents: int) -> list[AskedQuestion]:
    """Return questions whose texts depend on the seed alone."""
    chosen = random.Random(f"questions {seed} {documents}")
    return [
        AskedQuestion(
            f"How do {chosen.choice(TOPICS)} work {chosen.choice(WHEREABOUTS)}?",
            tuple(_sentence(chosen) for _ in range(documents)),
        )
        for _ in range(count)
    ]


def _sentence(chosen: random.Random) -> str:
    parts = [
        f"{chosen.choice(TOPICS)} {chosen.choice(PREDICATES)} {chosen.choice(TOPICS)} "
        f"{chosen.choice(WHEREABOUTS)} {chosen.randrange(10_000)}"
        for _ in range(chosen.randint(1, 3))
    ]
    return "Page about " + ", then ".join(parts) + "."


def fault_of(expected: Sequence[float], found: Scored, top: int | None = None) -> str:
    """Return what is wrong with an answer, or nothing.

    Every document (or the best `top`) is there once, its score is its reference's, and the order
    is the scores' own and the reference's, but for documents that lie within the tolerance.
    """
    indexes = [index for index, _ in found]
    wanted = len(expected) if top is None else top
    if len(indexes) != wanted or len(set(indexes)) != wanted:
        return f"{len(set(indexes))} documents instead of {wanted}"
    for index, score in found:
        if not 0 <= index < len(expected):
            return f"document {index} was never sent"
        if not abs(score - expected[index]) <= LOGIT_TOLERANCE:
            return f"document {index} has {score:.4f} instead of {expected[index]:.4f}"
    scores = [score for _, score in found]
    if scores != sorted(scores, reverse=True):
        return "the scores are not in descending order"
    if found and top is not None and scores[-1] < sorted(expected)[-top] - LOGIT_TOLERANCE:
        return "a better document was left out"
    return ""


def logit(probability: float) -> float:
    """Return the logit of a probability; 0 and 1 become infinite."""
    if probability <= 0 or probability >= 1:
        return math.copysign(math.inf, probability - 0.5)
    return math.log(probability / (1 - probability))


@dataclass(frozen=True)
class Wire:
    """How a dialect asks and answers."""

    path: str
    body: Callable[[AskedQuestion], dict[str, Any]]
    rows: Callable[[Any], list[Mapping[str, Any]]]
    score: str = "relevance_score"
    ordered: bool = True
    is_logit: bool = False

    def read(self, reply: Any) -> Scored:
        """Return a reply's scores as logits; one without an order is put in order."""
        found = [
            (int(row["index"]), row[self.score] if self.is_logit else logit(row[self.score]))
            for row in self.rows(reply)
        ]
        return found if self.ordered else sorted(found, key=lambda pair: -pair[1])


def _native_body(question: AskedQuestion) -> dict[str, Any]:
    return {
        "model": "rerank-mini-en",
        "query": question.query,
        "documents": list(question.documents),
        "return_documents": False,
    }


def _results(reply: Any) -> list[Mapping[str, Any]]:
    rows: list[Mapping[str, Any]] = reply["results"]
    return rows


NATIVE = Wire("/v1/rerank", _native_body, _results)
WIRES = (
    NATIVE,
    Wire("/v2/rerank", _native_body, _results),
    Wire("/api/rerank", _native_body, _results),
    Wire("/v1/models/rerank", _native_body, _results),
    Wire(
        "/rerank",
        lambda one: {"query": one.query, "texts": list(one.documents)},
        list,
        score="score",
    ),
    Wire(
        "/v1/ranking",
        lambda one: {
            "query": {"text": one.query},
            "passages": [{"text": text} for text in one.documents],
        },
        lambda reply: list(reply["rankings"]),
        score="logit",
        is_logit=True,
    ),
    Wire(
        "/v1/score",
        lambda one: {"text_1": one.query, "text_2": list(one.documents)},
        lambda reply: list(reply["data"]),
        score="score",
        ordered=False,
    ),
    Wire(
        "/v1/rerankings",
        lambda one: {
            "model": "rerank-mini-en",
            "query": one.query,
            "texts": list(one.documents),
        },
        _results,
        score="score",
    ),
    Wire(
        "/api/v1/services/rerank/text-rerank/text-rerank",
        lambda one: {
            "model": "rerank-mini-en",
            "input": {"query": one.query, "documents": list(one.documents)},
        },
        lambda reply: list(reply["output"]["results"]),
    ),
)
"""The dialects that take part. All but `/v1/score` answer in the order of their scores."""
