# ruff: noqa: PLC0415 - not every environment has all of these packages
"""LlamaIndex's node postprocessors."""

from __future__ import annotations

import os
from typing import Any

from llama_index.core.schema import NodeWithScore, TextNode
from probe import Question, Row


def jinaai(ask: Question) -> list[Row]:
    from llama_index.postprocessor.jinaai_rerank import JinaRerank

    return _rows(
        ask, JinaRerank(base_url=ask.v1, api_key=ask.key, model=ask.model, top_n=ask.top_n or 3)
    )


def tei(ask: Question) -> list[Row]:
    from llama_index.postprocessor.tei_rerank import TextEmbeddingInference

    return _rows(
        ask,
        TextEmbeddingInference(
            base_url=ask.url, auth_token=f"Bearer {ask.key}", top_n=ask.top_n or 3
        ),
    )


def cohere(ask: Question) -> list[Row]:
    from llama_index.postprocessor.cohere_rerank import CohereRerank

    return _rows(
        ask,
        CohereRerank(base_url=ask.url, api_key=ask.key, model=ask.model, top_n=ask.top_n or 3),
    )


def voyageai(ask: Question) -> list[Row]:
    import voyageai as package
    from llama_index.postprocessor.voyageai_rerank import VoyageAIRerank

    postprocessor = VoyageAIRerank(
        api_key=ask.key, model=ask.model, top_n=ask.top_n, truncation=True
    )
    # It has no argument for an address.
    postprocessor._client = package.Client(api_key=ask.key, base_url=ask.v1)
    return _rows(ask, postprocessor)


def siliconflow(ask: Question) -> list[Row]:
    from llama_index.postprocessor.siliconflow_rerank import SiliconFlowRerank

    return _rows(
        ask,
        SiliconFlowRerank(
            base_url=f"{ask.v1}/rerank", api_key=ask.key, model=ask.model, top_n=ask.top_n or 3
        ),
    )


def xinference(ask: Question) -> list[Row]:
    from llama_index.postprocessor.xinference_rerank import XinferenceRerank

    return _rows(ask, XinferenceRerank(base_url=ask.url, model=ask.model, top_n=ask.top_n or 3))


def nvidia(ask: Question) -> list[Row]:
    from llama_index.postprocessor.nvidia_rerank import NVIDIARerank

    return _rows(
        ask, NVIDIARerank(base_url=ask.v1, api_key=ask.key, model=ask.model, top_n=ask.top_n or 3)
    )


def mixedbreadai(ask: Question) -> list[Row]:
    os.environ["MIXEDBREAD_BASE_URL"] = ask.url
    from llama_index.postprocessor.mixedbreadai_rerank import MixedbreadAIRerank

    return _rows(ask, MixedbreadAIRerank(api_key=ask.key, model=ask.model, top_n=ask.top_n or 3))


def dashscope(ask: Question) -> list[Row]:
    import dashscope as package
    from llama_index.postprocessor.dashscope_rerank import DashScopeRerank

    package.base_http_api_url = f"{ask.url}/api/v1"
    return _rows(ask, DashScopeRerank(api_key=ask.key, model=ask.model, top_n=ask.top_n or 3))


def _rows(ask: Question, postprocessor: Any) -> list[Row]:
    nodes = [
        NodeWithScore(node=TextNode(text=text, id_=str(at)), score=0.0)
        for at, text in enumerate(ask.documents)
    ]
    ranked = postprocessor.postprocess_nodes(nodes, query_str=ask.query)
    return [Row(int(one.node.node_id), one.score, one.node.text) for one in ranked]
