"""ModernBERT cross-encoders: transformers' own head, or one of sentence-transformers' modules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gguf import MODEL_ARCH
from msgspec import structs

from rerankd.conversion.checkpoint import Checkpoint
from rerankd.conversion.colbert import is_colbert, projection_of, recipe_for
from rerankd.conversion.heads import (
    POOLING_NAMES,
    Head,
    activation_of,
    head_of_modules,
    present,
    require_one_label,
)
from rerankd.conversion.plan import Plan, network_tensors
from rerankd.conversion.vocabulary import read_vocabulary
from rerankd.errors import ModelFileError
from rerankd.families.own_head import HeadLayer, OwnHead

LOADED = ("cls.weight", "cls.norm.weight", "cls.output.weight", "cls.output.bias")
"""Parts of a head that llama.cpp loads."""
LLAMA_POOLING = {"mean": 1, "first": 2}
GATED = {"gelu": "gelu", "gelu_pytorch_tanh": "gelu", "silu": "silu", "relu": "relu"}
"""Activations, and what llama.cpp calls the gated unit with them."""
BIASES = ("attention_bias", "mlp_bias", "norm_bias")
FULL, SLIDING = "full_attention", "sliding_attention"
THETAS = {FULL: ("global_rope_theta", 160_000.0), SLIDING: ("local_rope_theta", 10_000.0)}


def plan_classifier(checkpoint: Checkpoint) -> Plan:
    """Plan a `ModernBertForSequenceClassification`."""
    require_one_label(checkpoint, "classifier.weight")
    config = checkpoint.config
    pooling = POOLING_NAMES.get(config.get("classifier_pooling", "cls"))
    if pooling is None:
        raise ModelFileError(f"{checkpoint.folder}: it pools by {config['classifier_pooling']}")
    activation = activation_of(config.get("classifier_activation", "gelu"), checkpoint.folder)
    eps = float(config.get("norm_eps", 1e-5))
    layers = (
        HeadLayer("dense", "cls"),
        *activation,
        HeadLayer("norm", "cls.norm", eps),
        HeadLayer("dense", "cls.output"),
    )
    parts = {"cls": "head.dense", "cls.norm": "head.norm", "cls.output": "classifier"}
    sources = {
        f"{name}.{kind}": f"{source}.{kind}"
        for name, source in parts.items()
        for kind in ("weight", "bias")
    }
    return _modern_plan(checkpoint, Head(OwnHead(pooling, layers), present(checkpoint, sources)))


def plan_modules(checkpoint: Checkpoint) -> Plan:
    """Plan a `ModernBertModel` with sentence-transformers' modules: a head, or a projection."""
    if is_colbert(checkpoint):
        return _plan_colbert(checkpoint)
    head = head_of_modules(checkpoint)
    if head is None:
        raise ModelFileError(f"{checkpoint.folder}: an encoder without a score head")
    return _modern_plan(checkpoint, head)


def _plan_colbert(checkpoint: Checkpoint) -> Plan:
    plan = _network_plan(checkpoint)
    projection = projection_of(checkpoint)
    recipe = recipe_for(checkpoint, plan.vocabulary, projection, plan.keys["context_length"])
    window = plan.keys["attention.sliding_window"]
    if recipe.expansion == "unattended" and 2 * recipe.query_length > window:
        raise ModelFileError(
            f"{checkpoint.folder}: its queries of {recipe.query_length} tokens are longer than half"
            f" its window of {window}, so that some tokens that fill them up would see nothing"
        )
    return structs.replace(plan, recipe=recipe, numbers=projection.numbers)


def _modern_plan(checkpoint: Checkpoint, head: Head) -> Plan:
    plan = _network_plan(checkpoint)
    pooling = {"classifier.pooling_type": LLAMA_POOLING[head.own.pooling]}
    return structs.replace(
        plan,
        keys={**plan.keys, **pooling},
        tensors=plan.tensors + head.tensors(LOADED),
        head=head.own,
        numbers=head.others(LOADED),
    )


def _network_plan(checkpoint: Checkpoint) -> Plan:
    config, layers = checkpoint.config, checkpoint.count("num_hidden_layers")
    biased = [name for name in BIASES if config.get(name)]
    if biased:
        raise ModelFileError(f"{checkpoint.folder}: it has {biased[0]}, which llama.cpp lacks")
    network = MODEL_ARCH.MODERN_BERT
    ignored = ("head.", "classifier.", "decoder.")
    tensors = network_tensors(checkpoint, network, layers, prefixes=("model.",), ignored=ignored)
    rows = next(one.shape[0] for one in tensors if one.name == "token_embd.weight")
    return Plan(
        network=network,
        keys=_keys(checkpoint, layers) | {"vocab_size": rows},
        vocabulary=read_vocabulary(checkpoint, rows, pre="modern-bert"),
        tensors=tensors,
    )


def _keys(checkpoint: Checkpoint, layers: int) -> dict[str, Any]:
    config = checkpoint.config
    activation = config.get("hidden_activation", "gelu")
    if activation not in GATED:
        raise ModelFileError(f"{checkpoint.folder}: llama.cpp has no gated unit with {activation}")
    return {
        "context_length": checkpoint.count("max_position_embeddings"),
        "embedding_length": checkpoint.count("hidden_size"),
        "block_count": layers,
        "feed_forward_length": checkpoint.count("intermediate_size"),
        "attention.head_count": checkpoint.count("num_attention_heads"),
        "attention.causal": False,
        "attention.layer_norm_epsilon": float(config.get("norm_eps", 1e-5)),
        "attention.sliding_window": int(config.get("local_attention", 128)),
        "attention.sliding_window_pattern": _pattern(checkpoint, layers),
        "rope.scaling.type": "none",
        "rope.freq_base": _theta(config, FULL),
        "rope.freq_base_swa": _theta(config, SLIDING),
        "hidden_act": GATED[activation],
    }


def _theta(config: Mapping[str, Any], kind: str) -> float:
    """Return the base of the positions' frequencies; newer files have it by kind of layer."""
    name, default = THETAS[kind]
    by_kind = (config.get("rope_parameters") or {}).get(kind) or {}
    found = by_kind.get("rope_theta", config.get(name))
    # Without a base of their own, layers with a window have that of the others.
    return float(default if found is None else found)


def _pattern(checkpoint: Checkpoint, layers: int) -> int:
    """Return n where each n-th layer, from the first on, sees all tokens."""
    config = checkpoint.config
    kinds = config.get("layer_types")
    every = config.get("global_attn_every_n_layers", 3)
    if kinds is None:
        return int(every)
    full = [number for number, kind in enumerate(kinds) if kind == FULL]
    pattern = full[1] if len(full) > 1 else max(layers, 1)
    if [number for number in range(len(kinds)) if number % pattern == 0] != full:
        raise ModelFileError(f"{checkpoint.folder}: its windows follow no pattern of llama.cpp's")
    return pattern
