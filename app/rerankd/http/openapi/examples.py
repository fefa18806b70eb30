"""What the document shows as answers to the dialects' examples."""

from __future__ import annotations

from typing import Any

import msgspec

from rerankd.dialects.dialect import Body, Dialect, RequestContext
from rerankd.dialects.examples import EXAMPLE_MODEL
from rerankd.domain import RankedDocument, RankedResult, RankRequest, Timings

SCORES = (0.0004, 0.0377, 0.9998)
LOGITS = (-7.81, -3.24, 8.56)
"""Scores that a model may give to the documents of the examples."""


def answer_to(dialect: Dialect, path: str) -> Any:
    """Return a dialect's answer to its example, as built-in types."""
    body = Body(msgspec.json.encode(dialect.example))
    parsed = dialect.parse(body, RequestContext(id="5f3a1c", path=path, created=1_767_225_600))
    return msgspec.to_builtins(parsed.reply([_ranked(request) for request in parsed.requests]))


def _ranked(request: RankRequest) -> RankedResult:
    scores = LOGITS if request.raw_scores else SCORES
    best = sorted(enumerate(scores), key=lambda pair: -pair[1])[: request.top_n]
    return RankedResult(
        model=EXAMPLE_MODEL,
        results=tuple(RankedDocument(index, score) for index, score in best),
        score_scale="logit" if request.raw_scores else "model",
        device="cpu",
        prompt_tokens=59,
        truncated=(),
        query_truncated=False,
        query_tokens=7,
        chunks=len(scores),
        cached=0,
        timings=Timings(tokenize_ms=0.1, queue_ms=0.1, engine_ms=5.2, total_ms=5.6),
    )
