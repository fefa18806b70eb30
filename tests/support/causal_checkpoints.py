"""Tiny causal rerankers: random weights, and the pieces of the real vocabularies that texts need.

`tests/references/causal.py` makes the same models with whole vocabularies, has llama.cpp's own
converter make GGUF files of them, and keeps these files' metadata beside the references. From both,
`write` makes the file anew: only the vocabulary is smaller.
"""

from __future__ import annotations

import gzip
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFValueType, GGUFWriter, TokenType
from msgspec import Struct

from support.checkpoints import REFERENCES, Floats, Weights

WIDTH, LAYERS, FEED = 64, 2, 128
HEADS, KV_HEADS, HEAD_WIDTH = 4, 2, 32
RECORDS = REFERENCES / "causal.json.gz"

LOOKS_SPECIAL = re.compile(r"<\|.*\|>|<unused.*>|<pad>|<mask>|<2mass>|\[@BOS@\]")
"""What llama.cpp's converter takes for control tokens by their looks."""

Metadata = list[tuple[str, int, int | None, Any]]
"""Key, type, an array's type, and value."""


class CausalKind(Struct, frozen=True, kw_only=True):
    """A published reranker's network and vocabulary."""

    network: str
    """As `general.architecture` has it."""
    family: str
    tokenizer: str = "qwen"
    head: bool = False
    """Whether llama.cpp's converter gives it a score head: rows for yes and no."""
    tied: bool = True
    layers: int = LAYERS
    seed: int
    largest: float = 2e-4
    """How far a logit may lie from the reference's, in F32 without flash attention.

    Gemma's GELU is in half precision. Qwen3-VL's two slowest rotations stand still in llama.cpp,
    which takes them for another axis of an image; they are slow enough not to matter in real models
    (a thousandth of a radian at 4,096 tokens).
    """

    @property
    def head_width(self) -> int:
        """Networks before Qwen3 and Gemma divide their width."""
        return WIDTH // HEADS if self.network == "qwen2" else HEAD_WIDTH


KINDS = {
    "Qwen3-Reranker-0.6B": CausalKind(network="qwen3", family="qwen3", head=True, seed=31),
    "Qwen3-Reranker-8B": CausalKind(
        network="qwen3", family="qwen3", head=True, tied=False, seed=32
    ),
    "zerank-1-small": CausalKind(network="qwen3", family="zerank", seed=33),
    "mxbai-rerank-base-v2": CausalKind(
        network="qwen2", family="mxbai-rerank-v2", tokenizer="qwen2", seed=34
    ),
    "bge-reranker-v2-gemma": CausalKind(
        network="gemma", family="bge-gemma", tokenizer="gemma", seed=35, largest=6e-3
    ),
    "ctxl-rerank-v2-instruct-multilingual-1b": CausalKind(
        network="qwen3", family="ctxl-rerank-v2", seed=36
    ),
    "Qwen3-VL-Reranker-2B": CausalKind(
        network="qwen3vl", family="qwen3-vl", tokenizer="qwen-vl", head=True, seed=37, largest=1e-2
    ),
}


@cache
def vocabulary(name: str) -> dict[str, Any]:
    """Return a vocabulary as tokenizer.json, with only the pieces that the texts can need.

    `qwen2` is Qwen3's without the four tokens that came with it.
    """
    file = REFERENCES / f"{name.rstrip('2')}.tokenizer.json.gz"
    found: dict[str, Any] = json.loads(gzip.decompress(file.read_bytes()))
    if name == "qwen2":
        found["added_tokens"] = found["added_tokens"][:-4]
    return found


def tokens_of(tokenizer: dict[str, Any]) -> list[str]:
    """Return a vocabulary's pieces and added tokens in the order of their ids."""
    ids = {one["content"]: one["id"] for one in tokenizer["added_tokens"]}
    ids |= tokenizer["model"]["vocab"]
    return sorted(ids, key=lambda token: ids[token])


