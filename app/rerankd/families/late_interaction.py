"""rerankd's own small models, which compare texts token by token (`models/train` makes them)."""

from __future__ import annotations

from rerankd.families.family import ENCODER_STEPS, ComputeBuffer, Family
from rerankd.families.prompt_format import TextFormat
from rerankd.families.score import LateScore

LATE_INTERACTION = Family(
    name="late-interaction",
    scoring="late interaction",
    prompt=TextFormat(),
    score=LateScore(),
    steps=ENCODER_STEPS,
    buffer=ComputeBuffer(width_floats=7),  # BERT's
)
