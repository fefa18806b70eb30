"""The `[judge]` of a manifest: what a chat model is asked about a document."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct, structs

from rerankd.families.family import Family
from rerankd.families.instruct import INSTRUCT
from rerankd.families.prompt_format import ChatQuestion
from rerankd.families.score import AnswerScore
from rerankd.families.templates import pieces_of

MessageText = Annotated[str, Meta(max_length=20_000)]
ChatTemplate = Annotated[str, Meta(max_length=50_000)]
AnswerWord = Annotated[str, Meta(min_length=1, max_length=100)]

OWN = INSTRUCT.chat or ChatQuestion(user="")


class JudgePrompt(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`ChatQuestion` and the two answers in TOML; what is left out is as in `instruct`."""

    user: MessageText = OWN.user
    system: MessageText = OWN.system
    instruction: MessageText = OWN.instruction
    template: ChatTemplate = ""
    positive: AnswerWord | None = None
    negative: AnswerWord | None = None

    def __post_init__(self) -> None:
        pieces_of(self.user)
        if "{system}" in self.user:
            raise ValueError("the user's message has no slot {system}: write a `system` message")
        if (self.positive is None) != (self.negative is None):
            raise ValueError("give both `positive` and `negative`, or neither")

    def applied_to(self, family: Family) -> Family:
        """Return a family that asks this in place of its own question."""
        question = ChatQuestion(
            user=self.user,
            system=self.system,
            instruction=self.instruction,
            template=self.template,
        )
        score = family.score
        if self.positive is not None:
            score = AnswerScore(positive=self.positive, negative=self.negative, calibrated=False)
        return structs.replace(family, chat=question, score=score)
