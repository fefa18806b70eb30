"""Voyage's SDK."""

from __future__ import annotations

import asyncio
from typing import Any

import voyageai
from probe import Question, Row


def rerank(ask: Question) -> list[Row]:
    client = voyageai.Client(api_key=ask.key, base_url=ask.v1)
    return _rows(client.rerank(ask.query, list(ask.documents), model=ask.model, top_k=ask.top_n))


def rerank_async(ask: Question) -> list[Row]:
    client = voyageai.AsyncClient(api_key=ask.key, base_url=ask.v1)
    return _rows(
        asyncio.run(client.rerank(ask.query, list(ask.documents), model=ask.model, top_k=ask.top_n))
    )


def _rows(reply: Any) -> list[Row]:
    assert reply.total_tokens > 0
    return [Row(row.index, row.relevance_score, row.document) for row in reply.results]
