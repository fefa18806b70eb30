"""Bodies that the document shows: a request of each dialect, and what would be answered to it."""

from __future__ import annotations

from typing import Any

import msgspec

from rerankd.dialects.dialect import Body, Dialect, RequestContext
from rerankd.domain import RankedDocument, RankedResult, RankRequest, Timings

QUERY = "What is a panda?"
DOCUMENTS = [
    "hi",
    "it is a bear",
    (
        "The giant panda (Ailuropoda melanoleuca), sometimes called a panda bear or simply"
        " panda, is a bear species endemic to China."
    ),
]
MODEL = "rerank-mini-en"
NATIVE: dict[str, Any] = {"model": MODEL, "query": QUERY, "top_n": 3, "documents": DOCUMENTS}

REQUESTS: dict[str, dict[str, Any]] = {
    "native": NATIVE,
    "cohere": NATIVE | {"max_tokens_per_doc": 4096},
    "infinity": {
        "model": MODEL,
        "query": QUERY,
        "documents": DOCUMENTS,
        "raw_scores": False,
        "return_documents": False,
    },
    "voyage": {"model": MODEL, "query": QUERY, "documents": DOCUMENTS, "top_k": 2},
    "tei": {"query": QUERY, "texts": DOCUMENTS, "raw_scores": False, "return_text": True},
    "mixedbread": {"model": MODEL, "query": QUERY, "input": DOCUMENTS, "top_k": 2},
    "weaviate": {"query": QUERY, "documents": DOCUMENTS, "property": "text"},
    "nvidia": {
        "model": MODEL,
        "query": {"text": QUERY},
        "passages": [{"text": text} for text in DOCUMENTS],
    },
    "dashscope": {
        "model": MODEL,
        "input": {"query": QUERY, "documents": DOCUMENTS},
        "parameters": {"top_n": 2, "return_documents": True},
    },
    "zeroentropy": {"model": MODEL, "query": QUERY, "documents": DOCUMENTS, "top_n": 2},
    "isaacus": {"model": MODEL, "query": QUERY, "texts": DOCUMENTS, "top_n": 2},
    "ollama": {"model": MODEL, "query": QUERY, "documents": DOCUMENTS, "top_n": 2},
    "deepinfra": {"model": MODEL, "queries": [QUERY], "documents": DOCUMENTS},
    "vllm-score": {"model": MODEL, "text_1": QUERY, "text_2": DOCUMENTS},
}
"""By the dialects' names."""

LOGITS = (-7.81, -3.24, 8.56)


def answer_to(dialect: Dialect, path: str) -> Any:
    """Return a dialect's answer to its example, with scores that a model may give."""
    body = Body(msgspec.json.encode(REQUESTS[dialect.name]))
    parsed = dialect.read(body, RequestContext(id="5f3a1c", path=path, created=1_767_225_600))
    return msgspec.to_builtins(parsed.reply([_ranked(request) for request in parsed.requests]))


def _ranked(request: RankRequest) -> RankedResult:
    scores = LOGITS if request.raw_scores else (0.0004, 0.0377, 0.9998)
    best = sorted(enumerate(scores), key=lambda pair: -pair[1])[: request.top_n]
    return RankedResult(
        model=MODEL,
        results=tuple(RankedDocument(index, score) for index, score in best),
        score_scale="logit" if request.raw_scores else "probability",
        device="cpu",
        prompt_tokens=59,
        truncated=(),
        query_truncated=False,
        query_tokens=7,
        chunks=len(scores),
        cached=0,
        timings=Timings(tokenize_ms=0.1, queue_ms=0.1, engine_ms=5.2, total_ms=5.6),
    )
