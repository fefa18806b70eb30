"""The models' arithmetic in NumPy, in float64.

Written from the models' papers and the file format, sharing nothing with the engine: weights
come straight from the GGUF file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, dequantize, quantize
from numpy.typing import NDArray

from support.k_quants import Q4_K, Q6_K, round_to_q8_k

Array: TypeAlias = NDArray[np.float64]
Gelu: TypeAlias = Callable[[Array], Array]

HEAD_PREFIX = "rerankd.head."
LAYER_NORM_EPS = "attention.layer_norm_epsilon"
RMS_NORM_EPS = "attention.layer_norm_rms_epsilon"


class Weights:
    """A GGUF file's tensors as float64, those of a head in its metadata too.

    `rows` are the most rows that are read of a tensor: of a large vocabulary, its first tokens.
    """

    def __init__(self, path: Path, *, rows: int | None = None) -> None:
        reader = GGUFReader(path)
        self._metadata = {key: field.contents() for key, field in reader.fields.items()}
        self._tensors = {
            one.name: dequantize(one.data[:rows], one.tensor_type).astype(np.float64)
            for one in reader.tensors
        }
        self._tensors |= {
            key.removeprefix(HEAD_PREFIX): np.array(numbers, np.float64)
            for key, numbers in self._metadata.items()
            if key.startswith(HEAD_PREFIX) and key.endswith((".weight", ".bias"))
        }
        self._types = {one.name: one.tensor_type for one in reader.tensors}
        self.tokens: list[str] = self._metadata["tokenizer.ggml.tokens"]
        self.pooling: str = self._metadata.get(f"{HEAD_PREFIX}pooling", "")

    def key(self, name: str) -> Any:
        """Return a value of the file's architecture."""
        return self._metadata[f"{self._metadata['general.architecture']}.{name}"]

    def has(self, name: str) -> bool:
        return name in self._tensors

    def __getitem__(self, name: str) -> Array:
        return self._tensors[name]

    def linear(self, name: str, values: Array) -> Array:
        """Apply a matrix and, where there is one, its bias.

        What meets a quantised matrix is rounded to 8 bits itself, which is how ggml multiplies.
        """
        kind = self._types.get(f"{name}.weight")
        if kind == GGMLQuantizationType.Q8_0:
            values = _in_eight_bits(values)
        elif kind in (Q4_K, Q6_K):
            values = round_to_q8_k(values)
        found = values @ self[f"{name}.weight"].T
        return found + self[f"{name}.bias"] if self.has(f"{name}.bias") else found


def _in_eight_bits(values: Array) -> Array:
    rounded = quantize(values.astype(np.float32), GGMLQuantizationType.Q8_0)
    return dequantize(rounded, GGMLQuantizationType.Q8_0).astype(np.float64)


def tanh_gelu(values: Array) -> Array:
    """Return GELU in its tanh form, the one ggml computes."""
    inner = np.sqrt(2 / np.pi) * (values + 0.044715 * values**3)
    found: Array = 0.5 * values * (1.0 + np.tanh(inner))
    return found


def bert_score(
    weights: Weights,
    ids: Sequence[int] | NDArray[np.int32],
    token_types: Sequence[int] | NDArray[np.int32] = (),
    gelu: Gelu = tanh_gelu,
) -> float:
    """Return the logit of one pair; token types are all 0 where none are given."""
    pooled = bert_states(weights, ids, token_types, gelu)[0]
    if weights.has("cls.weight"):
        pooled = np.tanh(weights.linear("cls", pooled))
    return float(weights.linear("cls.output", pooled)[0])


def bert_states(
    weights: Weights,
    ids: Sequence[int] | NDArray[np.int32],
    token_types: Sequence[int] | NDArray[np.int32] = (),
    gelu: Gelu = tanh_gelu,
) -> Array:
    """Return the last hidden states, `[tokens, width]`."""
    types = weights["token_types.weight"][list(token_types) or [0] * len(ids)]
    hidden = weights["token_embd.weight"][ids] + weights["position_embd.weight"][: len(ids)]
    hidden = layer_norm(weights, "token_embd_norm", hidden + types)
    for layer in range(weights.key("block_count")):
        block = f"blk.{layer}"
        mixed = weights.linear(f"{block}.attn_output", _bert_attention(weights, block, hidden))
        hidden = layer_norm(weights, f"{block}.attn_output_norm", hidden + mixed)
        fed = weights.linear(f"{block}.ffn_down", gelu(weights.linear(f"{block}.ffn_up", hidden)))
        hidden = layer_norm(weights, f"{block}.layer_output_norm", hidden + fed)
    return hidden


