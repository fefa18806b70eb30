"""Figures that bench and evaluation share."""

from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path

MEGABYTE = 1_000_000


def nearest_rank(values: Collection[float], share: float) -> float:
    """Return the value that `share` of the values don't exceed, by nearest rank; NaN of none."""
    if not values:
        return math.nan
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def resident_memory(pid: int) -> int | None:
    """Return a process's resident memory in bytes, None where it can't be read."""
    try:
        status = Path(f"/proc/{pid}/status").read_text("ascii", "replace")
    except OSError:
        return None
    found = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(found[0]) * 1024 if found else None
