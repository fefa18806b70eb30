"""GGUF files of real models' shapes with random Q8_0 weights: right for timing and memory.

Scores mean nothing, but depend on the texts. The benchmark's words are tokens of every vocabulary,
so that texts are about as long in tokens as in the real model.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, PoolingType

from rerankd.measuring.bench.workload import BENCH_WORDS

from support.tiny_models import (
    BERT_CONTROL,
    CROSSING,
    LETTERS,
    QWEN3_CONTROL,
    RERANK_TEMPLATE,
    T5_CONTROL,
    add_tokens,
    byte_letters,
    written,
)

BLOCK = 32
SPREAD = 73.9
"""Standard deviation of the whole numbers in a block."""
EVEN = 1.5
"""How much wider than its inputs a layer's outputs are, so that scores depend on the text."""
MARKS = "?!.,[]{}<>/|_:"


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network's sizes; `kv_heads` and `head_width` are a causal one's."""

    kind: Literal["bert", "xlmr", "qwen3"]
    layers: int
    width: int
    feed: int
    heads: int
    vocabulary: int
    context: int
    kv_heads: int = 0
    head_width: int = 0


MINILM = Network(
    kind="bert", layers=6, width=384, feed=1536, heads=12, vocabulary=30_522, context=512
)
"""ms-marco-MiniLM-L6-v2."""
BGE_M3 = Network(
    kind="xlmr", layers=24, width=1024, feed=4096, heads=16, vocabulary=250_002, context=8192
)
"""bge-reranker-v2-m3."""
QWEN3_06B = Network(
    kind="qwen3",
    layers=28,
    width=1024,
    feed=3072,
    heads=16,
    vocabulary=151_669,
    context=32_768,
    kv_heads=8,
    head_width=128,
)
"""Qwen3-Reranker-0.6B."""
NETWORKS = {one.kind: one for one in (MINILM, BGE_M3, QWEN3_06B)}
SMALL = {"layers": 2, "width": 64, "feed": 128, "heads": 4, "vocabulary": 600}
"""Changes for a network that a test can run."""


def small_network(kind: str) -> Network:
    """Return a network of a kind that takes no time."""
    causal = {"kv_heads": 2, "head_width": 32} if kind == "qwen3" else {}
    return replace(NETWORKS[kind], **SMALL, **causal)


class Weights:
    """Adds random tensors to a file."""

    def __init__(self, writer: GGUFWriter) -> None:
        self._writer = writer
        self._random = np.random.default_rng(1)

    def matrix(self, name: str, rows: int, columns: int, gain: float = EVEN) -> np.ndarray:
        """Add a matrix of Q8_0 blocks, a half-precision scale and 32 bytes each; return them."""
        blocks = rows * columns // BLOCK
        made = np.empty((blocks, 2 + BLOCK), dtype=np.uint8)
        scale = np.full(blocks, gain / np.sqrt(columns) / SPREAD, dtype=np.float16)
        made[:, :2] = scale.view(np.uint8).reshape(blocks, 2)
        made[:, 2:] = self._random.integers(0, 256, size=(blocks, BLOCK), dtype=np.uint8)
        self.blocks(name, made.reshape(rows, -1))
        return made.reshape(rows, -1)

    def blocks(self, name: str, made: np.ndarray) -> None:
        """Add Q8_0 blocks that are there already."""
        self._writer.add_tensor(f"{name}.weight", made, raw_dtype=GGMLQuantizationType.Q8_0)

    def floats(self, name: str, rows: int, columns: int) -> None:
        """Add a matrix that isn't quantised."""
        made = self._random.standard_normal((rows, columns)) / np.sqrt(columns)
        self._writer.add_tensor(f"{name}.weight", made.astype(np.float32))

    def linear(self, name: str, rows: int, columns: int, gain: float = EVEN) -> None:
        """Add a matrix and a bias."""
        self.matrix(name, rows, columns, gain)
        self._writer.add_tensor(f"{name}.bias", np.zeros(rows, dtype=np.float32))

    def norm(self, name: str, width: int, *, bias: bool = False) -> None:
        """Add a norm that changes nothing."""
        self._writer.add_tensor(f"{name}.weight", np.ones(width, dtype=np.float32))
        if bias:
            self._writer.add_tensor(f"{name}.bias", np.zeros(width, dtype=np.float32))


def write_network(path: Path, network: Network) -> Path:
    """Write the file and return its path."""
    writer = GGUFWriter(path, "qwen3" if network.kind == "qwen3" else "bert")
    writer.add_name(f"Synthetic {network.kind} Reranker")
    writer.add_context_length(network.context)
    writer.add_embedding_length(network.width)
    writer.add_block_count(network.layers)
    writer.add_feed_forward_length(network.feed)
    writer.add_head_count(network.heads)
    writer.add_file_type(7)
    if network.kind == "qwen3":
        _add_qwen3(writer, network)
    else:
        _add_encoder(writer, network)
    return written(writer, path)


