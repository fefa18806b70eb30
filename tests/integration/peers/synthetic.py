"""Write a GGUF file of a known reranker's shape with random weights: right for timing.

    PYTHONPATH=tests python tests/integration/peers/synthetic.py SHAPE KIND FILE [--layers N]

SHAPE `qwen3` is Qwen3-Reranker-0.6B's, `xlm-r` bge-reranker-v2-m3's; KIND is q8_0 or q4_k_m. Scores
mean nothing. The vocabulary has the real one's size; the benchmark's words and the template's are
tokens, so that texts are about as long in tokens as in the real model.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFWriter, PoolingType

from support.synthetic_shapes import add_byte_pairs, add_unigrams
from support.tiny_models import RERANK_TEMPLATE, written

WIDTH = 1024
"""Both networks'."""
HEADS, KV_HEADS, HEAD_WIDTH, FEED = 16, 8, 128, 3072
VOCABULARY, CONTEXT, LAYERS = 151_669, 32_768, 28
XLMR_FEED, XLMR_VOCABULARY, XLMR_CONTEXT, XLMR_LAYERS = 4096, 250_002, 8194, 24
SPREAD = 0.02
"""Standard deviation of the weights, as trained networks of this width have it."""

Q8_0, Q4_K, Q6_K = (getattr(GGMLQuantizationType, name) for name in ("Q8_0", "Q4_K", "Q6_K"))
SCALES: dict[GGMLQuantizationType, tuple[int, float]] = {
    Q8_0: (0, SPREAD / 73),
    Q4_K: (0, SPREAD / 200),
    Q6_K: (208, SPREAD / 1400),
}
"""Where in a block its half-precision scale is, and how large it is for this spread."""
FILE_TYPES = {"q8_0": 7, "q4_k_m": 15}


