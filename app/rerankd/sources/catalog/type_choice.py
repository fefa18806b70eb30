"""Which type of a model is taken where nobody names one: the better one that the machine holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from msgspec import Struct

from rerankd.sources.catalog.manifest import Manifest, Variant, choose
from rerankd.sources.catalog.memory import fits, memory_bytes

BEST_TYPE = "Q8_0"
"""Its scores hardly differ from the unquantised model's."""
SMALL_TYPE = "Q4_K_M"

GIGABYTE = 1e9

Installed: TypeAlias = Callable[[Manifest, Variant], bool]
"""Says whether a variant's file is on this machine, without asking the network."""


class ChosenType(Struct, frozen=True):
    """A manifest with the type chosen, and why; no reason where there was no choice."""

    manifest: Manifest
    reason: str = ""


def fitting_type(manifest: Manifest, available: int | None, installed: Installed) -> ChosenType:
    """Choose between a model's Q8_0 and Q4_K_M for a machine with `available` bytes of memory.

    A manifest that lacks one of them, or whose default is neither, keeps its default. A type that
    is on this machine is kept as long as the other one isn't, so that what free memory is at a
    start neither downloads a second file nor changes scores.
    """
    found = {one.name.upper(): one for one in manifest.variants}
    best, small = found.get(BEST_TYPE), found.get(SMALL_TYPE)
    if best is None or small is None or manifest.weights not in (best, small):
        return ChosenType(manifest)
    here = [one for one in (best, small) if installed(manifest, one)]
    if len(here) == 1:
        return _chosen(manifest, here[0], "is on this machine")
    needed = memory_bytes(manifest, best, manifest.context.recommended)
    if available is None:
        return _chosen(manifest, best, "is taken, because the free memory is unknown")
    shown = f"{needed / GIGABYTE:.1f} GB of {available / GIGABYTE:.1f} GB free"
    if fits(needed, available):
        return _chosen(manifest, best, f"fits: it needs {shown}")
    return _chosen(manifest, small, f"is taken, because {best.name} needs {shown}")


def _chosen(manifest: Manifest, variant: Variant, why: str) -> ChosenType:
    return ChosenType(choose(manifest, variant.name), f"{variant.name} {why}")
