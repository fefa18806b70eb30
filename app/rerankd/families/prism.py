"""Prism-Qwen3.5-Reranker: Qwen3.5 that answers yes or no before it explains why.

Prism-Qwen3-Reranker-4B-exp is taken for one of them.

The prompt is the one that the makers' own check of the models uses: its instruction is what they
were trained with, so requests can't change it. Only the first answer is read; no explanation is
written. Every fourth layer of the network has keys and values, the others a state of a fixed size
for each sequence, so steps hold fewer documents.
"""

from __future__ import annotations

from msgspec import structs

from rerankd.families.family import CAUSAL_STEPS, DECODER_BUFFER, Family
from rerankd.families.prompt_format import TemplateFormat
from rerankd.families.score import AnswerScore

PRISM_TASK = (
    'Judge if the document is relevant to the query. Reply "yes" or "no".\n'
    'On "yes", also emit:\n'
    "<contribution>One sentence covering every core point the document contributes to the query,"
    " without elaboration.</contribution>\n"
    "<evidence>Self-contained rewrite of the query-relevant content. Rules:\n"
    "- Faithful: rephrase only; add or infer nothing.\n"
    "- Self-contained: evidence alone must fully answer the query.\n"
    "- Concise: drop query-irrelevant background.\n"
    "- Verbatim (no translation): proper nouns, terms, abbreviations, numbers, dates, code, URLs.\n"
    "- Output language: multilingual doc → query's language; else doc's language.</evidence>"
)

PRISM = Family(
    name="prism",
    also_named="prism-reranker",
    scoring="cross-encoder",
    causal=True,
    architectures=("qwen35", "qwen3"),
    models=(r"prism-qwen3(\.?5)?-reranker",),
    prompt=TemplateFormat(
        text=(
            "<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n"
            f"<Instruct>: {PRISM_TASK}\n"
            "<Query>: {query}\n<Document>: {document}"
            "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
        ),
        # With a blank at its end.
        system=(
            "Judge whether the Document meets the requirements based on the Query and the Instruct"
            " provided. "
        ),
    ),
    score=AnswerScore(positive="yes", negative="no"),
    steps=structs.replace(CAUSAL_STEPS, rows=8),
    buffer=DECODER_BUFFER,
)
