"""RoBERTa and XLM-RoBERTa cross-encoders: BERT's network with another vocabulary and layout."""

from __future__ import annotations

from rerankd.families.family import ENCODER_STEPS, ComputeBuffer, Family
from rerankd.families.prompt_format import PairFormat
from rerankd.families.score import POOLER, HeadScore

XLM_ROBERTA = Family(
    name="xlm-roberta",
    scoring="cross-encoder",
    architectures=("bert",),
    tokenizers=("t5", "gpt2"),
    required_keys=("tokenizer.ggml.token_type_count",),
    prompt=PairFormat(before=("bos",), between=("eos", "eos"), after=("eos",)),
    score=HeadScore(pooler=POOLER, token_types=1),
    steps=ENCODER_STEPS,
    buffer=ComputeBuffer(width_floats=7),
)
