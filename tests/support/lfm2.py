"""A tiny LFM2-ColBERT as LiquidAI publishes it, and what its tokens' vectors are in NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from gguf import GGUFWriter, TokenType
from numpy.typing import NDArray

from support import tiny_models
from support.forward_pass import (
    Array,
    Weights,
    joined,
    rms_norm,
    similar,
    softmax,
    split_heads,
    turned,
)
from support.tiny_models import FEED, HEADS, KV_HEADS, QWEN3_CONTEXT, WIDTH

DIMENSIONS, KERNEL = 16, 3
CONTROL = ("<|pad|>", "<|startoftext|>", "<|im_end|>")
MARKERS = ("[Q] ", "[D] ")


def write_lfm2_colbert(path: Path, *, name: str, causal: bool = False) -> Path:
    """Write a file with a layer of convolution, one of attention, and a projection."""
    random, writer = tiny_models.Random(21), GGUFWriter(path, "lfm2")
    writer.add_name(name)
    writer.add_context_length(QWEN3_CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_embedding_length_out(DIMENSIONS)
    writer.add_block_count(2)
    writer.add_feed_forward_length(FEED)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv([0, KV_HEADS])
    writer.add_shortconv_l_cache(KERNEL)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    if not causal:
        writer.add_causal_attention(False)
    count = _add_vocabulary(writer)
    writer.add_vocab_size(count)
    head = WIDTH // HEADS
    matrices = {
        "token_embd": (count, WIDTH),
        "dense_2": (DIMENSIONS, WIDTH),
        "blk.0.shortconv.conv": (WIDTH, KERNEL),
        "blk.0.shortconv.in_proj": (3 * WIDTH, WIDTH),
        "blk.0.shortconv.out_proj": (WIDTH, WIDTH),
        "blk.1.attn_q": (WIDTH, WIDTH),
        "blk.1.attn_k": (KV_HEADS * head, WIDTH),
        "blk.1.attn_v": (KV_HEADS * head, WIDTH),
        "blk.1.attn_output": (WIDTH, WIDTH),
    }
    for layer in range(2):
        matrices |= {f"blk.{layer}.ffn_{one}": (FEED, WIDTH) for one in ("gate", "up")}
        matrices[f"blk.{layer}.ffn_down"] = (WIDTH, FEED)
    for tensor, shape in matrices.items():
        writer.add_tensor(f"{tensor}.weight", random.matrix(*shape, gain=1.5))
    norms = {f"blk.{layer}.{one}_norm": WIDTH for layer in range(2) for one in ("attn", "ffn")}
    norms |= {"blk.1.attn_q_norm": head, "blk.1.attn_k_norm": head, "token_embd_norm": WIDTH}
    for tensor, length in norms.items():
        writer.add_tensor(f"{tensor}.weight", random.vector(length, centre=1.0))
    return tiny_models.written(writer, path)


def _add_vocabulary(writer: GGUFWriter) -> int:
    """Add single bytes, control tokens and the two markers, and return how many there are."""
    letters = tiny_models.byte_letters()
    tokens = [*letters, *CONTROL, *MARKERS]
    kinds = [TokenType.NORMAL] * len(letters) + [TokenType.CONTROL] * len(CONTROL)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("lfm2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds + [TokenType.USER_DEFINED] * len(MARKERS))
    writer.add_token_merges([f"{letters[0]} {letters[1]}"])
    first = len(letters)
    writer.add_pad_token_id(first)
    writer.add_bos_token_id(first + 1)
    writer.add_eos_token_id(first + 2)
    writer.add_add_bos_token(True)
    return len(tokens)


def token_vectors(weights: Weights, ids: list[int], hidden: int) -> Array:
    """Return each token's unit vector; no token attends to the last `hidden` ones."""
    states = weights["token_embd.weight"][ids]
    for layer in range(2):
        block = f"blk.{layer}"
        normed = rms_norm(weights, f"{block}.attn_norm", states)
        mix = _attention if layer else _convolution
        states = states + mix(weights, block, normed, hidden)
        normed = rms_norm(weights, f"{block}.ffn_norm", states)
        gate = weights.linear(f"{block}.ffn_gate", normed)
        fed = gate / (1.0 + np.exp(-gate)) * weights.linear(f"{block}.ffn_up", normed)
        states = states + weights.linear(f"{block}.ffn_down", fed)
    found: NDArray[np.float64] = weights.linear(
        "dense_2", rms_norm(weights, "token_embd_norm", states)
    )
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def _convolution(weights: Weights, block: str, normed: Array, _hidden: int) -> Array:
    """Let each token see its neighbours, those included that no token attends to."""
    inner, gate, values = np.split(weights.linear(f"{block}.shortconv.in_proj", normed), 3, axis=1)
    padded = np.pad(inner * values, ((1, 1), (0, 0)))
    kernel = weights[f"{block}.shortconv.conv.weight"]
    mixed = sum(padded[at : at + len(normed)] * kernel[:, at] for at in range(KERNEL))
    return weights.linear(f"{block}.shortconv.out_proj", gate * mixed)


def _attention(weights: Weights, block: str, normed: Array, hidden: int) -> Array:
    query = split_heads(weights.linear(f"{block}.attn_q", normed), HEADS)
    key = split_heads(weights.linear(f"{block}.attn_k", normed), KV_HEADS)
    value = split_heads(weights.linear(f"{block}.attn_v", normed), KV_HEADS)
    base = weights.key("rope.freq_base")
    query = turned(rms_norm(weights, f"{block}.attn_q_norm", query), base)
    key = turned(rms_norm(weights, f"{block}.attn_k_norm", key), base)
    key, value = (np.repeat(one, HEADS // KV_HEADS, axis=0) for one in (key, value))
    unseen = np.where(np.arange(len(normed)) >= len(normed) - hidden, -np.inf, 0.0)
    mixed = joined(softmax(similar(query, key) + unseen) @ value)
    return weights.linear(f"{block}.attn_output", mixed)
