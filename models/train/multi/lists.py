"""Lists: a question with its answer and other passages of its set, all in one language."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from rerankd.ranking.bm25 import bm25_shares

from .questions import Question


@dataclass(frozen=True)
class Ranked:
    """A question's candidates: the answer, then BM25's best others, then some drawn by chance."""

    source: str
    language: str
    query: str
    passages: tuple[str, ...]
    bm25: tuple[float, ...]
    """Each passage's BM25 score, its statistics from all passages of its set and language."""
    hard: int
    """How many of them BM25 chose."""


def lists_of(
    questions: Sequence[Question], *, queries: int, passages: int, hard: int, by_chance: int
) -> list[Ranked]:
    """Return lists for `queries` of the first `passages` questions, all of one set and language."""
    pool = questions[:passages]
    if not pool:
        return []
    chance = random.Random(pool[0].source + pool[0].language)
    texts = [question.passage for question in pool]
    found = []
    for number in chance.sample(range(len(pool)), min(queries, len(pool))):
        scores = bm25_shares(pool[number].query, texts)
        others = [other for other in range(len(pool)) if other != number]
        best = sorted(others, key=lambda other: -scores[other])[:hard]
        rest = [other for other in others if other not in best]
        order = [number, *best, *chance.sample(rest, min(by_chance, len(rest)))]
        found.append(
            Ranked(
                source=pool[number].source,
                language=pool[number].language,
                query=pool[number].query,
                passages=tuple(texts[one] for one in order),
                bm25=tuple(scores[one] for one in order),
                hard=len(best),
            )
        )
    return found
