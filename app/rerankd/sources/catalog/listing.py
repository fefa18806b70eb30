"""The catalog as people see it: one entry a model, searched and filtered."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from rerankd.families.registry import family_named
from rerankd.languages import MANY_LANGUAGES
from rerankd.sources.catalog.license import needs_acceptance
from rerankd.sources.catalog.manifest import Context, Manifest, Quality, Variant
from rerankd.sources.catalog.memory import fits, memory_bytes, total_size
from rerankd.sources.catalog.type_choice import ChosenType, Installed, fitting_type


class VariantEntry(Struct, frozen=True, kw_only=True):
    """One file of a model, with its size and the memory it would take, in bytes."""

    name: str
    file: str
    repo: str | None
    revision: str | None
    bytes: int
    """Of the file, and of the projector that goes with it."""
    exact: bool
    """Whether `bytes` is exact or rounded."""
    sha256: str | None
    memory_bytes: int
    fits: bool | None
    installed: bool
    doubts: tuple[str, ...]
    """What is not verified about it."""
    checkpoint: str | None = None
    """The repository it is converted from on this machine, with `rerankd convert`."""


class Entry(Struct, frozen=True, kw_only=True):
    """One model: what is known of it, and what its default variant would take here, in bytes."""

    id: str
    title: str
    description: str
    aliases: tuple[str, ...]
    license: str
    non_commercial: bool
    needs_acceptance: bool
    languages: tuple[str, ...]
    parameters: int
    family: str
    score: str
    context: Context
    default: str
    bytes: int
    memory_bytes: int
    """Estimated at the recommended context."""
    fits: bool | None
    """Whether that fits the memory free now; None where it is unknown."""
    installed: bool
    quality: tuple[Quality, ...]
    warnings: tuple[str, ...]
    unverified: tuple[str, ...]
    variants: tuple[VariantEntry, ...]
    mmproj: str | None = None
    """The projector's file, for a model that sees pictures."""
    default_reason: str = ""
    """Why the default variant is this one, where the machine's memory decides."""
    embeds: bool = False
    """Whether it also gives texts' vectors."""
    state: str | None = None
    """Its deployment's state, if a server was asked and has one."""


class Query(Struct, frozen=True, kw_only=True):
    """What somebody looks for; all that is given must hold."""

    search: str = ""
    """Words that must all occur in names, title, description, languages or licence."""
    language: str = ""
    license: str = ""
    max_memory: int | None = None
    """Bytes."""
    fits: bool | None = None


def is_beside(manifest: Manifest, variant: Variant) -> bool:
    """Return whether a variant lies beside its manifest; knows nothing of the Hub's cache."""
    return variant.repo is None and (manifest.folder / variant.file).is_file()


def entry_of(model: ChosenType, available: int | None, installed: Installed) -> Entry:
    """Return a model's entry for a machine with `available` bytes of memory, None if unknown."""
    manifest = model.manifest
    variants = tuple(
        _variant_entry(manifest, variant, available, installed) for variant in manifest.variants
    )
    chosen = next(one for one in variants if one.name == manifest.weights.name)
    return Entry(
        **{name: getattr(manifest, name) for name in _SHARED},
        needs_acceptance=needs_acceptance(manifest),
        default=chosen.name,
        default_reason=model.reason,
        bytes=chosen.bytes,
        memory_bytes=chosen.memory_bytes,
        fits=chosen.fits,
        installed=chosen.installed,
        variants=variants,
        mmproj=manifest.mmproj.file if manifest.mmproj else None,
        embeds=family_named(manifest.family).embeds,
    )


_SHARED = (
    *("id", "title", "description", "aliases", "license", "non_commercial", "languages"),
    *("parameters", "family", "score", "context", "quality", "warnings", "unverified"),
)


def _variant_entry(
    manifest: Manifest, variant: Variant, available: int | None, installed: Installed
) -> VariantEntry:
    needed = memory_bytes(manifest, variant, manifest.context.recommended)
    projector = (manifest.mmproj.bytes,) if manifest.mmproj else ()
    return VariantEntry(
        name=variant.name,
        file=variant.file,
        repo=variant.repo,
        revision=variant.revision,
        bytes=total_size(manifest, variant),
        exact=None not in {variant.bytes, *projector},
        sha256=variant.sha256,
        memory_bytes=needed,
        fits=None if available is None else fits(needed, available),
        installed=installed(manifest, variant),
        doubts=variant.doubts,
        checkpoint=variant.checkpoint,
    )


def entries(
    manifests: Iterable[Manifest], query: Query, available: int | None, installed: Installed
) -> tuple[Entry, ...]:
    """Return the entries that match, those that take least memory first."""
    found = (
        entry_of(fitting_type(manifest, available, installed), available, installed)
        for manifest in manifests
    )
    return tuple(
        sorted(
            (entry for entry in found if matches(entry, query)),
            key=lambda entry: (entry.memory_bytes, entry.id),
        )
    )


def matches(entry: Entry, query: Query) -> bool:
    """Return whether an entry is what the query looks for."""
    return (
        _has_words(entry, query.search)
        and _speaks(entry, query.language)
        and query.license.casefold() in {"", entry.license.casefold()}
        and (query.max_memory is None or entry.memory_bytes <= query.max_memory)
        and (query.fits is None or entry.fits is query.fits)
    )


def _has_words(entry: Entry, search: str) -> bool:
    parts = (entry.id, *entry.aliases, entry.title, entry.description, entry.license)
    text = " ".join((*parts, *entry.languages)).casefold()
    return all(word in text for word in search.casefold().split())


def _speaks(entry: Entry, language: str) -> bool:
    wanted = language.casefold()
    # A multilingual model's card rarely lists its languages: better one too many than one hidden.
    return not wanted or wanted in entry.languages or MANY_LANGUAGES in entry.languages
