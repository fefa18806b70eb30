"""Pictures of one model in ids, and the slots that have them."""

from __future__ import annotations

import numpy as np

from rerankd.domain import Pixels, TokenIds
from rerankd.errors import ModelFileError
from rerankd.families.prompt_format import PictureFormat
from rerankd.prompts.layouts import Layout
from rerankd.prompts.template_layout import Parts, TemplateLayout


class PictureLayout:
    """Where a template's models see pictures: each between its marks, in a slot."""

    def __init__(self, layout: TemplateLayout, look: PictureFormat) -> None:
        """Read the marks. Raises ModelFileError where the vocabulary lacks one."""
        self._look = look
        self._layout = layout
        self._begin = _mark(layout, look.begin)
        self._end = _mark(layout, look.end)

    def query(self, parts: Parts, instruction: str | None) -> TokenIds:
        """Return a query's ids with what its slot has around it."""
        return self._layout.pictured_query(parts, instruction)

    def document(self, parts: Parts) -> TokenIds:
        """Return a document's ids with what its slot has around it."""
        return self._layout.pictured_document(parts)

    def ids(self, picture: Pixels, number: int) -> TokenIds:
        """Return a picture's ids with its marks; `number` is its place among the request's."""
        tokens = self._look.tokens(picture.width, picture.height)
        return np.concatenate((self._begin, np.full(tokens, -1 - number, np.int32), self._end))


def picture_layout(look: PictureFormat | None, layout: Layout) -> PictureLayout | None:
    """Return how a model's pictures are laid out, None for one that reads text only."""
    if look is None or not isinstance(layout, TemplateLayout):
        return None
    return PictureLayout(layout, look)


def _mark(layout: TemplateLayout, text: str) -> TokenIds:
    ids = layout.vocabulary.tokenize(text, special=True)
    if len(ids) != 1:
        raise ModelFileError(f"its vocabulary has no token {text}, which pictures need")
    return ids
