"""One contender's pass over the data: every query ranked, timed and measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from msgspec import Struct

from rerankd.errors import InvalidRequest
from rerankd.measuring.evaluation.bootstrap import Values
from rerankd.measuring.evaluation.data import Data, JudgedQuery
from rerankd.measuring.evaluation.metrics import Measures
from rerankd.measuring.evaluation.rankers import Ranker
from rerankd.measuring.evaluation.reliability import JudgedScores
from rerankd.measuring.evaluation.survey import DataSurvey
from rerankd.measuring.figures import nearest_rank

REQUEST_DOCUMENTS = 128
"""Documents of one request; a score never depends on its neighbours."""
WARM_UP_DOCUMENTS = 8
"""Documents ranked before the clock starts: the first request of a model allocates."""

Tick = Callable[[int], None]
"""Called with the number of documents that have just been ranked."""


class Trial(Struct, frozen=True, kw_only=True, eq=False):
    """A contender's figures."""

    values: Values
    """(queries, measures)."""
    seconds: tuple[float, ...]
    """Of each query that has candidates."""
    truncated: int
    memory: int | None
    """The most resident memory after any query, in bytes."""
    warnings: tuple[str, ...]
    judged: JudgedScores

    def percentile(self, share: float) -> float:
        """Return the seconds that `share` of the queries kept, by nearest rank."""
        return nearest_rank(self.seconds, share)


async def rank_all(
    data: Data, measures: Measures, known: DataSurvey, ranker: Ranker, tick: Tick
) -> Trial:
    """Rank every query of the survey, one after the other.

    Raises what the ranker raises, and InvalidRequest when the data is not what was surveyed.
    """
    pass_ = _RankingPass(ranker, tick)
    await pass_.warm_up(data)
    values = [
        measures.of(query.grades, await pass_.rank(query)) for query in _surveyed(data, known)
    ]
    return Trial(
        values=np.array(values, dtype=np.float64),
        seconds=tuple(pass_.seconds),
        truncated=pass_.truncated,
        memory=max(pass_.memory, default=None),
        warnings=tuple(pass_.warnings),
        judged=pass_.judged.found(),
    )


def _surveyed(data: Data, known: DataSurvey) -> Iterator[JudgedQuery]:
    """Yield the queries that are measured, and check that they are still the same."""
    expected = iter(known.queries)
    for query in data:
        if query.answerable:
            if query.id != next(expected, None):
                raise InvalidRequest("the data changed while being read")
            yield query
    if next(expected, None) is not None:
        raise InvalidRequest("the data changed while being read")


class _RankingPass:
    """A ranker at work, and its cost so far."""

    def __init__(self, ranker: Ranker, tick: Tick) -> None:
        self._ranker = ranker
        self._tick = tick
        self.seconds: list[float] = []
        self.truncated = 0
        self.memory: set[int] = set()
        self.warnings: dict[str, None] = {}
        self.judged = _JudgedPairs()

    async def warm_up(self, data: Data) -> None:
        for query in data:
            if query.answerable and query.candidates:
                texts = [one.text for one in query.candidates[:WARM_UP_DOCUMENTS]]
                await self._ranker.score(query.text, texts)
                return

    async def rank(self, query: JudgedQuery) -> list[str]:
        """Return the ids of a query's candidates, best first, ties in first-stage order."""
        if not query.candidates:
            return []
        scores: list[float] = []
        begun = time.monotonic()
        for start in range(0, len(query.candidates), REQUEST_DOCUMENTS):
            scores += await self._score(query, start)
        self.seconds.append(time.monotonic() - begun)
        self._remember_memory()
        self.judged.add(query, scores)
        order = sorted(range(len(scores)), key=lambda index: (-scores[index], index))
        return [query.candidates[index].id for index in order]

    async def _score(self, query: JudgedQuery, start: int) -> tuple[float, ...]:
        texts = [one.text for one in query.candidates[start : start + REQUEST_DOCUMENTS]]
        scored = await self._ranker.score(query.text, texts)
        self.truncated += scored.truncated
        self.warnings |= dict.fromkeys(scored.warnings)
        self._tick(len(texts))
        return scored.scores

    def _remember_memory(self) -> None:
        now = self._ranker.memory()
        if now is not None:
            # Only the most is of interest: the set never holds more than that.
            self.memory = {max(self.memory | {now})}


class _JudgedPairs:
    """The scores of all candidates so far, and their judgements."""

    def __init__(self) -> None:
        self._scores: list[float] = []
        self._grades: list[int | None] = []
        self._queries: list[int] = []

    def add(self, query: JudgedQuery, scores: Sequence[float]) -> None:
        self._scores += scores
        self._grades += [query.grades.get(one.id) for one in query.candidates]
        number = self._queries[-1] + 1 if self._queries else 0
        self._queries += [number] * len(scores)

    def found(self) -> JudgedScores:
        """Return the judged pairs; all of them where nobody judged a document not relevant."""
        relevant = np.array([bool(grade) for grade in self._grades], dtype=np.bool_)
        judged = np.array([grade is not None for grade in self._grades], dtype=np.bool_)
        assumed = bool((judged == relevant).all()) and not judged.all()
        chosen = np.ones_like(judged) if assumed else judged
        return JudgedScores(
            np.array(self._scores, dtype=np.float64)[chosen],
            relevant[chosen],
            np.array(self._queries, dtype=np.float64)[chosen],
            assumed,
        )
