"""Causal models of any network, prompted and read as a manifest's `[readout]` says."""

from __future__ import annotations

from rerankd.families.family import CAUSAL_STEPS, DECODER_BUFFER, Family
from rerankd.families.prompt_format import TemplateFormat
from rerankd.families.score import AnswerScore

CAUSAL = Family(
    name="causal",
    scoring="cross-encoder",
    causal=True,
    # Stands for the manifest's, without which the family can't be chosen.
    prompt=TemplateFormat(text="{query}\n{document}", bos=None),
    score=AnswerScore(positive="yes", negative="no"),
    needs_readout=True,
    steps=CAUSAL_STEPS,
    buffer=DECODER_BUFFER,
)
