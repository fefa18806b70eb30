"""The result of `rerankd eval` for a person."""

from __future__ import annotations

from rich.console import Console

from rerankd.cli.provenance_display import show_provenance
from rerankd.cli.tables import TableColumn, show_table
from rerankd.measuring.evaluation import report
from rerankd.measuring.evaluation.comparison import Comparison, Standing


def show_comparison(found: Comparison, console: Console) -> None:
    """Print the figures for a person; below each mean its difference from the first stage."""
    names = [one.measure for one in found.first_stage.quality]
    columns = [
        TableColumn("model", wraps=11),
        *(TableColumn(name, rank=at * 3, wraps=9, right=True) for at, name in enumerate(names)),
        TableColumn("vs best", rank=2, wraps=9, right=True),
        TableColumn("docs/s", rank=1, right=True),
        TableColumn("p95 ms", rank=4, right=True),
        TableColumn("MB", rank=5, right=True),
    ]
    show_table(console, columns, [_standing_cells(one) for one in _orders(found)])
    show_provenance(console, found.made)


def _orders(found: Comparison) -> tuple[Standing, ...]:
    return (found.first_stage, *found.contenders)


def _standing_cells(one: Standing) -> tuple[str, ...]:
    quality = [
        "\n".join([f"{each.mean:.4f}", *report.difference_texts(each)]) for each in one.quality
    ]
    gap = "\n".join(report.difference_texts(one.gap))
    return (one.name, *quality, gap, *report.cost_texts(one.cost))
