"""What a model takes in memory, estimated from its manifest."""

from __future__ import annotations

from rerankd.sources.catalog.manifest import Description, Family, Variant

PROCESS_BYTES = 100 * 1024**2
"""What a process takes beside its models, at most."""
MICRO_BATCH = 512
"""Tokens whose logits llama.cpp computes at once for a causal model under rank pooling."""

PER_TOKEN: dict[Family, float] = {
    "bert": 7,
    "xlm-roberta": 7,
    "modern-bert": 7.5,
    "jina-bert-v2": 15,
    "embedding": 15,  # of any encoder: the largest
    "late-interaction": 7,  # BERT's
    "neo-bert": 15,  # not measured: the largest of the measured ones
}
"""Floats of a model's width that an encoder's compute buffer holds for each token."""
PER_PAIR_OF_TOKENS: dict[Family, int] = {"modern-bert": 4, "neo-bert": 4}
"""Bytes of attention masks for each pair of tokens; 2 where it isn't said."""


def memory_bytes(manifest: Description, variant: Variant, context: int) -> int:
    """Return bytes of weights, compute buffer and KV cache (F16) for one worker, estimated.

    `context` is the longest pair in tokens. With flash attention; what the process itself takes
    comes on top (`PROCESS_BYTES`). Fitted to compute buffers that llama.cpp reported.
    """
    return variant.size + compute_bytes(manifest, context) + kv_bytes(manifest, context)


def compute_bytes(manifest: Description, context: int) -> int:
    """Return bytes of the compute buffer for pairs of up to `context` tokens."""
    if manifest.family == "qwen3":
        return min(context, MICRO_BATCH) * (manifest.shape.vocabulary or 0) * 4
    floats = context * PER_TOKEN[manifest.family] * manifest.shape.width
    return round(floats * 4) + PER_PAIR_OF_TOKENS.get(manifest.family, 2) * context**2


def kv_bytes(manifest: Description, context: int) -> int:
    """Return bytes of the KV cache in F16 for `context` tokens: none for encoders."""
    shape = manifest.shape
    if manifest.family != "qwen3":
        return 0
    keys_and_values = 2 * (shape.kv_heads or 0) * (shape.head_width or 0)
    return keys_and_values * shape.layers * 2 * context


def fits(needed: int, available: int) -> bool:
    """Tell whether a model of `needed` bytes and a process around it fit in `available` bytes."""
    return needed + PROCESS_BYTES <= available
