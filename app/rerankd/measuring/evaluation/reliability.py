"""How far scores say what share of documents is relevant, and which thresholds follow."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from msgspec import Struct

from rerankd.calibration import Calibration, sigmoid
from rerankd.measuring.evaluation.bootstrap import Interval, Values, wilson
from rerankd.measuring.evaluation.calibrating import Labels, fit_calibration, log_loss_of
from rerankd.measuring.evaluation.thresholds import Threshold, recommended_thresholds

BINS = 10
FEWEST = 20
"""Relevant and other pairs in each half, below which nothing is fitted."""


class JudgedScores(Struct, frozen=True, eq=False):
    """The logits of judged pairs, which of them are relevant, and the number of each's query."""

    logits: Values
    relevant: Labels
    queries: Values
    assumed: bool = False
    """Whether candidates without a judgement count as not relevant, for lack of others."""

    def of(self, chosen: Labels) -> JudgedScores:
        """Return some of the pairs."""
        return JudgedScores(self.logits[chosen], self.relevant[chosen], self.queries[chosen])


class ReliabilityBin(Struct, frozen=True):
    """Pairs whose scores lie within bounds: their number, mean score, and relevant share."""

    low: float
    high: float
    pairs: int
    score: float
    share: float
    interval: Interval
    """Of the share, by Wilson."""


class ScaleReliability(Struct, frozen=True, kw_only=True):
    """How reliable scores on one scale are; only bins with pairs are listed."""

    bins: tuple[ReliabilityBin, ...]
    error: float
    """The mean distance of score and share, weighted by pairs."""
    brier: float
    """The mean square of a score's distance from 1 or 0."""
    log_loss: float


class Reliability(Struct, frozen=True, kw_only=True):
    """Scores against judgements; all but the fit is of queries that the fit has not seen."""

    pairs: int
    """Judged pairs of both halves."""
    relevant: int
    assumed: bool
    shown_pairs: int
    model: ScaleReliability
    calibrated: ScaleReliability | None = None
    calibration: Calibration | None = None
    thresholds: tuple[Threshold, ...] = ()
    note: str = ""
    """Why nothing was fitted, empty otherwise."""


def reliability_of(found: JudgedScores, seed: int) -> Reliability:
    """Fit a calibration on half of the queries, and describe the scores of the other half."""
    names = np.unique(found.queries)
    chosen = np.random.default_rng(seed).permutation(names)[: len(names) // 2]
    is_fitted = np.isin(found.queries, chosen)
    fitted, shown = found.of(is_fitted), found.of(~is_fitted)
    plain = Reliability(
        pairs=len(found.relevant),
        relevant=int(found.relevant.sum()),
        assumed=found.assumed,
        shown_pairs=len(shown.relevant),
        model=_scale_reliability(shown, sigmoid),
    )
    if min(_fewest(fitted), _fewest(shown)) < FEWEST:
        note = f"fewer than {FEWEST} relevant or other documents in one half: nothing was fitted"
        return msgspec.structs.replace(plain, note=note)
    calibration = fit_calibration(fitted.logits, fitted.relevant)
    if calibration is None:
        note = "documents with higher scores are not more relevant: nothing was fitted"
        return msgspec.structs.replace(plain, note=note)
    return msgspec.structs.replace(
        plain,
        calibrated=_scale_reliability(shown, calibration.score),
        calibration=calibration,
        thresholds=recommended_thresholds(
            (fitted.logits, fitted.relevant),
            (shown.logits, shown.relevant, shown.queries),
            calibration,
            seed,
        ),
    )


def _fewest(one: JudgedScores) -> int:
    count = int(one.relevant.sum())
    return min(count, len(one.relevant) - count)


def _scale_reliability(found: JudgedScores, score: Callable[[float], float]) -> ScaleReliability:
    scores = np.array([score(one) for one in found.logits.tolist()], dtype=np.float64)
    bins = _bins_of(scores, found.relevant)
    total = max(len(scores), 1)
    return ScaleReliability(
        bins=tuple(bins),
        error=math.fsum(one.pairs * abs(one.score - one.share) for one in bins) / total,
        brier=float(((scores - found.relevant) ** 2).mean()) if len(scores) else 0.0,
        log_loss=log_loss_of(scores, found.relevant) if len(scores) else 0.0,
    )


def _bins_of(scores: Values, relevant: Labels) -> Sequence[ReliabilityBin]:
    places = np.minimum((scores * BINS).astype(int), BINS - 1)
    found = []
    for place in range(BINS):
        inside = places == place
        pairs, hits = int(inside.sum()), int(relevant[inside].sum())
        if pairs:
            mean, bounds = float(scores[inside].mean()), wilson(hits, pairs)
            ends = (place / BINS, (place + 1) / BINS)
            found.append(ReliabilityBin(*ends, pairs, mean, hits / pairs, bounds))
    return found
