"""Tiny checkpoints as their makers publish them: config.json, a tokenizer, safetensors.

Weights are random but always the same: by NumPy's PCG64 from a seed, scaled so that scores spread
over several units. So the suite makes the very models that the references in tests/data/references
were computed with, and the repository needs no weights.
"""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from support.places import ROOT

Floats: TypeAlias = NDArray[np.float32]

REFERENCES = ROOT / "tests" / "data" / "references"
EMBEDDED = ROOT / "models" / "rerank-mini-en-q8_0.gguf"
WIDTH, LAYERS, HEADS, FEED = 32, 2, 4, 64
CONTEXT = 512
BERT_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


class Weights(dict[str, Floats]):
    """Random tensors by name, each drawn when it is asked for.

    A `calm` model's feed-forward layers begin with numbers as small as transformers starts its
    training from. ggml rounds what GELU gives to half precision, which is the largest difference
    from a reference by far: calm, all others show.
    """

    def __init__(self, seed: int, *, calm: bool = False) -> None:
        super().__init__()
        self._random = np.random.Generator(np.random.PCG64(seed))
        self._calm = calm

    def matrix(self, name: str, rows: int, columns: int, gain: float = 1.0) -> None:
        before_gelu = "intermediate" in name or ".Wi." in name
        scale = 0.02 if self._calm and before_gelu else gain / np.sqrt(columns)
        values = self._random.standard_normal((rows, columns)) * scale
        self[name] = values.astype(np.float32)

    def vector(self, name: str, length: int, centre: float = 0.0) -> None:
        spread = 0.0 if self._calm and "intermediate" in name else 0.2
        values = centre + self._random.standard_normal(length) * spread
        self[name] = values.astype(np.float32)

    def linear(self, name: str, rows: int, columns: int, gain: float = 1.0) -> None:
        self.matrix(f"{name}.weight", rows, columns, gain)
        self.vector(f"{name}.bias", rows)

    def norm(self, name: str, *, bias: bool = True) -> None:
        self.vector(f"{name}.weight", WIDTH, 1.0)
        if bias:
            self.vector(f"{name}.bias", WIDTH)


def write_safetensors(path: Path, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Write tensors of F32 or F16; `uint16` stands for the bits of BF16."""
    kinds = {"float32": "F32", "float16": "F16", "uint16": "BF16", "int64": "I64"}
    head: dict[str, Any] = {}
    at = 0
    for name, values in tensors.items():
        place = [at, at + values.nbytes]
        head[name] = {"dtype": kinds[str(values.dtype)], "shape": values.shape}
        head[name]["data_offsets"] = place
        at = place[1]
    text = json.dumps(head).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for values in tensors.values():
            file.write(np.ascontiguousarray(values).tobytes())


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False), "utf-8")


@cache
def bert_words() -> tuple[str, ...]:
    """Return BERT's vocabulary, which the embedded model has in its file."""
    data, key = EMBEDDED.read_bytes(), b"tokenizer.ggml.tokens"
    at = data.index(key) + len(key) + 8  # after the types of the array and of its items
    (count,) = struct.unpack_from("<Q", data, at)
    at, tokens = at + 8, []
    for _ in range(count):  # gguf's reader takes seconds for it
        (length,) = struct.unpack_from("<Q", data, at)
        tokens.append(data[at + 8 : at + 8 + length].decode())
        at += 8 + length
    return tuple(
        one if one in BERT_SPECIAL else one[1:] if one.startswith("▁") else "##" + one
        for one in tokens
    )


def tokenizer_named(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        gzip.decompress((REFERENCES / f"{name}.tokenizer.json.gz").read_bytes())
    )
    return found


def bert_like(weights: Weights, prefix: str, vocabulary: int, positions: int, types: int) -> None:
    weights.matrix(f"{prefix}embeddings.word_embeddings.weight", vocabulary, WIDTH, 5.0)
    weights.matrix(f"{prefix}embeddings.position_embeddings.weight", positions, WIDTH, 2.0)
    weights.matrix(f"{prefix}embeddings.token_type_embeddings.weight", types, WIDTH, 2.0)
    weights.norm(f"{prefix}embeddings.LayerNorm")
    for layer in range(LAYERS):
        block = f"{prefix}encoder.layer.{layer}"
        for part in ("query", "key", "value"):
            weights.linear(f"{block}.attention.self.{part}", WIDTH, WIDTH, 1.5)
        weights.linear(f"{block}.attention.output.dense", WIDTH, WIDTH)
        weights.norm(f"{block}.attention.output.LayerNorm")
        weights.linear(f"{block}.intermediate.dense", FEED, WIDTH)
        weights.linear(f"{block}.output.dense", WIDTH, FEED)
        weights.norm(f"{block}.output.LayerNorm")


def bert_config(name: str, vocabulary: int, positions: int, types: int) -> dict[str, Any]:
    return {
        "architectures": [name],
        "vocab_size": vocabulary,
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": FEED,
        "hidden_act": "gelu",
        "max_position_embeddings": positions,
        "type_vocab_size": types,
        "layer_norm_eps": 1e-12,
        "id2label": {"0": "LABEL_0"},
        "label2id": {"LABEL_0": 0},
    }


def write_ms_marco(folder: Path, *, calm: bool = False) -> Path:
    """Write what ms-marco MiniLM and TinyBERT are: BERT with pooler, classifier, two types."""
    words = bert_words()
    weights = Weights(1, calm=calm)
    bert_like(weights, "bert.", len(words), CONTEXT, 2)
    weights.linear("bert.pooler.dense", WIDTH, WIDTH)
    weights.linear("classifier", 1, WIDTH, 4.0)
    config = bert_config("BertForSequenceClassification", len(words), CONTEXT, 2)
    write_safetensors(folder / "model.safetensors", weights)
    write_json(folder / "config.json", {"model_type": "bert", **config})
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", "utf-8")
    write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": CONTEXT},
    )
    return folder


