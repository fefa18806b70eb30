"""What a result reports of a request's pictures."""

from __future__ import annotations

from collections.abc import Mapping

from rerankd.domain import Content, Pixels, RankRequest
from rerankd.families.prompt_format import PictureFormat
from rerankd.ranking.score_cache import CachedScore

QUERY = -1
"""Stands for the query among indices of documents."""


def picture_tokens(
    request: RankRequest, scores: Mapping[int, CachedScore], look: PictureFormat | None
) -> int:
    """Return the tokens of pictures in all pairs that have a score, the query's once for each."""
    if look is None:
        return 0
    of_query = _tokens(request.query, look)
    return sum(
        one.chunks * of_query + _tokens(request.documents[index], look)
        for index, one in scores.items()
    )


def picture_sizes(request: RankRequest) -> tuple[tuple[int, int, int], ...]:
    """Return index, width and height of each picture, those of the query first."""
    contents = ((QUERY, request.query), *enumerate(request.documents))
    return tuple(
        (index, one.width, one.height) for index, content in contents for one in _pixels_in(content)
    )


def _tokens(content: Content, look: PictureFormat) -> int:
    marks = 2
    return sum(look.tokens(one.width, one.height) + marks for one in _pixels_in(content))


def _pixels_in(content: Content) -> list[Pixels]:
    if isinstance(content, str):
        return []
    return [one for one in content.pictures if isinstance(one, Pixels)]
