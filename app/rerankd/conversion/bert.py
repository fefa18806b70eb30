"""BERT, RoBERTa and XLM-RoBERTa cross-encoders, whose heads llama.cpp computes as they are."""

from __future__ import annotations

from typing import Any

from gguf import MODEL_ARCH
from msgspec import structs

from rerankd.conversion.checkpoint import Checkpoint
from rerankd.conversion.colbert import is_colbert, projection_of, recipe_for
from rerankd.conversion.heads import require_one_label
from rerankd.conversion.plan import Plan, PlannedTensor, network_tensors, tensor_from
from rerankd.conversion.vocabulary import read_vocabulary
from rerankd.errors import ModelFileError

PREFIXES = ("bert.", "roberta.")
LEFT_OUT = (
    "embeddings.position_ids",
    "embeddings.token_type_ids",
    "pooler.",
    "classifier.",
    "cls.",
    "lm_head.",
    "linear.",
)
"""What no score depends on, and the head, which is planned by itself."""
GELU = ("gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh")
TOKEN_TABLE, POSITION_TABLE, TYPE_TABLE = (
    "token_embd.weight",
    "position_embd.weight",
    "token_types.weight",
)


def plan_bert(checkpoint: Checkpoint) -> Plan:
    """Plan a `BertForSequenceClassification`: pooler, tanh, classifier."""
    _require_network(checkpoint)
    require_one_label(checkpoint, "classifier.weight")
    pooler = _prefixed(checkpoint, "pooler.dense")
    head = _head(checkpoint, {"cls": pooler, "cls.output": "classifier"})
    tensors = _network(checkpoint, {}) + head
    return _bert_plan(checkpoint, tensors, types=checkpoint.config.get("type_vocab_size", 2))


def plan_colbert_bert(checkpoint: Checkpoint) -> Plan:
    """Plan a `BertModel` or `HF_ColBERT` with a projection of its tokens."""
    if not is_colbert(checkpoint):
        raise ModelFileError(f"{checkpoint.folder}: an encoder without a score head")
    _require_network(checkpoint)
    types = checkpoint.config.get("type_vocab_size", 2)
    plan = _bert_plan(checkpoint, _network(checkpoint, {}), types=types)
    projection = projection_of(checkpoint)
    recipe = recipe_for(checkpoint, plan.vocabulary, projection, plan.keys["context_length"])
    return structs.replace(plan, recipe=recipe, numbers=projection.numbers)


def plan_roberta(checkpoint: Checkpoint) -> Plan:
    """Plan a `RobertaForSequenceClassification` or XLM-RoBERTa's: dense, tanh, projection.

    Its positions begin after the padding token's id, and texts have one token type.
    """
    _require_network(checkpoint)
    require_one_label(checkpoint, "classifier.out_proj.weight")
    head = _head(checkpoint, {"cls": "classifier.dense", "cls.output": "classifier.out_proj"})
    first = int(checkpoint.config.get("pad_token_id", 1)) + 1
    rows = {POSITION_TABLE: slice(first, None), TYPE_TABLE: slice(0, 1)}
    return _bert_plan(checkpoint, _network(checkpoint, rows) + head, types=1)


def network_keys(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the metadata that BERT and what is built like it have in common."""
    return {
        "embedding_length": checkpoint.count("hidden_size"),
        "block_count": checkpoint.count("num_hidden_layers"),
        "feed_forward_length": checkpoint.count("intermediate_size"),
        "attention.head_count": checkpoint.count("num_attention_heads"),
        "attention.causal": False,
        "attention.layer_norm_epsilon": float(checkpoint.config.get("layer_norm_eps", 1e-12)),
    }


def _require_network(checkpoint: Checkpoint) -> None:
    """Raise ModelFileError for a network that llama.cpp would compute in another way."""
    config = checkpoint.config
    activation = config.get("hidden_act", "gelu")
    if activation not in GELU:
        raise ModelFileError(
            f"{checkpoint.folder}: its activation is {activation}; llama.cpp has only GELU"
        )
    if config.get("position_embedding_type", "absolute") != "absolute":
        raise ModelFileError(
            f"{checkpoint.folder}: its positions are {config['position_embedding_type']}, which"
            " llama.cpp doesn't compute for BERT"
        )


def _prefixed(checkpoint: Checkpoint, name: str) -> str:
    """Return a name as the checkpoint has it, with or without the model's prefix."""
    known = checkpoint.names()
    return next((p + name for p in PREFIXES if f"{p}{name}.weight" in known), name)


def _head(checkpoint: Checkpoint, sources: dict[str, str]) -> tuple[PlannedTensor, ...]:
    return tuple(
        tensor_from(checkpoint, f"{name}.{kind}", f"{source}.{kind}")
        for name, source in sources.items()
        for kind in ("weight", "bias")
    )


def _network(checkpoint: Checkpoint, rows: dict[str, slice]) -> tuple[PlannedTensor, ...]:
    layers = checkpoint.count("num_hidden_layers")
    return network_tensors(
        checkpoint, MODEL_ARCH.BERT, layers, prefixes=PREFIXES, ignored=LEFT_OUT, rows=rows
    )


def _bert_plan(checkpoint: Checkpoint, tensors: tuple[PlannedTensor, ...], *, types: int) -> Plan:
    shapes = {tensor.name: tensor.shape for tensor in tensors}
    if TOKEN_TABLE not in shapes or POSITION_TABLE not in shapes:
        raise ModelFileError(f"{checkpoint.folder}: it has no table of tokens or of positions")
    vocabulary = read_vocabulary(checkpoint, shapes[TOKEN_TABLE][0], pre="roberta-bpe")
    return Plan(
        network=MODEL_ARCH.BERT,
        keys=network_keys(checkpoint) | {"context_length": shapes[POSITION_TABLE][0]},
        vocabulary=vocabulary,
        token_types=types,
        tensors=tensors,
    )
