"""What goes into the slot of a query or document: a text, or a text around pictures.

Only text is ever cut. A picture's tokens are not of the vocabulary: in a row they are one negative
id, as many times as the picture has tokens (`domain.Prompt.pictures`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeAlias

from msgspec import Struct

from rerankd.domain import NO_TOKENS, Content, Pictured, Pixels, TokenIds, Truncation
from rerankd.domain import TruncationSide as Side
from rerankd.errors import TextOnly
from rerankd.prompts.chunking import Tokenize
from rerankd.prompts.layouts import Layout
from rerankd.prompts.picture_layout import PictureLayout
from rerankd.prompts.template_layout import Parts
from rerankd.prompts.truncations import most_whole

Fill: TypeAlias = Callable[[Parts], TokenIds]
"""Texts and pictures' ids, to the ids of the slot that has them."""


class Slot(Protocol):
    """A query or document, as far as it can be cut."""

    text: str
    picture_tokens: int
    """Tokens of its pictures, which stay."""

    def ids(self, kept: str, side: Side) -> TokenIds:
        """Return the ids of the slot with what is kept of the text; `side` lost the rest."""
        ...

    def tried(self, kept: str, side: Side) -> TokenIds:
        """Return the same, of a length that is only tried."""
        ...

    def most_whole(self, truncation: Truncation) -> float:
        """Return the most tokens that `truncation` leaves as they are."""
        ...


class TextSlot:
    """A text."""

    picture_tokens = 0

    def __init__(self, text: str, fill: Tokenize, trial: Tokenize) -> None:
        """`trial` is what tokenises lengths that are only tried."""
        self.text = text
        self._fill = fill
        self._trial = trial

    def ids(self, kept: str, side: Side) -> TokenIds:
        """See Slot."""
        del side
        return self._fill(kept)

    def tried(self, kept: str, side: Side) -> TokenIds:
        """See Slot."""
        del side
        return self._trial(kept)

    def most_whole(self, truncation: Truncation) -> float:
        """See Slot."""
        return most_whole(truncation)


class _Run(Struct, frozen=True, eq=False):
    """Characters `start` to `end` of a content's text, or a picture in ids."""

    start: int
    end: int
    picture: TokenIds = NO_TOKENS


class PictureSlot:
    """A text around pictures."""

    def __init__(
        self, content: Pictured, layout: PictureLayout, numbers: dict[Pixels, int], fill: Fill
    ) -> None:
        """`numbers` are the request's pictures, to which those of this content are added."""
        self.text = content.text
        self._fill = fill
        self._runs: list[_Run] = []
        at = 0
        for part in content.parts:
            if isinstance(part, str):
                self._add_text(at, at + len(part))
                at += len(part) + 1  # a line break, as `Pictured.text` has it
            elif isinstance(part, Pixels):
                number = numbers.setdefault(part, len(numbers))
                self._runs.append(_Run(at, at, layout.ids(part, number)))
        self.picture_tokens = sum(len(run.picture) for run in self._runs)

    def _add_text(self, start: int, end: int) -> None:
        """Add a text; one behind another text goes on with it, line break and all."""
        if self._runs and not len(self._runs[-1].picture):
            start = self._runs.pop().start
        self._runs.append(_Run(start, end))

    def ids(self, kept: str, side: Side) -> TokenIds:
        """See Slot."""
        first = len(self.text) - len(kept) if side == "left" else 0
        last = first + len(kept)
        return self._fill(
            [
                run.picture
                if len(run.picture)
                else self.text[max(run.start, first) : max(run.start, min(run.end, last))]
                for run in self._runs
            ]
        )

    tried = ids

    def most_whole(self, truncation: Truncation) -> float:
        """See Slot. It is never split, and its pictures stay whatever the limit."""
        limit = truncation.max_tokens_per_doc or math.inf
        return max(limit, len(self.ids("", truncation.truncation_side)))


class Slots:
    """Makes the slots of one request, whose pictures it numbers as they are met."""

    def __init__(self, layout: Layout, trial: Layout, pictures: PictureLayout | None) -> None:
        """`pictures` lays out pictures, for a model that sees them."""
        self._layout = layout
        self._trial = trial
        self._pictures = pictures
        self._numbers: dict[Pixels, int] = {}

    @property
    def pictures(self) -> tuple[Pixels, ...]:
        """The distinct pictures so far."""
        return tuple(self._numbers)

    def query(self, content: Content, instruction: str | None) -> Slot:
        """Return a query's slot. Raises TextOnly."""
        if isinstance(content, str):
            fill = partial(self._layout.query, instruction=instruction)
            return TextSlot(content, fill, partial(self._trial.query, instruction=instruction))
        layout = self._require("query")
        fill_parts = partial(layout.query, instruction=instruction)
        return PictureSlot(content, layout, self._numbers, fill_parts)

    def document(self, content: Content, place: str) -> Slot:
        """Return a document's slot; errors call it by its place. Raises TextOnly."""
        if isinstance(content, str):
            return TextSlot(content, self._layout.document, self._trial.document)
        layout = self._require(place)
        return PictureSlot(content, layout, self._numbers, layout.document)

    def _require(self, param: str) -> PictureLayout:
        if self._pictures is None:
            raise TextOnly(f"this model reads text only: {param} has a picture", param=param)
        return self._pictures
