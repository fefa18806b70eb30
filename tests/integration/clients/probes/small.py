"""Small clients that speak to several services."""

from __future__ import annotations

import lexilux
import openai
from jina_cli import api as jina_cli
from openai_simple_rerank import get_rerank_scores
from probe import Question, Row
from rerankers.models.api_rankers import APIRanker


def rerankers_cohere(ask: Question) -> list[Row]:
    return _rerankers(ask, "cohere", "/v1/rerank")


def rerankers_jina(ask: Question) -> list[Row]:
    return _rerankers(ask, "jina", "/v1/rerank")


def rerankers_voyage(ask: Question) -> list[Row]:
    return _rerankers(ask, "voyage", "/v1/rerank")


def rerankers_mixedbread(ask: Question) -> list[Row]:
    return _rerankers(ask, "mixedbread.ai", "/v1/reranking")


def rerankers_tei(ask: Question) -> list[Row]:
    return _rerankers(ask, "text-embeddings-inference", "/rerank")


def _rerankers(ask: Question, provider: str, path: str) -> list[Row]:
    ranker = APIRanker(ask.model, ask.key, provider, url=ask.url + path)
    results = ranker.rank(ask.query, list(ask.documents))
    best = results.top_k(ask.top_n) if ask.top_n else results.results
    return [Row(row.doc_id, row.score, row.text) for row in best]


def openai_simple_rerank(ask: Question) -> list[Row]:
    client = openai.OpenAI(api_key=ask.key, base_url=ask.v1)
    scores = get_rerank_scores(ask.query, list(ask.documents), llm=client, model=ask.model)
    ranked = sorted(enumerate(scores), key=lambda pair: -pair[1])
    return [Row(index, score) for index, score in ranked[: ask.top_n]]


def jina(ask: Question) -> list[Row]:
    # Its address is a constant.
    jina_cli.API_BASE = ask.url
    results = jina_cli.rerank(
        ask.query, list(ask.documents), api_key=ask.key, model=ask.model, top_n=ask.top_n
    )
    return [Row(row["index"], row["relevance_score"]) for row in results]


def lexilux_sdk(ask: Question) -> list[Row]:
    client = lexilux.Rerank(base_url=ask.v1, api_key=ask.key, model=ask.model)
    reply = client(ask.query, list(ask.documents), top_k=ask.top_n, include_docs=True)
    return [Row(*row) for row in reply.results]
