"""Which type of a catalog model is taken where nobody names one."""

from __future__ import annotations

import pytest

from rerankd import machine
from rerankd.settings import Settings
from rerankd.sources import catalog
from rerankd.sources import resolve as sources
from rerankd.sources.catalog import Manifest, Variant, fitting_type

BOTH = "qwen3-reranker-4b"
ROOM = 10**12


def model(name: str) -> Manifest:
    found = catalog.find(name)
    assert found is not None
    return found


def nothing_here(_manifest: Manifest, _variant: Variant) -> bool:
    return False


@pytest.mark.parametrize(
    ("available", "chosen", "why"),
    [
        (ROOM, "Q8_0", "Q8_0 fits: it needs"),
        (None, "Q8_0", "free memory is unknown"),
        (10**9, "Q4_K_M", "Q4_K_M is taken, because Q8_0 needs"),
    ],
)
def test_the_better_type_is_taken_where_there_is_room(
    available: int | None, chosen: str, why: str
) -> None:
    """Whichever of both the manifest has as its default, and the reason is said."""
    for name in (BOTH, "qwen3-reranker-0.6b"):
        found = fitting_type(model(name), available if available != 10**9 else 10**8, nothing_here)
        assert found.manifest.weights.name == chosen
        assert why in found.reason


def test_the_type_on_this_machine_is_kept_while_it_is_alone() -> None:
    """What is free at a start neither downloads the other type nor changes scores."""
    for name, available in (("Q4_K_M", ROOM), ("Q8_0", 10**8)):
        found = fitting_type(model(BOTH), available, lambda _, one, name=name: one.name == name)  # type: ignore[misc]
        assert (found.manifest.weights.name, found.reason) == (name, f"{name} is on this machine")
    both = fitting_type(model(BOTH), ROOM, lambda _manifest, _variant: True)
    assert both.manifest.weights.name == "Q8_0"


@pytest.mark.parametrize(
    "name", ["rerank-mini-en", "jina-reranker-v1-turbo-en", "qwen3-reranker-8b"]
)
def test_without_both_types_the_default_stays(name: str) -> None:
    found = fitting_type(model(name), 0, nothing_here)
    assert found == catalog.ChosenType(model(name))


def test_a_named_type_is_never_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """An id alone, or an alias, leaves the choice to the machine; `id:VARIANT` doesn't."""
    monkeypatch.setattr(sources, "is_installed", nothing_here)
    for available, chosen in ((ROOM, "Q8_0"), (10**8, "Q4_K_M")):
        monkeypatch.setattr(machine, "available_memory", lambda available=available: available)
        alone = sources.find_manifest(BOTH.upper(), Settings())
        named = sources.find_type(f"{BOTH}:q4_k_m", Settings())
        assert alone is not None
        assert named is not None
        assert alone.weights.name == chosen
        assert (named.manifest.weights.name, named.reason) == ("Q4_K_M", "")
    (entry,) = (
        one
        for one in catalog.entries(catalog.manifests(), catalog.Query(), ROOM, nothing_here)
        if one.id == BOTH
    )
    assert (entry.default, entry.default_reason[:9]) == ("Q8_0", "Q8_0 fits")
