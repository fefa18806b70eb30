"""Qwen3-VL-Reranker, for texts and pictures: Qwen3-Reranker's question, put a little differently.

Template and instruction are those of the model's own script (`scripts/qwen3_vl_reranker.py` beside
the weights), which vLLM's `qwen3_vl_reranker.jinja` repeats: no line break before the query, no
blank before the texts, no thinking. Files may have Qwen3-Reranker's template, which some converters
write into them, so a file's own is not used.
"""

from __future__ import annotations

from rerankd.families.family import CAUSAL_STEPS, DECODER_BUFFER, Family
from rerankd.families.prompt_format import PictureFormat, TemplateFormat
from rerankd.families.score import AnswerScore

TOKEN_SIDE = 32
"""Pixels: patches of 16 by 16, of which two by two are merged."""

QWEN3_VL = Family(
    name="qwen3-vl",
    also_named="qwen3-vl-reranker",
    scoring="cross-encoder",
    causal=True,
    architectures=("qwen3vl",),
    models=(r"qwen-?3-?vl-?reranker",),
    prompt=TemplateFormat(
        text=(
            "<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n",
            "<Instruct>: {instruction}<Query>:{query}\n",
            "<Document>:{document}",
            "<|im_end|>\n<|im_start|>assistant\n",
        ),
        system=(
            "Judge whether the Document meets the requirements based on the Query and the Instruct"
            ' provided. Note that the answer can only be "yes" or "no".'
        ),
        instruction="Given a search query, retrieve relevant candidates that answer the query.",
        empty="NULL",
    ),
    pictures=PictureFormat(
        begin="<|vision_start|>",
        pad="<|image_pad|>",
        end="<|vision_end|>",
        factor=TOKEN_SIDE,
        least_pixels=4 * TOKEN_SIDE**2,  # 4 to 1800 tokens, as the script has them
        most_pixels=1800 * TOKEN_SIDE**2,
        projectors=("qwen3vl_merger",),
    ),
    score=AnswerScore(
        positive="yes",
        negative="no",
        head=True,
        untied_widths=(4096,),  # the 8B model's
    ),
    steps=CAUSAL_STEPS,
    buffer=DECODER_BUFFER,
)
