"""Weights to a GGUF file that llama.cpp loads and rerankd scores by late interaction."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, TokenType, quantize
from numpy.typing import NDArray
from torch import Tensor

from .encoder import HEADS, LAYERS, WIDTH, Weights
from .head import Head

CONTEXT, FEED, TOKEN_TYPES = 512, 1536, 2
PARTS = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
SPECIAL = {"bos": 101, "eos": 102, "unk": 100, "sep": 102, "pad": 0, "mask": 103}


def write(path: Path, weights: Weights, idf: Tensor, head: Head, tokenizer: Path) -> Path:
    """Write the file: matrices in Q8_0, the rest in F32."""
    partial = path.with_suffix(".partial")
    writer = GGUFWriter(partial, "bert")
    _describe(writer)
    _add_vocabulary(writer, tokenizer)
    _add_late(writer, weights, idf, head)
    for name, values in _tensors(weights):
        kind = GGMLQuantizationType.F32
        if values.ndim > 1 and name not in {"position_embd.weight", "token_types.weight"}:
            kind = GGMLQuantizationType.Q8_0
        writer.add_tensor(name, quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    partial.rename(path)
    return path


def _describe(writer: GGUFWriter) -> None:
    writer.add_type("model")
    writer.add_name("rerank-mini-en")
    writer.add_version("1")
    writer.add_description(
        "Small English reranker by late interaction, fine-tuned from all-MiniLM-L6-v2."
        " Made for rerankd: metadata below rerankd.late says how vectors become scores."
    )
    writer.add_size_label("22M")
    writer.add_license("apache-2.0")
    writer.add_tags(["text-ranking"])
    writer.add_languages(["en"])
    writer.add_block_count(LAYERS)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(FEED)
    writer.add_head_count(HEADS)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    writer.add_quantization_version(2)
    writer.add_file_type(7)  # mostly Q8_0


def _add_vocabulary(writer: GGUFWriter, tokenizer: Path) -> None:
    """Write WordPiece as llama.cpp has it: words begin with ▁, and their parts lose the ##."""
    known: dict[str, int] = json.loads(tokenizer.read_text("utf-8"))["model"]["vocab"]
    tokens, kinds = [], []
    for token in sorted(known, key=known.__getitem__):
        control = token in {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}
        part = token.removeprefix("##") if token.startswith("##") else "▁" + token
        tokens.append(token if control else part)
        kinds.append(TokenType.CONTROL if control else TokenType.NORMAL)
    writer.add_token_type_count(TOKEN_TYPES)
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("jina-v2-en")  # plain BERT's splitting, by llama.cpp's name
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_bos_token_id(SPECIAL["bos"])
    writer.add_eos_token_id(SPECIAL["eos"])
    writer.add_unk_token_id(SPECIAL["unk"])
    writer.add_sep_token_id(SPECIAL["sep"])
    writer.add_pad_token_id(SPECIAL["pad"])
    writer.add_mask_token_id(SPECIAL["mask"])
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(True)


def _add_late(writer: GGUFWriter, weights: Weights, idf: Tensor, head: Head) -> None:
    writer.add_uint32("rerankd.late.version", 1)
    for name, value in vars(head).items():
        writer.add_float32(f"rerankd.late.{name}", float(value))
    arrays = {
        "rarity": idf,
        "centre": weights["late.centre"],
        "projection": weights["late.projection"],
    }
    for name, values in arrays.items():
        writer.add_array(f"rerankd.late.{name}", _numbers(values).ravel().tolist())


def _tensors(weights: Weights) -> list[tuple[str, NDArray[np.float32]]]:
    found = [
        ("token_embd.weight", "embeddings.word_embeddings.weight"),
        ("position_embd.weight", "embeddings.position_embeddings.weight"),
        ("token_types.weight", "embeddings.token_type_embeddings.weight"),
        ("token_embd_norm.weight", "embeddings.LayerNorm.weight"),
        ("token_embd_norm.bias", "embeddings.LayerNorm.bias"),
    ]
    for layer in range(LAYERS):
        found += [
            (f"blk.{layer}.{ours}.{kind}", f"encoder.layer.{layer}.{theirs}.{kind}")
            for theirs, ours in PARTS.items()
            for kind in ("weight", "bias")
        ]
    return [(ours, _numbers(weights[theirs])) for ours, theirs in found]


def _numbers(values: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(values.detach().float().numpy())
