"""Intervals: how far a mean or a share may lie from the one measured."""

from __future__ import annotations

import math

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

Values = NDArray[np.float64]

RESAMPLES = 10_000
CONFIDENCE = 0.95
Z = 1.959964
"""Standard deviations within which 95% of a normal distribution lie."""
FEWEST = 2
"""A single query says nothing about how much queries vary."""

BLOCK = 1_000_000
"""Numbers in a block of resamples at most, which bounds the memory."""


class Interval(Struct, frozen=True):
    """Bounds of a mean that hold with `CONFIDENCE`."""

    low: float
    high: float


def intervals(differences: Values, *, seed: int, resamples: int = RESAMPLES) -> list[Interval]:
    """Return the interval of each column's mean; `differences` is (queries, columns).

    Percentiles of the means of `resamples` draws of queries with replacement, the same draws for
    every column, so that columns are compared on the same queries. Empty for fewer than
    `FEWEST` queries. The same seed gives the same bounds.
    """
    if len(differences) < FEWEST:
        return []
    means = resampled_means(differences, seed, resamples)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail], axis=0)
    return [Interval(float(a), float(b)) for a, b in zip(low, high, strict=True)]


def resampled_means(differences: Values, seed: int, resamples: int) -> Values:
    """Return the means of draws of rows with replacement, (resamples, columns)."""
    rng = np.random.default_rng(seed)
    queries = len(differences)
    rows = max(1, BLOCK // queries)
    blocks = []
    for start in range(0, resamples, rows):
        many = min(rows, resamples - start)
        drawn = rng.integers(queries, size=(many, queries))
        # How often each query was drawn turns the means of all columns into one product.
        drawn += np.arange(many)[:, None] * queries
        counts = np.bincount(drawn.ravel(), minlength=many * queries).reshape(many, queries)
        blocks.append(counts @ differences / queries)
    return np.concatenate(blocks)


def wilson(hits: int, of: int) -> Interval:
    """Return Wilson's interval of a share, at 95%."""
    share = hits / of
    centre = (share + Z * Z / (2 * of)) / (1 + Z * Z / of)
    reach = Z * math.sqrt(share * (1 - share) / of + Z * Z / (4 * of * of)) / (1 + Z * Z / of)
    return Interval(max(0.0, centre - reach), min(1.0, centre + reach))
