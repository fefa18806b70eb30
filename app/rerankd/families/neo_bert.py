"""NeoBERT cross-encoders."""

from __future__ import annotations

from rerankd.families.family import ENCODER_STEPS, ComputeBuffer, Family
from rerankd.families.prompt_format import PairFormat
from rerankd.families.score import HeadScore

NEO_BERT = Family(
    name="neo-bert",
    scoring="cross-encoder",
    architectures=("neo-bert",),
    prompt=PairFormat(before=("bos",), between=("sep",), after=("sep",)),
    score=HeadScore(),
    steps=ENCODER_STEPS,
    # Not measured: the largest of those that were.
    buffer=ComputeBuffer(width_floats=15, mask_bytes=4),
)
