"""mxbai-rerank-base-v2 and -large-v2: Qwen2.5 that answers 1 or 0.

Prompt and score are those of the library (`mxbai_rerank/mxbai_rerank_v2.py`), which tokenises the
parts one by one and gives the difference of both logits. Its sigmoid is the probability of 1; the
library's own normalisation moves it by a constant, which changes no order.
"""

from __future__ import annotations

from rerankd.families.family import CAUSAL_STEPS, DECODER_BUFFER, Family
from rerankd.families.prompt_format import TemplateFormat
from rerankd.families.score import AnswerScore

MXBAI_BEFORE = (
    "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant."
    "<|im_end|>\n<|im_start|>user\n"
)
MXBAI_TASK = (
    "You are a search relevance expert who evaluates how well documents match search queries. For"
    " each query-document pair, carefully analyze the semantic relationship between them, then"
    " provide your binary relevance judgment (0 for not relevant, 1 for relevant).\nRelevance:"
)
MXBAI_AFTER_QUERY = (
    "\n",
    "document: {document}",
    "\n",
    MXBAI_TASK,
    "<|im_end|>\n<|im_start|>assistant\n",
)

MXBAI_RERANK_V2 = Family(
    name="mxbai-rerank-v2",
    scoring="cross-encoder",
    causal=True,
    architectures=("qwen2",),
    models=(r"mxbai-rerank-(base|large)-v2",),
    prompt=TemplateFormat(
        text=(MXBAI_BEFORE, "query: {query}", *MXBAI_AFTER_QUERY),
        instructed=(MXBAI_BEFORE, "instruction: {instruction}\nquery: {query}", *MXBAI_AFTER_QUERY),
    ),
    score=AnswerScore(positive="1", negative="0"),
    steps=CAUSAL_STEPS,
    buffer=DECODER_BUFFER,
)