def tensors(kind: CausalKind, rows: int) -> Weights:
    """Return a network's tensors under the names that Hugging Face gives them."""
    weights = Weights(kind.seed)
    weights.matrix("model.embed_tokens.weight", rows, WIDTH, 4.0)
    for layer in range(kind.layers):
        block, queries, keys = f"model.layers.{layer}", HEADS, KV_HEADS
        for part, count in (("q", queries), ("k", keys), ("v", keys)):
            name = f"{block}.self_attn.{part}_proj"
            weights.matrix(f"{name}.weight", count * kind.head_width, WIDTH, 1.5)
            if kind.network == "qwen2":
                weights.vector(f"{name}.bias", count * kind.head_width)
        weights.matrix(f"{block}.self_attn.o_proj.weight", WIDTH, queries * kind.head_width, 1.5)
        for name, shape in (
            ("gate", (FEED, WIDTH)),
            ("up", (FEED, WIDTH)),
            ("down", (WIDTH, FEED)),
        ):
            weights.matrix(f"{block}.mlp.{name}_proj.weight", *shape, 1.5)
        centre = 0.0 if kind.network == "gemma" else 1.0  # Gemma adds the one itself
        for name in ("input_layernorm", "post_attention_layernorm"):
            weights.vector(f"{block}.{name}.weight", WIDTH, centre)
        if kind.network.startswith("qwen3"):
            for name in "qk":
                weights.vector(f"{block}.self_attn.{name}_norm.weight", HEAD_WIDTH, 1.0)
    weights.vector("model.norm.weight", WIDTH, centre)
    if not kind.tied:
        weights.matrix("lm_head.weight", rows, WIDTH, 4.0)
    return weights


GGUF_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.layers": "blk",
    "model.norm": "output_norm",
    "lm_head": "output",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def gguf_tensors(kind: CausalKind) -> dict[str, Floats]:
    """Return the tensors of the GGUF file, as llama.cpp's converter writes them."""
    tokens = tokens_of(vocabulary(kind.tokenizer))
    found: dict[str, Floats] = {}
    for name, values in tensors(kind, len(tokens)).items():
        norm = kind.network == "gemma" and "norm" in name
        found[_gguf_name(name)] = values + np.float32(1) if norm else values
    if kind.head:
        rows = found["token_embd.weight"] if kind.tied else found.pop("output.weight")
        found["cls.output.weight"] = rows[[tokens.index("yes"), tokens.index("no")]]
    return found


def _gguf_name(name: str) -> str:
    for theirs, ours in GGUF_NAMES.items():
        name = name.replace(theirs, ours)
    return name


@cache
def records() -> dict[str, dict[str, Any]]:
    """Return what `tests/references/causal.py` wrote, by the kind of model."""
    found: dict[str, dict[str, Any]] = json.loads(gzip.decompress(RECORDS.read_bytes()))
    return found


def write(name: str, path: Path) -> Path:
    """Write the GGUF file of a kind of model."""
    kind = KINDS[name]
    return write_gguf(kind, records()[name]["metadata"], path)


def write_gguf(kind: CausalKind, metadata: Metadata, path: Path) -> Path:
    """Write a GGUF file with the metadata that the converter gave the whole model."""
    writer = GGUFWriter(path, kind.network)
    for key, type_, item, value in metadata:
        sub = None if item is None else GGUFValueType(item)
        writer.add_key_value(key, value, GGUFValueType(type_), sub)
    _add_vocabulary(writer, vocabulary(kind.tokenizer))
    for tensor, values in gguf_tensors(kind).items():
        writer.add_tensor(tensor, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_vocabulary(writer: GGUFWriter, tokenizer: dict[str, Any]) -> None:
    tokens, kinds = tokens_of(tokenizer), token_types(tokenizer)
    writer.add_token_list([gguf_token(one, kinds[one]) for one in tokens])
    writer.add_token_types([kinds[one] for one in tokens])
    if tokenizer["model"]["byte_fallback"]:
        writer.add_token_scores([score_of(one, tokenizer) for one in tokens])
    else:
        writer.add_token_merges([" ".join(pair) for pair in tokenizer["model"]["merges"]])


def gguf_token(token: str, kind: TokenType) -> str:
    """Return a token as llama.cpp's converter writes it, from tokenizer.json.

    That has a tab where SentencePiece has its byte, and blanks as signs also in added tokens.
    """
    if kind == TokenType.BYTE and token == "\t":
        return "<0x09>"
    return token.replace("▁", " ") if kind == TokenType.USER_DEFINED else token


def score_of(token: str, tokenizer: dict[str, Any]) -> float:
    """Return a SentencePiece piece's score: the later in the vocabulary, the lower."""
    return -float(tokenizer["model"]["vocab"][token])


def token_types(tokenizer: dict[str, Any]) -> dict[str, TokenType]:
    """Return each token's type, as llama.cpp's converter gives it."""
    found = dict.fromkeys(tokens_of(tokenizer), TokenType.NORMAL)
    if tokenizer["model"]["byte_fallback"]:
        found |= {one: TokenType.BYTE for one in found if one == "\t" or one.startswith("<0x")}
    for one in tokenizer["added_tokens"]:
        special = one["special"] or LOOKS_SPECIAL.fullmatch(one["content"])
        found[one["content"]] = TokenType.CONTROL if special else TokenType.USER_DEFINED
    return found
