"""A tiny random Qwen3-VL-Reranker that sees pictures: its language model and its projector.

`tests/references/pictures.py` makes the same with the whole published vocabulary, and keeps what
llama.cpp's converter writes as both files' metadata.
"""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFValueType, GGUFWriter, quantize

from support.causal_checkpoints import WIDTH, CausalKind, Metadata, write_gguf
from support.checkpoints import REFERENCES, Floats, Weights

RECORDS = REFERENCES / "pictures.json.gz"

PICTURED = CausalKind(
    network="qwen3vl", family="qwen3-vl", tokenizer="qwen-vl", head=True, layers=3, seed=38
)
PATCH, MERGE, FRAMES = 16, 2, 2
VISION_WIDTH, VISION_FEED, VISION_HEADS, DEPTH = 64, 96, 4, 3
PLACES = 16 * 16
"""Learned position embeddings, which are stretched over the patches of a picture."""
DEEPSTACK = (0, 2)
"""Layers whose outputs are added in the first layers of the language model."""

VISION_CONFIG = {
    "model_type": "qwen3_vl",
    "depth": DEPTH,
    "hidden_size": VISION_WIDTH,
    "intermediate_size": VISION_FEED,
    "num_heads": VISION_HEADS,
    "in_channels": 3,
    "patch_size": PATCH,
    "temporal_patch_size": FRAMES,
    "spatial_merge_size": MERGE,
    "num_position_embeddings": PLACES,
    "out_hidden_size": WIDTH,
    "hidden_act": "gelu_pytorch_tanh",
    "deepstack_visual_indexes": list(DEEPSTACK),
}

Q8_0_BLOCK = 32
POSITIONS = "v.position_embd.weight"

GGUF_NAMES = {
    "model.visual.": "v.",
    "patch_embed.proj": "patch_embd",
    "pos_embed": "position_embd",
    "blocks.": "blk.",
    "norm1": "ln1",
    "norm2": "ln2",
    "attn.qkv": "attn_qkv",
    "attn.proj": "attn_out",
    "mlp.linear_fc1": "ffn_up",
    "mlp.linear_fc2": "ffn_down",
    "v.merger.norm": "v.post_ln",
    "v.merger.linear_fc1": "mm.0",
    "v.merger.linear_fc2": "mm.2",
    "linear_fc": "fc",
}


def vision_tensors() -> Weights:
    """Return the vision tower's tensors under the names that Hugging Face gives them."""
    weights = Weights(PICTURED.seed + 1000)
    tower = "model.visual"
    patch = f"{tower}.patch_embed.proj"
    weights.linear(patch, VISION_WIDTH, 3 * FRAMES * PATCH * PATCH, 2.0)
    shape = (VISION_WIDTH, 3, FRAMES, PATCH, PATCH)
    weights[f"{patch}.weight"] = weights[f"{patch}.weight"].reshape(shape)
    weights.matrix(f"{tower}.pos_embed.weight", PLACES, VISION_WIDTH, 4.0)
    for layer in range(DEPTH):
        block = f"{tower}.blocks.{layer}"
        for name in ("norm1", "norm2"):
            _add_norm(weights, f"{block}.{name}", VISION_WIDTH)
        weights.linear(f"{block}.attn.qkv", 3 * VISION_WIDTH, VISION_WIDTH, 1.5)
        weights.linear(f"{block}.attn.proj", VISION_WIDTH, VISION_WIDTH, 1.5)
        weights.linear(f"{block}.mlp.linear_fc1", VISION_FEED, VISION_WIDTH)
        weights.linear(f"{block}.mlp.linear_fc2", VISION_WIDTH, VISION_FEED)
    merged = VISION_WIDTH * MERGE * MERGE
    _add_norm(weights, f"{tower}.merger.norm", VISION_WIDTH)
    _add_merger(weights, f"{tower}.merger", merged)
    for place in range(len(DEEPSTACK)):
        name = f"{tower}.deepstack_merger_list.{place}"
        _add_norm(weights, f"{name}.norm", merged)
        _add_merger(weights, name, merged)
    return weights


def _add_norm(weights: Weights, name: str, width: int) -> None:
    weights.vector(f"{name}.weight", width, 1.0)
    weights.vector(f"{name}.bias", width)


def _add_merger(weights: Weights, name: str, merged: int) -> None:
    weights.linear(f"{name}.linear_fc1", merged, merged)
    weights.linear(f"{name}.linear_fc2", WIDTH, merged, 2.0)


def mmproj_tensors() -> dict[str, Floats]:
    """Return the tensors of the projector's GGUF file, as llama.cpp's converter writes them."""
    found: dict[str, Floats] = {}
    for name, values in vision_tensors().items():
        given = _gguf_name(name)
        if values.ndim == 5:  # two frames, each with a convolution of its own
            found[given] = np.ascontiguousarray(values[:, :, 0])
            found[f"{given}.1"] = np.ascontiguousarray(values[:, :, 1])
        else:
            found[given] = values
    return found


def _gguf_name(name: str) -> str:
    for place, layer in enumerate(DEEPSTACK):
        name = name.replace(f"deepstack_merger_list.{place}.", f"deepstack.{layer}.")
    for theirs, ours in GGUF_NAMES.items():
        name = name.replace(theirs, ours)
    return name


@cache
def picture_records() -> dict[str, Any]:
    """Return what `tests/references/pictures.py` wrote."""
    found: dict[str, Any] = json.loads(gzip.decompress(RECORDS.read_bytes()))
    return found


def write_pictured(folder: Path) -> tuple[Path, Path]:
    """Write the model and its projector, and return their paths."""
    records = picture_records()
    model = write_gguf(PICTURED, records["metadata"], folder / "Qwen3-VL-Reranker-2B-F32.gguf")
    return model, write_mmproj(records["mmproj"], folder / "mmproj-Qwen3-VL-Reranker-2B-F32.gguf")


def write_mmproj(metadata: Metadata, path: Path, *, quantized: bool = False) -> Path:
    """Write a projector with the metadata that the converter gave it.

    `quantized`: in Q8_0, of which the converter leaves out the convolution, the positions, and
    whatever has no rows of whole blocks.
    """
    writer = GGUFWriter(path, "clip")
    for key, type_, item, value in metadata:
        sub = None if item is None else GGUFValueType(item)
        writer.add_key_value(key, value, GGUFValueType(type_), sub)
    for name, values in mmproj_tensors().items():
        whole = values.ndim == 2 and values.shape[1] % Q8_0_BLOCK == 0 and name != POSITIONS
        if quantized and whole:
            kind = GGMLQuantizationType.Q8_0
            writer.add_tensor(name, quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
