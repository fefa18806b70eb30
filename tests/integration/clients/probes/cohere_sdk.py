"""Cohere's SDK, by both versions of its API."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import cohere
from probe import Question, Row


def v2(ask: Question) -> list[Row]:
    client = cohere.ClientV2(ask.key, base_url=ask.url)
    reply = client.rerank(
        model=ask.model, query=ask.query, documents=ask.documents, top_n=ask.top_n
    )
    return _rows(reply.results)


def v2_async(ask: Question) -> list[Row]:
    async def rank() -> Any:
        async with cohere.AsyncClientV2(ask.key, base_url=ask.url) as client:
            return await client.rerank(
                model=ask.model, query=ask.query, documents=ask.documents, top_n=ask.top_n
            )

    return _rows(asyncio.run(rank()).results)


def v1(ask: Question) -> list[Row]:
    client = cohere.Client(ask.key, base_url=ask.url)
    reply = client.rerank(
        model=ask.model,
        query=ask.query,
        documents=[{"text": text} for text in ask.documents],
        top_n=ask.top_n,
        return_documents=True,
    )
    assert reply.meta.api_version.version == "1", reply.meta
    return [Row(row.index, row.relevance_score, row.document.text) for row in reply.results]


def v1_fields(ask: Question) -> list[Row]:
    client = cohere.Client(ask.key, base_url=ask.url)
    reply = client.rerank(
        model=ask.model,
        query=ask.query,
        documents=[{"title": "-", "body": text} for text in ask.documents],
        rank_fields=["title", "body"],
        top_n=ask.top_n,
    )
    return _rows(reply.results)


def _rows(results: Iterable[Any]) -> list[Row]:
    return [Row(row.index, row.relevance_score) for row in results]
