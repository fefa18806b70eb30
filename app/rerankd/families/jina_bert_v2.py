"""Jina's first rerankers, whose conversions lost a part of the head."""

from __future__ import annotations

from rerankd.families.family import ENCODER_STEPS, ComputeBuffer, Family
from rerankd.families.prompt_format import PairFormat
from rerankd.families.score import POOLER, HeadScore

JINA_BERT_V2 = Family(
    name="jina-bert-v2",
    scoring="cross-encoder",
    architectures=("jina-bert-v2",),
    prompt=PairFormat(before=("bos",), between=("eos", "eos"), after=("eos",)),
    score=HeadScore(
        tensors=(POOLER,),  # here the last layer has the pooler's name
        approximate="the conversion lost its pooler: the order is usable, but the scores are not "
        "probabilities",
        tanh=True,
    ),
    steps=ENCODER_STEPS,
    buffer=ComputeBuffer(width_floats=15),
)
