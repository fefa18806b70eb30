"""The catalog for a person: the list of models, and one model."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.filesize import decimal
from rich.text import Text

from rerankd.cli.tables import TableColumn, show_facts, show_table
from rerankd.sources.catalog import Entry, Quality, VariantEntry
from rerankd.sources.catalog.type_choice import BEST_TYPE, SMALL_TYPE

CHOSEN_TYPES = (BEST_TYPE, SMALL_TYPE)


class Details(Entry, frozen=True, kw_only=True):
    """Everything known about one model, and the commands that serve it."""

    overrides: dict[str, int]
    serve: tuple[str, ...]


MODEL_COLUMNS = (
    TableColumn("model", style="bold"),
    TableColumn("type", rank=4, wraps=12),
    TableColumn("size", rank=3, right=True),
    TableColumn("memory", rank=1, right=True),
    TableColumn("fits", rank=2),
    TableColumn("licence", rank=7, wraps=12),
    TableColumn("languages", rank=8, wraps=11),
    TableColumn("quality", rank=9, wraps=14),
    TableColumn("here", rank=5),
    TableColumn("runs", rank=6),
)


def show_models(found: Sequence[Entry], console: Console) -> None:
    """Print the list for a person."""
    show_table(console, MODEL_COLUMNS, [_model_cells(entry) for entry in found])


def _model_cells(entry: Entry) -> tuple[str, ...]:
    return (
        entry.id,
        f"{entry.default}{_choice(entry)}",
        decimal(entry.bytes),
        decimal(entry.memory_bytes),
        _yes_or_no(entry.fits),
        f"{entry.license}{' (accept)' if entry.needs_acceptance else ''}",
        " ".join(entry.languages),
        _short_quality(entry.quality[0]) if entry.quality else "",
        _yes_or_no(entry.installed),
        entry.state or "",
    )


def _choice(entry: Entry) -> str:
    """Return in a word why the machine made the type the default; `models show` has the figures."""
    if not entry.default_reason:
        return ""
    here = [one for one in entry.variants if one.installed and one.name.upper() in CHOSEN_TYPES]
    if len(here) == 1:
        return " (here)"
    if entry.fits is None:
        return " (memory?)"
    return " (fits)" if entry.default.upper() == BEST_TYPE else " (memory)"


def _yes_or_no(answer: bool | None) -> str:
    return "?" if answer is None else "yes" if answer else "no"


def _short_quality(quality: Quality) -> str:
    return f"{quality.value:g} {quality.metric.split(',')[0]}"


def _full_quality(quality: Quality) -> str:
    return f"{quality.value:g} {quality.metric}, {quality.benchmark}"


def show_details(found: Details, console: Console) -> None:
    """Print one model for a terminal."""
    console.print(Text.assemble((found.title, "bold"), f" ({found.id})"))
    console.print(Text(found.description))
    show_facts(console, _detail_rows(found))
    variants = [_variant_cells(one, found.default) for one in found.variants]
    show_table(console, VARIANT_COLUMNS, variants)
    for quality in found.quality:
        note = f"; {quality.note}" if quality.note else ""
        console.print(Text(f"{_full_quality(quality)} ({quality.source}{note})"))
    for warning in found.warnings:
        console.print(Text(f"warning: {warning}", "yellow"))
    for command in found.serve:
        console.print(Text(f"$ {command}"), soft_wrap=True)


def _detail_rows(found: Details) -> tuple[tuple[str, str], ...]:
    accept = "; needs --accept-license" if found.needs_acceptance else ""
    unsure = ", ".join(found.unverified)
    rows = (
        ("also called", ", ".join(found.aliases)),
        ("licence", f"{found.license}{accept}"),
        ("languages", " ".join(found.languages)),
        ("parameters", f"{found.parameters:,}"),
        ("context", f"{found.context.recommended:,} of {found.context.trained:,} tokens"),
        ("family", found.family),
        ("scores", found.score),
        ("pictures", f"with {found.mmproj}" if found.mmproj else ""),
        ("vectors", "yes, at /v1/embeddings" if found.embeds else ""),
        ("default", found.default_reason),
        ("overrides", ", ".join(f"{key}={value}" for key, value in found.overrides.items())),
        ("unverified", unsure),
    )
    return tuple(row for row in rows if row[1])


def _place_of(variant: VariantEntry) -> str:
    if variant.checkpoint:
        return f"{variant.file}, converted here from {variant.checkpoint}"
    return f"{variant.repo}: {variant.file}" if variant.repo else variant.file


VARIANT_COLUMNS = (
    TableColumn("variant"),
    TableColumn("size", rank=1, right=True),
    TableColumn("memory", right=True),
    TableColumn("fits", rank=2),
    TableColumn("here", rank=3),
    TableColumn("file", rank=4, wraps=16),
    TableColumn("not verified", rank=5, wraps=14),
)


def _variant_cells(one: VariantEntry, default: str) -> tuple[str, ...]:
    return (
        f"{one.name}{' *' if one.name == default else ''}",
        f"{'' if one.exact else '~'}{decimal(one.bytes)}",
        decimal(one.memory_bytes),
        _yes_or_no(one.fits),
        _yes_or_no(one.installed),
        _place_of(one),
        "; ".join(one.doubts),
    )
