"""ModernBERT cross-encoders."""

from __future__ import annotations

from rerankd.families.family import ENCODER_STEPS, ComputeBuffer, Family
from rerankd.families.prompt_format import PairFormat
from rerankd.families.score import HEAD, POOLER, HeadScore

MODERN_BERT = Family(
    name="modern-bert",
    scoring="cross-encoder",
    architectures=("modern-bert",),
    prompt=PairFormat(before=("bos",), between=("sep",), after=("sep",), normalization="NFC"),
    score=HeadScore(
        tensors=("cls.norm.weight", HEAD, POOLER),
        assumptions=(("classifier.pooling_type", "mean pooling"),),
    ),
    steps=ENCODER_STEPS,
    buffer=ComputeBuffer(width_floats=7.5, mask_bytes=4),
)