class Weights:
    """Adds random tensors to a file, of the types that its kind of file has."""

    def __init__(self, writer: GGUFWriter, kind: str) -> None:
        self._writer, self._kind = writer, kind
        self._random = np.random.default_rng(1)
        writer.add_file_type(FILE_TYPES[kind])

    def matrix(self, name: str, rows: int, columns: int, *, important: bool = False) -> np.ndarray:
        """Add a matrix; Q4_K_M files have their important ones in Q6_K. Returns its blocks."""
        kind = Q8_0
        if self._kind == "q4_k_m":
            kind = Q6_K if important else Q4_K
        blocks = self._blocks(kind, rows, columns)
        self._writer.add_tensor(f"{name}.weight", blocks, raw_dtype=kind)
        return blocks

    def plain(self, name: str, rows: int, columns: int) -> None:
        """Add a small matrix in full precision."""
        values = self._random.standard_normal((rows, columns)) * SPREAD
        self._writer.add_tensor(f"{name}.weight", values.astype(np.float32))

    def vector(self, name: str, length: int, value: float) -> None:
        self._writer.add_tensor(name, np.full(length, value, dtype=np.float32))

    def norm(self, name: str) -> None:
        """Add a layer norm that changes nothing."""
        self.vector(f"{name}.weight", WIDTH, 1.0)
        self.vector(f"{name}.bias", WIDTH, 0.0)

    def linear(self, name: str, rows: int, columns: int, *, important: bool = False) -> None:
        """Add a matrix with a bias of zeros."""
        self.matrix(name, rows, columns, important=important)
        self.vector(f"{name}.bias", rows, 0.0)

    def _blocks(self, kind: GGMLQuantizationType, rows: int, columns: int) -> np.ndarray:
        values, size = GGML_QUANT_SIZES[kind]
        blocks = rows * columns // values
        made = self._random.integers(0, 256, size=(blocks, size), dtype=np.uint8)
        place, scale = SCALES[kind]
        halves = np.full(blocks, scale, dtype=np.float16).view(np.uint8).reshape(blocks, 2)
        made[:, place : place + 2] = halves
        if kind == Q4_K:  # its least value as well
            made[:, 2:4] = halves
        return made.reshape(rows, columns // values * size)


def write_qwen3(path: Path, kind: str, layers: int = LAYERS) -> Path:
    """Write a causal reranker with a head and return its path."""
    writer = GGUFWriter(path, "qwen3")
    writer.add_name("Synthetic Qwen3 Reranker 0.6B")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(FEED)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_key_length(HEAD_WIDTH)
    writer.add_value_length(HEAD_WIDTH)
    writer.add_rope_freq_base(1_000_000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    tokens = add_byte_pairs(writer, VOCABULARY)
    weights = Weights(writer, kind)
    weights.matrix("token_embd", len(tokens), WIDTH, important=True)
    weights.plain("cls.output", 2, WIDTH)
    queries, keys = HEADS * HEAD_WIDTH, KV_HEADS * HEAD_WIDTH
    for layer in range(layers):
        name = f"blk.{layer}"
        more = layer % 2 == 0  # half of them are important in such files
        weights.matrix(f"{name}.attn_q", queries, WIDTH)
        weights.matrix(f"{name}.attn_k", keys, WIDTH)
        weights.matrix(f"{name}.attn_v", keys, WIDTH, important=more)
        weights.matrix(f"{name}.attn_output", WIDTH, queries)
        weights.matrix(f"{name}.ffn_gate", FEED, WIDTH)
        weights.matrix(f"{name}.ffn_up", FEED, WIDTH)
        weights.matrix(f"{name}.ffn_down", WIDTH, FEED, important=more)
        for norm, length in {
            "attn_norm": WIDTH,
            "ffn_norm": WIDTH,
            "attn_q_norm": HEAD_WIDTH,
            "attn_k_norm": HEAD_WIDTH,
        }.items():
            weights.vector(f"{name}.{norm}.weight", length, 1.0)
    weights.vector("output_norm.weight", WIDTH, 1.0)
    writer.add_pooling_type(PoolingType.RANK)
    writer.add_classifier_output_labels(["yes", "no"])
    writer.add_chat_template([{"name": "rerank", "template": RERANK_TEMPLATE}])
    return written(writer, path)


def write_xlm_r(path: Path, kind: str, layers: int = XLMR_LAYERS) -> Path:
    """Write a cross-encoder with a pooler and a head and return its path."""
    writer = GGUFWriter(path, "bert")
    writer.add_name("Synthetic bge-reranker-v2-m3")
    writer.add_context_length(XLMR_CONTEXT - 2)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(XLMR_FEED)
    writer.add_head_count(HEADS)
    writer.add_layer_norm_eps(1e-5)
    writer.add_causal_attention(False)
    writer.add_pooling_type(PoolingType.RANK)
    writer.add_token_type_count(1)
    add_unigrams(writer, XLMR_VOCABULARY)
    weights = Weights(writer, kind)
    weights.matrix("token_embd", XLMR_VOCABULARY, WIDTH, important=True)
    weights.plain("position_embd", XLMR_CONTEXT - 2, WIDTH)
    weights.plain("token_types", 1, WIDTH)
    weights.norm("token_embd_norm")
    for layer in range(layers):
        name = f"blk.{layer}"
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            weights.linear(f"{name}.{part}", WIDTH, WIDTH, important=part == "attn_v")
        weights.linear(f"{name}.ffn_up", XLMR_FEED, WIDTH)
        weights.linear(f"{name}.ffn_down", WIDTH, XLMR_FEED, important=layer % 2 == 0)
        weights.norm(f"{name}.attn_output_norm")
        weights.norm(f"{name}.layer_output_norm")
    weights.plain("cls", WIDTH, WIDTH)
    weights.vector("cls.bias", WIDTH, 0.0)
    weights.plain("cls.output", 1, WIDTH)
    weights.vector("cls.output.bias", 1, 0.0)
    return written(writer, path)


SHAPES: dict[str, Callable[..., Path]] = {"qwen3": write_qwen3, "xlm-r": write_xlm_r}


def main() -> None:
    """Write the file named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("kind", choices=FILE_TYPES)
    parser.add_argument("file", type=Path)
    parser.add_argument("--layers", type=int)
    arguments = parser.parse_args()
    layers = {"layers": arguments.layers} if arguments.layers else {}
    print(SHAPES[arguments.shape](arguments.file, arguments.kind, **layers))


if __name__ == "__main__":
    main()
