"""BERT cross-encoders with a WordPiece vocabulary."""

from __future__ import annotations

from rerankd.families.family import ENCODER_STEPS, ComputeBuffer, Family
from rerankd.families.prompt_format import PairFormat
from rerankd.families.score import POOLER, HeadScore

BERT = Family(
    name="bert",
    scoring="cross-encoder",
    architectures=("bert",),
    required_keys=("tokenizer.ggml.token_type_count",),
    prompt=PairFormat(
        before=("bos",), between=("sep",), after=("sep",), normalization="unaccented"
    ),
    score=HeadScore(pooler=POOLER, token_types=2),
    steps=ENCODER_STEPS,
    buffer=ComputeBuffer(width_floats=7),
)
