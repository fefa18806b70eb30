"""The size that a picture is scaled to for a model.

It is that of the script beside Qwen3-VL-Reranker's weights: both sides become multiples of a
token's side, near the picture's own shape, and the area is brought within bounds.
"""

from __future__ import annotations

import math

from msgspec import Struct

from rerankd.errors import BadPicture

STEEPEST_RATIO = 200
"""The most that one side may be of the other."""


class ScaleRule(Struct, frozen=True):
    """How a model wants its pictures."""

    factor: int
    """Pixels that both sides are multiples of."""
    least_pixels: int
    most_pixels: int

    def size_of(self, width: int, height: int) -> tuple[int, int]:
        """Return the width and height that a picture is scaled to. Raises BadPicture.

        A side never vanishes: where that leaves a very narrow picture above `most_pixels`, as it
        can for few of them, its longer side is cut to fit.
        """
        if max(width, height) > STEEPEST_RATIO * min(width, height):
            raise BadPicture(
                f"is {width} x {height} pixels; one side may be at most {STEEPEST_RATIO} times the"
                " other"
            )
        scaled = (self._rounded(width), self._rounded(height))
        area = scaled[0] * scaled[1]
        if area > self.most_pixels:
            shrink = math.sqrt(width * height / self.most_pixels)
            below = self._below(width / shrink), self._below(height / shrink)
            longest = self.most_pixels / min(below)
            return self._below(min(below[0], longest)), self._below(min(below[1], longest))
        if area < self.least_pixels:
            grow = math.sqrt(self.least_pixels / (width * height))
            return self._above(width * grow), self._above(height * grow)
        return scaled

    def _rounded(self, side: int) -> int:
        return max(1, round(side / self.factor)) * self.factor

    def _below(self, side: float) -> int:
        return max(1, math.floor(side / self.factor)) * self.factor

    def _above(self, side: float) -> int:
        return math.ceil(side / self.factor) * self.factor
