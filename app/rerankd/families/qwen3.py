"""Qwen3-Reranker: a causal model that answers yes or no.

The template is that of the model card and of llama.cpp's converter, which writes it into files.
"""

from __future__ import annotations

from rerankd.families.family import CAUSAL_STEPS, DECODER_BUFFER, Family
from rerankd.families.prompt_format import TemplateFormat
from rerankd.families.score import AnswerScore

QWEN3 = Family(
    name="qwen3",
    also_named="qwen3-reranker",
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
        untied_widths=(4096,),  # the 8B model's
    ),
    steps=CAUSAL_STEPS,
    buffer=DECODER_BUFFER,
    models=(r"(?<!prism-)qwen-?3-?reranker",),
)
