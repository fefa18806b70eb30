"""What is kept and reported of pictures: keys of scores, tokens, sizes."""

from __future__ import annotations

import numpy as np
import pytest

from rerankd.domain import Content, Pictured, Pixels, RankRequest
from rerankd.families.prompt_format import PictureFormat
from rerankd.lru import digest_of
from rerankd.ranking.pictures import picture_sizes, picture_tokens
from rerankd.ranking.preparation import content_key
from rerankd.ranking.score_cache import CachedScore

LOOK = PictureFormat(begin="<", pad="x", end=">", factor=32, least_pixels=1, most_pixels=1 << 20)


def picture(width: int, height: int, shade: int = 0) -> Pixels:
    rgb = np.full((height, width, 3), shade, np.uint8)
    return Pixels(rgb, digest_of(bytes([shade]), repr(rgb.shape)))


A, B = picture(96, 64), picture(32, 96)


def test_a_text_s_key_is_the_text() -> None:
    """Caches on disk stay valid."""
    assert content_key("some text") == ("some text",)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Pictured((A,)), Pictured((B,))),
        (Pictured((A, "x")), Pictured(("x", A))),
        (Pictured((A,)), Pictured((A, A))),
        (Pictured((A, "x", "y")), Pictured((A, "xy"))),
        (Pictured((A, "")), Pictured((A,))),
        (Pictured((A,)), ""),
        (Pictured((picture(96, 64, 1),)), Pictured((A,))),
    ],
)
def test_other_contents_have_other_keys(one: Content, other: Content) -> None:
    """Order, number and kind of the parts count."""
    assert digest_of("prefix", *content_key(one)) != digest_of("prefix", *content_key(other))


def test_the_same_pixels_have_the_same_key() -> None:
    """Whatever file they came from."""
    assert content_key(Pictured((A, "x"))) == content_key(Pictured((picture(96, 64), "x")))


def test_tokens_and_sizes_of_pictures_are_reported() -> None:
    """With their marks, the query's once for each pair, of what has a score alone."""
    request = RankRequest(
        query=Pictured((B, "q")), documents=("text", Pictured((A, A)), Pictured((A,)))
    )
    scores = {
        0: CachedScore(logit=0.0, tokens=9, chunks=2, truncated=False),
        1: CachedScore(logit=0.0, tokens=9, chunks=1, truncated=False),
    }
    assert picture_tokens(request, scores, LOOK) == 2 * 5 + 5 + 2 * 8
    assert picture_tokens(request, scores, None) == 0
    assert picture_sizes(request) == ((-1, 32, 96), (1, 96, 64), (1, 96, 64), (2, 96, 64))
