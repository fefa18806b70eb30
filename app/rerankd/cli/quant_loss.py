"""`rerankd eval --quant-loss`: which larger type to compare with, and how the result is shown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import click
import msgspec
from rich.console import Console

from rerankd.cli import output
from rerankd.cli.progress import fetch_model
from rerankd.cli.provenance_display import show_provenance
from rerankd.cli.tables import show_facts
from rerankd.errors import ModelFileError
from rerankd.measuring.evaluation import rankers
from rerankd.measuring.evaluation.data import Data
from rerankd.measuring.evaluation.metrics import Measures
from rerankd.measuring.evaluation.quant_loss import QuantLoss, measure_quant_loss
from rerankd.measuring.provenance import provenance_of
from rerankd.service import preflight
from rerankd.settings import Settings
from rerankd.sources import resolve as sources


def print_quant_loss(  # noqa: PLR0913 - each by its name
    data: Data, model: str, against: str | None, settings: Settings, *, seed: int, as_json: bool
) -> None:
    """Measure and print what MODEL loses against a larger type. Raises RerankdError."""
    larger = against or larger_type(model, settings)
    own = [msgspec.structs.replace(settings, model=one, model_id="") for one in (model, larger)]
    for one in own:
        preflight(one)
    files = [fetch_model(one).path for one in own]
    small, large = (rankers.in_process(one.model, one) for one in own)
    found = asyncio.run(
        measure_quant_loss(data, Measures(), small, large, seed=seed, begun=_announce)
    )
    found = msgspec.structs.replace(found, made=provenance_of(files))
    output.print_results([found], lambda console: show_loss(found, console), as_json=as_json)


def larger_type(model: str, settings: Settings) -> str:
    """Return the next larger type that the catalog lists. Raises ModelFileError if none is."""
    manifest = sources.find_manifest(model, settings)
    if manifest is None:
        raise ModelFileError(f"{model} is not in the catalog: name a larger type with --against")
    size = manifest.weights.size
    larger = [one for one in manifest.variants if one.size > size]
    if not larger:
        raise ModelFileError(
            f"the catalog has no type of {manifest.id} larger than {manifest.weights.name}: name"
            " one with --against"
        )
    return f"{manifest.id}:{min(larger, key=lambda one: one.size).name}"


def _announce(name: str) -> Callable[[int], None]:
    output.print_note(f"scoring with {name}")
    return lambda _done: None


def show_loss(found: QuantLoss, console: Console) -> None:
    """Print the figures for a person."""
    bounds = found.interval
    shown = f" [{bounds.low:+.4f}, {bounds.high:+.4f}]" if bounds else ""
    tau = "–" if found.kendall_tau is None else f"{found.kendall_tau:.4f}"
    facts = (
        ("model", found.model),
        ("against", found.against),
        ("queries, documents", f"{found.queries}, {found.documents}"),
        (found.measure, f"{found.mean:.4f}, against {found.against_mean:.4f}"),
        ("difference", f"{found.difference:+.4f}{shown}"),
        ("Kendall's tau", tau),
        ("changed top 10", f"{found.changed_top} of {found.queries} queries"),
        ("change of logits", f"largest {found.largest_change:.4f}, RMS {found.rms_change:.4f}"),
    )
    show_facts(console, facts)
    show_provenance(console, found.made)


def require_alone(models: tuple[str, ...], urls: tuple[str, ...], others: bool) -> None:
    """Raise UsageError for options that --quant-loss has no use for."""
    if models or urls or others:
        raise click.UsageError("--quant-loss takes neither --models, --url, --html nor --csv")
