"""Queries and documents of text and pictures."""

from __future__ import annotations

import numpy as np

from rerankd.domain import Picture, Pictured, Pixels, text_in

RGB = np.zeros((4, 6, 3), dtype=np.uint8)


def test_text_alone_is_its_own_text_and_pictures_have_none() -> None:
    """Parts that are text are lines."""
    assert text_in("a panda") == "a panda"
    assert text_in(Pictured((Picture(b"png"),))) == ""
    assert text_in(Pictured(("a panda", Picture(b"png"), "eats"))) == "a panda\neats"


def test_pixels_are_equal_whatever_file_they_came_from() -> None:
    """The digest decides, so that a picture is encoded and scored once."""
    one, again, other = Pixels(RGB, b"1"), Pixels(RGB.copy(), b"1"), Pixels(RGB, b"2")

    assert (one.width, one.height) == (6, 4)
    assert one == again
    assert len({one, again, other}) == 2
    assert Pictured(("a", one)) == Pictured(("a", again)) != Pictured((one, "a"))


def test_contents_can_be_folded() -> None:
    """Identical documents are found by their hash."""
    documents = ["a", Pictured((Picture(b"x"),)), "a", Pictured((Picture(b"x"),))]

    assert len(dict.fromkeys(documents)) == 2
    assert Pictured((Picture(b"x"), "a")).pictures == (Picture(b"x"),)
