"""bge-reranker-v2-gemma: Gemma 2B that answers Yes or No, of which only Yes is read.

Prompt, score and the order of the parts are those of FlagEmbedding
(`inference/reranker/decoder_only/base.py`), which tokenises the parts one by one.
"""

from __future__ import annotations

from rerankd.families.family import CAUSAL_STEPS, DECODER_BUFFER, Family
from rerankd.families.prompt_format import TemplateFormat
from rerankd.families.score import AnswerScore

GEMMA_TASK = (
    "Given a query A and a passage B, determine whether the passage contains an answer to the query"
    " by providing a prediction of either 'Yes' or 'No'."
)

BGE_GEMMA = Family(
    name="bge-gemma",
    also_named="bge-reranker-v2-gemma",
    scoring="cross-encoder",
    causal=True,
    architectures=("gemma",),
    models=(r"bge-reranker-v2-gemma(?![0-9])",),
    prompt=TemplateFormat(
        text=(
            "A: {query}",
            "\n",
            "B: {document}",
            "\n",
            GEMMA_TASK,
        ),
        bos=True,
    ),
    score=AnswerScore(positive="Yes"),
    steps=CAUSAL_STEPS,
    buffer=DECODER_BUFFER,
)
