"""Long texts read in slices, only as far as they can count, so that reading them can be ended.

Tokenising takes seconds a megabyte and can't be interrupted. A text of up to LONG characters is
tokenised at once, and so is a longer one that fits: their ids are exact. Of a text that has to be
cut or refused, only a part is read, slice by slice; its tokens are counted to within a few a slice.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rerankd.domain import TokenIds, TruncationSide
from rerankd.prompts.chunking import TextPart, Tokenize

LONG = 1 << 17
"""Characters up to which a text is tokenised without being counted first."""
SLICE = 80_000
"""Characters of a slice: too many for the token cache to keep it."""
MOST_AT_ONCE = 1 << 20
"""Characters of a text that are read where they come to few tokens, such as blanks without end."""
SLICE_SLACK = 8
"""Tokens by which the count of a slice may be off, because words may be split at its ends."""

Check = Callable[[], None]
"""Raises when nobody waits for the request any more."""


def unchecked() -> None:
    """Do nothing: the request is wanted to its end."""


def read_text(  # noqa: PLR0913 - a text, how far to read it, and with what
    text: str, most: float, side: TruncationSide, tokenize: Tokenize, count: Tokenize, check: Check
) -> TextPart:
    """Return a text with its ids, or the part of it that says that it has over `most` tokens.

    `tokenize` gives the ids of a text that fits, `count` those of a slice. `side` loses tokens.
    The ids of a part that was read in slices only serve to be counted.
    """
    check()
    if len(text) <= LONG:
        return TextPart(0, len(text), tokenize(text))
    part = _read_slices(text, most, side, count, check)
    if len(part.ids) > most:
        return part
    part = _edge(text, MOST_AT_ONCE, side)
    check()
    return TextPart(part.start, part.end, tokenize(text[part.start : part.end]))


def is_whole(part: TextPart, text: str) -> bool:
    """Return whether a part holds all of a text."""
    return part.end - part.start == len(text)


def _read_slices(
    text: str, most: float, side: TruncationSide, count: Tokenize, check: Check
) -> TextPart:
    """Return the part at the kept side that has over `most` tokens, or all of the text."""
    found: list[TokenIds] = []
    tokens, read, slack = 0, 0, 0
    while read < len(text) and tokens <= most + slack:
        check()
        edge = _edge(text, read + SLICE, side)
        inner = (edge.start, edge.end - read) if side == "left" else (edge.start + read, edge.end)
        found.append(count(text[inner[0] : inner[1]]))
        tokens += len(found[-1])
        read = edge.end - edge.start
        slack += SLICE_SLACK
    edge = _edge(text, read, side)
    ids = np.concatenate(found[::-1] if side == "left" else found)
    return TextPart(edge.start, edge.end, ids)


def _edge(text: str, length: int, side: TruncationSide) -> TextPart:
    """Return the part of at most `length` characters at the kept side, without ids."""
    start = max(0, len(text) - length) if side == "left" else 0
    end = len(text) if side == "left" else min(length, len(text))
    return TextPart(start, end, np.empty(0, dtype=np.int32))
