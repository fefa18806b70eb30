"""Pictures are encoded once while they are remembered, within a bound in bytes."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest
from numpy.typing import NDArray

from rerankd.domain import NO_TOKENS, GivenUp, Pixels, Prompt, TokenIds, Wanted
from rerankd.engine.picture_encoder import PictureEncoder, PictureGrid
from rerankd.errors import EngineFailure
from rerankd.families.picture_cost import EncodingCost
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

    def encode(self, rgb: NDArray[np.uint8], wanted: Wanted | None = None) -> NDArray[np.float32]:
        if wanted and not wanted():
            raise GivenUp("gone")
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


# Who waits for it


def test_the_time_of_an_encoding_is_told_once() -> None:
    """A picture that is known takes none."""
    encoder = PictureEncoder(FakeProjector(), PictureGrid(32), 10 * ONE)
    spent: list[float] = []
    for _ in range(2):
        encoder.embeddings(shaded(1), on_encoded=spent.append)
    assert len(spent) == 1
    assert spent[0] >= 0


def test_the_time_of_an_encoding_that_fails_counts() -> None:
    encoder = PictureEncoder(FakeProjector(), PictureGrid(32), 10 * ONE)
    spent: list[float] = []
    with pytest.raises(EngineFailure):
        encoder.embeddings(shaded(99), on_encoded=spent.append)
    assert len(spent) == 1


def test_a_picture_that_nobody_waits_for_is_not_encoded() -> None:
    """One that is known is there all the same."""
    projector = FakeProjector()
    encoder = PictureEncoder(projector, PictureGrid(32), 10 * ONE)
    with pytest.raises(GivenUp):
        encoder.embeddings(shaded(1), lambda: False)
    encoder.embeddings(shaded(1), lambda: True)
    encoder.embeddings(shaded(1), lambda: False)
    assert projector.encoded == [1]


def test_a_picture_given_up_half_way_is_not_kept() -> None:
    """The next who wants it has it encoded, and nothing is locked."""
    projector = FakeProjector()
    encoder = PictureEncoder(projector, PictureGrid(32), 10 * ONE)
    answers = iter([True, False])
    with pytest.raises(GivenUp, match="gone"):
        encoder.embeddings(shaded(1), lambda: next(answers))
    assert np.array_equal(encoder.embeddings(shaded(1)), np.full((2, WIDTH), 1, np.float32))


# Costs

COST = EncodingCost(token=5.0, pair=0.0)
A, B = [-1, -1], [-2, -2]
"""Two pictures of two tokens each, in ids."""


def ids(*parts: list[int]) -> TokenIds:
    return np.array([7, *chain(*parts), 8], np.int32)


def prompt_of(*rows: TokenIds, prefix: TokenIds = NO_TOKENS) -> Prompt:
    return Prompt(prefix, rows, pictures=(shaded(1), shaded(2)))


def costs_with(max_bytes: int, prompt: Prompt, *known: int) -> tuple[int, ...]:
    encoder = PictureEncoder(FakeProjector(), PictureGrid(32), max_bytes, COST)
    for shade in known:
        encoder.embeddings(shaded(shade))
    return encoder.costs(prompt)


def test_a_picture_costs_its_encoding_in_the_first_row_that_has_it() -> None:
    """Its tokens are decoded in every row."""
    prompt = prompt_of(ids(A), ids(), ids(A, B), ids(B))
    assert costs_with(10 * ONE, prompt) == (4 + 10, 2, 6 + 10, 4)


def test_known_pictures_cost_their_tokens_alone() -> None:
    prompt = prompt_of(ids(A), ids(B))
    assert costs_with(10 * ONE, prompt, 1) == (4, 4 + 10)
    assert costs_with(10 * ONE, prompt, 1, 2) == (4, 4)


def test_pictures_that_are_not_kept_cost_each_time() -> None:
    """Also twice in one row."""
    prompt = prompt_of(ids(A), ids(A, A))
    assert costs_with(0, prompt) == (4 + 10, 6 + 20)


def test_a_query_s_picture_counts_in_the_first_row() -> None:
    """The prefix is decoded once, with it."""
    prompt = prompt_of(ids(), ids(B), prefix=ids(A))
    assert costs_with(10 * ONE, prompt) == (2 + 10, 4 + 10)
    assert costs_with(10 * ONE, prompt, 1) == (2, 4 + 10)


def test_text_alone_has_no_costs_of_its_own() -> None:
    assert costs_with(10 * ONE, Prompt(NO_TOKENS, (ids(),))) == ()
    assert costs_with(10 * ONE, prompt_of()) == ()