def _bert_attention(weights: Weights, block: str, hidden: Array) -> Array:
    heads = weights.key("attention.head_count")
    query, key, value = (
        split_heads(weights.linear(f"{block}.attn_{name}", hidden), heads) for name in "qkv"
    )
    return joined(softmax(similar(query, key)) @ value)


def jina_states(weights: Weights, ids: Sequence[int] | NDArray[np.int32]) -> Array:
    """Return the last hidden states of JinaBERT, whose positions are ALiBi's."""
    hidden = weights["token_embd.weight"][ids] + weights["token_types.weight"][0]
    hidden = layer_norm(weights, "token_embd_norm", hidden)
    heads = weights.key("attention.head_count")
    slopes = 2.0 ** (-8 * np.arange(1, heads + 1) / heads)  # for a power of two
    apart = np.abs(np.subtract.outer(np.arange(len(ids)), np.arange(len(ids))))
    for layer in range(weights.key("block_count")):
        block = f"blk.{layer}"
        query, key, value = (
            split_heads(weights.linear(f"{block}.attn_{name}", hidden), heads) for name in "qkv"
        )
        shares = softmax(similar(query, key) - slopes[:, None, None] * apart)
        mixed = weights.linear(f"{block}.attn_output", joined(shares @ value))
        hidden = layer_norm(weights, f"{block}.attn_output_norm", hidden + mixed)
        gate, up = np.split(weights.linear(f"{block}.ffn_up", hidden), 2, axis=-1)
        fed = weights.linear(f"{block}.ffn_down", tanh_gelu(gate) * up)
        hidden = layer_norm(weights, f"{block}.layer_output_norm", hidden + fed)
    return hidden


def neo_bert_score(weights: Weights, ids: Sequence[int] | NDArray[np.int32]) -> float:
    """Return the logit of one pair: NeoBERT turns neighbours and puts norms before its layers."""
    hidden = weights["token_embd.weight"][ids]
    heads, base = weights.key("attention.head_count"), weights.key("rope.freq_base")
    for layer in range(weights.key("block_count")):
        block = f"blk.{layer}"
        normed = rms_norm(weights, f"{block}.attn_norm", hidden)
        query, key, value = (
            split_heads(one, heads)
            for one in np.split(weights.linear(f"{block}.attn_qkv", normed), 3, axis=-1)
        )
        query, key = (turned(halves_of_pairs(one), base) for one in (query, key))
        mixed = joined(softmax(similar(query, key)) @ value)
        hidden = hidden + weights.linear(f"{block}.attn_output", mixed)
        normed = rms_norm(weights, f"{block}.ffn_norm", hidden)
        gate, up = np.split(weights.linear(f"{block}.ffn_up", normed), 2, axis=-1)
        hidden = hidden + weights.linear(f"{block}.ffn_down", gate / (1.0 + np.exp(-gate)) * up)
    pooled = rms_norm(weights, "enc.output_norm", hidden[0])
    if weights.has("cls.weight"):
        pooled = np.tanh(weights.linear("cls", pooled))
    return float(weights.linear("cls.output", pooled)[0])


def halves_of_pairs(values: Array) -> Array:
    """Put each head's even numbers before its odd ones, so that neighbours are turned together."""
    return np.concatenate((values[..., ::2], values[..., 1::2]), axis=-1)


def qwen3_rank(weights: Weights, ids: Sequence[int] | NDArray[np.int32]) -> float:
    """Return yes − no of the rank head at the last token."""
    yes, no = weights.linear("cls.output", _qwen3_last(weights, ids))
    return float(yes - no)


