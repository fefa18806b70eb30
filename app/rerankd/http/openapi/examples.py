"""What the document shows as answers to the dialects' examples."""

from __future__ import annotations

from typing import Any

import msgspec

from rerankd.dialects.dialect import Body, Dialect, RequestContext
from rerankd.dialects.examples import EXAMPLE_MODEL, EXAMPLE_SEEING_MODEL
from rerankd.domain import Pictured, RankedDocument, RankedResult, RankRequest, Timings

SCORES = (0.0004, 0.0377, 0.9998)
LOGITS = (-7.81, -3.24, 8.56)
"""Scores that a model may give to the documents of the examples."""
TOKENS_OF_SQUARE = 6
"""Four of the picture, scaled to 64 by 64 pixels, and its two marks."""


def answer_to(dialect: Dialect, path: str, example: Any) -> Any:
    """Return a dialect's answer to an example request of its own, as built-in types."""
    body = Body(msgspec.json.encode(example))
    parsed = dialect.parse(body, RequestContext(id="5f3a1c", path=path, created=1_767_225_600))
    return msgspec.to_builtins(parsed.reply([_ranked(request) for request in parsed.requests]))


def _ranked(request: RankRequest) -> RankedResult:
    scores = LOGITS if request.raw_scores else SCORES
    pictured = [index for index, one in enumerate(request.documents) if isinstance(one, Pictured)]
    best = sorted(enumerate(scores), key=lambda pair: -pair[1])[: request.top_n]
    return RankedResult(
        model=EXAMPLE_SEEING_MODEL if pictured else EXAMPLE_MODEL,
        results=tuple(RankedDocument(index, score) for index, score in best),
        score_scale="logit" if request.raw_scores else "model",
        device="cpu",
        prompt_tokens=272 if pictured else 59,
        truncated=(),
        query_truncated=False,
        query_tokens=7,
        chunks=len(scores),
        cached=0,
        timings=Timings(tokenize_ms=0.1, queue_ms=0.1, engine_ms=5.2, total_ms=5.6),
        picture_tokens=TOKENS_OF_SQUARE * len(pictured),
        picture_sizes=tuple((index, 64, 64) for index in pictured),
    )
