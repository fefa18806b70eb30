"""What is kept and reported of pictures: keys of scores, tokens, sizes."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from msgspec import UNSET

from rerankd.domain import Content, Pictured, Pixels, Prompt, RankRequest, Timings
from rerankd.families.prompt_format import PictureFormat
from rerankd.lru import digest_of
from rerankd.ranking.pictures import picture_sizes, picture_tokens
from rerankd.ranking.preparation import content_key
from rerankd.ranking.ranker import rank
from rerankd.ranking.score_cache import CachedScore, ScoreCache
from rerankd.scheduling.tickets import ScoredRows

from support.serving import FakeEngine, service_of

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


def test_timings_have_what_pictures_took() -> None:
    """Reading comes before the rest and is part of the whole; encoding is part of the engine's."""

    async def score(prompt: Prompt, **_: object) -> ScoredRows:
        for seconds in (0.25, 0.5):
            assert prompt.on_encoded
            prompt.on_encoded(seconds)
        return ScoredRows((1.0,), 0.0, 1.0)

    async def timings(read_seconds: float | None) -> Timings:
        service = service_of(FakeEngine(), start=False)
        await service.start()
        runtime = service.deployments._find(None).runtime
        assert runtime
        runtime.scheduler.score = score  # type: ignore[method-assign]
        request = RankRequest(query="q", documents=("one",))
        try:
            cache = ScoreCache(0, None)
            return (await rank(runtime, cache, request, read_seconds=read_seconds)).timings
        finally:
            await service.close()

    with_pictures = asyncio.run(timings(2.0))
    assert (with_pictures.read_pictures_ms, with_pictures.encode_pictures_ms) == (2000.0, 750.0)
    assert with_pictures.total_ms > 2000
    without = asyncio.run(timings(None))
    assert (without.read_pictures_ms, without.encode_pictures_ms) == (UNSET, UNSET)


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
