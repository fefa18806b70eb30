"""Options that rerankd adds to every dialect: deadlines, and which documents are returned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from rerankd.domain import OnTimeout, RankedResult, RankRequest
from rerankd.errors import UnsupportedOption


class AnswerOptions(Struct, kw_only=True):
    """The optional fields; null means the default."""

    timeout_ms: Annotated[
        Annotated[int, Meta(gt=0)] | None,
        Meta(description="Give up after this many milliseconds"),
    ] = None
    on_timeout: Annotated[
        OnTimeout | None,
        Meta(
            description="At the deadline: `error` (504), or `partial`, which ranks the documents"
            " scored so far; default: the API key's setting, else the server's"
        ),
    ] = None
    min_score: Annotated[
        float | None, Meta(description="Drop documents with a lower score than this")
    ] = None


def answer_options(wire: AnswerOptions) -> dict[str, Any]:
    """Return the options as fields of a RankRequest."""
    return {name: getattr(wire, name) for name in AnswerOptions.__struct_fields__}


def require_all_scored(requests: Sequence[RankRequest], dialect: str) -> tuple[RankRequest, ...]:
    """Return requests of a dialect whose replies need a score for every document.

    Raises UnsupportedOption for options that would leave documents without one. Defaults of the
    key and the server don't count: at a deadline these requests fail.
    """
    for request in requests:
        if request.on_timeout == "partial":
            raise _unsupported("on_timeout", 'on_timeout: "partial"', dialect)
        if request.min_score is not None:
            raise _unsupported("min_score", "min_score", dialect)
    return tuple(msgspec.structs.replace(one, on_timeout="error") for one in requests)


def _unsupported(name: str, shown: str, dialect: str) -> UnsupportedOption:
    return UnsupportedOption(
        f"{shown} is not supported here: replies of {dialect} hold a score for every document, in"
        " the order of the request; use /v1/rerank instead",
        param=name,
    )


def listed_unscored(request: RankRequest, result: RankedResult) -> tuple[int, ...]:
    """Return the unscored documents that are listed after the ranked ones, within `top_n`."""
    if request.top_n is None:
        return result.unscored
    return result.unscored[: max(0, request.top_n - len(result.results))]
