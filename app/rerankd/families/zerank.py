"""zerank-1, zerank-1-small and zerank-2: Qwen3 with the query as the system's message.

As in the models' own code (`modeling_zeranker.py` beside zerank-1-small), both texts are stripped
and the score is the sigmoid of a fifth of the logit of `Yes`. zerank-2's files name the same token
(`1_LogitScore/config.json`: 9454) and its card the same fifth. The form for an instruction is
ZeroEntropy's own for zerank-2; whether zerank-1 was trained with it is not known. The cuts of that
code, at 2,000 characters of a query and 10,000 of a document, are not made here.
"""

from __future__ import annotations

from rerankd.families.family import CAUSAL_STEPS, DECODER_BUFFER, Family
from rerankd.families.prompt_format import TemplateFormat
from rerankd.families.score import AnswerScore

SYSTEM, USER = "<|im_start|>system\n", "<|im_end|>\n<|im_start|>user\n"
ASSISTANT = "<|im_end|>\n<|im_start|>assistant\n"

ZERANK = Family(
    name="zerank",
    scoring="cross-encoder",
    causal=True,
    architectures=("qwen3",),
    models=(r"zerank-?[12](?!\.?[0-9])",),
    prompt=TemplateFormat(
        text=(SYSTEM, "{query}", USER, "{document}", ASSISTANT),
        instructed=(
            SYSTEM,
            "<query>{query}</query>\n<instruction>{instruction}</instruction>",
            USER,
            "{document}",
            ASSISTANT,
        ),
        strip=True,
    ),
    score=AnswerScore(positive="Yes", scale=1 / 5),
    steps=CAUSAL_STEPS,
    buffer=DECODER_BUFFER,
)
