"""The first pass over the data: what is in it, and how good the first stage's order is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from rerankd.errors import InvalidRequest
from rerankd.measuring.evaluation.bootstrap import Values
from rerankd.measuring.evaluation.data import Data, JudgedQuery
from rerankd.measuring.evaluation.metrics import Measures

LISTED = 100
"""The most ids that are listed for one problem."""


class Listed(Struct, frozen=True):
    """The number of queries with a problem, and the first `LISTED` of their ids."""

    queries: int
    ids: tuple[str, ...]


class DataSurvey(Struct, frozen=True, kw_only=True, eq=False):
    """What the data holds: ids, counts, and the first stage's figures."""

    queries: tuple[str, ...]
    """Those measured: all with a relevant document."""
    values: Values
    """(queries, measures) of the first stage."""
    documents: int
    """Candidates of those queries together."""
    without_relevant: Listed
    """Left out of every mean: no order of theirs is better than another."""
    without_candidates: Listed
    """Measured, as 0 for every order."""
    cut: Listed
    """With more candidates than the depth."""


def survey_data(data: Data, measures: Measures) -> DataSurvey:
    """Read all data once, so that errors show before any model is loaded.

    Raises InvalidRequest, which names file and line, also when there is nothing to measure.
    """
    seen = _Seen()
    for query in data:
        seen.add(query, measures)
    if not seen.documents:
        raise InvalidRequest(
            f"nothing to rank: {len(seen.barren)} queries without a relevant document, "
            f"{len(seen.empty)} without candidates"
        )
    return DataSurvey(
        queries=tuple(seen.names),
        values=np.array(seen.values, dtype=np.float64),
        documents=seen.documents,
        without_relevant=_listed_ids(seen.barren),
        without_candidates=_listed_ids(seen.empty),
        cut=_listed_ids(seen.cut),
    )


class _Seen:
    """What the pass has come across so far: ids and numbers, no texts."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.values: list[tuple[float, ...]] = []
        self.documents = 0
        self.barren: list[str] = []
        self.empty: list[str] = []
        self.cut: list[str] = []

    def add(self, query: JudgedQuery, measures: Measures) -> None:
        if not query.answerable:
            self.barren.append(query.id)
            return
        self.names.append(query.id)
        self.values.append(measures.of(query.grades, [one.id for one in query.candidates]))
        self.documents += len(query.candidates)
        if not query.candidates:
            self.empty.append(query.id)
        if query.cut:
            self.cut.append(query.id)


def _listed_ids(ids: Sequence[str]) -> Listed:
    return Listed(len(ids), tuple(ids[:LISTED]))
