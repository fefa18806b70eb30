"""Figures that bench and evaluation share."""

from __future__ import annotations

import math
from collections.abc import Collection

MEGABYTE = 1_000_000


def nearest_rank(values: Collection[float], share: float) -> float:
    """Return the value that `share` of the values don't exceed, by nearest rank; NaN of none."""
    if not values:
        return math.nan
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