def write_bge(folder: Path) -> Path:
    """Write what bge-reranker, bce and mMiniLM are: XLM-RoBERTa with its two-layer head."""
    tokenizer = tokenizer_named("xlm-roberta")
    vocabulary = len(tokenizer["model"]["vocab"])
    weights = Weights(2)
    bert_like(weights, "roberta.", vocabulary, CONTEXT + 2, 1)
    weights.linear("classifier.dense", WIDTH, WIDTH)
    weights.linear("classifier.out_proj", 1, WIDTH, 4.0)
    config = bert_config("XLMRobertaForSequenceClassification", vocabulary, CONTEXT + 2, 1)
    special = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "layer_norm_eps": 1e-5}
    write_safetensors(folder / "model.safetensors", weights)
    write_json(folder / "config.json", {"model_type": "xlm-roberta", **config, **special})
    write_json(folder / "tokenizer.json", tokenizer)
    write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": CONTEXT}
        | {"bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>"}
        | {"pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"},
    )
    return folder


def modern_layers(weights: Weights, prefix: str, vocabulary: int, layers: int) -> None:
    weights.matrix(f"{prefix}embeddings.tok_embeddings.weight", vocabulary, WIDTH, 5.0)
    weights.norm(f"{prefix}embeddings.norm", bias=False)
    for layer in range(layers):
        block = f"{prefix}layers.{layer}"
        if layer:
            weights.norm(f"{block}.attn_norm", bias=False)
        weights.matrix(f"{block}.attn.Wqkv.weight", 3 * WIDTH, WIDTH, 1.5)
        weights.matrix(f"{block}.attn.Wo.weight", WIDTH, WIDTH)
        weights.norm(f"{block}.mlp_norm", bias=False)
        weights.matrix(f"{block}.mlp.Wi.weight", 2 * FEED, WIDTH)
        weights.matrix(f"{block}.mlp.Wo.weight", WIDTH, FEED)
    weights.norm(f"{prefix}final_norm", bias=False)


MODERN_LAYERS = 4
"""The first and the fourth see all tokens, the others a window."""


