"""rerankd's own small models, which compare texts token by token (`models/train` makes them).

Their metadata below `rerankd.late.` says how vectors become scores. `query_prefix` and
`document_prefix`, which a file may lack, are what the model was trained to see before texts.
"""

from __future__ import annotations

from rerankd.families.family import ENCODER_STEPS, ComputeBuffer, Family
from rerankd.families.header import NUMBERS_PREFIX, Header
from rerankd.families.prompt_format import TextFormat, TextPrefixes
from rerankd.families.score import LateScore

LATE_INTERACTION = Family(
    name="late-interaction",
    scoring="late interaction",
    prompt=TextFormat(),
    score=LateScore(),
    steps=ENCODER_STEPS,
    buffer=ComputeBuffer(width_floats=7),  # BERT's
    identifier_logits=2.0,
)


def late_prefixes(header: Header) -> TextPrefixes:
    """Return what a file wants before texts; empty where it doesn't say."""
    keys = (f"{NUMBERS_PREFIX}query_prefix", f"{NUMBERS_PREFIX}document_prefix")
    found = (header.metadata.get(key, "") for key in keys)
    return TextPrefixes(*(one if isinstance(one, str) else "" for one in found))
