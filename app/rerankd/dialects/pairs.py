"""Pairs of queries and documents, grouped by query so that each group is one ranking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from msgspec import Struct

from rerankd.dialects.reading import TextObject, WireText, documents_of
from rerankd.domain import Content, RankedResult, RequestPlaces
from rerankd.errors import InvalidRequest

Side: TypeAlias = str | TextObject | list[WireText]
"""One text or picture, or a list of them."""


class Pairs(Struct, frozen=True):
    """The pairs of one query."""

    query: Content
    documents: tuple[Content, ...]
    places: RequestPlaces
    """Has each document's position among all pairs."""


def pairs_of(
    left: WireText | None, right: WireText | None, names: tuple[str, str]
) -> tuple[Pairs, ...]:
    """Group pairs by query: one query with many documents, or each document with its own.

    Errors call the two sides by their `names`.

    Raises what `documents_of` raises, and InvalidRequest where the sides differ in length.
    """
    queries = documents_of(_as_list(left), names[0])
    documents = documents_of(_as_list(right), names[1])
    if len(queries) not in {1, len(documents)}:
        raise InvalidRequest(
            f"{names[0]} must hold one text, or as many as {names[1]}: "
            f"{len(queries)} and {len(documents)}",
            param=names[0],
        )
    numbers: dict[Content, list[int]] = {}
    for number in range(len(documents)):
        numbers.setdefault(queries[number if len(queries) > 1 else 0], []).append(number)
    return tuple(
        Pairs(
            query,
            tuple(documents[number] for number in found),
            RequestPlaces(f"{names[0]}[{found[0]}]", names[1], tuple(found)),
        )
        for query, found in numbers.items()
    )


def _as_list(side: WireText | None) -> list[Any] | None:
    return side if isinstance(side, list) or side is None else [side]


def scores_of(pairs: Sequence[Pairs], results: Sequence[RankedResult]) -> list[float]:
    """Return the scores in the order of the pairs; `results` has a ranking for each group."""
    scores = {
        group.places.numbers[one.index]: one.score
        for group, result in zip(pairs, results, strict=True)
        for one in result.results
    }
    return [scores[number] for number in sorted(scores)]