def qwen3_answer(weights: Weights, ids: Sequence[int] | NDArray[np.int32]) -> float:
    """Return yes − no of the next token's logits."""
    return qwen3_logit(weights, ids, "yes") - qwen3_logit(weights, ids, "no")


def qwen3_logit(weights: Weights, ids: Sequence[int] | NDArray[np.int32], token: str) -> float:
    """Return the logit of a token as the next one."""
    name = "output" if weights.has("output.weight") else "token_embd"
    logits = weights.linear(name, _qwen3_last(weights, ids))
    return float(logits[weights.tokens.index(token)])


def _qwen3_last(weights: Weights, ids: Sequence[int] | NDArray[np.int32]) -> Array:
    """Return the last token's hidden state after the final norm."""
    hidden = weights["token_embd.weight"][ids]
    for layer in range(weights.key("block_count")):
        block = f"blk.{layer}"
        normed = rms_norm(weights, f"{block}.attn_norm", hidden)
        mixed = _qwen3_attention(weights, block, normed)
        hidden = hidden + weights.linear(f"{block}.attn_output", mixed)
        normed = rms_norm(weights, f"{block}.ffn_norm", hidden)
        gate = weights.linear(f"{block}.ffn_gate", normed)
        fed = gate / (1.0 + np.exp(-gate)) * weights.linear(f"{block}.ffn_up", normed)
        hidden = hidden + weights.linear(f"{block}.ffn_down", fed)
    return rms_norm(weights, "output_norm", hidden[-1])


def _qwen3_attention(weights: Weights, block: str, normed: Array) -> Array:
    heads, kv_heads = weights.key("attention.head_count"), weights.key("attention.head_count_kv")
    query = split_heads(weights.linear(f"{block}.attn_q", normed), heads)
    key = split_heads(weights.linear(f"{block}.attn_k", normed), kv_heads)
    value = split_heads(weights.linear(f"{block}.attn_v", normed), kv_heads)
    base = weights.key("rope.freq_base")
    query = turned(rms_norm(weights, f"{block}.attn_q_norm", query), base)
    key = turned(rms_norm(weights, f"{block}.attn_k_norm", key), base)
    key, value = (np.repeat(one, heads // kv_heads, axis=0) for one in (key, value))
    unseen = np.triu(np.full((len(normed), len(normed)), -np.inf), k=1)
    return joined(softmax(similar(query, key) + unseen) @ value)


def turned(values: Array, base: float) -> Array:
    """Rotate each head's first half against its second by its position's angles."""
    half = values.shape[-1] // 2
    speeds = base ** (-np.arange(half) / half)
    angles = np.arange(values.shape[-2])[:, None] * speeds
    left, right = values[..., :half], values[..., half:]
    cos, sin = np.cos(angles), np.sin(angles)
    return np.concatenate((left * cos - right * sin, left * sin + right * cos), axis=-1)


def split_heads(values: Array, heads: int) -> Array:
    return values.reshape(len(values), heads, -1).transpose(1, 0, 2)


def joined(values: Array) -> Array:
    return values.transpose(1, 0, 2).reshape(values.shape[1], -1)


def similar(query: Array, key: Array) -> Array:
    found: Array = query @ key.transpose(0, 2, 1) / np.sqrt(query.shape[-1])
    return found


def softmax(values: Array) -> Array:
    grown = np.exp(values - values.max(axis=-1, keepdims=True))
    shares: Array = grown / grown.sum(axis=-1, keepdims=True)
    return shares


def layer_norm(weights: Weights, name: str, values: Array) -> Array:
    centred = values - values.mean(axis=-1, keepdims=True)
    scale = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + weights.key(LAYER_NORM_EPS))
    normed: Array = centred / scale * weights[f"{name}.weight"]
    return normed + weights[f"{name}.bias"] if weights.has(f"{name}.bias") else normed


def rms_norm(weights: Weights, name: str, values: Array) -> Array:
    scale = np.sqrt((values**2).mean(axis=-1, keepdims=True) + weights.key(RMS_NORM_EPS))
    normed: Array = values / scale * weights[f"{name}.weight"]
    return normed
