"""The scores of a batch of pairs: those of one query together, with failures reported per row."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from rerankd.domain import RankedResult, RankRequest
from rerankd.errors import InvalidRequest
from rerankd.service import Service


class PairScores(Struct, frozen=True):
    """A pair's score, or the error's code in its place."""

    score: float | None = None
    error: str | None = None


async def score_pairs(
    service: Service, template: RankRequest, pairs: Sequence[tuple[object, object]]
) -> list[PairScores]:
    """Return the score of each (query, document) in turn; `template` has all but the texts.

    Pairs of one query run together. Only the pairs to blame for an error go without a score.
    """
    found = [PairScores(error=InvalidRequest.code)] * len(pairs)
    by_query: dict[str, list[int]] = {}
    for place, (query, document) in enumerate(pairs):
        if isinstance(query, str) and isinstance(document, str):
            by_query.setdefault(query, []).append(place)
    groups = list(by_query.items())
    while groups:
        requests = [
            msgspec.structs.replace(
                template, query=query, documents=tuple(str(pairs[place][1]) for place in places)
            )
            for query, places in groups
        ]
        outcomes = await service.rank_each(requests)
        again: list[tuple[str, list[int]]] = []
        for (query, places), outcome in zip(groups, outcomes, strict=True):
            if isinstance(outcome, RankedResult):
                for one in outcome.results:
                    found[places[one.index]] = PairScores(score=one.score)
            elif len(places) == 1:
                found[places[0]] = PairScores(error=outcome.code)
            else:
                again += [(query, [place]) for place in places]
        groups = again
    return found
