"""Tiny ColBERT checkpoints, as PyLate and Stanford's ColBERT save them."""

from __future__ import annotations

import string
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from support.checkpoints import (
    CONTEXT,
    MODERN_LAYERS,
    WIDTH,
    Weights,
    bert_config,
    bert_like,
    bert_words,
    modern_files,
    modern_layers,
    modern_vocabulary,
    tokenizer_named,
    write_json,
    write_safetensors,
)

DIMENSIONS = 16
MARKERS = ("[Q] ", "[D] ")


def write_stanford(folder: Path) -> Path:
    """Write what colbertv2.0 and answerai-colbert-small are: BERT, `linear`, two markers."""
    words = bert_words()
    weights = Weights(11, calm=True)
    bert_like(weights, "bert.", len(words), CONTEXT, 2)
    weights.matrix("linear.weight", DIMENSIONS, WIDTH)
    config = bert_config("HF_ColBERT", len(words), CONTEXT, 2)
    write_safetensors(folder / "model.safetensors", weights)
    write_json(folder / "config.json", {"model_type": "bert", **config})
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", "utf-8")
    write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": CONTEXT},
    )
    write_json(
        folder / "artifact.metadata",
        {"query_token_id": "[unused0]", "doc_token_id": "[unused1]", "query_maxlen": 32}
        | {"doc_maxlen": 400, "mask_punctuation": True, "attend_to_mask_tokens": False},
    )
    return folder


def write_pylate(folder: Path, *, expands: bool, attends: bool = False) -> Path:
    """Write what GTE-ModernColBERT is, or LateOn, whose queries aren't filled up.

    The latter gets two projections, the second with a residual.
    """
    tokenizer = tokenizer_named("modern-bert")
    for number, marker in enumerate(MARKERS):
        tokenizer["added_tokens"].append(
            {"id": 2006 + number, "content": marker, "single_word": False, "lstrip": False}
            | {"rstrip": False, "normalized": True, "special": False}
        )
    weights = Weights(12, calm=True)
    modern_layers(weights, "", modern_vocabulary(tokenizer), MODERN_LAYERS)
    write_safetensors(folder / "model.safetensors", weights)
    modern_files(folder, "ModernBertModel", tokenizer, local_attention=128)
    count = 1 if expands else 2
    parts = ["", *(f"{number}_Dense" for number in range(1, count + 1))]
    kinds = ["sentence_transformers.models.Transformer", *["pylate.models.Dense.Dense"] * count]
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": kind}
        for number, (path, kind) in enumerate(zip(parts, kinds, strict=True))
    ]
    write_json(folder / "modules.json", modules)
    write_json(
        folder / "sentence_bert_config.json", {"max_seq_length": 299, "do_lower_case": False}
    )
    widths = (WIDTH, DIMENSIONS, DIMENSIONS)
    for number in range(1, count + 1):
        _write_dense(folder / parts[number], widths[number - 1], residual=number == 2)
    write_json(folder / "config_sentence_transformers.json", _settings(expands, attends))
    return folder


def _settings(expands: bool, attends: bool) -> dict[str, Any]:
    return {
        "model_type": "ColBERT",
        "prompts": {},
        "default_prompt_name": None,
        "similarity_fn_name": "MaxSim",
        "query_prefix": MARKERS[0],
        "document_prefix": MARKERS[1],
        "query_length": 32,
        "document_length": 400,
        "attend_to_expansion_tokens": attends,
        "do_query_expansion": expands,
        "skiplist_words": list(string.punctuation),
    }


def _write_dense(folder: Path, inputs: int, *, residual: bool) -> None:
    folder.mkdir(exist_ok=True)
    weights = Weights(13 + residual)
    weights.matrix("linear.weight", DIMENSIONS, inputs)
    if residual:
        weights.vector("linear.bias", DIMENSIONS)
    write_safetensors(folder / "model.safetensors", weights)
    write_json(
        folder / "config.json",
        {"in_features": inputs, "out_features": DIMENSIONS, "bias": residual}
        | {"activation_function": "torch.nn.modules.linear.Identity", "use_residual": residual},
    )


COLBERTS: dict[str, Callable[[Path], Path]] = {
    "colbertv2": write_stanford,
    "ModernColBERT": partial(write_pylate, expands=True),
    "ModernColBERT, attended": partial(write_pylate, expands=True, attends=True),
    "LateOn": partial(write_pylate, expands=False),
}
"""Each kind that there are references for."""
