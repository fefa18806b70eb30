"""From a checkpoint's folder to a GGUF file that this rerankd serves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rerankd.conversion import bert, jina_bert, modern_bert
from rerankd.conversion.checkpoint import Checkpoint
from rerankd.conversion.plan import Plan
from rerankd.conversion.writing import MATRIX_TYPES, OnWritten, write_plan
from rerankd.errors import ModelFileError

PLANNERS: dict[str, Callable[[Checkpoint], Plan]] = {
    "BertForSequenceClassification": bert.plan_bert,
    "BertModel": bert.plan_colbert_bert,
    "HF_ColBERT": bert.plan_colbert_bert,
    "RobertaForSequenceClassification": bert.plan_roberta,
    "XLMRobertaForSequenceClassification": bert.plan_roberta,
    "JinaBertModel": jina_bert.plan_jina_bert,
    "JinaBertForSequenceClassification": jina_bert.plan_jina_bert,
    "ModernBertForSequenceClassification": modern_bert.plan_classifier,
    "ModernBertModel": modern_bert.plan_modules,
}
"""By the class that config.json names."""
UNCONVERTED = {
    "DebertaV2ForSequenceClassification": "llama.cpp has no DeBERTa",
    "NewForSequenceClassification": "llama.cpp has no network of gte-multilingual's kind",
    "DistilBertForSequenceClassification": "llama.cpp has no place for its head's ReLU",
    "ElectraForSequenceClassification": "llama.cpp has no ELECTRA",
    "MPNetForSequenceClassification": "llama.cpp has no MPNet",
}
CAUSAL_ADVICE = "a causal model: convert it with llama.cpp's convert_hf_to_gguf.py"


def convert(
    folder: Path, target: Path, kind: str, *, origin: str = "", on_written: OnWritten
) -> None:
    """Write a checkpoint's GGUF file with matrices as `kind`, whole or not at all.

    `origin` is the repository it came from. Raises ModelFileError with the reason where the model
    can't be converted without loss of its head, or the file can't be written.
    """
    if kind not in MATRIX_TYPES:
        raise ModelFileError(f"no type {kind}; there are {', '.join(MATRIX_TYPES)}")
    checkpoint = Checkpoint(folder)
    write_plan(plan_for(checkpoint), target, kind, _general(checkpoint, origin), on_written)


def plan_for(checkpoint: Checkpoint) -> Plan:
    """Return what a checkpoint's file will hold. Raises ModelFileError for an unknown kind."""
    named = checkpoint.architecture
    planner = PLANNERS.get(named)
    if planner is None:
        causal = CAUSAL_ADVICE if named.endswith("ForCausalLM") else ""
        reason = UNCONVERTED.get(named) or causal or f"rerankd converts {', '.join(PLANNERS)}"
        raise ModelFileError(f"{checkpoint.folder}: {named or 'no architecture'}: {reason}")
    return planner(checkpoint)


def _general(checkpoint: Checkpoint, origin: str) -> dict[str, Any]:
    name = origin.rpartition("/")[2] or checkpoint.folder.resolve().name
    found: dict[str, Any] = {"name": name, "tags": ["text-ranking"]}
    if checkpoint.license:
        found["license"] = checkpoint.license
    if origin:
        organization = origin.partition("/")[0]
        found |= {
            "base_model.count": 1,
            "base_model.0.name": name,
            "base_model.0.organization": organization,
            "base_model.0.repo_url": f"https://huggingface.co/{origin}",
        }
    return found
