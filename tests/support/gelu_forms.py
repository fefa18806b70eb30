"""Encoders' arithmetic with a GELU of choice: what its form alone does to a score.

Models are trained with the error function. ggml computes the tanh form, and takes it from a table
in half precision where GELU is gated and, in builds without rerankd's patch, everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from support.checkpoints import bert_words
from support.forward_pass import (
    Array,
    Gelu,
    Weights,
    bert_score,
    joined,
    layer_norm,
    similar,
    softmax,
    split_heads,
    tanh_gelu,
    turned,
)
from support.references import comparisons

WINDOW, FULL_EVERY = 32, 3
"""Of the checkpoints in the shape of ModernBERT: layers 0, 3 and so on see all tokens."""

_erf = np.frompyfunc(math.erf, 1, 1)


def exact_gelu(values: Array) -> Array:
    """Return GELU by the error function, the form that models are trained with."""
    found: Array = 0.5 * values * (1.0 + _erf(values / math.sqrt(2)).astype(np.float64))
    return found


def halved_gelu(values: Array) -> Array:
    """Return the tanh form as ggml looks it up: input and output in half precision."""
    found = tanh_gelu(values.astype(np.float16).astype(np.float64)).astype(np.float16)
    return np.where(np.abs(values) < 10, found, np.maximum(values, 0)).astype(np.float64)


def modern_states(weights: Weights, ids: Sequence[int], gelu: Gelu) -> Array:
    """Return ModernBERT's last hidden states, `[tokens, width]`."""
    hidden = layer_norm(weights, "token_embd_norm", weights["token_embd.weight"][list(ids)])
    apart = np.abs(np.subtract.outer(np.arange(len(ids)), np.arange(len(ids))))
    near = np.where(apart <= WINDOW // 2, 0.0, -np.inf)
    for layer in range(weights.key("block_count")):
        block, full = f"blk.{layer}", layer % FULL_EVERY == 0
        normed = layer_norm(weights, f"{block}.attn_norm", hidden) if layer else hidden
        mixed = _attention(weights, block, normed, 0.0 if full else near, 1.6e5 if full else 1e4)
        hidden = hidden + weights.linear(f"{block}.attn_output", mixed)
        normed = layer_norm(weights, f"{block}.ffn_norm", hidden)
        gate, up = np.split(weights.linear(f"{block}.ffn_up", normed), 2, axis=-1)
        hidden = hidden + weights.linear(f"{block}.ffn_down", gelu(gate) * up)
    return layer_norm(weights, "output_norm", hidden)


def _attention(
    weights: Weights, block: str, normed: Array, unseen: Array | float, base: float
) -> Array:
    heads = weights.key("attention.head_count")
    query, key, value = (
        split_heads(one, heads)
        for one in np.split(weights.linear(f"{block}.attn_qkv", normed), 3, axis=-1)
    )
    query, key = turned(query, base), turned(key, base)
    return joined(softmax(similar(query, key) + unseen) @ value)


def modern_score(weights: Weights, ids: Sequence[int], gelu: Gelu) -> float:
    """Return the logit of a converted ModernBERT; rerankd computes its head by the exact GELU."""
    states = modern_states(weights, ids, gelu)
    pooled = states[0] if weights.pooling == "first" else states.mean(axis=0)
    pooled = exact_gelu(weights.linear("cls", pooled))
    return float(weights.linear("cls.output", layer_norm(weights, "cls.norm", pooled))[0])


class GeluParts(NamedTuple):
    """What lies between a reference's logits and rerankd's, a number for each pair."""

    whole: Array
    """rerankd from the reference."""
    exact: Array
    """The arithmetic with the exact GELU, in 64 bits, from the reference."""
    ggml: Array
    """rerankd from the arithmetic with the GELU that ggml computes."""


def gelu_parts(name: str, path: Path) -> GeluParts:
    """Compare a converted checkpoint's scores with its reference, and both with arithmetic."""
    weights = Weights(path)
    compared = list(comparisons(name, path, flash_attn="off"))
    pairs = [ids for one in compared for ids in one.expected_ids]
    expected = np.concatenate([one.expected for one in compared])
    actual = np.concatenate([one.actual for one in compared])

    def apart(gelu: Gelu, scores: Array) -> Array:
        return np.abs([_score(name, weights, ids, gelu) for ids in pairs] - scores)

    forms = [halved_gelu] if _is_modern(name) else [halved_gelu, tanh_gelu]
    ggml = min((apart(one, actual) for one in forms), key=np.median)
    return GeluParts(np.abs(actual - expected), apart(exact_gelu, expected), ggml)


def _is_modern(name: str) -> bool:
    return name.startswith(("gte", "ettin"))


def _score(name: str, weights: Weights, ids: Sequence[int], gelu: Gelu) -> float:
    if _is_modern(name):
        return modern_score(weights, ids, gelu)
    types: Sequence[int] = ()
    if name.startswith("ms-marco"):
        first = ids.index(bert_words().index("[SEP]")) + 1
        types = [0] * first + [1] * (len(ids) - first)
    return bert_score(weights, ids, types, gelu)
