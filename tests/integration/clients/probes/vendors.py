"""SDKs of other hosted services."""

from __future__ import annotations

import dashscope
from mixedbread import Mixedbread
from probe import Question, Row
from together import Together
from zeroentropy import ZeroEntropy


def together(ask: Question) -> list[Row]:
    client = Together(api_key=ask.key, base_url=ask.url)
    reply = client.rerank.create(
        model=ask.model,
        query=ask.query,
        documents=list(ask.documents),
        top_n=ask.top_n,
        return_documents=True,
    )
    return [Row(row.index, row.relevance_score, row.document.text) for row in reply.results]


def mixedbread(ask: Question) -> list[Row]:
    client = Mixedbread(api_key=ask.key, base_url=ask.url)
    reply = client.rerank(
        model=ask.model,
        query=ask.query,
        input=list(ask.documents),
        return_input=True,
        **({"top_k": ask.top_n} if ask.top_n else {}),
    )
    return [Row(row.index, row.score, row.input) for row in reply.data]


def zeroentropy(ask: Question) -> list[Row]:
    client = ZeroEntropy(api_key=ask.key, base_url=ask.v1)
    reply = client.models.rerank(
        model=ask.model, query=ask.query, documents=list(ask.documents), top_n=ask.top_n
    )
    return [Row(row.index, row.relevance_score) for row in reply.results]


def dashscope_sdk(ask: Question) -> list[Row]:
    dashscope.base_http_api_url = f"{ask.url}/api/v1"
    reply = dashscope.TextReRank.call(
        model=ask.model,
        query=ask.query,
        documents=list(ask.documents),
        top_n=ask.top_n,
        return_documents=True,
        api_key=ask.key,
    )
    if reply.status_code != 200:
        raise RuntimeError(f"{reply.status_code} {reply.code} {reply.message}")
    return [
        Row(row.index, row.relevance_score, row["document"]["text"]) for row in reply.output.results
    ]
