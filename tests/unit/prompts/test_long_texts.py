"""Long texts are read as far as they can count, and reading them can be ended."""

from __future__ import annotations

import numpy as np
import pytest

from rerankd.domain import TokenIds, TruncationSide
from rerankd.prompts.long_texts import LONG, MOST_AT_ONCE, SLICE, is_whole, read_text, unchecked


class Letters:
    """A tokenizer of one token a letter, none for blanks, that notes how much it was given."""

    def __init__(self) -> None:
        self.given: list[int] = []

    def __call__(self, text: str) -> TokenIds:
        self.given.append(len(text))
        return np.array([ord(one) for one in text if one != " "], dtype=np.int32)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_text_that_is_too_long_is_read_only_in_part(side: TruncationSide) -> None:
    """The part at the side that is kept says that there are too many tokens."""
    letters, text = Letters(), "a" * LONG + "b" * LONG

    part = read_text(text, 100, side, letters, letters, unchecked)

    assert letters.given == [SLICE]
    assert len(part.ids) == SLICE
    assert text[part.start : part.end] == ("b" if side == "left" else "a") * SLICE


@pytest.mark.parametrize("length", [0, 5, LONG, LONG + 1, 3 * SLICE])
def test_a_text_that_fits_is_tokenised_as_a_whole(length: int) -> None:
    """Its ids are those of one call, however long it is."""
    letters, text = Letters(), "ab" * (length // 2) + "c" * (length % 2)

    part = read_text(text, length, "right", letters, letters, unchecked)

    assert is_whole(part, text)
    assert letters.given[-1] == length
    assert list(part.ids) == [ord(one) for one in text]


def test_blanks_without_end_are_read_in_bounded_calls() -> None:
    """A text of few tokens and very many characters is cut as well."""
    letters = Letters()

    part = read_text(" " * (3 * MOST_AT_ONCE), 10, "right", letters, letters, unchecked)

    assert part.end == MOST_AT_ONCE
    assert max(letters.given) == MOST_AT_ONCE


def test_reading_ends_between_slices_when_nobody_waits() -> None:
    """What the check raises ends the work after the slice that runs."""
    letters = Letters()

    def check() -> None:
        if len(letters.given) == 2:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        read_text("a" * 50 * SLICE, 10**9, "right", letters, letters, check)

    assert letters.given == [SLICE, SLICE]
