"""Outcomes of made-up requests."""

from __future__ import annotations

from rerankd.domain import Outcome, RankedResult, Timings


def outcome(
    model: str = "m",
    key: str = "",
    *,
    seconds: float = 0.01,
    documents: int = 3,
    cached: int = 0,
    error: str = "",
) -> Outcome:
    """Return a request that went well, or one that ended in an error."""
    result = RankedResult(
        model=model,
        results=(),
        score_scale="logit",
        device="cpu",
        prompt_tokens=documents * 10,
        truncated=(),
        query_truncated=False,
        query_tokens=1,
        chunks=documents,
        cached=cached,
        timings=Timings(0, 0, 0, 0),
    )
    return Outcome(
        model=model,
        caller=key,
        documents=documents,
        seconds=seconds,
        result=None if error else result,
        error=error,
    )
