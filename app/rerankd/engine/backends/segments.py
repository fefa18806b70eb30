"""Rows of ids taken apart into texts and pictures, with their positions.

Text takes one position a token. A picture at position p has its token in row y and column x of its
grid at (p, p + y, p + x), and what follows it begins at p + max(rows, columns).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from rerankd.domain import Pixels, TokenIds
from rerankd.engine.picture_encoder import PictureGrid


class Segment(Struct, frozen=True, eq=False):
    """A text, or a picture, and the position it begins at."""

    tokens: TokenIds
    """Ids of the vocabulary; of a picture only their number counts."""
    start: int
    picture: Pixels | None = None


def segments_of(
    ids: TokenIds, pictures: Sequence[Pixels], grid: PictureGrid, start: int = 0
) -> tuple[Segment, ...]:
    """Return the texts and pictures of a row that begins at position `start`, in order."""
    if not len(ids) or ids.min() >= 0:
        return (Segment(ids, start),)
    kinds = np.minimum(ids, 0)  # of a text 0, of a picture its own id
    edges = np.flatnonzero(np.diff(kinds)) + 1
    found: list[Segment] = []
    for part in np.split(ids, edges):
        picture = pictures[-1 - int(part[0])] if part[0] < 0 else None
        found.append(Segment(part, start, picture))
        start = end_of(found[-1], grid)
    return tuple(found)


def end_of(segment: Segment, grid: PictureGrid) -> int:
    """Return the position of what follows a segment."""
    if segment.picture is None:
        return segment.start + len(segment.tokens)
    return segment.start + max(grid.shape(segment.picture))


def position_after(ids: TokenIds, pictures: Sequence[Pixels], grid: PictureGrid) -> int:
    """Return the position of what follows ids that begin at 0."""
    return end_of(segments_of(ids, pictures, grid)[-1], grid)


class PictureNumbers:
    """Ids of pictures that hold between steps, so that prefixes can be compared by their ids.

    In a prompt -1 is its first picture, whichever that is. Here a number stands for one picture
    only, for as long as it is kept.
    """

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self._last = 0

    def renumbered(self, ids: TokenIds, pictures: Sequence[Pixels]) -> TokenIds:
        """Return ids with the lasting number of each picture, below 0 as well."""
        if not pictures or not len(ids) or ids.min() >= 0:
            return ids
        lasting = np.array([self._number(one) for one in pictures], dtype=np.int32)
        return np.where(ids < 0, lasting[-1 - np.minimum(ids, -1)], ids).astype(np.int32)

    def _number(self, picture: Pixels) -> int:
        found = self._numbers.get(picture.digest)
        if found is None:
            self._last -= 1
            found = self._numbers[picture.digest] = self._last
        return found

    def keep_only(self, rows: Sequence[TokenIds]) -> None:
        """Forget the pictures that are in none of these rows."""
        if self._numbers:
            kept = {int(one) for ids in rows for one in np.unique(ids[ids < 0])}
            self._numbers = {
                digest: number for digest, number in self._numbers.items() if number in kept
            }
