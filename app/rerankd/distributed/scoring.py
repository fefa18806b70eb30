"""The scores of a batch of pairs: those of one query together, whatever fails told by the row."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from rerankd.domain import RankRequest
from rerankd.errors import InvalidRequest, RerankdError
from rerankd.service import Service
from rerankd.settings import Settings

QUERIES_AT_ONCE = 32
NO_LIMIT = 1 << 40
"""Limits keep a server's clients apart; here there is one, which waits."""


class PairScores(Struct, frozen=True):
    """A pair's score, or the error's code in its place."""

    score: float | None = None
    error: str | None = None


def without_limits(settings: Settings) -> Settings:
    """Return settings in which no limit of a server's is in the way."""
    return msgspec.structs.replace(
        settings,
        max_documents=NO_LIMIT,
        max_request_tokens=NO_LIMIT,
        max_queue_tokens=NO_LIMIT,
        max_requests=NO_LIMIT,
        request_timeout=0.0,
        idle_timeout=0.0,
    )


async def score(
    service: Service, asking: RankRequest, pairs: Sequence[tuple[object, object]]
) -> list[PairScores]:
    """Return the score of each (query, document) in turn; `asking` has all but the texts."""
    found = [PairScores(error=InvalidRequest.code)] * len(pairs)
    by_query: dict[str, list[int]] = {}
    for place, (query, document) in enumerate(pairs):
        if isinstance(query, str) and isinstance(document, str):
            by_query.setdefault(query, []).append(place)
    together = asyncio.Semaphore(QUERIES_AT_ONCE)

    async def one(query: str, places: list[int]) -> None:
        documents = [str(pairs[place][1]) for place in places]
        async with together:
            scored = await _of_query(service, asking, query, documents)
        for place, outcome in zip(places, scored, strict=True):
            found[place] = outcome

    async with asyncio.TaskGroup() as group:
        for query, places in by_query.items():
            group.create_task(one(query, places))
    return found


async def _of_query(
    service: Service, asking: RankRequest, query: str, documents: Sequence[str]
) -> list[PairScores]:
    request = msgspec.structs.replace(asking, query=query, documents=tuple(documents))
    try:
        result = await service.rank(request)
    except RerankdError as error:
        if len(documents) == 1:
            return [PairScores(error=error.code)]
        # Only the documents that are to blame should have no score.
        alone = [await _of_query(service, asking, query, [one]) for one in documents]
        return [outcome for outcomes in alone for outcome in outcomes]
    ordered = sorted(result.results, key=lambda one: one.index)
    return [PairScores(score=one.score) for one in ordered]
