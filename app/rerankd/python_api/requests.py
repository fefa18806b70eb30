"""What callers give, as requests of the domain, and results in the order in which they asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rerankd.domain import Overflow, RankedResult, RankRequest, Timings, Truncation
from rerankd.errors import InvalidRequest

Document = str | Mapping[str, Any]
"""A text, or a mapping with the text under `text`; its other entries come back untouched."""


def request_of(  # noqa: PLR0913 - one parameter an option
    query: str,
    documents: Sequence[Document],
    *,
    top_n: int | None = None,
    instruction: str | None = None,
    raw_scores: bool = False,
    hybrid: float = 0.0,
    overflow: Overflow | None = None,
    return_passages: bool = False,
    timeout: float | None = None,
) -> RankRequest:
    """Return a request for documents. Raises InvalidRequest for what is no text."""
    if not isinstance(query, str):
        raise InvalidRequest(f"the query is {type(query).__name__}, not str", param="query")
    if top_n is not None and top_n < 1:
        raise InvalidRequest("top_n must be at least 1", param="top_n")
    return RankRequest(
        query=query,
        documents=tuple(_text_of(index, one) for index, one in enumerate(documents)),
        top_n=top_n,
        instruction=instruction,
        raw_scores=raw_scores,
        hybrid=hybrid,
        truncation=Truncation(overflow=overflow),
        return_passages=return_passages,
        timeout_ms=None if timeout is None else max(0, round(timeout * 1000)),
    )


def _text_of(index: int, document: object) -> str:
    text = document.get("text") if isinstance(document, Mapping) else document
    if isinstance(text, str):
        return text
    raise InvalidRequest(
        f"document {index} is {type(document).__name__}: give texts, or mappings with a text under "
        "'text'",
        param="documents",
    )


def grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[tuple[int, str]]]:
    """Return each query's documents with the places of their pairs."""
    groups: dict[str, list[tuple[int, str]]] = {}
    for place, (query, document) in enumerate(pairs):
        groups.setdefault(query, []).append((place, document))
    return groups


def requests_of(
    groups: Mapping[str, Sequence[tuple[int, str]]], options: Mapping[str, Any]
) -> list[RankRequest]:
    """Return one request for each query's documents."""
    unknown = sorted(options.keys() - {"instruction", "raw_scores", "overflow", "timeout"})
    if unknown:
        raise TypeError(f"scores() takes no {', '.join(unknown)}")
    return [
        request_of(query, [document for _, document in found], **options)
        for query, found in groups.items()
    ]


def in_order_of_pairs(
    groups: Mapping[str, Sequence[tuple[int, str]]], results: Sequence[RankedResult]
) -> list[float]:
    """Return the score of each pair."""
    scores = [0.0] * sum(map(len, groups.values()))
    for found, result in zip(groups.values(), results, strict=True):
        for one in result.results:
            scores[found[one.index][0]] = one.score
    return scores


def no_result(model: str) -> RankedResult:
    """Return the result of ranking no documents."""
    return RankedResult(
        model=model,
        results=(),
        score_scale="probability",
        device="cpu",
        prompt_tokens=0,
        truncated=(),
        query_truncated=False,
        query_tokens=0,
        chunks=0,
        cached=0,
        timings=Timings(0.0, 0.0, 0.0, 0.0),
    )
