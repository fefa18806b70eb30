"""Rows taken apart into texts and pictures: where each begins, and which pictures are the same."""

from __future__ import annotations

import numpy as np

from rerankd.domain import Pixels
from rerankd.engine.backends.segments import (
    PictureNumbers,
    end_of,
    position_after,
    segments_of,
)
from rerankd.engine.picture_encoder import PictureGrid

GRID = PictureGrid(32)


def picture(width: int, height: int, shade: int = 0) -> Pixels:
    return Pixels(np.full((height, width, 3), shade, np.uint8), bytes([width, height, shade]))


WIDE, TALL = picture(96, 64), picture(32, 160)


def test_text_alone_is_one_segment() -> None:
    """It has a position a token, from where the prefix ended."""
    ids = np.array([5, 6, 7], np.int32)
    (only,) = segments_of(ids, (), GRID, 4)
    assert (only.start, only.picture, end_of(only, GRID)) == (4, None, 7)
    assert only.tokens is ids


def test_what_follows_a_picture_begins_behind_its_longer_side() -> None:
    """3 x 2 tokens take 3 positions, 1 x 5 take 5."""
    ids = np.array([8, *[-1] * 6, 9, *[-2] * 5, 7, 7], np.int32)
    found = segments_of(ids, (WIDE, TALL), GRID, 10)
    assert [(one.start, len(one.tokens)) for one in found] == [
        *((10, 1), (11, 6), (14, 1), (15, 5), (20, 2)),
    ]
    assert [one.picture for one in found] == [None, WIDE, None, TALL, None]
    assert position_after(ids, (WIDE, TALL), GRID) == 12


def test_a_picture_s_tokens_stand_in_its_grid() -> None:
    """Row by row: in time all at its beginning, down by rows, across by columns."""
    found = GRID.positions(WIDE, 7)
    assert found.tolist() == [
        [7] * 6,
        [7, 7, 7, 8, 8, 8],
        [7, 8, 9, 7, 8, 9],
        [0] * 6,
    ]


def test_two_pictures_of_one_size_are_two_prefixes() -> None:
    """Numbers last between prompts: the first picture of one isn't the first of another."""
    numbers = PictureNumbers()
    ids = np.array([1, -1, -1, 2], np.int32)
    light, dark = picture(64, 32, 9), picture(64, 32, 8)
    first = numbers.renumbered(ids, (light,))
    assert not np.array_equal(first, numbers.renumbered(ids, (dark,)))
    again = np.array([1, -2, -2, 2], np.int32)
    assert np.array_equal(first, numbers.renumbered(again, (dark, light)))


def test_numbers_of_pictures_that_are_no_longer_kept_are_not_used_again() -> None:
    """A slot that still has one can't be taken for another picture's."""
    numbers = PictureNumbers()
    ids = np.array([-1], np.int32)
    kept = numbers.renumbered(ids, (WIDE,))
    gone = numbers.renumbered(ids, (TALL,))
    numbers.keep_only([kept])
    assert np.array_equal(numbers.renumbered(ids, (WIDE,)), kept)
    assert numbers.renumbered(ids, (TALL,))[0] not in {kept[0], gone[0]}


def test_text_keeps_its_array() -> None:
    """Prefixes without pictures are compared as they were."""
    ids = np.array([1, 2], np.int32)
    assert PictureNumbers().renumbered(ids, (WIDE,)) is ids
