"""Any chat model as a judge: asked whether a document answers the query, through its own template.

Such a model wasn't trained to rank, so only the order of its scores means something, and that not
much: docs/instruct.md has figures. A model is of this family only if the user says so.
"""

from __future__ import annotations

from rerankd.families.family import CAUSAL_STEPS, DECODER_BUFFER, Family
from rerankd.families.prompt_format import ChatQuestion, TemplateFormat
from rerankd.families.score import AnswerScore

INSTRUCT = Family(
    name="instruct",
    scoring="cross-encoder",
    causal=True,
    # Stands for what the file's chat template makes of the question.
    prompt=TemplateFormat(text="{query}\n{document}", bos=None),
    chat=ChatQuestion(
        system="You judge search results. Answer with a single word, yes or no.",
        user=(
            "Task: {instruction}\n\nQuery: {query}\n\nDocument: {document}\n\n"
            "Is the document relevant to the query? Answer yes or no."
        ),
        instruction="Given a web search query, find passages that answer the query.",
    ),
    score=AnswerScore(
        positive="yes",
        negative="no",
        alternatives=(("Yes", "No"), (" yes", " no"), (" Yes", " No"), ("YES", "NO")),
        calibrated=False,
    ),
    steps=CAUSAL_STEPS,
    buffer=DECODER_BUFFER,
)
