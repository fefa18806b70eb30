"""Templates taken apart into pieces, each of which is tokenised on its own.

Fixed pieces are read with control tokens, pieces with slots without: what a user sent is only text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import Struct

from rerankd.families.prompt_format import Template

SLOT = re.compile(r"\{(instruction|query|document)\}")


class TemplatePiece(Struct, frozen=True):
    """A part of a template that is tokenised at once."""

    text: str

    @property
    def slots(self) -> list[str]:
        """The names of its slots, none for fixed text."""
        return SLOT.findall(self.text)

    def filled(self, texts: Mapping[str, str]) -> str:
        """Return its text with the slots filled; braces in `texts` are only text."""
        return SLOT.sub(lambda slot: texts[slot[1]], self.text)

    def around(self, texts: Mapping[str, str]) -> tuple[str, str]:
        """Return what stands before and after its slot of a query or document.

        Slots with another name are filled.
        """
        before, after = re.split(r"\{(?:query|document)\}", self.text)
        return (
            SLOT.sub(lambda slot: texts[slot[1]], before),
            SLOT.sub(lambda slot: texts[slot[1]], after),
        )


def pieces_of(template: Template) -> tuple[TemplatePiece, ...]:
    """Return the pieces of a template, in one text or in parts (see `TemplateFormat.text`).

    Raises ValueError unless it has the query once, and the document once in a piece of its own.
    """
    parts = _split(template) if isinstance(template, str) else template
    pieces = tuple(TemplatePiece(part) for part in parts if part)
    names = [name for piece in pieces for name in piece.slots]
    alone = any(piece.slots == ["document"] for piece in pieces)
    if not alone or names.count("document") != 1 or names.count("query") != 1:
        raise ValueError("a template needs {query} once and {document} once, in different parts")
    return pieces


def _split(template: str) -> list[str]:
    """Split a text so that each slot has with it the blank before and the line breaks after."""
    texts = SLOT.split(template)[0::2]
    parts: list[str] = []
    for at, name in enumerate(SLOT.findall(template)):
        before = " " if texts[at].endswith(" ") else ""
        rest = texts[at + 1].lstrip("\n")
        after = texts[at + 1][: len(texts[at + 1]) - len(rest)]
        parts += [texts[at].removesuffix(" "), f"{before}{{{name}}}{after}"]
        texts[at + 1] = rest
    return [*parts, texts[-1]]
