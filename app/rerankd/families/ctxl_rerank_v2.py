"""ctxl-rerank-v2-instruct-multilingual 1b, 2b and 6b: the document first, the score in token 0.

The prompt is that of the model cards' code. The score is the logit of vocabulary entry 0, which the
models were trained to use as a number: neither the cards nor the models' `1_LogitScore` give it an
activation. Documents come before the query, so little of a prompt can be shared.
"""

from __future__ import annotations

from rerankd.families.family import CAUSAL_STEPS, DECODER_BUFFER, Family
from rerankd.families.prompt_format import TemplateFormat
from rerankd.families.score import AnswerScore

CTXL_TASK = (
    "Check whether a given document contains information helpful to answer the query.\n"
    "<Document> {document}\n<Query> {query}"
)

CTXL_RERANK_V2 = Family(
    name="ctxl-rerank-v2",
    scoring="cross-encoder",
    causal=True,
    architectures=("qwen3", "llama"),
    models=(r"ctxl-rerank-v2", r"contextual-?ai[-/.]+reranker-v2"),
    prompt=TemplateFormat(
        text=f"{CTXL_TASK} ??", instructed=f"{CTXL_TASK} {{instruction}} ??", bos=None
    ),
    score=AnswerScore(positive=0, calibrated=False),
    steps=CAUSAL_STEPS,
    buffer=DECODER_BUFFER,
)
