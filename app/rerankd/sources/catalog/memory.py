"""What a model takes in memory, estimated from its manifest before its file is here."""

from __future__ import annotations

from rerankd.families.family import Family
from rerankd.families.memory import (
    ContextShape,
    Dimensions,
    ModelMemory,
    context_bytes,
    model_memory,
)
from rerankd.families.registry import family_named
from rerankd.sources.catalog.manifest import Description, NetworkShape, Variant

PROCESS_BYTES = 100 * 1024**2
"""What a process takes beside its models, at most."""
USUAL_FEED = 4
"""Width of the feed-forward layers by the model's width, where a manifest doesn't have it."""


def model_parts(manifest: Description, variant: Variant, pair: int) -> ModelMemory:
    """Estimate what one worker takes in bytes, with default settings and flash attention.

    `pair` is the longest pair in tokens. What the process itself takes comes on top
    (`PROCESS_BYTES`), and so do the vectors that are kept of documents.
    """
    family = family_named(manifest.family)
    shape = _context_shape(family, pair)
    contexts = context_bytes(_dimensions(manifest.shape), family.buffer, shape)
    return model_memory(total_size(manifest, variant), manifest.shape.layers, contexts)


def total_size(manifest: Description, variant: Variant) -> int:
    """Return the bytes of a variant's file and the projector's, as exactly as they are known."""
    return variant.size + (manifest.mmproj.size if manifest.mmproj else 0)


def memory_bytes(manifest: Description, variant: Variant, pair: int) -> int:
    """Return the total of `model_parts`."""
    return model_parts(manifest, variant, pair).total


def fits(needed: int, available: int) -> bool:
    """Return whether a model of `needed` bytes and a process around it fit in `available` bytes."""
    return needed + PROCESS_BYTES <= available


def _context_shape(family: Family, pair: int) -> ContextShape:
    if not family.causal:
        return ContextShape(batch=pair)
    step = min(family.steps.step, pair)
    return ContextShape(batch=step, cells=pair + step, outputs=step)


def _dimensions(shape: NetworkShape) -> Dimensions:
    return Dimensions(
        layers=shape.layers,
        width=shape.width,
        heads=shape.heads,
        feed=shape.feed_width or USUAL_FEED * shape.width,
        kv_heads=shape.kv_heads or 0,
        key_width=shape.head_width or 0,
        value_width=shape.head_width or 0,
        vocabulary=shape.vocabulary or 0,
    )
