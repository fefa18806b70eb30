"""What callers give, as requests of the domain, and results in the order in which they asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict, cast, get_args

from rerankd.domain import OnTimeout, Overflow, RankedResult, RankRequest, Timings, Truncation
from rerankd.errors import InvalidRequest

Document = str | Mapping[str, Any]
"""A text, or a mapping with the text under `text`; its other entries come back untouched."""


class ScoreOptions(TypedDict, total=False):
    """What `scores` takes beside its pairs."""

    instruction: str | None
    """For models that take one; others ignore it with a warning."""
    raw_scores: bool
    """Return logits instead of scores from 0 to 1."""
    overflow: Overflow | None
    """Truncate documents that are too long, score them in chunks, or refuse them."""
    timeout: float | None
    """Seconds after which DeadlineExceeded is raised."""


class RankOptions(ScoreOptions, total=False):
    """What `rank` takes beside the query and its documents."""

    top_n: int | None
    """Return only so many, the best."""
    hybrid: float
    """Logits that BM25 adds at most."""
    return_passages: bool
    """Return the parts of each document that its score comes from."""
    on_timeout: OnTimeout | None
    """With `timeout`: `error`, the default, or `partial`, which ranks what is scored by then."""
    min_score: float | None
    """Drop documents with a lower score than this, on the scale of the scores returned."""


def request_of(query: str, documents: Sequence[Document], options: RankOptions) -> RankRequest:
    """Return a request for documents. Raises InvalidRequest for what is no text."""
    unknown = sorted(options.keys() - RankOptions.__annotations__.keys())
    if unknown:
        raise TypeError(f"there is no option {', '.join(unknown)}")
    if not isinstance(query, str):
        raise InvalidRequest(f"the query is {type(query).__name__}, not str", param="query")
    top_n, timeout = options.get("top_n"), options.get("timeout")
    if top_n is not None and top_n < 1:
        raise InvalidRequest("top_n must be at least 1", param="top_n")
    if options.get("on_timeout") not in {None, *get_args(OnTimeout)}:
        raise InvalidRequest('on_timeout must be "error" or "partial"', param="on_timeout")
    return RankRequest(
        query=query,
        documents=tuple(_text_of(index, one) for index, one in enumerate(documents)),
        top_n=top_n,
        instruction=options.get("instruction"),
        raw_scores=options.get("raw_scores", False),
        hybrid=options.get("hybrid", 0.0),
        truncation=Truncation(overflow=options.get("overflow")),
        return_passages=options.get("return_passages", False),
        timeout_ms=None if timeout is None else max(0, round(timeout * 1000)),
        on_timeout=options.get("on_timeout"),
        min_score=options.get("min_score"),
    )


def documents_of(documents: Iterable[Document]) -> tuple[Document, ...]:
    """Return the documents. Raises InvalidRequest for a single one, which is no list."""
    if isinstance(documents, str | bytes | Mapping):
        raise InvalidRequest("documents is one document: put it into a list", param="documents")
    return tuple(documents)


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
    groups: Mapping[str, Sequence[tuple[int, str]]], options: ScoreOptions
) -> list[RankRequest]:
    """Return one request for each query's documents."""
    unknown = sorted(options.keys() - ScoreOptions.__annotations__.keys())
    if unknown:
        raise TypeError(f"scores() takes no {', '.join(unknown)}")
    return [
        request_of(query, [document for _, document in found], cast("RankOptions", options))
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
        score_scale="model",
        device="cpu",
        prompt_tokens=0,
        truncated=(),
        query_truncated=False,
        query_tokens=0,
        chunks=0,
        cached=0,
        timings=Timings(0.0, 0.0, 0.0, 0.0),
    )
