"""ColBERT checkpoints: PyLate's, with dense modules, and Stanford's, with `linear.weight`.

Their tokens' projection, which may be several layers without an activation, becomes one matrix.
"""

from __future__ import annotations

import string
from typing import Any

import numpy as np
from msgspec import Struct

from rerankd.conversion.checkpoint import Checkpoint, Numbers, numbers_of, safetensors_in
from rerankd.conversion.heads import MODULES, activation_of, as_floats, kind_and_folder
from rerankd.conversion.vocabulary import TokenTable
from rerankd.errors import ModelFileError
from rerankd.families.colbert import LONGEST_SKIPLIST, Expansion, Recipe

STANFORD, STANFORD_CONFIG = "HF_ColBERT", "artifact.metadata"
PYLATE_CONFIG = "config_sentence_transformers.json"
PYLATE_KEYS = ("query_prefix", "document_prefix", "query_length", "do_query_expansion")
SAVED_OTHERWISE = "MultiVectorEncoder"


class Projection(Struct, frozen=True):
    """What makes a token's vector of its hidden state."""

    weight: Numbers
    """`[dimensions, width]`."""
    bias: Numbers | None

    @property
    def numbers(self) -> dict[str, Numbers]:
        """Return its arrays by their names in a file."""
        found = {"projection": self.weight}
        return found if self.bias is None else found | {"projection.bias": self.bias}


def is_colbert(checkpoint: Checkpoint) -> bool:
    """Return whether a checkpoint is of a ColBERT model."""
    config = checkpoint.json(PYLATE_CONFIG)
    config = config if isinstance(config, dict) else {}
    if config.get("model_type") == SAVED_OTHERWISE:
        raise ModelFileError(
            f"{checkpoint.folder}: saved by sentence-transformers' {SAVED_OTHERWISE}, whose"
            " configuration rerankd doesn't read; give PyLate's or Stanford's checkpoint"
        )
    return checkpoint.architecture == STANFORD or any(key in config for key in PYLATE_KEYS)


def projection_of(checkpoint: Checkpoint) -> Projection:
    """Return a model's projection. Raises ModelFileError for one that isn't linear."""
    if checkpoint.architecture == STANFORD:
        return Projection(as_floats(checkpoint.array("linear.weight")), None)
    modules = checkpoint.json(MODULES)
    weight: Numbers | None = None
    bias: Numbers | None = None
    for module in modules[1:] if isinstance(modules, list) else []:
        kind, folder = kind_and_folder(checkpoint, module)
        if kind != "Dense":
            raise ModelFileError(f"{checkpoint.folder}: its projection has a module {kind}")
        matrix, shift = _linear(checkpoint, folder)
        if weight is not None:
            bias = None if bias is None else matrix @ bias
            matrix = matrix @ weight
        if shift is not None:
            bias = shift if bias is None else bias + shift
        weight = matrix
    if weight is None:
        raise ModelFileError(f"{checkpoint.folder}: a ColBERT model without a projection")
    return Projection(as_floats(weight), bias if bias is None else as_floats(bias))


def _linear(checkpoint: Checkpoint, folder: str) -> tuple[Any, Any]:
    """Return the matrix and the bias of a dense module, in F64."""
    inner = checkpoint.json(f"{folder}/config.json") or {}
    if activation_of(inner.get("activation_function", "Identity"), checkpoint.folder):
        raise ModelFileError(f"{checkpoint.folder}: its projection has an activation")
    tensors = safetensors_in(checkpoint.folder / folder)
    parts = {name: numbers_of(one).astype(np.float64) for name, one in tensors.items()}
    if "linear.weight" not in parts:
        raise ModelFileError(f"{checkpoint.folder / folder}: it has no linear.weight")
    weight = parts["linear.weight"]
    if inner.get("use_residual"):  # the layer's input, as it is or through a matrix of its own
        weight = weight + parts.get("residual.weight", np.eye(*weight.shape))
    return weight, parts.get("linear.bias")


def recipe_for(
    checkpoint: Checkpoint, vocabulary: TokenTable, projection: Projection, positions: int
) -> Recipe:
    """Return how a model encodes texts. `positions` is the longest text it takes.

    Raises ModelFileError for what no file can say.
    """
    config = _configuration(checkpoint)
    ids = {token: number for number, token in enumerate(vocabulary.tokens)}
    ids |= {word.removeprefix("▁"): number for word, number in ids.items() if len(word) > 1}
    query_length = min(int(config["query_length"]), positions)
    fill = vocabulary.special.get("mask", vocabulary.special["eos"])
    expansion: Expansion = "none"
    if config["do_query_expansion"]:
        expansion = "attended" if config["attend_to_expansion_tokens"] else "unattended"
    return Recipe(
        query_marker=_marker(checkpoint, ids, config["query_prefix"]),
        document_marker=_marker(checkpoint, ids, config["document_prefix"]),
        query_length=query_length,
        document_length=min(int(config["document_length"]), positions),
        expansion=expansion,
        expansion_token=None if expansion == "none" else fill,
        skiplist=_skiplist(checkpoint, config["skiplist_words"], ids, vocabulary),
        dimensions=projection.weight.shape[0],
    )


def _configuration(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the settings by PyLate's names, with what it takes for those that are missing."""
    defaults: dict[str, Any] = {
        "query_prefix": "[Q] ",
        "document_prefix": "[D] ",
        "query_length": 32,
        "document_length": 180,
        "do_query_expansion": True,
        "attend_to_expansion_tokens": False,
        "skiplist_words": list(string.punctuation),
    }
    said = checkpoint.json(PYLATE_CONFIG) or {}
    if checkpoint.architecture == STANFORD and not any(key in said for key in PYLATE_KEYS):
        stanford = checkpoint.json(STANFORD_CONFIG) or {}
        defaults |= {"query_prefix": "[unused0]", "document_prefix": "[unused1]"}
        names = {
            "query_token_id": "query_prefix",
            "doc_token_id": "document_prefix",
            "query_maxlen": "query_length",
            "doc_maxlen": "document_length",
            "attend_to_mask_tokens": "attend_to_expansion_tokens",
        }
        said = {ours: stanford.get(theirs) for theirs, ours in names.items()}
        if stanford.get("mask_punctuation") is False:
            said["skiplist_words"] = []
    prompts = {key: text for key, text in (said.get("prompts") or {}).items() if text}
    if prompts and prompts != {
        "query": said.get("query_prefix"),
        "document": said.get("document_prefix"),
    }:
        raise ModelFileError(
            f"{checkpoint.folder}: it encodes texts with prompts ({', '.join(prompts)}), which"
            " rerankd has no place for"
        )
    return defaults | {key: said[key] for key in defaults if said.get(key) is not None}


def _marker(checkpoint: Checkpoint, ids: dict[str, int], text: str) -> int | None:
    if text and text not in ids:
        raise ModelFileError(f"{checkpoint.folder}: its vocabulary has no marker {text!r}")
    return ids[text] if text else None


def _skiplist(
    checkpoint: Checkpoint, words: list[str], ids: dict[str, int], vocabulary: TokenTable
) -> tuple[int, ...]:
    """Return the ids of words, the unknown token's for those that are no token, as PyLate does."""
    unknown = vocabulary.special.get("unk")
    found = {ids.get(word, unknown) for word in words} - {None}
    if len(found) > LONGEST_SKIPLIST:
        raise ModelFileError(f"{checkpoint.folder}: it skips {len(found)} words in documents")
    return tuple(sorted(found))  # type: ignore[arg-type]
