"""The `[readout]` of a manifest: a causal model's prompt, and the logits that are its score."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, structs

from rerankd.families.family import Family
from rerankd.families.prompt_format import QUERY_SHARE, TemplateFormat
from rerankd.families.score import AnswerScore
from rerankd.families.templates import pieces_of

TemplatePart = Annotated[str, Meta(max_length=20_000)]
ReadoutTemplate = TemplatePart | Annotated[tuple[TemplatePart, ...], Meta(max_length=40)]
AnswerToken = (
    Annotated[str, Meta(min_length=1, max_length=100)] | Annotated[int, Meta(ge=0, lt=2**31)]
)

BOS_MODES = {"always": True, "never": False, "file": None}


class CausalReadout(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a causal model is prompted and read: `TemplateFormat` and `AnswerScore` in TOML."""

    template: ReadoutTemplate
    positive: AnswerToken
    negative: AnswerToken | None = None
    instruction: TemplatePart = ""
    instructed: ReadoutTemplate = ()
    bos: Literal["always", "never", "file"] = "file"
    strip: bool = False
    empty: TemplatePart = ""
    query_share: Annotated[float, Meta(gt=0, lt=1)] = QUERY_SHARE
    scale: float = 1.0
    calibrated: bool = True

    def __post_init__(self) -> None:
        for template in (self.template, self.instructed):
            if template:
                pieces_of(template)

    def applied_to(self, family: Family) -> Family:
        """Return a family with this prompt and these answers in place of its own."""
        prompt = TemplateFormat(
            text=self.template,
            instruction=self.instruction,
            instructed=self.instructed,
            bos=BOS_MODES[self.bos],
            strip=self.strip,
            empty=self.empty,
            query_share=self.query_share,
        )
        score = AnswerScore(
            positive=self.positive,
            negative=self.negative,
            scale=self.scale,
            calibrated=self.calibrated,
        )
        return structs.replace(family, prompt=prompt, score=score)
