"""A comparison as CSV: one line for each order of the candidates, the first stage first.

Each line ends with what was measured with, so that lines of several runs can stand together.
"""

from __future__ import annotations

import csv
import io

from rerankd.measuring.evaluation.comparison import Comparison, Standing
from rerankd.measuring.provenance import Provenance

COST_COLUMNS = ("documents_per_second", "p95_ms", "memory_mb", "truncated")
MADE_COLUMNS = ("date", "processor", "cores", "memory_bytes", "system", "versions", "files")

CsvCell = str | float | None


def as_csv_text(found: Comparison) -> str:
    """Return the table with a line of column names; empty where there is no figure."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    names = [one.measure for one in found.first_stage.quality]
    parts = [f"{name}{part}" for name in names for part in ("", " difference", " low", " high")]
    writer.writerow(["model", *parts, *COST_COLUMNS, *MADE_COLUMNS])
    made = _provenance_cells(found.made)
    for one in (found.first_stage, *found.contenders):
        writer.writerow([*_csv_cells(one), *made])
    return file.getvalue()


def _provenance_cells(made: Provenance | None) -> list[CsvCell]:
    """Return when, where and with what; versions and files in one cell each."""
    if made is None:
        return [None] * len(MADE_COLUMNS)
    versions = "; ".join(f"{name} {version}" for name, version in made.versions.items())
    files = "; ".join(f"{one.name} sha256:{one.sha256}" for one in made.files)
    return [
        *(made.date, made.processor, made.cores, made.memory_bytes, made.system),
        *(versions, files),
    ]


def _csv_cells(one: Standing) -> list[CsvCell]:
    row: list[CsvCell] = [one.name]
    for each in one.quality:
        bounds = (None, None) if each.interval is None else (each.interval.low, each.interval.high)
        row += [each.mean, each.difference, *bounds]
    cost = one.cost
    if cost is None:
        return [*row, None, None, None, None]
    return [*row, cost.documents_per_second, cost.p95_ms, cost.memory_mb, cost.truncated]