def _add_encoder(writer: GGUFWriter, network: Network) -> None:
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    writer.add_token_type_count(1)
    add_vocabulary = _add_wordpiece if network.kind == "bert" else add_unigrams
    tokens = add_vocabulary(writer, network.vocabulary)
    weights, width = Weights(writer), network.width
    weights.matrix("token_embd", tokens, width)
    weights.floats("position_embd", network.context, width)
    weights.floats("token_types", 1, width)
    weights.norm("token_embd_norm", width, bias=True)
    for layer in range(network.layers):
        block = f"blk.{layer}"
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            weights.linear(f"{block}.{part}", width, width)
        weights.norm(f"{block}.attn_output_norm", width, bias=True)
        weights.linear(f"{block}.ffn_up", network.feed, width)
        weights.linear(f"{block}.ffn_down", width, network.feed)
        weights.norm(f"{block}.layer_output_norm", width, bias=True)
    weights.linear("cls", width, width)
    weights.linear("cls.output", 1, width, gain=6.0)
    writer.add_pooling_type(PoolingType.RANK)


def _add_qwen3(writer: GGUFWriter, network: Network) -> None:
    writer.add_head_count_kv(network.kv_heads)
    writer.add_key_length(network.head_width)
    writer.add_value_length(network.head_width)
    writer.add_rope_freq_base(1_000_000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    tokens = add_byte_pairs(writer, network.vocabulary)
    weights, width, feed = Weights(writer), network.width, network.feed
    embedding = weights.matrix("token_embd", len(tokens), width, gain=4.0)
    answers = [tokens.index("yes"), tokens.index("no")]
    weights.blocks("cls.output", np.ascontiguousarray(embedding[answers]))
    queries, keys = network.heads * network.head_width, network.kv_heads * network.head_width
    shapes = {
        "attn_q": (queries, width),
        "attn_k": (keys, width),
        "attn_v": (keys, width),
        "attn_output": (width, queries),
        "ffn_gate": (feed, width),
        "ffn_up": (feed, width),
        "ffn_down": (width, feed),
    }
    for layer in range(network.layers):
        for name, (rows, columns) in shapes.items():
            weights.matrix(f"blk.{layer}.{name}", rows, columns)
        for name in ("attn_norm", "ffn_norm"):
            weights.norm(f"blk.{layer}.{name}", width)
        for name in ("attn_q_norm", "attn_k_norm"):
            weights.norm(f"blk.{layer}.{name}", network.head_width)
    weights.norm("output_norm", width)
    writer.add_pooling_type(PoolingType.RANK)
    writer.add_classifier_output_labels(["yes", "no"])
    writer.add_chat_template([{"name": "rerank", "template": RERANK_TEMPLATE}])


def _filled(tokens: list[str], size: int) -> list[str]:
    return tokens + [f"<filler {number}>" for number in range(size - len(tokens))]


def _add_wordpiece(writer: GGUFWriter, size: int) -> int:
    pieces = ["▁" + one for one in dict.fromkeys([*BENCH_WORDS, *LETTERS, *MARKS])]
    tokens = _filled([*BERT_CONTROL, *pieces, *LETTERS], size)
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    add_tokens(writer, tokens, control=range(len(BERT_CONTROL)))
    writer.add_pad_token_id(0)
    writer.add_unk_token_id(1)
    writer.add_bos_token_id(2)
    writer.add_sep_token_id(3)
    writer.add_mask_token_id(4)
    return len(tokens)


def add_unigrams(writer: GGUFWriter, size: int) -> int:
    """Add a unigram vocabulary of so many tokens, as XLM-RoBERTa's files have it; return that."""
    pieces = ["▁", *("▁" + word for word in BENCH_WORDS), *LETTERS, *MARKS]
    tokens = _filled([*T5_CONTROL, *dict.fromkeys(pieces)], size)
    writer.add_tokenizer_model("t5")
    writer.add_tokenizer_pre("default")
    add_tokens(writer, tokens, control=(0, 1, 2, 4), unknown=3)
    writer.add_token_scores([0.0] * 5 + [-float(at) for at in range(5, len(tokens))])
    writer.add_add_space_prefix(True)
    writer.add_remove_extra_whitespaces(True)
    writer.add_bos_token_id(0)
    writer.add_pad_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_sep_token_id(2)
    writer.add_unk_token_id(3)
    return len(tokens)


def add_byte_pairs(writer: GGUFWriter, size: int) -> list[str]:
    """Add a byte-level vocabulary of so many tokens and return them."""
    letters = byte_letters()
    template = RERANK_TEMPLATE.replace("\n", " ").split()
    words = ["yes", "no", *CROSSING, *(f" {word}" for word in (*BENCH_WORDS, *template))]
    merges: dict[str, None] = {}
    tokens = dict.fromkeys(letters)
    for word in words:
        left, *rest = (letters[byte] for byte in word.encode())
        for right in rest:
            merges[f"{left} {right}"] = None
            left += right
            tokens[left] = None
    first = len(tokens)
    listed = _filled([*tokens, *QWEN3_CONTROL], size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    add_tokens(writer, listed, control=range(first, first + len(QWEN3_CONTROL)))
    writer.add_token_merges(list(merges))
    writer.add_bos_token_id(first)
    writer.add_pad_token_id(first)
    writer.add_eos_token_id(first + 2)
    writer.add_add_bos_token(False)
    return listed
