"""Qwen3-Reranker: a causal model that answers yes or no."""

from __future__ import annotations

from rerankd.families.family import CAUSAL_STEPS, ComputeBuffer, Family
from rerankd.families.prompt_format import TemplateFormat
from rerankd.families.score import AnswerScore

QWEN3 = Family(
    name="qwen3",
    scoring="cross-encoder",
    causal=True,
    architectures=("qwen3",),
    prompt=TemplateFormat(
        text=(
            "<|im_start|>system\n{system}<|im_end|>\n"
            "<|im_start|>user\n<Instruct>: {instruction}\n<Query>: {query}\n<Document>: {document}"
            "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
        ),
        system=(
            "Judge whether the Document meets the requirements based on the Query and the Instruct"
            ' provided. Note that the answer can only be "yes" or "no".'
        ),
        instruction="Given a web search query, retrieve relevant passages that answer the query",
        metadata_key="tokenizer.chat_template.rerank",
    ),
    score=AnswerScore(
        positive="yes",
        negative="no",
        head=True,
        headless_names="rerank",
        untied_widths=(4096,),  # the 8B model's
    ),
    steps=CAUSAL_STEPS,
    buffer=ComputeBuffer(width_floats=7, feed_floats=2),
)
