"""LiteLLM, by each of its rerank providers that takes an address."""

from __future__ import annotations

from typing import Any

import litellm
from probe import Question, Row


def cohere(ask: Question) -> list[Row]:
    return _rows(ask, "cohere", ask.url)


def jina_ai(ask: Question) -> list[Row]:
    return _rows(ask, "jina_ai", f"{ask.v1}/rerank")


def infinity(ask: Question) -> list[Row]:
    # It wants the document as a bare string, on the path where vLLM's form is an object.
    return _rows(ask, "infinity", ask.url, return_documents=False)


def hosted_vllm(ask: Question) -> list[Row]:
    return _rows(ask, "hosted_vllm", ask.url)


def huggingface(ask: Question) -> list[Row]:
    return _rows(ask, "huggingface", ask.url)


def voyage(ask: Question) -> list[Row]:
    return _rows(ask, "voyage", ask.v1)


def together_ai(ask: Question) -> list[Row]:
    return _rows(ask, "together_ai", ask.v1)


def litellm_proxy(ask: Question) -> list[Row]:
    return _rows(ask, "litellm_proxy", ask.url)


def _rows(ask: Question, provider: str, base: str | None, **options: Any) -> list[Row]:
    reply = litellm.rerank(
        model=f"{provider}/{ask.model}",
        query=ask.query,
        documents=list(ask.documents),
        top_n=ask.top_n,
        api_key=ask.key,
        api_base=base,
        **options,
    )
    return [
        Row(row["index"], row["relevance_score"], _text(row.get("document")))
        for row in reply.results
    ]


def _text(document: Any) -> str | None:
    return document["text"] if isinstance(document, dict) else document