def modern_files(folder: Path, name: str, tokenizer: dict[str, Any], **more: Any) -> None:
    numbers = {one["content"]: one["id"] for one in tokenizer["added_tokens"]}
    write_json(
        folder / "config.json",
        {
            "model_type": "modernbert",
            "architectures": [name],
            "vocab_size": modern_vocabulary(tokenizer),
            "hidden_size": WIDTH,
            "num_hidden_layers": MODERN_LAYERS,
            "num_attention_heads": HEADS,
            "intermediate_size": FEED,
            "hidden_activation": "gelu",
            "max_position_embeddings": CONTEXT,
            "norm_eps": 1e-5,
            "norm_bias": False,
            "attention_bias": False,
            "mlp_bias": False,
            "global_attn_every_n_layers": 3,
            "local_attention": 32,
            "global_rope_theta": 160000.0,
            "local_rope_theta": 10000.0,
            "bos_token_id": numbers["[CLS]"],
            "eos_token_id": numbers["[SEP]"],
            "pad_token_id": numbers["[PAD]"],
            "cls_token_id": numbers["[CLS]"],
            "sep_token_id": numbers["[SEP]"],
            **more,
        },
    )
    write_json(folder / "tokenizer.json", tokenizer)
    write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": CONTEXT}
        | {f"{name.lower()}_token": f"[{name}]" for name in ("CLS", "SEP", "PAD", "UNK", "MASK")}
        | {"model_input_names": ["input_ids", "attention_mask"]},
    )


def modern_vocabulary(tokenizer: dict[str, Any]) -> int:
    added = (one["id"] for one in tokenizer["added_tokens"])
    last = max(*tokenizer["model"]["vocab"].values(), *added)
    return int(last) + 8  # the published ones have more rows than tokens as well


def write_gte_modernbert(folder: Path) -> Path:
    """Write what gte-reranker-modernbert-base is: mean pooling and the head of transformers."""
    tokenizer = tokenizer_named("modern-bert")
    weights = Weights(3)
    modern_layers(weights, "model.", modern_vocabulary(tokenizer), MODERN_LAYERS)
    weights.matrix("head.dense.weight", WIDTH, WIDTH)
    weights.norm("head.norm", bias=False)
    weights.linear("classifier", 1, WIDTH, 3.0)
    write_safetensors(folder / "model.safetensors", weights)
    modern_files(
        folder,
        "ModernBertForSequenceClassification",
        tokenizer,
        classifier_pooling="mean",
        classifier_bias=False,
        classifier_activation="gelu",
        id2label={"0": "LABEL_0"},
        label2id={"LABEL_0": 0},
    )
    return folder


def write_ettin(folder: Path, *, calm: bool = False) -> Path:
    """Write what ettin-reranker-v1 is: an encoder, its head in sentence-transformers' modules."""
    tokenizer = tokenizer_named("modern-bert")
    weights = Weights(4, calm=calm)
    modern_layers(weights, "", modern_vocabulary(tokenizer), MODERN_LAYERS)
    write_safetensors(folder / "model.safetensors", weights)
    modern_files(folder, "ModernBertModel", tokenizer)
    parts = ("", "1_Pooling", "2_Dense", "3_LayerNorm", "4_Dense")
    inside = "sentence_transformers.base.modules."
    kinds = (
        f"{inside}transformer.Transformer",
        "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
        f"{inside}dense.Dense",
        "sentence_transformers.sentence_transformer.modules.layer_norm.LayerNorm",
        f"{inside}dense.Dense",
    )
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": kind}
        for number, (path, kind) in enumerate(zip(parts, kinds, strict=True))
    ]
    write_json(folder / "modules.json", modules)
    write_json(folder / "config_sentence_transformers.json", {"model_type": "CrossEncoder"})
    write_json(
        folder / "sentence_bert_config.json",
        {
            "transformer_task": "feature-extraction",
            "modality_config": {
                "text": {"method": "forward", "method_output_name": "last_hidden_state"}
            },
            "module_output_name": "token_embeddings",
        },
    )
    for part in parts[1:]:
        (folder / part).mkdir(exist_ok=True)
    pooling = {"embedding_dimension": WIDTH, "pooling_mode": "cls", "include_prompt": True}
    write_json(folder / "1_Pooling" / "config.json", pooling)
    gelu = "torch.nn.modules.activation.GELU"
    _dense(folder / "2_Dense", WIDTH, "sentence_embedding", gelu)
    norm = Weights(6)
    norm.norm("norm")
    write_json(folder / "3_LayerNorm" / "config.json", {"dimension": WIDTH})
    write_safetensors(folder / "3_LayerNorm" / "model.safetensors", norm)
    identity = "torch.nn.modules.linear.Identity"
    _dense(folder / "4_Dense", 1, "scores", identity)
    return folder


