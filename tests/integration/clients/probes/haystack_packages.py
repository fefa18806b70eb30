# ruff: noqa: PLC0415 - not every environment has all of these packages
"""Haystack's rankers."""

from __future__ import annotations

import os
from typing import Any

from haystack import Document
from haystack.utils import Secret
from probe import Question, Row


def cohere(ask: Question) -> list[Row]:
    from haystack_integrations.components.rankers.cohere import CohereRanker

    return _rows(
        ask,
        CohereRanker(
            model=ask.model,
            api_key=Secret.from_token(ask.key),
            api_base_url=ask.url,
            top_k=ask.top_n or 3,
        ),
    )


def jina(ask: Question) -> list[Row]:
    from haystack_integrations.components.rankers.jina import JinaRanker

    return _rows(
        ask,
        JinaRanker(
            model=ask.model,
            api_key=Secret.from_token(ask.key),
            base_url=f"{ask.v1}/rerank",
            top_k=ask.top_n,
        ),
    )


def tei(ask: Question) -> list[Row]:
    from haystack_integrations.components.rankers.huggingface_api import HuggingFaceTEIRanker

    return _rows(
        ask,
        HuggingFaceTEIRanker(
            url=ask.url, token=Secret.from_token(ask.key), top_k=ask.top_n or 3, max_retries=0
        ),
    )


def nvidia(ask: Question) -> list[Row]:
    from haystack_integrations.components.rankers.nvidia import NvidiaRanker

    os.environ["NVIDIA_API_KEY"] = ask.key
    return _rows(
        ask,
        NvidiaRanker(
            model=ask.model,
            api_url=ask.v1,
            api_key=Secret.from_env_var("NVIDIA_API_KEY"),
            top_k=ask.top_n or 3,
        ),
    )


def _rows(ask: Question, ranker: Any) -> list[Row]:
    if hasattr(ranker, "warm_up"):
        ranker.warm_up()
    documents = [Document(id=str(at), content=text) for at, text in enumerate(ask.documents)]
    ranked = ranker.run(query=ask.query, documents=documents)["documents"]
    return [Row(int(one.id), one.score, one.content) for one in ranked]
