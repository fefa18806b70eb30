"""Older majors of SDKs, as long as people have them pinned."""

from __future__ import annotations

from probe import Question, Row
from together import Together


def together(ask: Question) -> list[Row]:
    client = Together(api_key=ask.key, base_url=ask.v1)
    reply = client.rerank.create(
        model=ask.model,
        query=ask.query,
        documents=list(ask.documents),
        top_n=ask.top_n,
        return_documents=True,
    )
    return [Row(row.index, row.relevance_score, row.document["text"]) for row in reply.results]
