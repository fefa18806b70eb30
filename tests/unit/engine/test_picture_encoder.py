"""Pictures are encoded once while they are remembered, within a bound in bytes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from rerankd.domain import Pixels
from rerankd.engine.picture_encoder import PictureEncoder, PictureGrid
from rerankd.errors import EngineFailure
from rerankd.lru import ENTRY_BYTES

WIDTH = 4
ONE = ENTRY_BYTES + 2 * WIDTH * 4
"""What a picture of two tokens takes in the cache."""


class FakeProjector:
    """Makes two tokens of the first pixel's shade, and counts."""

    width = WIDTH

    def __init__(self) -> None:
        self.encoded: list[int] = []
        self.closed = False

    def encode(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        shade = int(rgb[0, 0, 0])
        self.encoded.append(shade)
        return np.full((2, WIDTH), np.nan if shade == 99 else shade, np.float32)

    def close(self) -> None:
        self.closed = True


def shaded(shade: int) -> Pixels:
    return Pixels(np.full((32, 64, 3), shade, np.uint8), bytes([shade]) * 16)


def test_a_picture_is_encoded_once() -> None:
    """Whatever object it comes as: its digest counts."""
    projector = FakeProjector()
    encoder = PictureEncoder(projector, PictureGrid(32), 10 * ONE)
    first = encoder.embeddings(shaded(3))
    assert np.array_equal(first, encoder.embeddings(shaded(3)))
    assert first.shape == (2, WIDTH)
    assert projector.encoded == [3]


@pytest.mark.parametrize(
    ("max_bytes", "encoded"), [(0, [1, 2, 1]), (ONE, [1, 2, 1]), (2 * ONE, [1, 2])]
)
def test_what_is_kept_is_bounded_in_bytes(max_bytes: int, encoded: list[int]) -> None:
    """The least recently used goes first; 0 keeps nothing."""
    projector = FakeProjector()
    encoder = PictureEncoder(projector, PictureGrid(32), max_bytes)
    for shade in (1, 2, 1):
        encoder.embeddings(shaded(shade))
    assert projector.encoded == encoded


def test_a_picture_larger_than_the_cache_drops_no_other() -> None:
    """It would push all of them out, and then itself."""
    projector = FakeProjector()
    encoder = PictureEncoder(projector, PictureGrid(32), ONE - 1)
    encoder.embeddings(shaded(1))
    encoder.embeddings(shaded(1))
    assert projector.encoded == [1, 1]


def test_what_is_no_number_is_not_kept() -> None:
    """A picture that overflows the encoder fails each time."""
    projector = FakeProjector()
    encoder = PictureEncoder(projector, PictureGrid(32), 10 * ONE)
    for _ in range(2):
        with pytest.raises(EngineFailure, match="not numbers"):
            encoder.embeddings(shaded(99))
    assert projector.encoded == [99, 99]
    encoder.close()
    assert projector.closed
