"""From texts to token ids: layouts of the families, long texts made to fit, whole requests."""

from app.prompts.layouts import (
    QWEN3_INSTRUCTION,
    QWEN3_TEMPLATE,
    Layout,
    PairLayout,
    TemplateLayout,
    TextLayout,
    Vocabulary,
    layout_for,
    split_template,
)
from app.prompts.prompter import Built, Prompter

__all__ = [
    "QWEN3_INSTRUCTION",
    "QWEN3_TEMPLATE",
    "Built",
    "Layout",
    "PairLayout",
    "Prompter",
    "TemplateLayout",
    "TextLayout",
    "Vocabulary",
    "layout_for",
    "split_template",
]
