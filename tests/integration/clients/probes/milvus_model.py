"""The rerank functions of pymilvus."""

from __future__ import annotations

from typing import Any

import voyageai
from probe import Question, Row
from pymilvus.model.reranker import VoyageRerankFunction, jinaai
from pymilvus.model.reranker import tei as tei_module


def jina(ask: Question) -> list[Row]:
    # Its address is a constant.
    jinaai.API_URL = f"{ask.v1}/rerank"
    return _rows(ask, jinaai.JinaRerankFunction(model_name=ask.model, api_key=ask.key))


def voyage(ask: Question) -> list[Row]:
    function = VoyageRerankFunction(model_name=ask.model, api_key=ask.key)
    # It has no argument for an address.
    function.client = voyageai.Client(api_key=ask.key, base_url=ask.v1)
    return _rows(ask, function)


def tei(ask: Question) -> list[Row]:
    return _rows(ask, tei_module.TEIRerankFunction(api_url=ask.url))


def _rows(ask: Question, function: Any) -> list[Row]:
    ranked = function(ask.query, list(ask.documents), top_k=ask.top_n or 3)
    return [Row(row.index, row.score, row.text) for row in ranked[: ask.top_n]]
