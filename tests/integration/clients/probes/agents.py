"""Rerankers inside frameworks for agents and memories."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import cohere
from agno.knowledge.document import Document
from agno.knowledge.reranker.cohere import CohereReranker
from agno.knowledge.reranker.infinity import InfinityReranker
from lightrag.rerank import cohere_rerank, jina_rerank
from probe import Question, Row


def agno_cohere(ask: Question) -> list[Row]:
    client = cohere.Client(ask.key, base_url=ask.url)
    return _agno(ask, CohereReranker(model=ask.model, cohere_client=client, top_n=ask.top_n))


def agno_infinity(ask: Question) -> list[Row]:
    reranker = InfinityReranker(
        url=ask.url, api_key=ask.key, model=ask.model, top_n=ask.top_n or len(ask.documents)
    )
    ranked = _agno(ask, reranker)
    # It logs errors and hands the documents back as they came, without scores.
    assert all(row.score is not None for row in ranked), "not reranked"
    return ranked


def _agno(ask: Question, reranker: CohereReranker | InfinityReranker) -> list[Row]:
    documents = [Document(content=text, id=str(at)) for at, text in enumerate(ask.documents)]
    # Cohere's `rerank` without the underscore swallows errors.
    ranked = reranker._rerank(ask.query, documents)
    return [Row(int(one.id), one.reranking_score, one.content) for one in ranked]


def lightrag_cohere(ask: Question) -> list[Row]:
    return _lightrag(ask, cohere_rerank, "/v2/rerank")


def lightrag_jina(ask: Question) -> list[Row]:
    return _lightrag(ask, jina_rerank, "/v1/rerank")


def _lightrag(ask: Question, rerank: Callable[..., Awaitable[Any]], path: str) -> list[Row]:
    found = asyncio.run(
        rerank(
            ask.query,
            list(ask.documents),
            top_n=ask.top_n,
            api_key=ask.key,
            model=ask.model,
            base_url=ask.url + path,
        )
    )
    return [Row(row["index"], row["relevance_score"]) for row in found]
