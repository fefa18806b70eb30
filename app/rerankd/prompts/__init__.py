"""From texts to token ids: layouts of the families, long texts made to fit, whole requests."""

from rerankd.prompts.layouts import (
    Layout,
    PairLayout,
    TextLayout,
    layout_for,
)
from rerankd.prompts.prompt_builder import PromptBuilder
from rerankd.prompts.rows import TokenizedRequest
from rerankd.prompts.template_layout import TemplateLayout
from rerankd.prompts.text_rows import TextRowBuilder
from rerankd.prompts.vocabulary import Vocabulary

__all__ = [
    "Layout",
    "PairLayout",
    "PromptBuilder",
    "TemplateLayout",
    "TextLayout",
    "TextRowBuilder",
    "TokenizedRequest",
    "Vocabulary",
    "layout_for",
]
