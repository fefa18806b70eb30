"""What encoding a picture costs, counted in tokens of text that take as long.

Both are counted by their products of numbers: a token's with the weights, and in the encoder also
those of all patches with each other, which grow with the square of a picture's size.
"""

from __future__ import annotations

import math

from msgspec import Struct

from rerankd.families.header import Header
from rerankd.families.memory import PATCHES_A_TOKEN

SLOWER = 2.0
"""How much longer an encoder's product takes than one of a model's, measured (docs/pictures.md)."""


class EncodingCost(Struct, frozen=True):
    """The cost of pictures for one model and its projector."""

    token: float
    """Tokens of text for each of a picture's tokens."""
    pair: float
    """The same for each pair of a picture's tokens."""

    @classmethod
    def of(cls, projector: Header, model: Header) -> EncodingCost:
        """Compare the networks by their headers."""
        text = _weights(model, "blk.")
        if not text:
            return NOTHING
        patches = _weights(projector, "v.blk.")
        tokens = _weights(projector, "mm.", "v.deepstack.")
        width = projector.integer("vision.embedding_length")
        layers = projector.integer("vision.block_count")
        return cls(
            token=SLOWER * (PATCHES_A_TOKEN * patches + tokens) / text,
            pair=SLOWER * 2 * PATCHES_A_TOKEN**2 * width * layers / text,
        )

    def of_picture(self, tokens: int) -> int:
        """Return what encoding a picture of so many tokens costs, in tokens of text."""
        return math.ceil(self.token * tokens + self.pair * tokens**2)


NOTHING = EncodingCost(0.0, 0.0)


def _weights(header: Header, *beginnings: str) -> int:
    """Count the numbers of all matrices whose names begin so."""
    return sum(
        math.prod(tensor.shape)
        for name, tensor in header.tensors.items()
        if name.startswith(beginnings) and len(tensor.shape) > 1
    )
