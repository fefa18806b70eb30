"""What `rerankd eval --calibrate` adds: reliability, thresholds, and keeping what was fitted."""

from __future__ import annotations

from collections.abc import Sequence

import click
import msgspec
from rich.console import Console

from rerankd.calibration import Calibration
from rerankd.cli import output
from rerankd.cli.tables import TableColumn, show_table
from rerankd.deployments.kept_calibrations import keep_calibration
from rerankd.measuring.evaluation.bootstrap import Interval
from rerankd.measuring.evaluation.comparison import Comparison
from rerankd.measuring.evaluation.reliability import Reliability, ScaleReliability
from rerankd.measuring.evaluation.thresholds import MeasuredShare
from rerankd.measuring.provenance import short_names
from rerankd.service import preflight
from rerankd.settings import Settings

CALIBRATE_CHOICES = ("show", "keep")
BAR = 20
"""Cells of a bar for a share of 1."""

RELIABILITY_COLUMNS = (
    TableColumn("score"),
    TableColumn("documents", right=True),
    TableColumn("mean score", rank=1, right=True),
    TableColumn("relevant", right=True),
    TableColumn("95% interval", rank=2),
    TableColumn("", rank=3),
)
THRESHOLD_COLUMNS = (
    TableColumn("for"),
    TableColumn("calibrated", right=True),
    TableColumn("model", rank=1, right=True),
    TableColumn("precision", wraps=12),
    TableColumn("recall", wraps=12),
    TableColumn("others dropped", wraps=12, rank=2),
)


def require_local(choice: str | None, urls: Sequence[str]) -> None:
    """Raise UsageError where a calibration can't be kept: a server keeps its own."""
    if choice == "keep" and urls:
        raise click.UsageError("--calibrate keep needs models on this machine, not --url")


def keep_calibrations(
    choice: str | None, found: Comparison, models: Sequence[str], settings: Settings
) -> None:
    """Keep what was fitted, if that is the choice; servers use it when they load the model."""
    if choice != "keep":
        return
    fitted = {one.name: one.reliability for one in found.contenders}
    for model, name in short_names(models).items():
        reliability = fitted.get(name)
        target = preflight(msgspec.structs.replace(settings, model=model, model_id=""))
        if target and reliability and reliability.calibration:
            keep_calibration(target, reliability.calibration)
            output.print_note(f"{name}: calibration kept; `rerankd restart` applies it")


def show_reliability(found: Comparison, console: Console) -> None:
    """Print each model's reliability and thresholds for a person."""
    for one in found.contenders:
        if one.reliability:
            _show_one(one.name, one.reliability, console)


def _show_one(name: str, found: Reliability, console: Console) -> None:
    console.print(
        f"\n{name}: {found.pairs} judged documents, {found.relevant} relevant; "
        f"shown on {found.shown_pairs} of queries that the fit has not seen"
    )
    _show_scale("the model's own scores", found.model, console)
    if found.calibrated and found.calibration:
        _show_scale(f"calibrated ({form_text(found.calibration)})", found.calibrated, console)
    if found.thresholds:
        console.print("\nthresholds for min_score, chosen on one half and measured on the other")
        rows = [
            (
                f"{one.purpose} {one.target:g}" if one.purpose != "drop junk" else one.purpose,
                f"{one.score:.3f}",
                f"{one.model_score:.4f}",
                *map(_share_text, (one.precision, one.recall, one.dropped)),
            )
            for one in found.thresholds
        ]
        show_table(console, THRESHOLD_COLUMNS, rows)


def _show_scale(title: str, found: ScaleReliability, console: Console) -> None:
    console.print(
        f"\n{title}: mean distance {found.error:.3f}, Brier {found.brier:.4f}, "
        f"log loss {found.log_loss:.4f}"
    )
    rows = [
        (
            f"{one.low:.1f} to {one.high:.1f}",
            str(one.pairs),
            f"{one.score:.3f}",
            f"{one.share:.3f}",
            _interval_text(one.interval),
            "█" * round(one.share * BAR),
        )
        for one in found.bins
    ]
    show_table(console, RELIABILITY_COLUMNS, rows)


def form_text(found: Calibration) -> str:
    """Return what a calibration does, in a few words."""
    if found.knots:
        return f"isotonic, {len(found.knots)} knots"
    return f"temperature {found.temperature:.3g}, shift {found.shift:+.3g}"


def _share_text(found: MeasuredShare | None) -> str:
    if found is None:
        return "–"
    return f"{found.mean:.3f}\n{_interval_text(found.interval)}"


def _interval_text(found: Interval) -> str:
    return f"{found.low:.2f} to {found.high:.2f}"
