"""Scores below which documents may be dropped: chosen on some queries, measured on others."""

from __future__ import annotations

from typing import Literal

import numpy as np
from msgspec import Struct

from rerankd.calibration import Calibration, sigmoid
from rerankd.measuring.evaluation.bootstrap import (
    CONFIDENCE,
    Interval,
    Values,
    resampled_means,
    wilson,
)
from rerankd.measuring.evaluation.calibrating import Labels

Purpose = Literal["precision", "recall", "drop junk"]
TARGETS: tuple[tuple[Purpose, float], ...] = (
    ("precision", 0.9),
    ("precision", 0.75),
    ("recall", 0.9),
    ("drop junk", 0.99),
)
"""What each threshold should reach: of precision, or of recall for the others."""
RESAMPLES_OF_RATIOS = 2_000


class MeasuredShare(Struct, frozen=True):
    """A share on the queries that were not used to choose, with its interval at 95%."""

    mean: float
    interval: Interval


class Threshold(Struct, frozen=True, kw_only=True):
    """A recommended `min_score`, and what it does to documents of other queries."""

    purpose: Purpose
    target: float
    score: float
    """On the calibrated scale."""
    model_score: float
    """On the model's own scale."""
    logit: float
    precision: MeasuredShare | None
    """Of what is kept, the relevant share; None where nothing is kept."""
    recall: MeasuredShare | None
    """Of the relevant documents, the share that is kept."""
    dropped: MeasuredShare | None
    """Of the other documents, the share that is dropped."""


def recommended_thresholds(
    fitted: tuple[Values, Labels],
    shown: tuple[Values, Labels, Values],
    calibration: Calibration,
    seed: int,
) -> tuple[Threshold, ...]:
    """Return a threshold for each target that can be reached on the `fitted` pairs."""
    found = []
    for purpose, target in TARGETS:
        logit = _chosen_logit(*fitted, purpose, target)
        if logit is not None:
            precision, recall, dropped = _measured_threshold(logit, *shown, seed)
            found.append(
                Threshold(
                    purpose=purpose,
                    target=target,
                    score=calibration.score(logit),
                    model_score=sigmoid(logit),
                    logit=logit,
                    precision=precision,
                    recall=recall,
                    dropped=dropped,
                )
            )
    return tuple(found)


def _chosen_logit(
    logits: Values, relevant: Labels, purpose: Purpose, target: float
) -> float | None:
    """Return the lowest logit with enough precision, or the highest with enough recall."""
    order = np.argsort(-logits, kind="stable")
    descending, hits = logits[order], np.cumsum(relevant[order])
    # Pairs with equal logits are kept or dropped together.
    ends = np.append(np.flatnonzero(np.diff(descending)), len(descending) - 1)
    reached = hits[ends] / (ends + 1) if purpose == "precision" else hits[ends] / hits[-1]
    enough = np.flatnonzero(reached >= target)
    if not len(enough):
        return None
    return float(descending[ends[enough[-1] if purpose == "precision" else enough[0]]])


def _measured_threshold(
    logit: float, logits: Values, relevant: Labels, queries: Values, seed: int
) -> tuple[MeasuredShare | None, MeasuredShare | None, MeasuredShare | None]:
    """Return precision, recall, and the dropped share of what isn't relevant."""
    kept = logits >= logit
    names, places = np.unique(queries, return_inverse=True)
    columns = (kept & relevant, kept, relevant, ~kept & ~relevant, ~relevant)
    counts = np.stack(
        [np.bincount(places, weights=one, minlength=len(names)) for one in columns], axis=1
    ).astype(np.float64)
    means = resampled_means(counts, seed, RESAMPLES_OF_RATIOS)
    ratios = ((0, 1), (0, 2), (3, 4))
    first, second, third = (_share_of(counts, means, above, below) for above, below in ratios)
    return first, second, third


def _share_of(counts: Values, means: Values, above: int, below: int) -> MeasuredShare | None:
    total = float(counts[:, below].sum())
    if not total:
        return None
    share = float(counts[:, above].sum()) / total
    if share in {0.0, 1.0}:  # no draw differs, which is no certainty
        return MeasuredShare(share, wilson(round(share * total), round(total)))
    drawn = means[means[:, below] > 0]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(drawn[:, above] / drawn[:, below], [tail, 1 - tail])
    return MeasuredShare(share, Interval(float(low), float(high)))
