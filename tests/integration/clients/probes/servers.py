"""Clients made for other servers that people run themselves: Infinity, TEI, Xinference."""

from __future__ import annotations

from baseten_performance_client import PerformanceClient
from infinity_client import AuthenticatedClient
from infinity_client.api.default import rerank
from infinity_client.models import RerankInput
from probe import Question, Row
from tei_client import HttpClient
from xinference_client import RESTfulClient


def infinity(ask: Question) -> list[Row]:
    client = AuthenticatedClient(ask.url, ask.key, raise_on_unexpected_status=True)
    body = RerankInput(
        query=ask.query, documents=list(ask.documents), model=ask.model, top_n=ask.top_n
    )
    reply = rerank.sync(client=client, body=body)
    return [Row(row.index, row.relevance_score) for row in reply.results]


def tei(ask: Question) -> list[Row]:
    client = HttpClient(ask.url, headers={"Authorization": f"Bearer {ask.key}"})
    reply = client.rerank(ask.query, list(ask.documents), return_text=True, truncate=True)
    return [Row(row.index, row.score, row.text) for row in reply.ranks]


def baseten(ask: Question) -> list[Row]:
    client = PerformanceClient(base_url=ask.url, api_key=ask.key)
    reply = client.rerank(ask.query, list(ask.documents), return_text=True, truncate=True)
    return [Row(row.index, row.score, row.text) for row in reply.data]


def xinference(ask: Question) -> list[Row]:
    client = RESTfulClient(ask.url, ask.key)
    reply = client.get_model(ask.model).rerank(
        list(ask.documents), ask.query, top_n=ask.top_n, return_documents=True
    )
    return [
        Row(row["index"], row["relevance_score"], row["document"]["text"])
        for row in reply["results"]
    ]
