"""From texts to token ids: layouts of the families, long texts made to fit, whole requests."""

from rerankd.prompts.layouts import (
    Layout,
    PairLayout,
    TemplateLayout,
    TextLayout,
    Vocabulary,
    layout_for,
    split_template,
)
from rerankd.prompts.prompt_builder import PromptBuilder
from rerankd.prompts.rows import TokenizedRequest

__all__ = [
    "Layout",
    "PairLayout",
    "PromptBuilder",
    "TemplateLayout",
    "TextLayout",
    "TokenizedRequest",
    "Vocabulary",
    "layout_for",
    "split_template",
]
