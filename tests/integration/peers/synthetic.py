"""Write a GGUF file of Qwen3-Reranker-0.6B's shape with random Q8_0 weights: right for timing.

    PYTHONPATH=tests python tests/integration/peers/synthetic.py FILE [--layers 28]

Scores mean nothing. The vocabulary has the real one's size; the benchmark's words and the
template's are tokens, so that texts are about as long in tokens as in the real model.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, PoolingType

from rerankd.measuring.bench.workload import BENCH_WORDS

from support.tiny_models import (
    CROSSING,
    QWEN3_CONTROL,
    RERANK_TEMPLATE,
    _add_tokens,
    _byte_letters,
    _written,
)

WIDTH, HEADS, KV_HEADS, HEAD_WIDTH, FEED = 1024, 16, 8, 128, 3072
VOCABULARY = 151_669
CONTEXT = 32_768
BLOCK = 32
SPREAD = 0.02
"""Standard deviation of the weights, as trained networks of this width have it."""


def q8_0(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Return random Q8_0 blocks: a half-precision scale and 32 bytes each, as ggml has them."""
    blocks = rows * columns // BLOCK
    made = np.empty((blocks, 2 + BLOCK), dtype=np.uint8)
    made[:, :2] = np.full(blocks, SPREAD / 73, dtype=np.float16).view(np.uint8).reshape(blocks, 2)
    made[:, 2:] = rng.integers(0, 256, size=(blocks, BLOCK), dtype=np.uint8)
    return made.reshape(rows, columns // BLOCK * (2 + BLOCK))


def write(path: Path, layers: int) -> Path:
    """Write the file and return its path."""
    rng = np.random.default_rng(1)
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
    writer.add_file_type(7)
    tokens = add_vocabulary(writer)
    embedding = q8_0(rng, len(tokens), WIDTH)
    add(writer, "token_embd.weight", embedding)
    answers = [tokens.index("yes"), tokens.index("no")]
    add(writer, "cls.output.weight", np.ascontiguousarray(embedding[answers]))
    queries, keys = HEADS * HEAD_WIDTH, KV_HEADS * HEAD_WIDTH
    shapes = {
        "attn_q": (queries, WIDTH),
        "attn_k": (keys, WIDTH),
        "attn_v": (keys, WIDTH),
        "attn_output": (WIDTH, queries),
        "ffn_gate": (FEED, WIDTH),
        "ffn_up": (FEED, WIDTH),
        "ffn_down": (WIDTH, FEED),
    }
    norms = {"attn_norm": WIDTH, "attn_q_norm": HEAD_WIDTH, "attn_k_norm": HEAD_WIDTH}
    for layer in range(layers):
        for name, (rows, columns) in shapes.items():
            add(writer, f"blk.{layer}.{name}.weight", q8_0(rng, rows, columns))
        for name, length in {**norms, "ffn_norm": WIDTH}.items():
            writer.add_tensor(f"blk.{layer}.{name}.weight", np.ones(length, dtype=np.float32))
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, dtype=np.float32))
    writer.add_pooling_type(PoolingType.RANK)
    writer.add_classifier_output_labels(["yes", "no"])
    writer.add_chat_template([{"name": "rerank", "template": RERANK_TEMPLATE}])
    return _written(writer, path)


def add(writer: GGUFWriter, name: str, blocks: np.ndarray) -> None:
    """Add a tensor of Q8_0 blocks."""
    writer.add_tensor(name, blocks, raw_dtype=GGMLQuantizationType.Q8_0)


def add_vocabulary(writer: GGUFWriter) -> list[str]:
    """Add a byte-level vocabulary of the real size; return its tokens."""
    letters = _byte_letters()
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
    listed = [*tokens, *QWEN3_CONTROL]
    listed += [f"<filler {number}>" for number in range(VOCABULARY - len(listed))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    _add_tokens(writer, listed, control=range(first, first + len(QWEN3_CONTROL)))
    writer.add_token_merges(list(merges))
    writer.add_bos_token_id(first)
    writer.add_pad_token_id(first)
    writer.add_eos_token_id(first + 2)
    writer.add_add_bos_token(False)
    return listed


def main() -> None:
    """Write the file named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--layers", type=int, default=28)
    arguments = parser.parse_args()
    print(write(arguments.file, arguments.layers))


if __name__ == "__main__":
    main()
