"""A model's reliability in the report: the plot, its bins with counts, and the thresholds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from rerankd.measuring.evaluation import plots
from rerankd.measuring.evaluation.bootstrap import Interval
from rerankd.measuring.evaluation.plots import SharePoint
from rerankd.measuring.evaluation.reliability import Reliability, ScaleReliability
from rerankd.measuring.evaluation.thresholds import MeasuredShare, Threshold

BIN_HEAD = ("score", "documents", "mean score", "relevant", "95% interval")
THRESHOLD_HEAD = ("for", "calibrated score", "model score", "precision", "recall", "others dropped")


def reliability_section(name: str, found: Reliability) -> str:
    """Return one model's plot and tables; every name from outside is escaped."""
    scales = [("the model's own scores", found.model)]
    if found.calibrated:
        scales.append(("calibrated", found.calibrated))
    tables = [_bin_table(title, scale) for title, scale in scales]
    plot = plots.shares_by_score(name, [(title, _points_of(scale)) for title, scale in scales])
    return "".join([plot, *tables, _threshold_table(found.thresholds)])


def _points_of(found: ScaleReliability) -> list[SharePoint]:
    return [
        SharePoint(one.score, one.share, one.interval.low, one.interval.high, one.pairs)
        for one in found.bins
    ]


def _bin_table(title: str, found: ScaleReliability) -> str:
    caption = (
        f"{title}: mean distance {found.error:.3f}, Brier {found.brier:.4f}, "
        f"log loss {found.log_loss:.4f}"
    )
    rows = [
        (
            f"{one.low:.1f} to {one.high:.1f}",
            str(one.pairs),
            f"{one.score:.3f}",
            f"{one.share:.3f}",
            _bounds_text(one.interval),
        )
        for one in found.bins
    ]
    return _html_table(caption, BIN_HEAD, rows)


def _threshold_table(found: Sequence[Threshold]) -> str:
    if not found:
        return ""
    rows = [
        (
            one.purpose if one.purpose == "drop junk" else f"{one.purpose} {one.target:g}",
            f"{one.score:.3f}",
            f"{one.model_score:.4f}",
            *map(_measured_text, (one.precision, one.recall, one.dropped)),
        )
        for one in found
    ]
    caption = "Thresholds for min_score, chosen on one half and measured on the other"
    return _html_table(caption, THRESHOLD_HEAD, rows)


def _html_table(caption: str, head: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    columns = "".join(f'<th scope="col">{escape(one)}</th>' for one in head)
    lines = "".join(
        f'<tr><th scope="row">{escape(first)}</th>'
        f"{''.join(f'<td>{escape(cell)}</td>' for cell in rest)}</tr>"
        for first, *rest in rows
    )
    return (
        f'<div class="wide"><table><caption>{escape(caption)}</caption><thead><tr>{columns}</tr>'
        f"</thead><tbody>{lines}</tbody></table></div>"
    )


def _measured_text(found: MeasuredShare | None) -> str:
    return "–" if found is None else f"{found.mean:.3f} [{_bounds_text(found.interval)}]"


def _bounds_text(found: Interval) -> str:
    return f"{found.low:.2f} to {found.high:.2f}"