def _dense(folder: Path, rows: int, output: str, activation: str) -> None:
    weights = Weights(5 + rows)
    weights.matrix("linear.weight", rows, WIDTH, 3.0 if rows == 1 else 1.0)
    if rows == 1:
        weights.vector("linear.bias", rows)
    write_safetensors(folder / "model.safetensors", weights)
    write_json(
        folder / "config.json",
        {
            "in_features": WIDTH,
            "out_features": rows,
            "bias": rows == 1,
            "activation_function": activation,
            "module_input_name": "sentence_embedding",
            "module_output_name": output,
        },
    )


def write_jina_v2(folder: Path) -> Path:
    """Write `write_bge`'s model as jina-reranker-v2 names and merges its tensors."""
    write_bge(folder)
    weights = Weights(2)
    vocabulary = len(tokenizer_named("xlm-roberta")["model"]["vocab"])
    bert_like(weights, "roberta.", vocabulary, CONTEXT + 2, 1)
    weights.linear("classifier.dense", WIDTH, WIDTH)
    weights.linear("classifier.out_proj", 1, WIDTH, 4.0)
    for kind in ("weight", "bias"):
        weights[f"roberta.emb_ln.{kind}"] = weights.pop(f"roberta.embeddings.LayerNorm.{kind}")
        for layer in range(LAYERS):
            old, new = f"roberta.encoder.layer.{layer}", f"roberta.encoder.layers.{layer}"
            parts = [
                weights.pop(f"{old}.attention.self.{part}.{kind}")
                for part in ("query", "key", "value")
            ]
            weights[f"{new}.mixer.Wqkv.{kind}"] = np.concatenate(parts)
            for theirs, ours in FLASH.items():
                weights[f"{new}.{ours}.{kind}"] = weights.pop(f"{old}.{theirs}.{kind}")
    write_safetensors(folder / "model.safetensors", weights)
    return folder


FLASH = {
    "attention.output.dense": "mixer.out_proj",
    "attention.output.LayerNorm": "norm1",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
    "output.LayerNorm": "norm2",
}


def write_jina_v1(folder: Path) -> Path:
    """Write what jina-reranker-v1 is: ALiBi, gated feed-forward layers, pooler and classifier."""
    tokenizer = tokenizer_named("modern-bert")
    for one in tokenizer["added_tokens"]:
        one["content"] = JINA_SPECIAL.get(one["content"], one["content"])
    rows = modern_vocabulary(tokenizer)
    weights = Weights(7)
    weights.matrix("bert.embeddings.word_embeddings.weight", rows, WIDTH, 5.0)
    weights.matrix("bert.embeddings.token_type_embeddings.weight", 2, WIDTH, 2.0)
    weights.norm("bert.embeddings.LayerNorm")
    for layer in range(LAYERS):
        block = f"bert.encoder.layer.{layer}"
        for part in ("query", "key", "value"):
            weights.linear(f"{block}.attention.self.{part}", WIDTH, WIDTH, 1.5)
        weights.linear(f"{block}.attention.output.dense", WIDTH, WIDTH)
        weights.norm(f"{block}.attention.output.LayerNorm")
        weights.matrix(f"{block}.mlp.gated_layers.weight", 2 * FEED, WIDTH)
        weights.linear(f"{block}.mlp.wo", WIDTH, FEED)
        weights.norm(f"{block}.mlp.layernorm")
    weights.linear("bert.pooler.dense", WIDTH, WIDTH)
    weights.linear("classifier", 1, WIDTH, 4.0)
    write_safetensors(folder / "model.safetensors", weights)
    config = bert_config("JinaBertModel", rows, CONTEXT, 2)
    more = {"position_embedding_type": "alibi", "feed_forward_type": "geglu"}
    write_json(folder / "config.json", {"model_type": "bert", **config, **more})
    write_json(folder / "tokenizer.json", tokenizer)
    return folder


JINA_SPECIAL = {
    "[CLS]": "<s>",
    "[SEP]": "</s>",
    "[PAD]": "<pad>",
    "[UNK]": "<unk>",
    "[MASK]": "<mask>",
}

CHECKPOINTS: dict[str, Callable[[Path], Path]] = {
    "ms-marco": write_ms_marco,
    "bge": write_bge,
    "gte-modernbert": write_gte_modernbert,
    "ettin": write_ettin,
    "ms-marco, calm": partial(write_ms_marco, calm=True),
    "ettin, calm": partial(write_ettin, calm=True),
}
"""Each kind of checkpoint that there are references for."""
