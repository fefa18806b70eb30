"""What a quantisation costs: figures by hand, and which larger type is meant."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import numpy as np
import pytest

from rerankd.cli.quant_loss import larger_type
from rerankd.errors import ModelFileError
from rerankd.measuring.evaluation.data import Candidate, JudgedQuery
from rerankd.measuring.evaluation.metrics import Measures
from rerankd.measuring.evaluation.quant_loss import kendall_tau, measure_quant_loss
from rerankd.measuring.evaluation.rankers import Contender, Ranker, ScoredPairs
from rerankd.settings import Settings

QUERIES = [
    JudgedQuery("a", "a", (Candidate("1", "1.0"), Candidate("2", "3.0")), {"1": 1}),
    JudgedQuery("b", "b", (Candidate("1", "2.0"), Candidate("2", "0.0")), {"1": 1}),
    JudgedQuery("nothing", "c", (Candidate("1", "9.0"),), {"1": 0}),
]


class Shifted:
    """Scores a document by the number it is, with a sign."""

    def __init__(self, sign: float) -> None:
        self._sign = sign

    async def score(self, query: str, documents: Sequence[str]) -> ScoredPairs:
        sign = self._sign if query == "a" else 1.0
        return ScoredPairs(scores=tuple(sign * float(one) for one in documents), truncated=0)

    def memory(self) -> int | None:
        return None


def contender(name: str, sign: float) -> Contender:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Ranker]:
        yield Shifted(sign)

    return Contender(name, opened)


def test_the_loss_is_measured_on_every_judged_query() -> None:
    """One of two queries turns round: tau 0 on average, and its answer falls to second place."""
    pytest.importorskip("pytrec_eval")
    found = asyncio.run(
        measure_quant_loss(
            QUERIES,
            Measures(),
            contender("small", 1.0),
            contender("large", -1.0),
            seed=1,
            begun=lambda _name: lambda _done: None,
        )
    )

    assert (found.queries, found.documents, found.changed_top) == (2, 4, 1)
    assert (found.kendall_tau, found.largest_change) == (0.0, 6.0)
    assert found.rms_change == pytest.approx(np.sqrt((2**2 + 6**2) / 4))
    assert (found.mean, found.against_mean) == pytest.approx((0.8155, 1.0), abs=1e-4)
    assert found.difference == pytest.approx(found.mean - found.against_mean)
    assert found.interval is not None
    assert found.interval.low <= found.difference <= found.interval.high


def test_tau_counts_ties_as_neither_order() -> None:
    up = np.array([1.0, 2.0, 3.0])
    assert kendall_tau(up, up * 2) == pytest.approx(1)
    assert kendall_tau(up, -up) == pytest.approx(-1)
    assert kendall_tau(up, np.array([1.0, 1.0, 2.0])) == pytest.approx(2 / np.sqrt(6))
    assert kendall_tau(up, np.zeros(3)) is None
    assert kendall_tau(up[:1], up[:1]) is None


def test_the_larger_type_is_the_catalog_s_next_one() -> None:
    assert larger_type("bge-reranker-v2-m3:Q4_K_M", Settings()) == "bge-reranker-v2-m3:Q5_K_M"
    for model in ("bge-reranker-v2-m3:Q8_0", "mine.gguf"):
        with pytest.raises(ModelFileError, match="--against"):
            larger_type(model, Settings())
