"""A comparison as CSV: one line for each order of the candidates, the first stage first."""

from __future__ import annotations

import csv
import io

from rerankd.measuring.evaluation.comparison import Comparison, Standing


def as_csv_text(found: Comparison) -> str:
    """Return the table with a line of column names; empty where there is no figure."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    names = [one.measure for one in found.first_stage.quality]
    parts = [f"{name}{part}" for name in names for part in ("", " difference", " low", " high")]
    writer.writerow(["model", *parts, "documents_per_second", "p95_ms", "memory_mb", "truncated"])
    for one in (found.first_stage, *found.contenders):
        writer.writerow(_csv_cells(one))
    return file.getvalue()


def _csv_cells(one: Standing) -> list[str | float | None]:
    row: list[str | float | None] = [one.name]
    for each in one.quality:
        bounds = (None, None) if each.interval is None else (each.interval.low, each.interval.high)
        row += [each.mean, each.difference, *bounds]
    cost = one.cost
    if cost is None:
        return [*row, None, None, None, None]
    return [*row, cost.documents_per_second, cost.p95_ms, cost.memory_mb, cost.truncated]
