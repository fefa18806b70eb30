"""What callers give, as requests of the domain, and results in the order in which they asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict, cast, get_args

from rerankd.domain import (
    Content,
    OnTimeout,
    Overflow,
    Picture,
    Pictured,
    RankedResult,
    RankRequest,
    Timings,
    Truncation,
)
from rerankd.errors import InvalidRequest

Query = str | Picture | Sequence[str | Picture]
"""A text, a picture, or both in the order in which the model is to see them."""
Document = str | Picture | Sequence[str | Picture] | Mapping[str, Any]
"""What a query may be, or a mapping with a text under `text`, a Picture under `image`, or both.

Other entries of a mapping come back untouched.
"""


Groups = dict[Query, list[tuple[int, Document]]]
"""The documents of each query, with the places of their pairs."""


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


def request_of(query: Query, documents: Sequence[Document], options: RankOptions) -> RankRequest:
    """Return a request for documents. Raises InvalidRequest for what is no text or picture."""
    unknown = sorted(options.keys() - RankOptions.__annotations__.keys())
    if unknown:
        raise TypeError(f"there is no option {', '.join(unknown)}")
    asked = _content_of(query)
    if asked is None:
        raise InvalidRequest(f"the query is {type(query).__name__}, not str", param="query")
    top_n, timeout = options.get("top_n"), options.get("timeout")
    if top_n is not None and top_n < 1:
        raise InvalidRequest("top_n must be at least 1", param="top_n")
    if options.get("on_timeout") not in {None, *get_args(OnTimeout)}:
        raise InvalidRequest('on_timeout must be "error" or "partial"', param="on_timeout")
    return RankRequest(
        query=asked,
        documents=tuple(_document_of(index, one) for index, one in enumerate(documents)),
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
    if isinstance(documents, str | bytes | Mapping | Picture):
        raise InvalidRequest("documents is one document: put it into a list", param="documents")
    return tuple(documents)


def _document_of(index: int, document: object) -> Content:
    found = _content_of(document)
    if found is None and isinstance(document, Mapping):
        parts = [document[key] for key in ("image", "text") if document.get(key) is not None]
        found = _content_of(parts[0] if len(parts) == 1 else parts)
    if found is None:
        raise InvalidRequest(
            f"document {index} is {type(document).__name__}: give texts, Pictures, lists of both, "
            "or mappings with a text under 'text' or a Picture under 'image'",
            param="documents",
        )
    return found


def _content_of(value: object) -> Content | None:
    """Return a text, a picture or parts as a content, None for anything else."""
    if isinstance(value, str):
        return value
    parts = (value,) if isinstance(value, Picture) else value
    if not isinstance(parts, tuple | list) or not parts:
        return None
    if not all(isinstance(part, str | Picture) for part in parts):
        return None
    if all(isinstance(part, str) for part in parts):
        return "\n".join(parts)
    return Pictured(tuple(parts))


def grouped(pairs: Iterable[tuple[Query, Document]]) -> Groups:
    """Return each query's documents with the places of their pairs."""
    groups: Groups = {}
    for place, (query, document) in enumerate(pairs):
        asked = tuple(query) if isinstance(query, list) else query
        groups.setdefault(asked, []).append((place, document))
    return groups


def requests_of(groups: Groups, options: ScoreOptions) -> list[RankRequest]:
    """Return one request for each query's documents."""
    unknown = sorted(options.keys() - ScoreOptions.__annotations__.keys())
    if unknown:
        raise TypeError(f"scores() takes no {', '.join(unknown)}")
    return [
        request_of(query, [document for _, document in found], cast("RankOptions", options))
        for query, found in groups.items()
    ]


def in_order_of_pairs(groups: Groups, results: Sequence[RankedResult]) -> list[float]:
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
