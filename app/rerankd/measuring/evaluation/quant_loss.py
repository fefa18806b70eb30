"""What a quantisation costs: a file's scores and orders against those of a larger type."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from msgspec import Struct

from rerankd.measuring.evaluation.bootstrap import Interval, Values, intervals
from rerankd.measuring.evaluation.data import Data, JudgedQuery
from rerankd.measuring.evaluation.metrics import CUTOFF, Measures
from rerankd.measuring.evaluation.rankers import Contender, Ranker
from rerankd.measuring.evaluation.trial import REQUEST_DOCUMENTS
from rerankd.measuring.provenance import Provenance

PassBegun = Callable[[str], Callable[[int], None]]
"""Called with a model's name; returns what is called with the number of documents scored."""


class QuantLoss(Struct, frozen=True, kw_only=True):
    """How a smaller type differs from a larger one on the same queries; scores are logits."""

    model: str
    against: str
    queries: int
    documents: int
    kendall_tau: float | None
    """Mean over the queries of tau-b, 1 for the same order; None where no query has two scores."""
    changed_top: int
    """Queries whose first ten documents or their order changed."""
    measure: str
    mean: float
    against_mean: float
    difference: float
    """Of the means, below 0 where the smaller type is worse."""
    interval: Interval | None
    """Of the difference; None where there are too few queries."""
    largest_change: float
    rms_change: float
    made: Provenance | None = None
    """What it was measured with."""


async def measure_quant_loss(  # noqa: PLR0913 - each by its name
    data: Data,
    measures: Measures,
    model: Contender,
    against: Contender,
    *,
    seed: int,
    begun: PassBegun,
) -> QuantLoss:
    """Score every judged query with both, one model loaded at a time. Raises RerankdError."""
    queries = [one for one in data if one.answerable and one.candidates]
    small = await _scores_of(model, queries, begun)
    large = await _scores_of(against, queries, begun)
    return _loss_of(queries, measures, (model.name, against.name), (small, large), seed)


async def _scores_of(
    contender: Contender, queries: Sequence[JudgedQuery], begun: PassBegun
) -> list[Values]:
    async with contender.open() as ranker:
        tick = begun(contender.name)
        return [await _query_scores(ranker, query, tick) for query in queries]


async def _query_scores(ranker: Ranker, query: JudgedQuery, tick: Callable[[int], None]) -> Values:
    scores: list[float] = []
    for start in range(0, len(query.candidates), REQUEST_DOCUMENTS):
        texts = [one.text for one in query.candidates[start : start + REQUEST_DOCUMENTS]]
        scores += (await ranker.score(query.text, texts)).scores
        tick(len(texts))
    return np.array(scores)


def _loss_of(
    queries: Sequence[JudgedQuery],
    measures: Measures,
    names: tuple[str, str],
    scores: tuple[list[Values], list[Values]],
    seed: int,
) -> QuantLoss:
    orders = [[np.argsort(-one, kind="stable") for one in each] for each in scores]
    values = np.array(
        [
            [_ndcg(measures, query, order) for query, order in zip(queries, each, strict=True)]
            for each in orders
        ]
    )
    changes = np.concatenate([a - b for a, b in zip(*scores, strict=True)])
    taus = [tau for a, b in zip(*scores, strict=True) if (tau := kendall_tau(a, b)) is not None]
    bounds = intervals((values[0] - values[1])[:, None], seed=seed)
    return QuantLoss(
        model=names[0],
        against=names[1],
        queries=len(queries),
        documents=len(changes),
        kendall_tau=float(np.mean(taus)) if taus else None,
        changed_top=sum(
            a[:CUTOFF].tolist() != b[:CUTOFF].tolist() for a, b in zip(*orders, strict=True)
        ),
        measure=measures.names[0],
        mean=float(values[0].mean()),
        against_mean=float(values[1].mean()),
        difference=float((values[0] - values[1]).mean()),
        interval=bounds[0] if bounds else None,
        largest_change=float(np.abs(changes).max()),
        rms_change=float(np.sqrt(np.mean(changes**2))),
    )


def _ndcg(
    measures: Measures, query: JudgedQuery, order: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> float:
    return measures.of(query.grades, [query.candidates[at].id for at in order.tolist()])[0]


def kendall_tau(first: Values, second: Values) -> float | None:
    """Return tau-b of two scorings of the same documents; None where one ties all of them."""
    agreement = untied_first = untied_second = 0.0
    for at in range(len(first) - 1):
        a, b = np.sign(first[at + 1 :] - first[at]), np.sign(second[at + 1 :] - second[at])
        agreement += float(a @ b)
        untied_first += float(a @ a)
        untied_second += float(b @ b)
    pairs = float(np.sqrt(untied_first * untied_second))
    return agreement / pairs if pairs else None
